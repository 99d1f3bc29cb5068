//! One run of the published experiment with one policy, and what it shows at every percent of arrived load.

use super::{
    Ampacity, Arrivals, BestFit, Cluster, Fgd, Models, NodeRow, PodRow, Policy, PowerBlend,
    PowerTable, Random, Scored, WHOLE, fragmentation, mix_of,
};

/// The part of the list that FGD's mix covers.
const TYPICAL: f64 = 0.95;
/// What a watt costs the power-aware policy, in devices.
const DEVICES_PER_WATT: f64 = 0.015;

/// The policies that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyName {
    /// Least loss of useful devices.
    Ampacity,
    /// The same with a price on watts.
    AmpacityPower,
    /// FGD as published.
    Fgd,
    /// FGD blended with power, 100 in 1000, as published (PWR100+FGD900).
    FgdPower,
    /// Least left over.
    BestFit,
    /// Any feasible node.
    Random,
}

impl PolicyName {
    /// All policies, ours first.
    pub const ALL: [Self; 6] = [
        Self::Ampacity,
        Self::AmpacityPower,
        Self::Fgd,
        Self::FgdPower,
        Self::BestFit,
        Self::Random,
    ];

    /// The name as a command line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ampacity => "ampacity",
            Self::AmpacityPower => "ampacity-power",
            Self::Fgd => "fgd",
            Self::FgdPower => "fgd-power",
            Self::BestFit => "best-fit",
            Self::Random => "random",
        }
    }
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Experiment<'a> {
    /// The fleet.
    pub nodes: &'a [NodeRow],
    /// The list that arrives; also what the mix is learned from.
    pub pods: &'a [PodRow],
    /// Devices asked for in all, as a part of the fleet's; the published runs have 1.3.
    pub tune: f64,
    /// Order of tasks and nodes.
    pub seed: u64,
    /// Who places.
    pub policy: PolicyName,
}

/// The fleet at one percent of arrived load: the mean over all arrivals that round to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadPoint {
    /// Devices asked for so far, placed or not, in percent of the fleet's.
    pub arrived_percent: u32,
    /// Devices in use, percent of the fleet's.
    pub allocated_percent: f64,
    /// Free devices that a task of the typical mix cannot use, in expectation, percent of the fleet's.
    pub fragmented_percent: f64,
    /// Watts of all nodes.
    pub watts: f64,
    /// Devices in use over devices asked for; 1 before any was.
    pub grar: f64,
}

