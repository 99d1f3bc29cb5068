//! What this process knows of jobs beside their objects: who wants a place, and why those wait that have none. The stage
//! `queue` decides on it.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_placement::{Fix, Unplaced};
use jiff::Timestamp;

use super::issue::JobIssue;
use super::key::JobKey;
use super::quota::QuotaShortage;

/// Why a job waits.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// The engine found no candidate.
    DoesNotFit {
        /// Why not. Seconds from the time of the plan are not kept in it: they would be others in every plan.
        unplaced: Unplaced,
        /// When it can start at the earliest, where that is known.
        starts: Option<Timestamp>,
    },
    /// A ResourceQuota of its namespace leaves no room for what the engine would decide.
    OverQuota(QuotaShortage),
    /// It cannot be understood.
    Invalid(JobIssue),
}

impl Why {
    /// What a plan said of a job that it left out.
    pub fn does_not_fit(mut unplaced: Unplaced, planned_at: Timestamp) -> Self {
        let seconds = unplaced.earliest_start_seconds.take();
        let starts = seconds.and_then(|seconds| {
            Timestamp::from_second(planned_at.as_second().saturating_add(seconds)).ok()
        });
        if let Some(Fix::WaitUntil { start_seconds }) = &mut unplaced.fix {
            *start_seconds = 0;
        }
        Self::DoesNotFit { unplaced, starts }
    }

    /// Whether the job was promised a start. Who would be late then was not.
    pub fn is_promise(&self) -> bool {
        match self {
            Self::DoesNotFit { unplaced, starts } => {
                starts.is_some() && !matches!(unplaced.fix, Some(Fix::ExtendDeadline { .. }))
            }
            Self::OverQuota(_) | Self::Invalid(_) => false,
        }
    }
}

/// The last word on a job that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Why it waits.
    pub why: Why,
    /// When it was first found not to fit.
    pub since: Timestamp,
    /// `capacity_version` at which it was tried; `None`: it is to be tried again whatever changed.
    pub tried_at: Option<u64>,
    /// Generation of the job that was tried.
    pub generation: i64,
}

/// Whether a job wants a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobState {
    /// It has all that it wants, or may not have more now.
    #[default]
    Settled,
    /// It wants a place.
    Eligible,
    /// So many of its placements are being written.
    Committing(u32),
}

/// A cluster that a job keeps out of, since something there did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avoided {
    /// Until when.
    pub until: Timestamp,
    /// How many times running something did not work there.
    pub times: u32,
    /// Whether the job was told that the time is over.
    pub is_over: bool,
}

/// What is known of one job.
#[derive(Clone, Debug, Default)]
pub struct JobRecord {
    /// Whether it wants a place.
    pub state: JobState,
    /// Why it waits, if it was tried.
    pub waiting: Option<Waiting>,
    /// Clusters that it keeps out of, or did lately.
    pub avoided: BTreeMap<String, Avoided>,
    /// What clusters said that refused its objects, by their names.
    pub refusals: BTreeMap<String, String>,
    /// Placements that could not be written, since the last that was.
    pub failed_commits: u32,
    /// The cluster whose scheduler found no node for it, last time.
    pub without_node: Option<String>,
    /// When a status with a verdict was last written.
    pub verdict_written: Option<Timestamp>,
}

/// What is known of jobs. Rebuilt at every start.
#[derive(Debug, Default)]
pub struct Jobs {
    records: BTreeMap<JobKey, JobRecord>,
    /// Those that want a place: every cycle asks for them, and there may be many others.
    eligible: BTreeSet<JobKey>,
}

impl Jobs {
    /// What is known of a job, if anything.
    pub fn get(&self, job: &JobKey) -> Option<&JobRecord> {
        self.records.get(job)
    }

    /// What is known of a job, to be changed in all but its state.
    pub fn record(&mut self, job: &JobKey) -> &mut JobRecord {
        self.records.entry(job.clone()).or_default()
    }

    /// A cluster took a job's objects, or refused them with these words.
    pub fn dispatched(&mut self, job: &JobKey, cluster: &str, refusal: Option<String>) {
        let refusals = &mut self.record(job).refusals;
        match refusal {
            Some(words) => drop(refusals.insert(cluster.to_owned(), words)),
            None => drop(refusals.remove(cluster)),
        }
    }

    /// What clusters said that refused a job's objects and that it keeps out of for that now.
    pub fn refusals(
        &self,
        job: &JobKey,
        now: Timestamp,
    ) -> impl Iterator<Item = (&String, &String)> {
        let record = self.get(job);
        let said = record.into_iter().flat_map(|record| &record.refusals);
        said.filter(move |(cluster, _)| {
            let avoided = record.and_then(|record| record.avoided.get(*cluster));
            avoided.is_some_and(|avoided| avoided.until > now)
        })
    }

    /// Jobs that want a place.
    pub fn eligible(&self) -> impl Iterator<Item = &JobKey> {
        self.eligible.iter()
    }

    /// How many jobs want a place.
    pub fn eligible_count(&self) -> usize {
        self.eligible.len()
    }

    /// Puts a job into a state.
    pub fn set_state(&mut self, job: &JobKey, state: JobState) {
        self.record(job).state = state;
        if state == JobState::Eligible {
            self.eligible.insert(job.clone());
        } else {
            self.eligible.remove(job);
        }
    }

    /// Forgets a job that is gone. That a placement of it is being written is not forgotten.
    pub fn forget(&mut self, job: &JobKey) {
        self.eligible.remove(job);
        if let Some(record) = self.records.remove(job)
            && let state @ JobState::Committing(_) = record.state
        {
            self.set_state(job, state);
        }
    }
}
