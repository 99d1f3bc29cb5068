//! Random instances whose exact integer program can be written down: devices, dollars and, sometimes, watts.
//!
//! CPU, memory and pod slots never bind here and every gang may span its cluster, so that what a pool's equal nodes can
//! hold is described by patterns of replica sizes alone. Jobs ask for 1 to 8 devices or for whole nodes, once or as a
//! gang, and have up to three alternatives of different type, size and speed.

use ampacity_placement::numerics::Mmix;
use ampacity_placement::{
    AcceleratorFacts, AcceleratorRequirement, Alternative, Amount, CapacityType, ClusterSpec,
    DeviceGroup, DevicePart, DollarBudget, Fleet, JobSpec, Kind, LabelSelector, MicroUsd,
    NodePrice, NodeSpec, Objective, PodShape, PowerDomainSpec, PowerSpec, Topology, Watts, Work,
};

/// Accelerator types of every instance.
const TYPES: [&str; 3] = ["alpha", "beta", "gamma"];

/// Watts of one device in use, host included, by type.
const WATTS: [i64; 3] = [1200, 700, 350];

/// A fixed sequence of numbers, so that a seed names an instance for ever.
#[derive(Clone, Debug)]
pub struct Sequence(Mmix);

impl Sequence {
    /// A sequence of its own for every seed.
    pub fn new(seed: u64) -> Self {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d;
        let mut sequence = Self(Mmix::new(state));
        for _ in 0..4 {
            sequence.below(2);
        }
        sequence
    }

    /// The next number, from 0 up to but not `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.remainder(end)
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most + 1 - least)
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }
}

/// Equal nodes but for what others hold of them.
#[derive(Clone, Debug)]
pub struct PoolFacts {
    /// Position of the cluster, which is also that of its power domain.
    pub cluster: usize,
    /// Position of the accelerator type.
    pub accelerator: usize,
    /// How it is paid for.
    pub capacity_type: CapacityType,
    /// Devices of each node.
    pub devices: u32,
    /// Dollars of a node and hour, in millionths.
    pub usd_per_node_hour: i64,
    /// Free devices of each node.
    pub free: Vec<u32>,
}

/// One instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Pools.
    pub pools: Vec<PoolFacts>,
    /// Jobs.
    pub jobs: Vec<JobSpec>,
    /// Watts that jobs may add per cluster; `None` without a limit.
    pub watts: Vec<Option<i64>>,
}

/// How large instances are.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Most jobs.
    pub jobs: u64,
    /// Most pools.
    pub pools: u64,
}

/// Watts of one device in use.
pub fn watts_of(accelerator: usize) -> i64 {
    WATTS[accelerator]
}

/// Position of a type by its name.
pub fn accelerator_of(name: &str) -> usize {
    TYPES.iter().position(|t| *t == name).unwrap()
}

impl Instance {
    /// The instance of a seed: tight, so that what is asked for is 70 to 130 % of what is free.
    pub fn random(seed: u64, size: Size) -> Self {
        let mut sequence = Sequence::new(seed);
        let jobs = sequence.between(size.jobs.div_ceil(4), size.jobs);
        let classes = sequence.one_of(&[1, 1, 2, 3]);
        // A third of the instances has sizes that divide a node only, a third any, a third mostly whole nodes.
        let sizes: &[u32] = match sequence.below(3) {
            0 => &[1, 2, 4, 8],
            1 => &[1, 2, 3, 4, 5, 6, 7, 8],
            _ => &[8, 8, 8, 4, 2],
        };
        let jobs: Vec<JobSpec> = (0..jobs)
            .map(|at| job(at, classes, sizes, &mut sequence))
            .collect();
        let wanted: u64 = jobs
            .iter()
            .map(|job| {
                u64::from(job.alternatives[0].replicas * job.alternatives[0].devices_per_replica)
            })
            .sum();
        let count = sequence.between(2, size.pools);
        let tightness = sequence.between(70, 130);
        let nodes_each = (wanted * 100 / tightness).div_ceil(8 * count).max(1);
        let pools: Vec<PoolFacts> = (0..count)
            .map(|at| pool(at, nodes_each, &mut sequence))
            .collect();
        let limited = sequence.below(3) == 0;
        let watts = (0..3)
            .map(|cluster| {
                let most: i64 = pools
                    .iter()
                    .filter(|pool| pool.cluster == cluster)
                    .map(|pool| i64::from(pool.free.iter().sum::<u32>()) * WATTS[pool.accelerator])
                    .sum();
                limited.then(|| most * i64::try_from(sequence.between(50, 95)).unwrap() / 100)
            })
            .collect();
        Self { pools, jobs, watts }
    }

