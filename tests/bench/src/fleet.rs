//! A fleet of any size and the jobs that come to it: pools of four accelerator types in clusters with racks, blocks and power domains; jobs of 1 to 512 devices with one to four alternatives, some within a block, some with a wish for a rack.

use std::collections::BTreeMap;

use ampacity_placement::numerics::Mmix;
use ampacity_placement::{
    AcceleratorFacts, AcceleratorRequirement, Alternative, Amount, CapacityType, ClusterSpec,
    DeviceGroup, DevicePart, DollarBudget, Fleet, JobSpec, Kind, LabelSelector, Level, MicroUsd,
    NodePrice, NodeSpec, Objective, PodShape, PowerDomainSpec, PowerSpec, Topology, Watts, Work,
};

const TYPES: [&str; 4] = ["h100", "a100", "l40s", "trn2"];
/// How large a fleet is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Clusters.
    pub clusters: u64,
    /// Pools of all clusters, each of one instance type, accelerator type, capacity type and price.
    pub pools: u64,
    /// Nodes of all pools.
    pub nodes: u64,
}

impl Shape {
    /// A million accelerators.
    pub const MILLION: Self = Self {
        clusters: 64,
        pools: 400,
        nodes: 125_000,
    };
    /// Ten thousand in as many clusters and pools: no group of them holds a large gang.
    pub const TEN_THOUSAND: Self = Self {
        nodes: 1_250,
        ..Self::MILLION
    };
    /// Ten thousand in one cluster with one pool to a group, so that it holds gangs of 64 nodes.
    pub const ONE_CLUSTER: Self = Self {
        clusters: 1,
        pools: 16,
        nodes: 1_250,
    };
}

/// Devices of a node.
pub const DEVICES: u64 = 8;

fn node(shape: Shape, at: u64) -> NodeSpec {
    let Shape {
        clusters, pools, ..
    } = shape;
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
            devices: DEVICES as u32,
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

/// The fleet with nothing on it.
pub fn empty(shape: Shape) -> Fleet {
    let Shape {
        clusters,
        pools,
        nodes,
    } = shape;
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
            is_terminating: false,
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
        fleet.set_node(node(shape, at));
    }
    fleet
}

/// The next job, of at most `largest` replicas.
pub fn job(key: u64, sequence: &mut Mmix, largest: u32) -> JobSpec {
    let kind = sequence.remainder(10);
    let (replicas, devices) = match kind {
        0..4 => (
            1,
            [1, 2, 4, 8][usize::try_from(sequence.remainder(4)).unwrap_or(0)],
        ),
        4..7 => (4, 8),
        7..9 => (16, 8),
        _ => (64, 8),
    };
    let mut alternatives = Vec::new();
    for name in TYPES
        .iter()
        .take(1 + usize::try_from(sequence.remainder(4)).unwrap_or(0))
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
            restores: false,
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
