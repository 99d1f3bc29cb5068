//! The experiment's cluster and jobs in the engine's terms.

use ampacity_placement::{
    AcceleratorFacts, AcceleratorRequirement, Alternative, Amount, CapacityType, ClusterSpec,
    DeviceGroup, DevicePart, DollarBudget, Fleet, JobSpec, Kind, LabelSelector, MicroUsd,
    NodePrice, NodeSpec, Objective, PodShape, Topology, Work,
};

use super::jobs::Job;
use super::options::Order;
use crate::simulate::timeline::Arrival;

const CLUSTER: &str = "gavel";
const RESOURCE: &str = "gpu";
/// A job is due after this times the time that it takes on its best type.
const DUE_TIMES: f64 = 10.0;

/// One type of worker.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Worker {
    /// Name in the table of throughputs.
    pub(super) name: String,
    /// GPUs.
    pub(super) gpus: u32,
    /// Price of one GPU and hour.
    pub(super) usd_per_gpu_hour: MicroUsd,
    /// What one GPU and hour costs where types are chosen.
    pub(super) weight_per_gpu_hour: MicroUsd,
}

/// The fleet: nodes of `gpus_per_node`, the last one of a type with what is left.
pub(super) fn fleet(workers: &[Worker], gpus_per_node: u32) -> Fleet {
    let mut fleet = Fleet::new();
    fleet.set_cluster(ClusterSpec {
        name: CLUSTER.to_owned(),
        reachable: true,
        ..ClusterSpec::default()
    });
    for worker in workers {
        fleet.set_accelerator(AcceleratorFacts {
            name: worker.name.clone(),
            ..AcceleratorFacts::default()
        });
        let mut left = worker.gpus;
        let mut number = 0;
        while left > 0 {
            let devices = left.min(gpus_per_node.max(1));
            left -= devices;
            fleet.set_node(node(worker, devices, number));
            number += 1;
        }
    }
    fleet
}

fn node(worker: &Worker, devices: u32, number: u32) -> NodeSpec {
    let price = worker
        .weight_per_gpu_hour
        .0
        .saturating_mul(i64::from(devices));
    NodeSpec {
        cluster: CLUSTER.to_owned(),
        name: format!("{}-{number:04}", worker.name),
        instance_type: worker.name.clone(),
        capacity_type: Some(CapacityType::OnDemand),
        devices: vec![DeviceGroup {
            accelerator_type: worker.name.clone(),
            resource: RESOURCE.to_owned(),
            devices,
            ..DeviceGroup::default()
        }],
        pod_slots: Amount {
            total: 1000,
            held: 0,
        },
        price: NodePrice {
            usd_per_node_hour: Some(MicroUsd(price)),
            ..NodePrice::default()
        },
        ..NodeSpec::default()
    }
}

/// How jobs are put to the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    pub(super) objective: Objective,
    /// Which job has priority.
    pub(super) order: Order,
    /// A type on which a job would take more than this times as long as on its best is no alternative.
    pub(super) max_slowdown: f64,
    pub(super) gpus_per_node: u32,
    /// Seconds to go on after a stop.
    pub(super) restore_seconds: i64,
}

