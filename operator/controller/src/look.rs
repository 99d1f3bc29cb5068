//! Looks at one job: works its status out, takes care of its placements, and says whether it wants a place.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ampacity_api::conditions::ConditionReason;
use ampacity_api::{InferenceJob, JobKind, Placement, TrainingJob, TrainingJobState};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::observe::{
    InferenceFacts, MemberView, Patience, PlacementView, TrainingFacts, inference_status,
    next_training_status, resize,
};
use crate::operator::Operator;
use crate::queue::Why;
use crate::translate::verdict;
use crate::world::{JobKey, ObjectKey, World};

/// Seconds for which a start may go on before its intermediate states are written: most starts are shorter, and then
/// one write says it all.
const QUIET_START_SECONDS: i64 = 2;
/// The same while many jobs are being placed: placements go before statuses, but nobody is left in the dark for longer.
pub(crate) const BUSY_START_SECONDS: i64 = 60;
/// The same for a job that waits for a place.
const BUSY_WAIT_SECONDS: i64 = 10;
/// Least seconds between two writes of a status in which numbers merely changed; more where many jobs wait, so that all
/// of them together write no more than [`NUMBERS_PER_SECOND`].
const NUMBERS_EVERY_SECONDS: i64 = 30;
/// Most writes per second of statuses in which numbers merely changed.
const NUMBERS_PER_SECOND: i64 = 5;
/// A cluster that refused a job is not tried again for this long.
pub(crate) const AVOID_SECONDS: i64 = 120;

impl Operator {
    /// Looks at a job and does what follows.
    pub(crate) fn look_at(&mut self, job: &JobKey, now: Timestamp) {
        if self.world.hub.unreadable.contains_key(job) {
            return;
        }
        match job.kind {
            JobKind::TrainingJob => match self.world.hub.training.get(&job.object).cloned() {
                Some(object) => self.look_at_training(job, &object, now),
                None => self.job_is_gone(job, now),
            },
            JobKind::InferenceJob => match self.world.hub.inference.get(&job.object).cloned() {
                Some(object) => self.look_at_inference(job, &object, now),
                None => self.job_is_gone(job, now),
            },
        }
    }

    fn job_is_gone(&mut self, job: &JobKey, now: Timestamp) {
        self.world.attempts.forget(job);
        self.numbers_written.remove(job);
        for key in self.placement_keys(job) {
            self.release(&key, now);
        }
    }

    fn placement_keys(&self, job: &JobKey) -> Vec<ObjectKey> {
        self.world.attempts.placements_of(job).cloned().collect()
    }

