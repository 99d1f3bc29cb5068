//! Which jobs may be considered now. A job that did not fit is not tried again until something relevant changed.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_placement::{Fix, Unplaced};
use jiff::Timestamp;

use crate::translate::JobIssue;
use crate::world::{JobKey, ObjectKey};

/// Longest pause between tries to write a placement.
const LONGEST_PAUSE_SECONDS: i64 = 60;

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
    fn is_promise(&self) -> bool {
        match self {
            Self::DoesNotFit { unplaced, starts } => {
                starts.is_some() && !matches!(unplaced.fix, Some(Fix::ExtendDeadline { .. }))
            }
            Self::Invalid(_) => false,
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

/// What is known of jobs beside their objects: their placements, and why they wait. Rebuilt at every start.
#[derive(Debug, Default)]
pub struct Attempts {
    placements: BTreeMap<JobKey, BTreeSet<ObjectKey>>,
    waiting: BTreeMap<JobKey, Waiting>,
    eligible: BTreeSet<JobKey>,
    committing: BTreeMap<JobKey, u32>,
    avoided: BTreeMap<JobKey, BTreeMap<String, Timestamp>>,
    failed_commits: BTreeMap<JobKey, u32>,
    /// Clusters whose scheduler found no node for a job, last time.
    without_node: BTreeMap<JobKey, String>,
}

impl Attempts {
    /// Remembers a placement of a job.
    pub fn add_placement(&mut self, job: &JobKey, placement: &ObjectKey) {
        self.placements
            .entry(job.clone())
            .or_default()
            .insert(placement.clone());
    }

    /// Forgets a placement of a job.
    pub fn remove_placement(&mut self, job: &JobKey, placement: &ObjectKey) {
        if let Some(keys) = self.placements.get_mut(job) {
            keys.remove(placement);
            if keys.is_empty() {
                self.placements.remove(job);
            }
        }
    }

    /// Keys of a job's placements.
    pub fn placements_of(&self, job: &JobKey) -> impl Iterator<Item = &ObjectKey> {
        self.placements.get(job).into_iter().flatten()
    }

    /// Says whether a job wants a place now.
    pub fn set_eligible(&mut self, job: &JobKey, eligible: bool) {
        if eligible {
            self.eligible.insert(job.clone());
        } else {
            self.eligible.remove(job);
            self.waiting.remove(job);
        }
    }

    /// Jobs that want a place and were not tried under the present circumstances.
    pub fn candidates<'a>(
        &'a self,
        capacity_version: u64,
        generation_of: impl Fn(&JobKey) -> Option<i64> + 'a,
    ) -> impl Iterator<Item = &'a JobKey> {
        self.eligible.iter().filter(move |job| {
            self.waiting.get(job).is_none_or(|w| {
                w.tried_at != Some(capacity_version)
                    || generation_of(job).is_none_or(|g| g != w.generation)
            })
        })
    }

    /// Waiting jobs that were promised a start: no more than one plan makes promises. Nobody must be planned without them,
    /// or he may get their room.
    pub fn promised(&self) -> impl Iterator<Item = &JobKey> {
        self.eligible
            .iter()
            .filter(|job| self.waiting.get(job).is_some_and(|w| w.why.is_promise()))
    }

    /// How many jobs want a place.
    pub fn eligible_count(&self) -> usize {
        self.eligible.len()
    }

    /// Why a job waits, if it was tried.
    pub fn waiting(&self, job: &JobKey) -> Option<&Waiting> {
        self.waiting.get(job)
    }

    /// Records that a job was tried and has to wait. Returns whether the reason changed.
    pub fn must_wait(
        &mut self,
        job: &JobKey,
        why: Why,
        now: Timestamp,
        version: u64,
        generation: i64,
    ) -> bool {
        let before = self.waiting.get(job);
        let since = before.map_or(now, |w| w.since);
        let changed = before.is_none_or(|w| w.why != why);
        self.waiting.insert(
            job.clone(),
            Waiting {
                why,
                since,
                tried_at: Some(version),
                generation,
            },
        );
        changed
    }

    /// A placement of the job is being written.
    pub fn commit_started(&mut self, job: &JobKey) {
        *self.committing.entry(job.clone()).or_default() += 1;
        self.set_eligible(job, false);
    }

    /// A placement of the job has been written, or not.
    pub fn commit_ended(&mut self, job: &JobKey) {
        if let Some(count) = self.committing.get_mut(job) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.committing.remove(job);
            }
        }
    }

    /// A placement of the job could not be written: seconds until it is tried again, twice as many each time.
    pub fn commit_failed(&mut self, job: &JobKey) -> i64 {
        let times = self.failed_commits.entry(job.clone()).or_default();
        let pause = 1_i64 << (*times).min(6);
        *times = times.saturating_add(1);
        pause.min(LONGEST_PAUSE_SECONDS)
    }

    /// A placement of the job was written.
    pub fn commit_succeeded(&mut self, job: &JobKey) {
        self.failed_commits.remove(job);
    }

    /// Whether a placement of the job is being written.
    pub fn is_committing(&self, job: &JobKey) -> bool {
        self.committing.contains_key(job)
    }

    /// Keeps a job out of a cluster until a time: something there did not work.
    pub fn avoid(&mut self, job: &JobKey, cluster: &str, until: Timestamp) {
        self.avoided
            .entry(job.clone())
            .or_default()
            .insert(cluster.to_owned(), until);
    }

    /// A cluster's scheduler found no node for a job. Returns whether that is so for the second time running.
    pub fn found_no_node(&mut self, job: &JobKey, cluster: &str) -> bool {
        let before = self.without_node.insert(job.clone(), cluster.to_owned());
        before.is_some_and(|before| before == cluster)
    }

    /// Clusters that a job keeps out of now.
    pub fn avoided_by(&self, job: &JobKey, now: Timestamp) -> impl Iterator<Item = &String> {
        self.avoided
            .get(job)
            .into_iter()
            .flatten()
            .filter(move |(_, until)| **until > now)
            .map(|(cluster, _)| cluster)
    }

    /// Forgets what is avoided no longer; the job is then tried again, since a cluster is open to it once more.
    pub fn stop_avoiding(&mut self, job: &JobKey, now: Timestamp) {
        let Some(avoided) = self.avoided.get_mut(job) else {
            return;
        };
        let before = avoided.len();
        avoided.retain(|_, until| *until > now);
        let expired = avoided.len() < before;
        if avoided.is_empty() {
            self.avoided.remove(job);
        }
        if expired && let Some(waiting) = self.waiting.get_mut(job) {
            waiting.tried_at = None;
        }
    }

    /// Forgets a job that is gone.
    pub fn forget(&mut self, job: &JobKey) {
        self.set_eligible(job, false);
        self.avoided.remove(job);
        self.failed_commits.remove(job);
        self.without_node.remove(job);
    }
}