/// The job as it arrives.
pub(super) fn arrival(job: &Job, workers: &[Worker], manners: &Manners) -> Arrival {
    let fastest = job.rates.iter().flatten().copied().fold(0.0, f64::max);
    // Replicas of as many GPUs as a node has, so that a gang lies on as few nodes as possible.
    let per_replica = (1..=job.gpus.min(manners.gpus_per_node.max(1)))
        .rev()
        .find(|devices| job.gpus.is_multiple_of(*devices))
        .unwrap_or(1);
    let alternatives = workers
        .iter()
        .zip(&job.rates)
        .filter_map(|(worker, rate)| Some((worker, (*rate)?)))
        .filter(|(_, rate)| rate * manners.max_slowdown >= fastest)
        .map(|(worker, rate)| Alternative {
            name: worker.name.clone(),
            accelerator: AcceleratorRequirement::Named(worker.name.clone()),
            part: DevicePart::Whole,
            devices_per_replica: per_replica,
            replicas: job.gpus / per_replica,
            throughput_micro: Some(micro(rate)),
            pod: PodShape::default(),
        })
        .collect();
    let name = format!("{:06}", job.number);
    let seconds = (job.arrival_seconds.round() as i64).max(0);
    Arrival {
        name: name.clone(),
        seconds,
        job: JobSpec {
            key: name,
            namespace: String::new(),
            queue: String::new(),
            priority: priority(manners.order, seconds, job.steps / fastest),
            submitted_seconds: seconds,
            kind: Kind::Training {
                work: Work::UnitsMicro(micro(job.steps)),
                deadline_seconds: None,
                checkpoint_interval_seconds: 0,
                checkpoint_restore_seconds: manners.restore_seconds,
                restores: false,
            },
            objective: manners.objective,
            budget: DollarBudget::default(),
            capacity_types: CapacityType::ALL.to_vec(),
            clusters: LabelSelector::default(),
            excluded_clusters: Vec::new(),
            topology: Topology::default(),
            egress: Vec::new(),
            alternatives,
        },
    }
}

/// The priority of a job that takes so many seconds on its best type: in seconds, so that a smaller time is a higher priority.
fn priority(order: Order, arrival_seconds: i64, best_seconds: f64) -> i32 {
    let due = match order {
        Order::Arrival => 0.0,
        Order::Shortest => best_seconds,
        Order::Due => arrival_seconds as f64 + DUE_TIMES * best_seconds,
    };
    -(due.min(2e9) as i32)
}

/// The priority of a job of which this is left.
pub(super) fn priority_of_rest(order: Order, arrival_seconds: i64, job: &JobSpec) -> i32 {
    let Kind::Training {
        work: Work::UnitsMicro(units),
        ..
    } = job.kind
    else {
        return 0;
    };
    let rates = job.alternatives.iter().filter_map(|a| a.throughput_micro);
    let fastest = rates.max().unwrap_or(0).max(1);
    priority(order, arrival_seconds, units as f64 / fastest as f64)
}

/// In millionths, at least one.
fn micro(value: f64) -> i64 {
    ((value * 1e6).round() as i64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers() -> Vec<Worker> {
        [("v100", 36), ("k80", 6)]
            .map(|(name, gpus)| Worker {
                name: name.into(),
                gpus,
                usd_per_gpu_hour: MicroUsd(1_000_000),
                weight_per_gpu_hour: MicroUsd(1_000_000),
            })
            .into()
    }

    #[test]
    fn nodes_hold_all_gpus_of_a_type() {
        let devices = fleet(&workers(), 4).devices(CLUSTER);
        assert_eq!((devices["v100"].total, devices["k80"].total), (36, 6));
    }

    #[test]
    fn slow_types_are_no_alternative_and_gangs_fill_nodes() {
        let job = Job {
            number: 3,
            arrival_seconds: 9.6,
            gpus: 8,
            steps: 100.0,
            model: "m".into(),
            rates: vec![Some(5.0), Some(1.0)],
        };
        for (max_slowdown, gpus_per_node, names, shape) in [
            (5.0, 4, vec!["v100", "k80"], (4, 2)),
            (4.9, 4, vec!["v100"], (4, 2)),
            (1.0, 1, vec!["v100"], (1, 8)),
            (1.0, 3, vec!["v100"], (2, 4)),
            (1.0, 64, vec!["v100"], (8, 1)),
        ] {
            let manners = Manners {
                objective: Objective::Time,
                order: Order::Shortest,
                max_slowdown,
                gpus_per_node,
                restore_seconds: 60,
            };
            let arrival = arrival(&job, &workers(), &manners);
            let got: Vec<&str> = arrival
                .job
                .alternatives
                .iter()
                .map(|a| a.name.as_str())
                .collect();
            assert_eq!(got, names);
            let first = &arrival.job.alternatives[0];
            assert_eq!((first.devices_per_replica, first.replicas), shape);
            assert_eq!((arrival.seconds, arrival.job.priority), (10, -20));
        }
    }
}
