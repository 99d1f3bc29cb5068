//! Builders of small worlds, and a naive model that judges a plan node by node.
#![allow(dead_code)] // Each test file uses its own part.
#![allow(clippy::unwrap_used, clippy::panic)] // A judge stops at the first fault.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_placement::{
    AcceleratorFacts, AcceleratorRequirement, Alternative, Amount, BudgetScope, CapacityType,
    ClusterSpec, DeviceGroup, DevicePart, DeviceShare, DollarBudget, Fleet, JobSpec, Kind,
    LabelSelector, Level, MicroUsd, NodePrice, NodeSpec, Objective, Plan, PlanOptions, PodShape,
    PowerBudgetSpec, PowerDomainSpec, PowerSpec, Reservation, Spread, Topology, Watts, Work,
};
use proptest::prelude::*;

/// 700 W of the device and 575 W of its share of the host.
pub const H100: &str = "nvidia-h100-sxm5-80gb";
/// A second type.
pub const L4: &str = "nvidia-l4";

pub fn h100_facts() -> AcceleratorFacts {
    AcceleratorFacts {
        name: H100.into(),
        vendor: "nvidia".into(),
        memory_gib: 80,
        bf16_tflops: 989,
        default_watts: Watts(700),
        host_overhead_watts: Watts(575),
    }
}

pub fn l4_facts() -> AcceleratorFacts {
    AcceleratorFacts {
        name: L4.into(),
        vendor: "nvidia".into(),
        memory_gib: 24,
        bf16_tflops: 121,
        default_watts: Watts(72),
        host_overhead_watts: Watts(60),
    }
}

pub fn cluster(name: &str) -> ClusterSpec {
    ClusterSpec {
        name: name.into(),
        reachable: true,
        ..ClusterSpec::default()
    }
}

/// A healthy node with 8 H100 at $80 an hour on demand, in cluster `a`.
pub fn node(name: &str) -> NodeSpec {
    NodeSpec {
        cluster: "a".into(),
        name: name.into(),
        capacity_type: Some(CapacityType::OnDemand),
        devices: vec![devices(H100, 8)],
        cpu_milli: Amount {
            total: 192_000,
            held: 0,
        },
        memory_mib: Amount {
            total: 2_000_000,
            held: 0,
        },
        pod_slots: Amount {
            total: 110,
            held: 0,
        },
        price: price(80_000_000),
        ..NodeSpec::default()
    }
}

pub fn devices(accelerator_type: &str, devices: u32) -> DeviceGroup {
    DeviceGroup {
        accelerator_type: accelerator_type.into(),
        resource: "nvidia.com/gpu".into(),
        devices,
        ..DeviceGroup::default()
    }
}

/// Units of MIG `1g.10gb`, seven to a device.
pub fn mig(accelerator_type: &str, units: u32) -> DeviceGroup {
    DeviceGroup {
        resource: "nvidia.com/mig-1g.10gb".into(),
        part: DevicePart::Mig("1g.10gb".into()),
        share: DeviceShare::new(1, 7),
        ..devices(accelerator_type, units)
    }
}

/// Time slices, so many to a device.
pub fn slices(accelerator_type: &str, units: u32, of: u32) -> DeviceGroup {
    DeviceGroup {
        resource: "nvidia.com/gpu.shared".into(),
        part: DevicePart::Milli(1000 / of),
        share: DeviceShare::new(1, of),
        ..devices(accelerator_type, units)
    }
}

pub fn price(micro_usd_per_node_hour: i64) -> NodePrice {
    NodePrice {
        usd_per_node_hour: Some(MicroUsd(micro_usd_per_node_hour)),
        sheet: Some("list".into()),
        ..NodePrice::default()
    }
}

/// A gang of `replicas` × `devices` H100 for an hour, in queue `q`, that may use every capacity type.
pub fn gang(key: &str, replicas: u32, devices: u32) -> JobSpec {
    JobSpec {
        key: key.into(),
        namespace: "team".into(),
        queue: "q".into(),
        priority: 0,
        submitted_seconds: 0,
        kind: Kind::Training {
            work: Work::DurationSeconds(3600),
            deadline_seconds: None,
            checkpoint_interval_seconds: 0,
            checkpoint_restore_seconds: 0,
            restores: false,
        },
        objective: Objective::Cost,
        budget: DollarBudget::default(),
        capacity_types: CapacityType::ALL.to_vec(),
        clusters: LabelSelector::default(),
        excluded_clusters: Vec::new(),
        topology: Topology::default(),
        egress: Vec::new(),
        alternatives: vec![alternative("h100", H100, replicas, devices)],
    }
}

pub fn alternative(name: &str, accelerator: &str, replicas: u32, devices: u32) -> Alternative {
    Alternative {
        name: name.into(),
        accelerator: AcceleratorRequirement::Named(accelerator.into()),
        part: DevicePart::Whole,
        devices_per_replica: devices,
        replicas,
        throughput_micro: Some(1_000_000),
        pod: PodShape::default(),
    }
}

