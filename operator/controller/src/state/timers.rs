//! When to look at a job again though nothing happens to it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::key::JobKey;

/// Longest wait, in seconds: a year.
const LONGEST_SECONDS: i64 = 31_536_000;

/// Jobs to reconcile again, and when: in the order of time, and the soonest time of each job.
#[derive(Debug, Default)]
pub struct Timers {
    in_order: BTreeSet<(Timestamp, JobKey)>,
    of_job: BTreeMap<JobKey, Timestamp>,
}

impl Timers {
    /// A job is due after some seconds, or sooner where that was asked for before.
    pub fn set(&mut self, job: &JobKey, now: Timestamp, seconds: i64) {
        let second = now.as_second();
        let due = second.saturating_add(seconds.clamp(0, LONGEST_SECONDS));
        let Ok(at) = Timestamp::from_second(due) else {
            return;
        };
        match self.of_job.get(job) {
            Some(known) if *known <= at => return,
            Some(known) => {
                self.in_order.remove(&(*known, job.clone()));
            }
            None => {}
        }
        self.of_job.insert(job.clone(), at);
        self.in_order.insert((at, job.clone()));
    }

    /// The next job that is due.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<JobKey> {
        if self.in_order.first()?.0 > now {
            return None;
        }
        let (_, job) = self.in_order.pop_first()?;
        self.of_job.remove(&job);
        Some(job)
    }
}