#[cfg(test)]
mod tests {
    use ampacity_api::JobKind;

    use super::*;

    fn key(name: &str) -> JobKey {
        JobKey {
            kind: JobKind::TrainingJob,
            object: ObjectKey::new("research", name),
        }
    }

    fn unplaced() -> Why {
        does_not_fit(None, 0)
    }

    /// What a plan at a second said of a job that can start so many seconds later.
    fn does_not_fit(starts: Option<i64>, planned_at: i64) -> Why {
        let unplaced = Unplaced {
            job: String::new(),
            replicas: 1,
            reasons: Vec::new(),
            fix: starts.map(|start_seconds| Fix::WaitUntil { start_seconds }),
            earliest_start_seconds: starts,
        };
        Why::does_not_fit(unplaced, Timestamp::from_second(planned_at).unwrap())
    }

    #[test]
    fn a_start_that_comes_nearer_is_nothing_new() {
        let mut attempts = Attempts::default();
        attempts.set_eligible(&key("a"), true);
        attempts.set_eligible(&key("b"), true);
        let now = Timestamp::UNIX_EPOCH;
        assert!(attempts.must_wait(&key("a"), does_not_fit(Some(60), 100), now, 1, 1));
        assert!(!attempts.must_wait(&key("a"), does_not_fit(Some(40), 120), now, 1, 1));
        assert!(attempts.must_wait(&key("a"), does_not_fit(Some(50), 120), now, 1, 1));
        attempts.must_wait(&key("b"), does_not_fit(None, 100), now, 1, 1);
        assert_eq!(attempts.promised().collect::<Vec<_>>(), [&key("a")]);
    }

    #[test]
    fn a_job_that_does_not_fit_waits_for_a_change() {
        let mut attempts = Attempts::default();
        let generation = |_: &JobKey| Some(1);
        attempts.set_eligible(&key("a"), true);
        assert_eq!(attempts.candidates(7, generation).count(), 1);
        attempts.must_wait(&key("a"), unplaced(), Timestamp::UNIX_EPOCH, 7, 1);
        assert_eq!(
            attempts.candidates(7, generation).count(),
            0,
            "nothing changed"
        );
        assert_eq!(
            attempts.candidates(8, generation).count(),
            1,
            "capacity changed"
        );
        assert_eq!(
            attempts.candidates(7, |_: &JobKey| Some(2)).count(),
            1,
            "the job changed"
        );
        attempts.set_eligible(&key("a"), false);
        assert_eq!(attempts.candidates(8, generation).count(), 0);
    }

    #[test]
    fn what_is_avoided_no_longer_is_tried_again() {
        let mut attempts = Attempts::default();
        let at = |s| Timestamp::from_second(s).unwrap();
        attempts.set_eligible(&key("a"), true);
        attempts.avoid(&key("a"), "oslo", at(100));
        attempts.must_wait(&key("a"), unplaced(), at(10), 7, 1);
        let tried_again = |attempts: &Attempts| attempts.candidates(7, |_| Some(1)).count() == 1;
        attempts.stop_avoiding(&key("a"), at(99));
        assert!(!tried_again(&attempts));
        attempts.stop_avoiding(&key("a"), at(100));
        assert!(tried_again(&attempts));
        assert_eq!(attempts.avoided_by(&key("a"), at(100)).count(), 0);
    }

    #[test]
    fn writes_that_fail_are_tried_ever_more_seldom() {
        let mut attempts = Attempts::default();
        let pauses: Vec<i64> = (0..8).map(|_| attempts.commit_failed(&key("a"))).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(attempts.commit_failed(&key("b")), 1, "each job for itself");
        attempts.commit_succeeded(&key("a"));
        assert_eq!(attempts.commit_failed(&key("a")), 1);
    }

    #[test]
    fn the_wait_counts_from_the_first_miss() {
        let mut attempts = Attempts::default();
        let at = |s| Timestamp::from_second(s).unwrap();
        assert!(attempts.must_wait(&key("a"), unplaced(), at(10), 1, 1));
        assert!(
            !attempts.must_wait(&key("a"), unplaced(), at(20), 2, 1),
            "same reasons"
        );
        assert_eq!(attempts.waiting(&key("a")).unwrap().since, at(10));
    }
}
