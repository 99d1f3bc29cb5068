//! A cycle in which running gangs may be stopped or moved.

use std::collections::BTreeSet;

use super::state::{Contender, PreemptionCycle};
use crate::candidates::invalid;
use crate::fleet::Fleet;
use crate::model::{Effort, JobSpec, Kind, Plan, PlanOptions, Replan, RunningJob};
use crate::schedule::{Schedule, turn};

impl Fleet {
    /// Plans a cycle in which running jobs may be stopped or moved for jobs of higher priority, or moved to where they cost
    /// less by more than a restart.
    ///
    /// What starts is reserved, what stops is released. No promises are made to those that wait: who comes first takes what it
    /// needs when its time has come.
    pub fn replan(
        &mut self,
        jobs: &[JobSpec],
        running: &[RunningJob],
        options: &PlanOptions,
    ) -> Replan {
        let mut contenders: Vec<Contender<'_>> = Vec::with_capacity(jobs.len() + running.len());
        let mut waiting: Vec<&JobSpec> = Vec::new();
        let mut invalid_keys: Vec<String> = Vec::new();
        let mut keys = BTreeSet::new();
        let runs = running.iter().map(|running| (&running.job, Some(running)));
        for (job, running) in runs.chain(jobs.iter().map(|job| (job, None))) {
            let is_new = keys.insert(&job.key);
            if let Some(running) = running
                && self
                    .reservation(&running.decision.reservation.key)
                    .is_none()
            {
                self.reserve(running.decision.reservation.clone());
            }
            let is_gang = matches!(job.kind, Kind::Training { .. });
            if !is_new || invalid(job).is_some() || running.is_some() && !is_gang {
                if running.is_none() {
                    invalid_keys.push(job.key.clone());
                }
                continue;
            }
            if running.is_none() {
                waiting.push(job);
            }
            contenders.push(Contender {
                job,
                running,
                class: 0,
                holding: None,
                is_left_alone: false,
            });
        }
        contenders.sort_by(|a, b| turn(a.job).cmp(&turn(b.job)));
        waiting.sort_by(|a, b| turn(a).cmp(&turn(b)));
        let first = self.place_free(&waiting, options);
        let mut cycle = PreemptionCycle::new(self, contenders, &first, options.now_seconds);
        cycle.take();
        cycle.finish(first, invalid_keys)
    }

    /// Places what has room without anyone making way.
    fn place_free(&mut self, jobs: &[&JobSpec], options: &PlanOptions) -> Plan {
        let mut plan = Plan::default();
        let mut schedule = Schedule::new(self, jobs, options);
        schedule.place_all();
        schedule.improve(Effort::default().trials);
        schedule.finish(&mut plan);
        plan
    }
}
