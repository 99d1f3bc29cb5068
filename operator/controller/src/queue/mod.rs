//! Which jobs may be considered now, and when again. A job that did not fit is not tried again until something relevant changed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::state::{Avoided, JobKey, JobState, Jobs, State, Waiting, Why};

/// Longest pause between tries to write a placement.
const LONGEST_PAUSE_SECONDS: i64 = 60;
/// A cluster in which something did not work for a job is not tried again for this long, twice as long each time.
const AVOID_SECONDS: i64 = 120;
/// The longest.
const AVOID_AT_MOST_SECONDS: i64 = 3_600;
/// What did not work so long after the last time was over is a first time again.
const REMEMBERED_SECONDS: i64 = 3_600;

/// Keeps a job out of a cluster for a while: something there did not work.
pub fn avoid_cluster(state: &mut State, job: &JobKey, cluster: &str, now: Timestamp) {
    let seconds = state.jobs.avoid(job, cluster, now);
    state.requeue_after(job, now, seconds + 1);
}

/// The member's scheduler found no node though the engine saw room. Something took it meanwhile, and a new look at the
/// cluster shows what; or it is nothing that the engine can see, and the second time the job goes elsewhere.
pub fn found_no_node(state: &mut State, job: &JobKey, cluster: &str, now: Timestamp) {
    state.dirty.clusters.insert(cluster.to_owned());
    if state.jobs.found_no_node(job, cluster) {
        avoid_cluster(state, job, cluster, now);
    }
}

impl Jobs {
    /// Says whether a job wants a place now. While one of its placements is being written it does not.
    pub fn set_eligible(&mut self, job: &JobKey, eligible: bool) {
        if eligible {
            if !self.is_committing(job) {
                self.set_state(job, JobState::Eligible);
            }
            return;
        }
        if self.get(job).is_some_and(|r| r.state == JobState::Eligible) {
            self.set_state(job, JobState::Settled);
        }
        if self.waiting(job).is_some() {
            self.record(job).waiting = None;
        }
    }

