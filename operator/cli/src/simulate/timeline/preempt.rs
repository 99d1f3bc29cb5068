//! Cycles in which running jobs may be stopped or moved.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_placement::{JobSpec, Kind, RunningJob, Work};

use super::{Player, Ran};

/// A job's priority, by when it came, in seconds, and by what is left of it.
pub(in crate::simulate) type Priority = Box<dyn Fn(i64, &JobSpec) -> i32>;

impl Player {
    /// Plans the queue over what runs.
    pub(super) fn plan_over(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        for job in &mut queue {
            job.priority = self.priority_of(job);
        }
        let running: Vec<RunningJob> = self
            .running
            .iter()
            .filter_map(|(&at, job)| self.as_it_runs(job, self.outcomes.get(at)?.runs.last()?))
            .collect();
        let options = self.options();
        let replan = self.fleet.replan(&queue, &running, &options);
        let mut waiting: BTreeMap<String, JobSpec> = queue
            .drain(..)
            .chain(running.into_iter().map(|running| running.job))
            .map(|job| (job.key.clone(), job))
            .collect();
        for key in &replan.stopped {
            if let Some(&at) = self.index.get(key) {
                self.stop(at);
            }
        }
        let mut started = BTreeSet::new();
        for decision in replan.placements {
            let Some(&at) = self.index.get(&decision.job) else {
                continue;
            };
            if let Some(job) = waiting.remove(&decision.job) {
                self.running.insert(at, job);
            }
            started.insert(decision.job.clone());
            self.start(decision);
        }
        let waits = |key: &String| waiting.remove(key);
        self.queue = replan.waiting.iter().filter_map(waits).collect();
    }

    fn priority_of(&self, job: &JobSpec) -> i32 {
        let arrival = self
            .index
            .get(&job.key)
            .and_then(|&at| self.outcomes.get(at));
        match (&self.priority, arrival) {
            (Some(priority), Some(outcome)) => priority(outcome.arrival_seconds, job),
            _ => job.priority,
        }
    }

    /// A job as it would be if it were stopped now.
    fn as_it_runs(&self, job: &JobSpec, run: &Ran) -> Option<RunningJob> {
        let mut job = job.clone();
        let throughput = job
            .alternatives
            .iter()
            .find(|alternative| alternative.name == run.decision.alternative)?
            .throughput_micro;
        if let Kind::Training {
            work,
            restores,
            checkpoint_restore_seconds,
            ..
        } = &mut job.kind
        {
            let restore = if *restores {
                *checkpoint_restore_seconds
            } else {
                0
            };
            let worked = (self.now - run.start_seconds)
                .saturating_sub(restore)
                .max(0);
            *work = match *work {
                Work::UnitsMicro(units) => Work::UnitsMicro(
                    units
                        .saturating_sub(worked.saturating_mul(throughput.unwrap_or(0)))
                        .max(1),
                ),
                Work::DurationSeconds(seconds) => {
                    Work::DurationSeconds(seconds.saturating_sub(worked).max(1))
                }
            };
            *restores = true;
        }
        job.priority = self.priority_of(&job);
        Some(RunningJob {
            left_seconds: run.finish_seconds.saturating_sub(self.now),
            decision: run.decision.clone(),
            job,
        })
    }

    /// Ends a job's run before its time. The engine has given back what it held.
    fn stop(&mut self, at: usize) {
        self.running.remove(&at);
        self.leave(at);
        let Some(outcome) = self.outcomes.get_mut(at) else {
            return;
        };
        if let Some(run) = outcome.runs.last_mut() {
            self.ends.remove(&(run.finish_seconds, at));
            run.finish_seconds = self.now;
        }
        // Who was stopped the moment it started has not run.
        outcome
            .runs
            .pop_if(|run| run.finish_seconds <= run.start_seconds);
    }
}
