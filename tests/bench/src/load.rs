//! A fleet that is kept 80 % full: jobs come, and when there are too many, some end.

use ampacity_placement::numerics::Mmix;
use ampacity_placement::{Fleet, JobSpec, Plan, PlanOptions};

use crate::fleet::{DEVICES, Shape, empty, job};

/// Part of the devices in use, in percent.
const FULL_PERCENT: u64 = 80;

/// A fleet with jobs on it.
#[derive(Debug)]
pub struct Load {
    /// The fleet.
    pub fleet: Fleet,
    /// Most nodes of a gang.
    pub largest: u32,
    /// Chance.
    pub sequence: Mmix,
    nodes: u64,
    used: u64,
    running: Vec<String>,
    key: u64,
}

impl Load {
    /// An empty fleet to which jobs of at most so many nodes will come.
    pub fn new(shape: Shape, largest: u32) -> Self {
        Self {
            fleet: empty(shape),
            largest,
            sequence: Mmix::new(1),
            nodes: shape.nodes,
            used: 0,
            running: Vec::new(),
            key: 0,
        }
    }

    /// The job that comes next.
    pub fn next_job(&mut self) -> JobSpec {
        self.key += 1;
        job(self.key, &mut self.sequence, self.largest)
    }

    fn is_full(&self) -> bool {
        self.used * 100 >= self.nodes * DEVICES * FULL_PERCENT
    }

    /// Places jobs, one at a time, until it is full.
    pub fn fill(&mut self) {
        while !self.is_full() {
            let job = self.next_job();
            let plan = self.fleet.plan(&[job], &PlanOptions::default());
            self.count(plan);
        }
    }

    /// Takes note of what a plan placed.
    pub fn count(&mut self, plan: Plan) {
        for decision in plan.placements {
            self.used += u64::from(decision.replicas())
                * u64::from(decision.reservation.devices_per_replica);
            self.running.push(decision.reservation.key);
        }
    }

    /// Ends jobs, whichever, until it is no longer more than full.
    pub fn drain(&mut self) {
        while self.is_full() && !self.running.is_empty() {
            let count = self.running.len() as u64;
            let at = usize::try_from(self.sequence.remainder(count)).unwrap_or(0);
            let key = self.running.swap_remove(at);
            if let Some(held) = self.fleet.reservation(&key) {
                let replicas: u64 = held.nodes.iter().map(|n| u64::from(n.replicas)).sum();
                self.used -= replicas * u64::from(held.devices_per_replica);
            }
            self.fleet.release(&key);
        }
    }
}
