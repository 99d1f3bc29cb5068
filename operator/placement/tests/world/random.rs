//! Random worlds, small enough that everything happens in them.

use std::collections::BTreeMap;

use ampacity_placement::{
    Amount, BudgetScope, CapacityType, ClusterSpec, DeviceGroup, DevicePart, DollarBudget, Fleet,
    JobSpec, Kind, Level, MicroUsd, NodeSpec, PowerBudgetSpec, PowerDomainSpec, PowerSpec, Spread,
    Topology, Watts,
};
use proptest::prelude::*;

use super::builders::{
    H100, L4, alternative, cluster, devices, fleet, gang, mig, node, price, slices,
};

/// A resource by which pools are told apart.
pub const NICS: &str = "vpc.amazonaws.com/efa";
/// A resource that is each node's own.
pub const PAGES: &str = "hugepages-2Mi";

/// Everything a plan depends on.
#[derive(Clone, Debug)]
pub struct World {
    pub clusters: Vec<ClusterSpec>,
    pub nodes: Vec<NodeSpec>,
    pub power: PowerSpec,
    pub jobs: Vec<JobSpec>,
}

impl World {
    pub fn fleet(&self) -> Fleet {
        let mut fleet = fleet(self.nodes.clone());
        for cluster in &self.clusters {
            fleet.set_cluster(cluster.clone());
        }
        let issues = fleet.set_power(self.power.clone());
        assert!(issues.is_empty(), "{issues:?}");
        fleet
    }
}

/// Devices as nodes offer them: mostly whole; all in MIG instances; some of them; in slices of one size or another.
fn groups(accelerator_type: &str, count: u32, cut: usize) -> Vec<DeviceGroup> {
    match cut {
        0 => vec![mig(accelerator_type, 7 * count.min(2))],
        1 => vec![devices(accelerator_type, count), mig(accelerator_type, 3)],
        2 => vec![slices(accelerator_type, 4 * count.min(2), 4)],
        3 => vec![slices(accelerator_type, 3 * count.min(2), 3)],
        _ => vec![devices(accelerator_type, count)],
    }
}

/// What jobs ask for: mostly whole devices.
fn asked(part: usize) -> DevicePart {
    match part {
        0 => DevicePart::Mig("1g.10gb".into()),
        1 => DevicePart::Milli(200),
        2 => DevicePart::Milli(300),
        _ => DevicePart::Whole,
    }
}

fn node_strategy(at: usize) -> impl Strategy<Value = NodeSpec> {
    (
        (
            0..2_usize,
            prop::sample::select(vec![1_u32, 2, 4, 8]),
            0..4_usize,
            0..3_usize,
        ),
        (1..24_u64, 1..24_u64, 1..9_u64, 0..6_u32),
        (0..4_usize, 1..5_i64, 0..12_u32, any::<bool>(), 0..8_usize),
        (0..4_u64, 0..9_u64, 0..6_u32),
    )
        .prop_map(
            move |(
                (cluster, count, capacity, rack),
                (cpu, memory, slots, held),
                (feed, usd, fault, l4, cut),
                (nics, pages, odd),
            )| {
                let mut groups = groups(if l4 { L4 } else { H100 }, count, cut);
                for group in &mut groups {
                    group.held = held.saturating_sub(3).min(group.devices);
                    group.whole_node = odd == 0;
                    if odd == 1 {
                        (group.unusable, group.unusable_why) = (held + 1, "broken".into());
                    }
                }
                NodeSpec {
                    cluster: ["a", "b"][cluster].into(),
                    name: format!("n{at}"),
                    capacity_type: Some(CapacityType::ALL[capacity]),
                    devices: groups,
                    cpu_milli: Amount {
                        total: cpu * 1000,
                        held: 0,
                    },
                    memory_mib: Amount {
                        total: memory * 1000,
                        held: 0,
                    },
                    pod_slots: Amount {
                        total: slots,
                        held: 0,
                    },
                    other: BTreeMap::from([
                        (
                            NICS.to_owned(),
                            Amount {
                                total: nics * 2,
                                held: u64::from(held > 4),
                            },
                        ),
                        (
                            PAGES.to_owned(),
                            Amount {
                                total: pages,
                                held: 0,
                            },
                        ),
                    ]),
                    zone: ["z0", "z0", "z1"][rack].into(),
                    domains: BTreeMap::from([
                        (Level::Block, ["k0", "k0", "k1"][rack].into()),
                        (Level::Rack, format!("r{rack}")),
                    ]),
                    feeds: [
                        vec![],
                        vec!["p0".into()],
                        vec!["p1".into()],
                        vec!["p0".into(), "p1".into()],
                    ][feed]
                        .clone(),
                    price: price(usd * 10_000_000 * i64::from(count)),
                    fault: (fault == 0).then_some(ampacity_placement::NodeFault::Cordoned),
                    ..node("")
                }
            },
        )
}