    /// Jobs that want a place and were not tried under the present circumstances.
    pub fn candidates<'a>(
        &'a self,
        capacity_version: u64,
        generation_of: impl Fn(&JobKey) -> Option<i64> + 'a,
    ) -> impl Iterator<Item = &'a JobKey> {
        self.eligible().filter(move |job| {
            self.waiting(job).is_none_or(|w| {
                w.tried_at != Some(capacity_version)
                    || generation_of(job).is_none_or(|g| g != w.generation)
            })
        })
    }

    /// Waiting jobs that were promised a start: no more than one plan makes promises. Nobody must be planned without them,
    /// or he may get their room.
    pub fn promised(&self) -> impl Iterator<Item = &JobKey> {
        self.eligible()
            .filter(|job| self.waiting(job).is_some_and(|w| w.why.is_promise()))
    }

    /// Why a job waits, if it was tried.
    pub fn waiting(&self, job: &JobKey) -> Option<&Waiting> {
        self.get(job)?.waiting.as_ref()
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
        let waiting = &mut self.record(job).waiting;
        let since = waiting.as_ref().map_or(now, |w| w.since);
        let changed = waiting.as_ref().is_none_or(|w| w.why != why);
        *waiting = Some(Waiting {
            why,
            since,
            tried_at: Some(version),
            generation,
        });
        changed
    }

    /// A placement of the job is being written.
    pub fn commit_started(&mut self, job: &JobKey) {
        let running = match self.get(job).map(|r| r.state) {
            Some(JobState::Committing(count)) => count,
            _ => 0,
        };
        self.record(job).waiting = None;
        self.set_state(job, JobState::Committing(running.saturating_add(1)));
    }

    /// A placement of the job has been written, or not.
    pub fn commit_ended(&mut self, job: &JobKey) {
        let next = match self.get(job).map(|r| r.state) {
            Some(JobState::Committing(count)) if count > 1 => JobState::Committing(count - 1),
            Some(JobState::Committing(_)) => JobState::Settled,
            _ => return,
        };
        self.set_state(job, next);
    }

    /// A placement of the job could not be written: seconds until it is tried again, twice as many each time.
    pub fn commit_failed(&mut self, job: &JobKey) -> i64 {
        let times = &mut self.record(job).failed_commits;
        let pause = 1_i64 << (*times).min(6);
        *times = times.saturating_add(1);
        pause.min(LONGEST_PAUSE_SECONDS)
    }

    /// A placement of the job was written.
    pub fn commit_succeeded(&mut self, job: &JobKey) {
        self.record(job).failed_commits = 0;
    }

    /// Whether a placement of the job is being written.
    pub fn is_committing(&self, job: &JobKey) -> bool {
        self.get(job)
            .is_some_and(|r| matches!(r.state, JobState::Committing(_)))
    }

    /// Keeps a job out of a cluster: something there did not work. Returns for how many seconds.
    pub fn avoid(&mut self, job: &JobKey, cluster: &str, now: Timestamp) -> i64 {
        let avoided = &mut self.record(job).avoided;
        let before = avoided.get(cluster).map_or(0, |known| known.times);
        let seconds = (AVOID_SECONDS << before.min(16)).min(AVOID_AT_MOST_SECONDS);
        let until = now.as_second().saturating_add(seconds);
        let avoid = Avoided {
            until: Timestamp::from_second(until).unwrap_or(Timestamp::MAX),
            times: before.saturating_add(1),
            is_over: false,
        };
        avoided.insert(cluster.to_owned(), avoid);
        seconds
    }

    /// A cluster's scheduler found no node for a job. Returns whether that is so for the second time running.
    pub fn found_no_node(&mut self, job: &JobKey, cluster: &str) -> bool {
        let before = self.record(job).without_node.replace(cluster.to_owned());
        before.is_some_and(|before| before == cluster)
    }

    /// Clusters that a job keeps out of now.
    pub fn avoided_by(&self, job: &JobKey, now: Timestamp) -> impl Iterator<Item = &String> {
        let avoided = self.get(job).map(|r| &r.avoided);
        avoided
            .into_iter()
            .flatten()
            .filter(move |(_, avoided)| avoided.until > now)
            .map(|(cluster, _)| cluster)
    }

    /// Clusters that a job keeps out of now, and until when.
    pub fn avoided_until(&self, job: &JobKey, now: Timestamp) -> BTreeMap<String, Timestamp> {
        let avoided = self.get(job).into_iter().flat_map(|r| &r.avoided);
        avoided
            .filter(|(_, avoided)| avoided.until > now)
            .map(|(cluster, avoided)| (cluster.clone(), avoided.until))
            .collect()
    }

    /// Forgets what is avoided no longer; the job is then tried again, since a cluster is open to it once more.
    pub fn stop_avoiding(&mut self, job: &JobKey, now: Timestamp) {
        if self.get(job).is_none_or(|r| r.avoided.is_empty()) {
            return;
        }
        let record = self.record(job);
        let mut is_open_again = false;
        for avoided in record.avoided.values_mut() {
            is_open_again |= avoided.until <= now && !avoided.is_over;
            avoided.is_over = avoided.until <= now;
        }
        let passed = |at: Timestamp| now.as_second() - at.as_second();
        record
            .avoided
            .retain(|_, avoided| passed(avoided.until) < REMEMBERED_SECONDS);
        if is_open_again && let Some(waiting) = &mut record.waiting {
            waiting.tried_at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use ampacity_api::JobKind;

    use ampacity_placement::{Fix, Unplaced};

    use super::*;
    use crate::state::ObjectKey;

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
            reasons_cut: false,
            fix: starts.map(|start_seconds| Fix::WaitUntil { start_seconds }),
            earliest_start_seconds: starts,
        };
        Why::does_not_fit(unplaced, Timestamp::from_second(planned_at).unwrap())
    }

    #[test]
    fn a_start_that_comes_nearer_is_nothing_new() {
        let mut jobs = Jobs::default();
        jobs.set_eligible(&key("a"), true);
        jobs.set_eligible(&key("b"), true);
        let now = Timestamp::UNIX_EPOCH;
        assert!(jobs.must_wait(&key("a"), does_not_fit(Some(60), 100), now, 1, 1));
        assert!(!jobs.must_wait(&key("a"), does_not_fit(Some(40), 120), now, 1, 1));
        assert!(jobs.must_wait(&key("a"), does_not_fit(Some(50), 120), now, 1, 1));
        jobs.must_wait(&key("b"), does_not_fit(None, 100), now, 1, 1);
        assert_eq!(jobs.promised().collect::<Vec<_>>(), [&key("a")]);
    }

    #[test]
    fn a_job_that_does_not_fit_waits_for_a_change() {
        let mut jobs = Jobs::default();
        let generation = |_: &JobKey| Some(1);
        jobs.set_eligible(&key("a"), true);
        assert_eq!(jobs.candidates(7, generation).count(), 1);
        jobs.must_wait(&key("a"), unplaced(), Timestamp::UNIX_EPOCH, 7, 1);
        assert_eq!(jobs.candidates(7, generation).count(), 0, "nothing changed");
        assert_eq!(
            jobs.candidates(8, generation).count(),
            1,
            "capacity changed"
        );
        assert_eq!(
            jobs.candidates(7, |_: &JobKey| Some(2)).count(),
            1,
            "the job changed"
        );
        jobs.set_eligible(&key("a"), false);
        assert_eq!(jobs.candidates(8, generation).count(), 0);
    }

    #[test]
    fn what_is_avoided_no_longer_is_tried_again() {
        let mut jobs = Jobs::default();
        let at = |s| Timestamp::from_second(s).unwrap();
        jobs.set_eligible(&key("a"), true);
        assert_eq!(jobs.avoid(&key("a"), "oslo", at(-20)), 120);
        jobs.must_wait(&key("a"), unplaced(), at(10), 7, 1);
        let tried_again = |jobs: &Jobs| jobs.candidates(7, |_| Some(1)).count() == 1;
        jobs.stop_avoiding(&key("a"), at(99));
        assert!(!tried_again(&jobs));
        jobs.stop_avoiding(&key("a"), at(100));
        assert!(tried_again(&jobs));
        assert_eq!(jobs.avoided_by(&key("a"), at(100)).count(), 0);
    }

    #[test]
    fn a_cluster_in_which_nothing_works_is_left_out_for_longer_each_time_and_forgiven_in_the_end() {
        let mut jobs = Jobs::default();
        let mut now = 0;
        let at = |s| Timestamp::from_second(s).unwrap();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let seconds = jobs.avoid(&key("a"), "oslo", at(now));
            pauses.push(seconds);
            now += seconds;
            jobs.stop_avoiding(&key("a"), at(now));
            assert_eq!(jobs.avoided_by(&key("a"), at(now)).count(), 0);
        }
        assert_eq!(pauses, [120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(
            jobs.avoid(&key("a"), "bergen", at(now)),
            120,
            "another cluster"
        );
        assert_eq!(jobs.avoid(&key("b"), "oslo", at(now)), 120, "another job");
        now += 3600;
        jobs.stop_avoiding(&key("a"), at(now));
        assert_eq!(jobs.avoid(&key("a"), "oslo", at(now)), 120);
    }

    #[test]
    fn writes_that_fail_are_tried_ever_more_seldom() {
        let mut jobs = Jobs::default();
        let pauses: Vec<i64> = (0..8).map(|_| jobs.commit_failed(&key("a"))).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(jobs.commit_failed(&key("b")), 1, "each job for itself");
        jobs.commit_succeeded(&key("a"));
        assert_eq!(jobs.commit_failed(&key("a")), 1);
    }

    #[test]
    fn the_wait_counts_from_the_first_miss() {
        let mut jobs = Jobs::default();
        let at = |s| Timestamp::from_second(s).unwrap();
        assert!(jobs.must_wait(&key("a"), unplaced(), at(10), 1, 1));
        assert!(
            !jobs.must_wait(&key("a"), unplaced(), at(20), 2, 1),
            "same reasons"
        );
        assert_eq!(jobs.waiting(&key("a")).unwrap().since, at(10));
    }
}
