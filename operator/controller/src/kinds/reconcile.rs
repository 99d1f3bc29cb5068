//! The way of one job through the stages, whatever its kind.

use std::time::{Duration, Instant};

use ampacity_api::{ConditionReason, Placement, Verdict};
use jiff::Timestamp;

use super::{Assessment, Facts, Kind};
use crate::bind::{bind, bind_call, required_terms};
use crate::commit::{release, settle, shrink};
use crate::dispatch::{Times, dispatch, dispatch_call, renew_fence, scale, target};
use crate::observe::{
    FailingCall, Known, MemberView, Patience, PlacementView, StatusChange, ToConfirm,
    ask_for_missing_pods, confirm, delete_job, may_wait_seconds, tell_unreadable, write_phase,
    write_status,
};
use crate::plan::verdict::{quota_verdict, verdict, with_refusals};
use crate::queue::{avoid_cluster, found_no_node};
use crate::runtime::{Operator, placement_call, status_call};
use crate::state::{JobKey, ObjectKey, Why};

/// Brings everything about one job up to date: its placements, its status, and whether it wants a place.
pub(super) fn reconcile<K: Kind>(operator: &mut Operator, key: &JobKey, now: Timestamp) {
    if operator.state.hub.unreadable.contains_key(key) {
        operator.state.jobs.set_eligible(key, false);
        tell_unreadable(operator, key);
        return;
    }
    let Some(job) = operator.state.hub.job_as::<K>(key).cloned() else {
        return job_is_gone(operator, key, now);
    };
    operator.state.jobs.stop_avoiding(key, now);
    let (live, over) = divide(operator, key, &job);
    for placement in &over {
        release(operator, placement, now);
    }
    if job.metadata().deletion_timestamp.is_some() {
        operator.state.jobs.forget(key);
        return;
    }
    let mut wants_place = false;
    if !job.is_finished() {
        let assessment = assess(operator, key, &job, &live, now);
        wants_place = assessment.wants_place;
        carry_out(operator, key, &job, &live, assessment, now);
    }
    if let Some(seconds) = job.seconds_to_live(now) {
        if seconds <= 0 {
            delete_job(operator, key, job.metadata().uid.clone());
        } else {
            operator.requeue_after(key, now, seconds);
        }
    }
    wants_place &= !operator.state.jobs.is_committing(key);
    if K::ONE_AT_A_TIME {
        // It must not run twice: the last attempt has to be gone before the next, unless nobody can reach it.
        let is_over = |placement: &ObjectKey| {
            let placement = operator.state.placement(placement);
            placement.is_none_or(|p| view(operator, p, now).member == MemberView::GivenUp)
        };
        wants_place &= over.iter().all(is_over) && !operator.calls.is_running(&status_call(key));
    }
    operator.state.jobs.set_eligible(key, wants_place);
}

fn job_is_gone(operator: &mut Operator, key: &JobKey, now: Timestamp) {
    operator.state.jobs.forget(key);
    let placements: Vec<ObjectKey> = operator.state.placements.of_job(key).cloned().collect();
    for placement in placements {
        release(operator, &placement, now);
    }
}

/// The placements of a job that count, and those that are over.
fn divide<K: Kind>(operator: &Operator, key: &JobKey, job: &K) -> (Vec<ObjectKey>, Vec<ObjectKey>) {
    let meta = job.metadata();
    let uid = meta.uid.clone().unwrap_or_default();
    let counts = |p: &Placement| {
        meta.deletion_timestamp.is_none() && p.spec.job_ref.uid == uid && job.is_live(p)
    };
    let placements = operator.state.placements_of(key);
    let (mut live, over): (Vec<&Placement>, Vec<&Placement>) = placements.partition(|p| counts(p));
    let mut over: Vec<ObjectKey> = over.into_iter().map(ObjectKey::of).collect();
    if K::ONE_AT_A_TIME {
        live.sort_by_key(|p| p.spec.attempt);
        let newest = live.pop();
        over.extend(live.iter().map(|p| ObjectKey::of(*p)));
        live = newest.into_iter().collect();
    }
    (live.into_iter().map(ObjectKey::of).collect(), over)
}

fn assess<K: Kind>(
    operator: &mut Operator,
    key: &JobKey,
    job: &K,
    live: &[ObjectKey],
    now: Timestamp,
) -> Assessment<K::Status> {
    for placement in live {
        // The job's status says when it should be done.
        operator.state.hold(placement);
    }
    for placement in live {
        ask_for_missing_pods(operator, placement, now);
    }
    let placements = live
        .iter()
        .filter_map(|placement| operator.state.placement(placement));
    let mut views: Vec<PlacementView<'_>> = placements.map(|p| view(operator, p, now)).collect();
    let mut unconfirmed = Vec::new();
    for view in views.iter_mut().filter(|view| view.rests_on_watches()) {
        let read = view
            .known
            .inquiry
            .and_then(|inquiry| inquiry.confirmation(now));
        if read.is_none() {
            unconfirmed.push(ToConfirm::of(view));
        }
        view.keep_confirmed(read);
    }
    let assessment = job.assess(Facts {
        placements: views,
        issue: issue(operator, key),
        waiting: waiting(operator, key, now),
        steps: &operator.state.clock_steps,
        now,
    });
    for what in unconfirmed {
        confirm(operator, what);
    }
    assessment
}