    /// What a placement's member shows of it.
    fn view<'a>(
        &'a self,
        placement: &'a Placement,
        dispatched: bool,
        now: Timestamp,
    ) -> PlacementView<'a> {
        let cluster = self.world.hub.clusters.named(&placement.spec.cluster);
        let member = self.world.members.get(&placement.spec.cluster);
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let patience = Patience {
            node_grace_seconds: seconds(self.config.node_grace),
            start_deadline_seconds: seconds(self.config.start_deadline),
        };
        let mut view = PlacementView::new(placement, cluster, member, patience, now);
        view.was_dispatched = dispatched;
        view.refused = self
            .refused
            .get(&ObjectKey::of(placement))
            .map(String::as_str);
        view
    }

    fn look_at_training(&mut self, key: &JobKey, job: &TrainingJob, now: Timestamp) {
        self.world.attempts.stop_avoiding(key, now);
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let status = job.status.clone().unwrap_or_default();
        let finished = status.state.is_some_and(TrainingJobState::is_finished);
        let deleted = job.metadata.deletion_timestamp.is_some();
        let mut live: Option<ObjectKey> = None;
        let mut over = Vec::new();
        for placement in self.world.placements_of(key, None) {
            let current = !finished
                && !deleted
                && placement.spec.job_ref.uid == uid
                && placement.spec.attempt > status.ended_attempts;
            let newest = live
                .as_ref()
                .and_then(|k| self.placement(k))
                .is_none_or(|p| p.spec.attempt < placement.spec.attempt);
            if current && newest {
                over.extend(live.replace(ObjectKey::of(placement)));
            } else {
                over.push(ObjectKey::of(placement));
            }
        }
        for placement in &over {
            self.release(placement, now);
        }
        if deleted {
            self.world.attempts.forget(key);
            return;
        }
        if let Some(live) = &live {
            // Its status says when it should be done.
            self.record(live);
        }

        let mut effective = job.clone();
        if !finished {
            let dispatched = matches!(status.state, Some(TrainingJobState::Running))
                || live
                    .as_ref()
                    .is_some_and(|k| self.dispatched.contains(k) && self.seen_in_member(k));
            let placement = live.as_ref().and_then(|k| self.placement(k)).cloned();
            let facts = TrainingFacts {
                placement: placement.as_ref().map(|p| self.view(p, dispatched, now)),
                issue: self.issue(key),
                waiting: self.waiting(key),
                now,
            };
            let next = next_training_status(job, &facts);
            let ended = next.ended_attempts > status.ended_attempts;
            if ended && let Some(view) = &facts.placement {
                let cluster = view.placement.spec.cluster.clone();
                if view.refused.is_some() {
                    self.avoid(key, &cluster, now);
                } else if !view.late_pods.is_empty() || view.is_barren {
                    self.found_no_node(key, &cluster, now);
                }
            }
            if next != status {
                match self.may_wait(key, job, &next, live.as_ref(), now) {
                    Some(seconds) => self.look_later(key, now, seconds),
                    None => {
                        effective.status = Some(next);
                        self.write_training_status(key, &effective);
                    }
                }
            }
            if !ended && let Some(live) = &live {
                self.advance(live, now);
            }
        }
        self.schedule_checks(key, job, live.as_ref(), now);
        let wants_place = !finished
            && !job.spec.suspend
            && live.is_none()
            && !self.world.attempts.is_committing(key);
        // A gang must not run twice: its last attempt has to be gone before the next, unless nobody can reach it.
        let room = over
            .iter()
            .all(|k| self.placement(k).is_none_or(|p| self.is_given_up(p, now)));
        let settled = !self.effects.is_running(&status_effect(key));
        self.world
            .attempts
            .set_eligible(key, wants_place && room && settled);
    }

    /// Whether the Job of a placement has been seen in its member by this process.
    fn seen_in_member(&self, key: &ObjectKey) -> bool {
        self.seen.contains_key(key)
    }

    fn is_given_up(&self, placement: &Placement, now: Timestamp) -> bool {
        self.view(placement, false, now).member == MemberView::GivenUp
    }

    /// Seconds for which a status need not be written: what only passes by on the way to the next state, and numbers of a
    /// verdict that change with every other job.
    fn may_wait(
        &self,
        key: &JobKey,
        job: &TrainingJob,
        next: &ampacity_api::TrainingJobStatus,
        live: Option<&ObjectKey>,
        now: Timestamp,
    ) -> Option<i64> {
        let age = |at: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            at.map_or(i64::MAX, |t| now.as_second() - t.0.as_second())
        };
        let old = job.status.clone().unwrap_or_default();
        let busy = self.rush.is_on(Instant::now());
        let quiet_seconds = |busy_seconds| {
            if busy {
                busy_seconds
            } else {
                QUIET_START_SECONDS
            }
        };
        let started_before = matches!(old.state, Some(TrainingJobState::Running));
        match next.state {
            Some(TrainingJobState::Starting | TrainingJobState::Running)
                if !started_before && (busy || next.state == Some(TrainingJobState::Starting)) =>
            {
                let placement = live.and_then(|k| self.placement(k));
                let passes_by = next.ended_attempts == old.ended_attempts
                    && age(placement.and_then(|p| p.metadata.creation_timestamp.as_ref()))
                        < quiet_seconds(BUSY_START_SECONDS);
                passes_by.then_some(QUIET_START_SECONDS)
            }
            Some(TrainingJobState::Pending)
                if next.ended_attempts == old.ended_attempts && !job.spec.suspend =>
            {
                let fresh = age(job.metadata.creation_timestamp.as_ref())
                    < quiet_seconds(BUSY_WAIT_SECONDS)
                    && old.state.is_none();
                if fresh {
                    return Some(QUIET_START_SECONDS);
                }
                let spoken = ampacity_api::conditions::find_condition(
                    &old.conditions,
                    ampacity_api::ConditionType::Placed,
                );
                let only_numbers =
                    old.state == next.state && old.verdict.is_some() && next.verdict.is_some();
                (only_numbers && spoken.is_some())
                    .then(|| self.numbers_may_wait(key, now))
                    .flatten()
            }
            _ => None,
        }
    }

    /// Seconds until numbers of this job's status may be written again; `None`: now.
    fn numbers_may_wait(&self, job: &JobKey, now: Timestamp) -> Option<i64> {
        let waiting = i64::try_from(self.world.attempts.eligible_count()).unwrap_or(i64::MAX);
        let every = NUMBERS_EVERY_SECONDS.max(waiting / NUMBERS_PER_SECOND);
        let written = self.numbers_written.get(job)?;
        let left = every - (now.as_second() - written.as_second());
        (left > 0).then_some(left)
    }

    /// Time alone may change something: accrual, limits, lifetimes, silence.
    fn schedule_checks(
        &mut self,
        key: &JobKey,
        job: &TrainingJob,
        live: Option<&ObjectKey>,
        now: Timestamp,
    ) {
        let status = job.status.clone().unwrap_or_default();
        if let (Some(ttl), Some(done)) =
            (job.spec.ttl_seconds_after_finished, &status.completion_time)
        {
            let left = ttl - (now.as_second() - done.0.as_second());
            if left <= 0 {
                self.delete_training_job(job);
            } else {
                self.look_later(key, now, left);
            }
        }
        if live.is_some() {
            // Watches report what happens; the clock is asked now and then for what does not happen.
            let pause = if status.state == Some(TrainingJobState::Running) {
                15
            } else {
                2
            };
            self.look_later(key, now, pause);
        }
    }

    fn look_at_inference(&mut self, key: &JobKey, job: &InferenceJob, now: Timestamp) {
        self.world.attempts.stop_avoiding(key, now);
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let deleted = job.metadata.deletion_timestamp.is_some();
        let mut live = Vec::new();
        for placement in self.placement_keys(key) {
            let Some(object) = self.placement(&placement) else {
                continue;
            };
            let mine =
                object.spec.job_ref.uid == uid && object.metadata.deletion_timestamp.is_none();
            if mine && !deleted && !job.spec.suspend {
                live.push(placement);
            } else {
                self.release(&placement, now);
            }
        }
        if deleted {
            self.world.attempts.forget(key);
            return;
        }
        let placements: Vec<Placement> = live
            .iter()
            .filter_map(|k| self.placement(k))
            .cloned()
            .collect();
        let views: Vec<PlacementView<'_>> = placements
            .iter()
            .map(|p| self.view(p, false, now))
            .collect();
        let wanted = if job.spec.suspend {
            0
        } else {
            i64::from(job.spec.replicas)
        };
        let placed: i64 = placements.iter().map(|p| i64::from(p.spec.replicas)).sum();
        let changes = resize(&views, placed - wanted);
        let clusters = |which: &dyn Fn(&PlacementView<'_>) -> bool| -> BTreeSet<String> {
            let views = views.iter().filter(|view| which(view));
            views.map(|v| v.placement.spec.cluster.clone()).collect()
        };
        let refused = clusters(&|view| view.refused.is_some());
        let found_none = clusters(&|view| !view.late_pods.is_empty() && view.lost() > 0);
        let lost_nodes: BTreeSet<String> =
            views.iter().flat_map(|v| v.lost_nodes.clone()).collect();
        let facts = InferenceFacts {
            placements: views,
            issue: self.issue(key),
            waiting: self.waiting(key),
            now,
        };
        let next = inference_status(job, &facts);
        drop(facts);
        if Some(&next) != job.status.as_ref() {
            let only_numbers = job.status.as_ref().is_some_and(|old| {
                old.verdict.is_some()
                    && next.verdict.is_some()
                    && (old.state, old.placed_replicas, old.ready_replicas)
                        == (next.state, next.placed_replicas, next.ready_replicas)
            });
            let pause = only_numbers
                .then(|| self.numbers_may_wait(key, now))
                .flatten();
            match pause {
                Some(seconds) => self.look_later(key, now, seconds),
                None => {
                    let mut effective = job.clone();
                    effective.status = Some(next);
                    self.write_inference_status(key, &effective);
                }
            }
        }
        for cluster in refused {
            self.avoid(key, &cluster, now);
        }
        for cluster in found_none {
            self.found_no_node(key, &cluster, now);
        }
        let resized = !changes.is_empty();
        for (placement, replicas) in changes {
            if replicas == 0 {
                self.release(&placement, now);
            } else {
                self.shrink(&placement, replicas, &lost_nodes);
            }
        }
        for placement in &live {
            if self.refused.contains_key(placement) {
                self.release(placement, now);
            } else {
                self.advance(placement, now);
            }
        }
        if !live.is_empty() {
            self.look_later(key, now, 5);
        }
        let wants_place = placed < wanted && !resized && !self.world.attempts.is_committing(key);
        self.world.attempts.set_eligible(key, wants_place);
    }

    fn issue(&self, job: &JobKey) -> Option<(ConditionReason, String)> {
        match &self.world.attempts.waiting(job)?.why {
            Why::Invalid(issue) => Some((issue.reason, issue.to_string())),
            Why::DoesNotFit { .. } => None,
        }
    }

    fn waiting(&self, job: &JobKey) -> Option<(ampacity_api::Verdict, String)> {
        match &self.world.attempts.waiting(job)?.why {
            Why::DoesNotFit { unplaced, starts } => Some(verdict(unplaced, *starts)),
            Why::Invalid(_) => None,
        }
    }

    /// The member's scheduler found no node though the engine saw room. Something took it meanwhile, and a new look at the
    /// cluster shows what; or it is nothing that the engine can see, and the second time the job goes elsewhere.
    fn found_no_node(&mut self, job: &JobKey, cluster: &str, now: Timestamp) {
        self.world.dirty.clusters.insert(cluster.to_owned());
        if self.world.attempts.found_no_node(job, cluster) {
            self.avoid(job, cluster, now);
        }
    }

    pub(crate) fn avoid(&mut self, job: &JobKey, cluster: &str, now: Timestamp) {
        if let Ok(until) = Timestamp::from_second(now.as_second() + AVOID_SECONDS) {
            self.world.attempts.avoid(job, cluster, until);
            self.look_later(job, now, AVOID_SECONDS + 1);
        }
    }
}

/// Key of the effect that writes a job's status.
pub(crate) fn status_effect(job: &JobKey) -> String {
    format!("status/{job}")
}

/// Key of every effect on a placement: making, changing, removing; one at a time.
pub(crate) fn placement_effect(placement: &ObjectKey) -> String {
    format!("placement/{placement}")
}

/// The job of a placement, as an object that its members' objects are built from.
pub(crate) fn workload(world: &World, placement: &Placement) -> Option<crate::apply::Workload> {
    let key = World::job_of(placement);
    let same = |uid: Option<String>| uid.as_deref() == Some(&placement.spec.job_ref.uid);
    match key.kind {
        JobKind::TrainingJob => {
            let job = world
                .hub
                .training
                .get(&key.object)
                .filter(|j| same(j.uid()))?;
            Some(crate::apply::Workload::Training(Box::new(job.clone())))
        }
        JobKind::InferenceJob => {
            let job = world
                .hub
                .inference
                .get(&key.object)
                .filter(|j| same(j.uid()))?;
            Some(crate::apply::Workload::Inference(Box::new(job.clone())))
        }
    }
}