    /// The fleet that the engine plans on.
    pub fn fleet(&self) -> Fleet {
        let mut fleet = Fleet::new();
        for (at, name) in TYPES.iter().enumerate() {
            fleet.set_accelerator(AcceleratorFacts {
                name: (*name).into(),
                default_watts: Watts(WATTS[at]),
                ..AcceleratorFacts::default()
            });
        }
        let mut domains = Vec::new();
        for (at, watts) in self.watts.iter().enumerate() {
            let name = format!("c{at}");
            if let Some(watts) = watts {
                // What others hold draws too.
                let held: i64 = self
                    .pools
                    .iter()
                    .filter(|pool| pool.cluster == at)
                    .flat_map(|pool| {
                        pool.free.iter().map(move |free| {
                            i64::from(pool.devices - free) * WATTS[pool.accelerator]
                        })
                    })
                    .sum();
                domains.push(PowerDomainSpec {
                    name: name.clone(),
                    usable_watts: Watts(watts + held),
                    ..PowerDomainSpec::default()
                });
            }
            fleet.set_cluster(ClusterSpec {
                name,
                reachable: true,
                ..ClusterSpec::default()
            });
        }
        assert!(
            fleet
                .set_power(PowerSpec {
                    domains,
                    budgets: Vec::new()
                })
                .is_empty()
        );
        for (at, pool) in self.pools.iter().enumerate() {
            for (node, free) in pool.free.iter().enumerate() {
                fleet.set_node(NodeSpec {
                    cluster: format!("c{}", pool.cluster),
                    name: format!("p{at}n{node}"),
                    instance_type: format!("i{at}"),
                    zone: format!("z{at}"),
                    capacity_type: Some(pool.capacity_type),
                    devices: vec![DeviceGroup {
                        accelerator_type: TYPES[pool.accelerator].into(),
                        resource: "gpu".into(),
                        devices: pool.devices,
                        held: pool.devices - free,
                        ..DeviceGroup::default()
                    }],
                    pod_slots: Amount {
                        total: 110,
                        held: 0,
                    },
                    feeds: match self.watts[pool.cluster] {
                        Some(_) => vec![format!("c{}", pool.cluster)],
                        None => Vec::new(),
                    },
                    price: NodePrice {
                        usd_per_node_hour: Some(MicroUsd(pool.usd_per_node_hour)),
                        ..NodePrice::default()
                    },
                    ..NodeSpec::default()
                });
            }
        }
        fleet
    }
}

fn pool(at: u64, nodes: u64, sequence: &mut Sequence) -> PoolFacts {
    let devices = sequence.one_of(&[8, 8, 8, 4]);
    let nodes = sequence.between(nodes.div_ceil(2), nodes + nodes / 2);
    let partly = sequence.below(3) == 0;
    PoolFacts {
        cluster: usize::try_from(sequence.below(3)).unwrap(),
        // The first pools offer every type, the others any.
        accelerator: usize::try_from(if at < 3 { at } else { sequence.below(3) }).unwrap(),
        capacity_type: sequence.one_of(&[CapacityType::OnDemand, CapacityType::Spot]),
        devices,
        usd_per_node_hour: i64::try_from(sequence.between(8, 96)).unwrap() * 500_000,
        free: (0..nodes)
            .map(|_| {
                if partly && sequence.below(3) == 0 {
                    devices - u32::try_from(sequence.below(u64::from(devices))).unwrap()
                } else {
                    devices
                }
            })
            .collect(),
    }
}

fn job(at: u64, classes: u64, sizes: &[u32], sequence: &mut Sequence) -> JobSpec {
    let devices = sequence.one_of(sizes);
    let replicas = u32::try_from(sequence.one_of(&[1, 1, 1, 2, 3, 4])).unwrap();
    let mut types = TYPES.to_vec();
    let count = sequence.between(1, 3);
    let alternatives = (0..count)
        .map(|alternative| {
            let place = usize::try_from(sequence.below(types.len() as u64)).unwrap();
            let name = types.remove(place);
            // Another type may need more or fewer devices for the same work, and more or less time.
            let (replicas, devices) = match sequence.below(3) {
                0 if alternative > 0 && devices <= 4 => (replicas, devices * 2),
                1 if alternative > 0 && replicas > 1 => (replicas / 2, devices),
                _ => (replicas, devices),
            };
            Alternative {
                name: name.into(),
                accelerator: AcceleratorRequirement::Named(name.into()),
                part: DevicePart::Whole,
                devices_per_replica: devices,
                replicas,
                throughput_micro: Some(i64::try_from(sequence.between(5, 20)).unwrap() * 100_000),
                pod: PodShape::default(),
            }
        })
        .collect();
    JobSpec {
        key: format!("j{at:02}"),
        namespace: "team".into(),
        queue: "q".into(),
        priority: i32::try_from(sequence.below(classes)).unwrap(),
        submitted_seconds: i64::try_from(at).unwrap(),
        kind: Kind::Training {
            work: Work::UnitsMicro(i64::try_from(sequence.between(1, 20)).unwrap() * 1_800_000_000),
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
        alternatives,
    }
}