/// A DAG: p0 and p1 below m0 and m1 (p1 below both), all below the root.
fn power_strategy() -> impl Strategy<Value = PowerSpec> {
    (
        prop::collection::vec((1_i64..60_000, 0..30_u32), 5),
        prop::collection::vec(1_i64..60_000, 3),
        any::<bool>(),
    )
        .prop_map(|(domains, limits, tight)| {
            let parents: [&[&str]; 5] = [&["m0"], &["m0", "m1"], &["root"], &["root"], &[]];
            let names = ["p0", "p1", "m0", "m1", "root"];
            let scale = if tight { 1 } else { 20 };
            PowerSpec {
                domains: domains
                    .into_iter()
                    .enumerate()
                    .map(|(at, (watts, loss_percent))| PowerDomainSpec {
                        name: names[at].into(),
                        parents: parents[at].iter().map(|p| (*p).to_owned()).collect(),
                        usable_watts: Watts(watts * scale),
                        loss_percent,
                        is_terminating: false,
                    })
                    .collect(),
                budgets: limits
                    .into_iter()
                    .zip([
                        BudgetScope::Domain("m0".into()),
                        BudgetScope::Queue("q0".into()),
                        BudgetScope::Queue("q1".into()),
                    ])
                    .enumerate()
                    .map(|(at, (watts, scope))| PowerBudgetSpec {
                        name: format!("budget{at}"),
                        scope,
                        limit_watts: Watts(watts * scale),
                    })
                    .collect(),
            }
        })
}

fn job_strategy(at: usize) -> impl Strategy<Value = JobSpec> {
    (
        (1..6_u32, 1..9_u32, 0..6_usize, 0..3_i32, 0..4_usize),
        (0..6_u64, 0..6_u64, 0..3_usize, any::<bool>(), 0..5_u32),
        (
            prop::option::of(1..400_i64),
            prop::option::of(1..400_i64),
            0..5_usize,
            prop::option::of(0..6_usize),
            (0..9_usize, 0..9_usize),
        ),
        (0..6_u64, 0..6_u64),
    )
        .prop_map(
            move |(
                (replicas, devices, level, priority, kind),
                (cpu, memory, queue, selected, skew),
                (usd, hour, types, preferred, parts),
                (nics, pages),
            )| {
                let mut job = gang(&format!("j{at}"), replicas, devices);
                job.priority = priority;
                job.queue = format!("q{queue}");
                job.topology = Topology {
                    required: Level::ALL[level],
                    preferred: preferred.map(|level| Level::ALL[level]),
                };
                job.budget = DollarBudget {
                    max_usd: usd
                        .filter(|usd| usd % 3 == 0)
                        .map(|usd| MicroUsd(usd * 1_000_000)),
                    max_usd_per_hour: hour
                        .filter(|usd| usd % 3 == 0)
                        .map(|usd| MicroUsd(usd * 1_000_000)),
                };
                if let Some(only) = CapacityType::ALL.get(types) {
                    job.capacity_types = vec![*only];
                }
                if kind == 0 {
                    job.kind = Kind::Inference {
                        replicas,
                        placed: Vec::new(),
                        spread: (skew > 2).then(|| Spread {
                            by: Level::Node,
                            max_skew: skew - 2,
                        }),
                    };
                }
                if selected {
                    job.alternatives
                        .push(alternative("l4", L4, replicas, devices.min(4)));
                }
                for (alternative, part) in job.alternatives.iter_mut().zip([parts.0, parts.1]) {
                    alternative.part = asked(part);
                    if let DevicePart::Milli(_) = alternative.part {
                        alternative.devices_per_replica = 1;
                    }
                    alternative.pod.cpu_milli = cpu * 1000;
                    alternative.pod.memory_mib = memory * 1000;
                    // Half of the jobs ask for nothing else.
                    let other = [
                        (NICS, nics.saturating_sub(3)),
                        (PAGES, pages.saturating_sub(3)),
                    ];
                    alternative.pod.other = other
                        .into_iter()
                        .filter(|(_, each)| *each > 0)
                        .map(|(name, each)| (name.to_owned(), each))
                        .collect();
                }
                job
            },
        )
}

/// Up to 10 nodes in two clusters and up to 8 jobs under a breaker DAG.
pub fn worlds() -> impl Strategy<Value = World> {
    (1..11_usize, 1..9_usize, power_strategy()).prop_flat_map(|(nodes, jobs, power)| {
        (
            (0..nodes).map(node_strategy).collect::<Vec<_>>(),
            (0..jobs).map(job_strategy).collect::<Vec<_>>(),
        )
            .prop_map(move |(nodes, jobs)| World {
                clusters: vec![cluster("a"), cluster("b")],
                nodes,
                power: power.clone(),
                jobs,
            })
    })
}