/// What a placement's member shows of it.
fn view<'a>(operator: &'a Operator, placement: &'a Placement, now: Timestamp) -> PlacementView<'a> {
    let (state, key) = (&operator.state, ObjectKey::of(placement));
    let cluster = state.hub.clusters.named(&placement.spec.cluster);
    let member = state.members.get(&placement.spec.cluster);
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let patience = Patience {
        node_grace_seconds: seconds(operator.config.node_grace),
        start_deadline_seconds: seconds(operator.config.start_deadline),
    };
    let known = Known {
        was_dispatched: state.placements.was_seen(&key),
        refused: state.placements.refusal(&key),
        inquiry: state.placements.inquiry(&key),
        failing_call: failing_call(operator, &key),
    };
    PlacementView::new(
        placement,
        cluster,
        member,
        known,
        patience,
        &state.clock_steps,
        now,
    )
}

/// A call that would start a placement and fails again and again.
fn failing_call(operator: &Operator, placement: &ObjectKey) -> Option<FailingCall> {
    let now = Instant::now();
    let calls = [dispatch_call(placement), bind_call(placement)];
    let failing = calls
        .iter()
        .find_map(|call| operator.backoff.failure(call, now))?;
    Some(FailingCall {
        words: failing.words.to_owned(),
        seconds: i64::try_from(failing.lasted.as_secs()).unwrap_or(i64::MAX),
    })
}

fn issue(operator: &Operator, job: &JobKey) -> Option<(ConditionReason, String)> {
    match &operator.state.jobs.waiting(job)?.why {
        Why::Invalid(issue) => Some((issue.reason, issue.to_string())),
        Why::DoesNotFit { .. } | Why::OverQuota(_) => None,
    }
}

fn waiting(operator: &Operator, job: &JobKey, now: Timestamp) -> Option<(Verdict, String)> {
    let jobs = &operator.state.jobs;
    match &jobs.waiting(job)?.why {
        Why::DoesNotFit { unplaced, starts } => Some(with_refusals(
            verdict(unplaced, *starts, &jobs.avoided_until(job, now)),
            jobs.refusals(job, now),
        )),
        Why::OverQuota(shortage) => Some(quota_verdict(shortage)),
        Why::Invalid(_) => None,
    }
}

/// Does what an assessment says.
fn carry_out<K: Kind>(
    operator: &mut Operator,
    key: &JobKey,
    job: &K,
    live: &[ObjectKey],
    assessment: Assessment<K::Status>,
    now: Timestamp,
) {
    let before = job.status();
    if before.cloned().unwrap_or_default() != assessment.status {
        match may_wait_seconds(&operator.state, key, &assessment.news, now) {
            Some(seconds) => operator.requeue_after(key, now, seconds),
            None => {
                let change = StatusChange {
                    resource_version: job.metadata().resource_version.clone(),
                    before: before.cloned(),
                    happenings: job.happenings(before, &assessment.status),
                    has_verdict: K::has_verdict(&assessment.status),
                    after: assessment.status,
                };
                write_status::<K, K::Status>(operator, key, change);
            }
        }
    }
    for cluster in &assessment.refused_by {
        avoid_cluster(&mut operator.state, key, cluster, now);
    }
    for cluster in &assessment.no_node_in {
        found_no_node(&mut operator.state, key, cluster, now);
    }
    for (placement, replicas) in &assessment.resize {
        if *replicas == 0 {
            release(operator, placement, now);
        } else {
            shrink(operator, placement, *replicas, &assessment.lost_nodes);
        }
    }
    if !assessment.ended {
        for placement in live {
            advance(operator, placement, job, now);
        }
    }
    if let Some(seconds) = assessment.check_after_seconds {
        operator.requeue_after(key, now, seconds);
    }
}

/// Takes a live placement one step further: objects, replicas, bindings, phase.
fn advance<K: Kind>(operator: &mut Operator, key: &ObjectKey, job: &K, now: Timestamp) {
    if operator.calls.is_running(&placement_call(key)) {
        return;
    }
    let Some(placement) = operator.state.placement(key).cloned() else {
        return;
    };
    let Some(member) = operator.state.usable_member(&placement) else {
        return;
    };
    let workload = member.workload_of(&placement);
    let times = workload.map(Times::of);
    match workload.map(|workload| K::is_scaled(workload, &placement)) {
        None if !operator.state.placements.is_dispatched(key) => {
            let job = job.clone();
            dispatch(operator, &placement, move |placement, target| {
                job.objects(placement, target)
            });
        }
        None => {}
        Some(false) => scale(operator, &placement),
        Some(true) => {
            bind(operator, &placement, |operator| {
                // The pods' own terms are those that the same builder gives again, a pure function, but where a webhook added some.
                let objects = job
                    .objects(&placement, &target(operator, &placement))
                    .ok()?;
                let pod = K::pod_spec(&objects.workload).filter(|_| objects.gated);
                pod.map(|pod| required_terms(Some(pod)).to_vec())
            });
            let facts = operator.state.kinds.get(placement.spec.job_ref.kind);
            if facts.is_some_and(|facts| facts.replicas_move) {
                settle(operator, key);
            }
            if let Some(times) = times.filter(|_| K::ONE_AT_A_TIME) {
                renew_fence(operator, &placement, times, now);
            }
            write_phase(operator, key, now);
        }
    }
}
