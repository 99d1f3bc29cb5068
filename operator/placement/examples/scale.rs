//! Decisions on a fleet of a million accelerators, one core. Prints one figure a line with its unit.
//!
//! `cargo run --release -p ampacity-placement --example scale`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ampacity_placement::{
    AcceleratorFacts, AcceleratorRequirement, Alternative, Amount, CapacityType, ClusterSpec,
    DeviceGroup, DevicePart, DollarBudget, Fleet, JobSpec, Kind, LabelSelector, Level, MicroUsd,
    NodePrice, NodeSpec, Objective, PlanOptions, PodShape, PowerDomainSpec, PowerSpec, Topology,
    Watts, Work,
};

const TYPES: [&str; 4] = ["h100", "a100", "l40s", "trn2"];

/// A fixed sequence, so that every run measures the same decisions.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

fn node(clusters: u64, pools: u64, at: u64) -> NodeSpec {
    let pool = at % pools;
    let within = at / pools;
    let cluster = format!("c{:02}", pool % clusters);
    let rack = within / 8;
    let slot = usize::try_from(pool / clusters).unwrap_or(0);
    NodeSpec {
        name: format!("n{at:06}"),
        instance_type: format!("i{pool}"),
        zone: format!("z{}", pool % 3),
        capacity_type: Some(CapacityType::ALL[slot / 4 % 4]),
        devices: vec![DeviceGroup {
            accelerator_type: TYPES[slot % 4].into(),
            resource: "gpu".into(),
            devices: 8,
            ..DeviceGroup::default()
        }],
        cpu_milli: Amount {
            total: 192_000,
            held: 2_000,
        },
        memory_mib: Amount {
            total: 2_000_000,
            held: 8_000,
        },
        pod_slots: Amount {
            total: 110,
            held: 8,
        },
        labels: BTreeMap::from([
            ("kubernetes.io/hostname".into(), format!("n{at:06}")),
            ("pool".into(), format!("i{pool}")),
        ]),
        domains: BTreeMap::from([
            (Level::Block, format!("p{pool}b{}", rack / 8)),
            (Level::Rack, format!("p{pool}r{rack}")),
        ]),
        feeds: vec![format!("{cluster}-pdu{}", pool / clusters)],
        price: NodePrice {
            usd_per_node_hour: Some(MicroUsd(
                i64::try_from(20_000_000 + pool * 137_911 % 60_000_000).unwrap_or(0),
            )),
            ..NodePrice::default()
        },
        cluster,
        ..NodeSpec::default()
    }
}

fn empty(clusters: u64, pools: u64, nodes: u64) -> Fleet {
    let mut fleet = Fleet::new();
    for (at, name) in TYPES.iter().enumerate() {
        fleet.set_accelerator(AcceleratorFacts {
            name: (*name).into(),
            vendor: "any".into(),
            memory_gib: 80,
            bf16_tflops: 900 - 100 * u32::try_from(at).unwrap_or(0),
            default_watts: Watts(700),
            host_overhead_watts: Watts(500),
        });
    }
    let mut domains = Vec::new();
    for at in 0..clusters {
        let name = format!("c{at:02}");
        let domain = |name: String, parents: Vec<String>| PowerDomainSpec {
            name,
            parents,
            usable_watts: Watts(1_000_000_000),
            loss_percent: 3,
        };
        domains.push(domain(name.clone(), Vec::new()));
        domains.extend(
            (0..=pools / clusters)
                .map(|pdu| domain(format!("{name}-pdu{pdu}"), vec![name.clone()])),
        );
        fleet.set_cluster(ClusterSpec {
            name,
            reachable: true,
            ..ClusterSpec::default()
        });
    }
    fleet.set_power(PowerSpec {
        domains,
        budgets: Vec::new(),
    });
    for at in 0..nodes {
        fleet.set_node(node(clusters, pools, at));
    }
    fleet
}

fn job(key: u64, sequence: &mut Sequence, largest: u32) -> JobSpec {
    let kind = sequence.below(10);
    let (replicas, devices) = match kind {
        0..4 => (
            1,
            [1, 2, 4, 8][usize::try_from(sequence.below(4)).unwrap_or(0)],
        ),
        4..7 => (4, 8),
        7..9 => (16, 8),
        _ => (64, 8),
    };
    let mut alternatives = Vec::new();
    for name in TYPES
        .iter()
        .take(1 + usize::try_from(sequence.below(4)).unwrap_or(0))
    {
        alternatives.push(Alternative {
            name: (*name).into(),
            accelerator: AcceleratorRequirement::Named((*name).into()),
            part: DevicePart::Whole,
            devices_per_replica: devices,
            replicas: replicas.min(largest),
            throughput_micro: Some(1_000_000),
            pod: PodShape {
                cpu_milli: 4_000,
                memory_mib: 16_000,
                ..PodShape::default()
            },
        });
    }
    JobSpec {
        key: format!("job-{key}"),
        namespace: "team".into(),
        queue: "q".into(),
        priority: 0,
        submitted_seconds: i64::try_from(key).unwrap_or(0),
        kind: Kind::Training {
            work: Work::DurationSeconds(7200),
            deadline_seconds: None,
            checkpoint_interval_seconds: 600,
            checkpoint_restore_seconds: 60,
        },
        objective: Objective::Cost,
        budget: DollarBudget::default(),
        capacity_types: CapacityType::ALL.to_vec(),
        clusters: LabelSelector::default(),
        excluded_clusters: Vec::new(),
        topology: Topology {
            required: if kind == 4 {
                Level::Block
            } else {
                Level::Cluster
            },
            preferred: (kind % 2 == 1).then_some(Level::Rack),
        },
        egress: Vec::new(),
        alternatives,
    }
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times
        .get((times.len() * percent / 100).min(times.len().saturating_sub(1)))
        .map_or(0.0, |t| t.as_secs_f64() * 1e3)
}