impl Experiment<'_> {
    /// Runs it. Percents at which nothing arrived are left out.
    pub fn run(&self) -> Vec<LoadPoint> {
        self.run_to_end().0
    }

    /// Runs it and shows the fleet at the end as well.
    pub fn run_to_end(&self) -> (Vec<LoadPoint>, Cluster) {
        let arrivals = Arrivals::new(self.nodes, self.pods, self.tune, self.seed);
        let table = PowerTable::published(&Models::of(self.nodes));
        let mut policy = self.policy(arrivals.cluster.capacity_milli(), &table);
        let mix = mix_of(self.nodes, self.pods, TYPICAL);
        let mut cluster = arrivals.cluster;
        let capacity = (cluster.capacity_milli() as f64).max(1.0);
        let (mut arrived, mut allocated) = (0, 0);
        let mut fragmented: f64 = cluster
            .nodes()
            .iter()
            .map(|node| fragmentation(node, &mix))
            .sum();
        let mut watts = table.cluster_watts(&cluster) as i64;
        let mut sums: Vec<(LoadPoint, f64)> = Vec::new();
        for task in &arrivals.tasks {
            arrived += task.shape.total_milli();
            let placement = policy.choose(&cluster, task);
            if let Some((before, after)) =
                placement.and_then(|placement| cluster.place(task, placement))
            {
                allocated += task.shape.total_milli();
                fragmented += fragmentation(after, &mix) - fragmentation(&before, &mix);
                watts += i64::from(table.node_watts(after)) - i64::from(table.node_watts(&before));
            }
            let percent = (100.0 * arrived as f64 / capacity).round() as u32;
            if sums
                .last()
                .is_none_or(|(point, _)| point.arrived_percent != percent)
            {
                let zero = LoadPoint {
                    arrived_percent: percent,
                    allocated_percent: 0.0,
                    fragmented_percent: 0.0,
                    watts: 0.0,
                    grar: 0.0,
                };
                sums.push((zero, 0.0));
            }
            if let Some((sum, count)) = sums.last_mut() {
                sum.allocated_percent += 100.0 * allocated as f64 / capacity;
                sum.fragmented_percent += 100.0 * fragmented / capacity;
                sum.watts += watts as f64;
                sum.grar += if arrived == 0 {
                    1.0
                } else {
                    allocated as f64 / arrived as f64
                };
                *count += 1.0;
            }
        }
        let mean = |(sum, count): (LoadPoint, f64)| LoadPoint {
            allocated_percent: sum.allocated_percent / count,
            fragmented_percent: sum.fragmented_percent / count,
            watts: sum.watts / count,
            grar: sum.grar / count,
            ..sum
        };
        (sums.into_iter().map(mean).collect(), cluster)
    }

    fn policy(&self, capacity_milli: u64, table: &PowerTable) -> Box<dyn Policy> {
        let typical = || mix_of(self.nodes, self.pods, TYPICAL);
        let ampacity = || {
            let capacity = capacity_milli as f64 / f64::from(WHOLE);
            Ampacity::new(
                &mix_of(self.nodes, self.pods, 1.0),
                capacity,
                self.tune * capacity,
            )
        };
        match self.policy {
            PolicyName::Ampacity => Box::new(ampacity()),
            PolicyName::AmpacityPower => {
                Box::new(ampacity().with_power(table.clone(), DEVICES_PER_WATT))
            }
            PolicyName::Fgd => Box::new(Scored::new(Fgd::new(typical()))),
            PolicyName::FgdPower => Box::new(PowerBlend::new(typical(), table.clone(), 100)),
            PolicyName::BestFit => Box::new(Scored::new(BestFit)),
            PolicyName::Random => Box::new(Random::new(self.seed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> (Vec<NodeRow>, Vec<PodRow>) {
        let node = |at: usize| NodeRow {
            name: format!("n{at}"),
            cpu_milli: 32_000,
            memory_mib: 65_536,
            devices: [2, 8][at % 2],
            model: ["T4", "G2"][at % 2].into(),
        };
        let pod = |at: usize| PodRow {
            name: format!("p{at:03}"),
            cpu_milli: [4000, 8000, 3000, 12_000][at % 4],
            memory_mib: 4096,
            devices: [1, 1, 1, 0, 1, 2][at % 6],
            device_milli: [1000, 470, 810, 0, 320, 1000][at % 6],
            models: if at.is_multiple_of(7) {
                vec!["T4".into()]
            } else {
                vec![]
            },
        };
        ((0..8).map(node).collect(), (0..90).map(pod).collect())
    }

    #[test]
    fn every_policy_stays_within_the_fleet_and_repeats_itself() {
        let (nodes, pods) = rows();
        for policy in PolicyName::ALL {
            let experiment = Experiment {
                nodes: &nodes,
                pods: &pods,
                tune: 1.3,
                seed: 42,
                policy,
            };
            let (points, cluster) = experiment.run_to_end();
            assert_eq!(points, experiment.run(), "{policy:?}");
            let used: f64 = cluster
                .nodes()
                .iter()
                .map(|node| f64::from(node.devices) * 1000.0 - f64::from(node.total_free_milli()))
                .sum();
            let last = points.last().unwrap();
            assert!(
                used > 0.0 && last.allocated_percent <= 100.0 && last.grar <= 1.0,
                "{policy:?} {last:?}"
            );
            assert!(
                (last.allocated_percent - used / 400.0).abs() < 2.0,
                "{policy:?}: {last:?} but {used} used"
            );
        }
    }
}