/// A gang of `replicas` pods that each ask for one unit of a part of an H100.
pub fn parted(key: &str, replicas: u32, part: DevicePart) -> JobSpec {
    let mut job = gang(key, replicas, 1);
    job.alternatives[0].part = part;
    job
}

/// A fleet with both accelerator types, cluster `a` and these nodes.
pub fn fleet(nodes: impl IntoIterator<Item = NodeSpec>) -> Fleet {
    let mut fleet = Fleet::new();
    fleet.set_accelerator(h100_facts());
    fleet.set_accelerator(l4_facts());
    fleet.set_cluster(cluster("a"));
    for node in nodes {
        fleet.set_node(node);
    }
    fleet
}

pub fn plan(fleet: &mut Fleet, jobs: &[JobSpec]) -> Plan {
    fleet.plan(jobs, &PlanOptions::default())
}

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
    )
        .prop_map(
            move |(
                (cluster, count, capacity, rack),
                (cpu, memory, slots, held),
                (feed, usd, fault, l4, cut),
            )| {
                let mut groups = groups(if l4 { L4 } else { H100 }, count, cut);
                for group in &mut groups {
                    group.held = held.saturating_sub(3).min(group.devices);
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
    )
        .prop_map(
            move |(
                (replicas, devices, level, priority, kind),
                (cpu, memory, queue, selected, skew),
                (usd, hour, types, preferred, parts),
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

/// Position of the group of a node that a reservation holds units of: its type in its part.
pub fn group_of(node: &NodeSpec, held: &Reservation) -> Option<usize> {
    let mut groups = node.devices.iter();
    groups.position(|g| (&g.accelerator_type, &g.part) == (&held.accelerator_type, &held.part))
}

/// Watts of a unit: its share of the device and of the host, rounded up.
fn watts_each(group: &DeviceGroup) -> i64 {
    let device = if group.accelerator_type == H100 {
        1275
    } else {
        132
    };
    let (parts, of) = match &group.part {
        DevicePart::Whole => (1, 1),
        DevicePart::Mig(_) => (1, 7),
        DevicePart::Milli(unit) => (1, i64::from(1000 / unit)),
    };
    (device * parts + of - 1) / of
}

/// What can be seen of a fleet, and what it would do with two more jobs.
pub fn seen(fleet: &Fleet) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut probed = fleet.clone();
    let mut tight = gang("probe-rack", 2, 1);
    tight.topology.required = Level::Rack;
    let mig = parted("probe-mig", 2, DevicePart::Mig("1g.10gb".into()));
    let slices = parted("probe-slices", 2, DevicePart::Milli(100));
    let probes = plan(&mut probed, &[gang("probe", 3, 2), tight, mig, slices]);
    (
        fleet.domain_usage(),
        fleet.budget_usage(),
        fleet.devices("a"),
        fleet.devices("b"),
        probes,
    )
}

pub fn release_all(fleet: &mut Fleet, plan: &Plan) {
    for decision in &plan.placements {
        assert!(fleet.release(&decision.reservation.key));
    }
}

/// Judges what is reserved: no node, breaker or budget holds more than it may.
pub fn assert_within_limits(world: &World, reservations: &[&Reservation]) {
    let mut watts_at: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for node in &world.nodes {
        let (mut cpu, mut memory, mut pods) = (0_u64, 0_u64, 0_u64);
        let mut units = vec![0_u64; node.devices.len()];
        for reservation in reservations.iter().filter(|r| r.cluster == node.cluster) {
            for share in reservation.nodes.iter().filter(|s| s.name == node.name) {
                let replicas = u64::from(share.replicas);
                assert!(replicas > 0, "an empty share");
                assert_eq!(node.fault, None, "{} is out of service", node.name);
                let group = group_of(node, reservation).unwrap();
                units[group] += replicas * u64::from(reservation.devices_per_replica);
                cpu += replicas * reservation.cpu_milli;
                memory += replicas * reservation.memory_mib;
                pods += replicas;
            }
        }
        assert!(cpu <= node.cpu_milli.total, "CPU of {}", node.name);
        assert!(memory <= node.memory_mib.total, "memory of {}", node.name);
        assert!(pods <= node.pod_slots.total, "pods of {}", node.name);
        let mut watts = 0;
        for (group, units) in node.devices.iter().zip(units) {
            assert!(
                units <= u64::from(group.devices - group.held),
                "{} of {}",
                group.part,
                node.name
            );
            watts += watts_each(group) * (i64::try_from(units).unwrap() + i64::from(group.held));
        }
        watts_at.insert((&node.cluster, &node.name), watts);
    }
    // Devices that others hold may exceed a limit by themselves: then nothing may have been added.
    let domains: BTreeMap<&str, &PowerDomainSpec> = world
        .power
        .domains
        .iter()
        .map(|d| (d.name.as_str(), d))
        .collect();
    let load = |domain: &str, of: &dyn Fn(&NodeSpec) -> i64| -> f64 {
        world
            .nodes
            .iter()
            .map(|node| {
                let most = node
                    .feeds
                    .iter()
                    .filter_map(|feed| factor(&domains, feed, domain))
                    .fold(0.0, f64::max);
                most * of(node) as f64
            })
            .sum()
    };
    let all = |node: &NodeSpec| watts_at[&(node.cluster.as_str(), node.name.as_str())];
    let held = |node: &NodeSpec| -> i64 {
        let groups = node.devices.iter();
        groups.map(|g| watts_each(g) * i64::from(g.held)).sum()
    };
    for domain in &world.power.domains {
        let (now, before) = (load(&domain.name, &all), load(&domain.name, &held));
        let limits = world
            .power
            .budgets
            .iter()
            .filter(|b| b.scope == BudgetScope::Domain(domain.name.clone()));
        for limit in limits.map(|b| b.limit_watts).chain([domain.usable_watts]) {
            assert!(
                now <= limit.0 as f64 + 1e-3 || now <= before + 1e-3,
                "{}: {now} W above {limit}",
                domain.name
            );
        }
    }
    for budget in &world.power.budgets {
        if let BudgetScope::Queue(queue) = &budget.scope {
            let sum: i64 = reservations
                .iter()
                .filter(|r| r.queue == *queue)
                .map(|r| r.watts.0)
                .sum();
            assert!(
                sum <= budget.limit_watts.0,
                "queue {queue}: {sum} W above {}",
                budget.limit_watts
            );
        }
    }
}

/// The largest product of losses from a feed up to a domain.
fn factor(domains: &BTreeMap<&str, &PowerDomainSpec>, from: &str, to: &str) -> Option<f64> {
    if from == to {
        return Some(1.0);
    }
    let domain = domains.get(from)?;
    let loss = 1.0 + f64::from(domain.loss_percent) / 100.0;
    domain
        .parents
        .iter()
        .filter_map(|parent| factor(domains, parent, to))
        .map(|above| above * loss)
        .reduce(f64::max)
}

/// Judges every placed job: whole gangs, in one required domain, within the job's own limits.
pub fn assert_gangs_whole(world: &World, plan: &Plan) {
    let mut seen = BTreeSet::new();
    for decision in &plan.placements {
        let job = world.jobs.iter().find(|j| j.key == decision.job).unwrap();
        let alternative = job
            .alternatives
            .iter()
            .find(|a| a.name == decision.alternative)
            .unwrap();
        assert!(job.capacity_types.contains(&decision.capacity_type));
        match (&alternative.part, &decision.reservation.part) {
            (DevicePart::Milli(asked), DevicePart::Milli(unit)) => assert!(unit >= asked),
            (asked, given) => assert_eq!(asked, given),
        }
        let Kind::Training { .. } = job.kind else {
            continue;
        };
        assert!(seen.insert(&decision.job), "{} placed twice", decision.job);
        assert_eq!(
            decision.replicas(),
            alternative.replicas,
            "{} is not whole",
            decision.job
        );
        assert!(
            job.budget
                .max_usd
                .is_none_or(|most| decision.usd_total <= most)
        );
        assert!(
            job.budget
                .max_usd_per_hour
                .is_none_or(|most| decision.usd_per_hour <= most)
        );
        if decision.reservation.nodes.len() == 1 {
            continue; // One node lies in one domain of every level.
        }
        let level = job.topology.required;
        let domains: BTreeSet<String> = decision
            .reservation
            .nodes
            .iter()
            .map(|share| {
                let node = world.nodes.iter().find(|n| n.name == share.name).unwrap();
                match level {
                    Level::Node => node.name.clone(),
                    Level::Cluster => node.cluster.clone(),
                    Level::Zone => node.zone.clone(),
                    // No such level here: a gang that requires it has no place.
                    Level::NvlinkDomain => panic!("placed without the domain it requires"),
                    _ => format!(
                        "{}/{}/{:?}",
                        node.cluster,
                        node.zone,
                        node.domains.get(&level)
                    ),
                }
            })
            .collect();
        assert_eq!(domains.len(), 1, "{} spans {domains:?}", decision.job);
    }
    for job in &world.jobs {
        let placed = plan.placements.iter().any(|d| d.job == job.key);
        let unplaced = plan.unplaced.iter().find(|u| u.job == job.key);
        assert!(
            placed || unplaced.is_some_and(|u| !u.reasons.is_empty()),
            "{} is forgotten",
            job.key
        );
        if matches!(job.kind, Kind::Training { .. }) {
            assert!(!(placed && unplaced.is_some()), "{} is both", job.key);
        }
    }
}