/// Resident memory of this process in bytes; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn measure(label: &str, clusters: u64, pools: u64, nodes: u64) {
    let before = resident_bytes();
    let started = Instant::now();
    let mut fleet = empty(clusters, pools, nodes);
    println!("{label}: build {:.2} s", started.elapsed().as_secs_f64());
    println!(
        "{label}: memory {} bytes/node",
        resident_bytes().saturating_sub(before) / nodes.max(1)
    );
    let largest = u32::try_from(nodes / pools).unwrap_or(64).clamp(1, 64);
    let mut sequence = Sequence(1);
    // Time passes from decision to decision, so that those who wait have one end after the other to wait for.
    let options = |key: u64| PlanOptions {
        now_seconds: i64::try_from(key / 8).unwrap_or(0),
        ..PlanOptions::default()
    };
    // Filled to 80 %, with a mix of jobs.
    let mut used = 0_u64;
    let mut running = Vec::new();
    let mut key = 0;
    while used < nodes * 8 * 8 / 10 {
        key += 1;
        for decision in fleet
            .plan(&[job(key, &mut sequence, largest)], &options(key))
            .placements
        {
            used += u64::from(decision.replicas())
                * u64::from(decision.reservation.devices_per_replica);
            running.push(decision.reservation.key);
        }
    }
    let (mut times, mut big, mut placed, mut refused) = (Vec::new(), Vec::new(), 0_u64, Vec::new());
    for _ in 0..10_000 {
        key += 1;
        let job = job(key, &mut sequence, largest);
        let started = Instant::now();
        let plan = fleet.plan(std::slice::from_ref(&job), &options(key));
        let time = started.elapsed();
        if plan.unplaced.is_empty() {
            times.push(time);
        } else {
            refused.push(time);
        }
        if plan.unplaced.is_empty() && job.alternatives.first().is_some_and(|a| a.replicas >= 64) {
            big.push(time);
        }
        for decision in plan.placements {
            placed += 1;
            used += u64::from(decision.replicas())
                * u64::from(decision.reservation.devices_per_replica);
            running.push(decision.reservation.key);
        }
        while used > nodes * 8 * 8 / 10 && !running.is_empty() {
            let at = usize::try_from(sequence.below(running.len() as u64)).unwrap_or(0);
            let key = running.swap_remove(at);
            if let Some(r) = fleet.reservation(&key) {
                used -= r.nodes.iter().map(|n| u64::from(n.replicas)).sum::<u64>()
                    * u64::from(r.devices_per_replica);
            }
            fleet.release(&key);
        }
    }
    println!(
        "{label}: placing decision p50 {:.3} ms",
        percentile(&mut times, 50)
    );
    println!(
        "{label}: placing decision p99 {:.3} ms",
        percentile(&mut times, 99)
    );
    println!(
        "{label}: placing decision worst {:.3} ms",
        percentile(&mut times, 100)
    );
    println!(
        "{label}: decision of a 64-node gang p99 {:.3} ms ({} of them)",
        percentile(&mut big, 99),
        big.len()
    );
    println!(
        "{label}: decision that ends in a verdict p50 {:.3} ms, worst {:.3} ms",
        percentile(&mut refused, 50),
        percentile(&mut refused, 100)
    );
    println!("{label}: decisions that placed {placed} of 10000");
    let mut verdicts = Vec::new();
    for at in 0..40_u64 {
        let mut never = job(1_000_000 + at, &mut sequence, largest);
        for alternative in &mut never.alternatives {
            alternative.devices_per_replica = 8;
            alternative.replicas = u32::try_from(nodes / pools * 4).unwrap_or(1);
        }
        never.topology.required = [Level::Cluster, Level::Block, Level::Rack, Level::Zone]
            [usize::try_from(at % 4).unwrap_or(0)];
        if at % 3 == 0 {
            never.budget.max_usd = Some(MicroUsd(1));
        }
        let started = Instant::now();
        let plan = fleet.plan(&[never], &options(key));
        if !plan.unplaced.is_empty() {
            verdicts.push(started.elapsed());
        }
    }
    println!(
        "{label}: verdict p50 {:.3} ms",
        percentile(&mut verdicts, 50)
    );
    println!(
        "{label}: verdict worst {:.3} ms ({} verdicts)",
        percentile(&mut verdicts, 100),
        verdicts.len()
    );
}

fn main() {
    measure("1M accelerators", 64, 400, 125_000);
    measure("10k accelerators", 64, 400, 1_250);
    let mut fleet = empty(64, 400, 125_000);
    let mut sequence = Sequence(7);
    let jobs: Vec<JobSpec> = (0..10_000).map(|key| job(key, &mut sequence, 64)).collect();
    let started = Instant::now();
    let plan = fleet.plan(&jobs, &PlanOptions::default());
    println!(
        "10,000 gangs from nothing: {:.3} s ({} placed)",
        started.elapsed().as_secs_f64(),
        plan.placements.len()
    );
}
