//! One planning cycle: eligible jobs in, placements to commit out.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::Placement;
use ampacity_placement::{PlacementDecision, PlanOptions, Unplaced};
use jiff::Timestamp;

use super::input::engine_jobs;
use super::placement::placement_object;
use super::quota::{QuotaLedger, plan_within_quotas};
use super::split::split;
use crate::state::{JobKey, ObjectKey, State, Why};

/// What a cycle decided.
#[derive(Debug, Default)]
pub struct Cycle {
    /// Placements to write, each with the job it is for. Their devices and watts are reserved already.
    pub commits: Vec<(JobKey, Placement)>,
    /// Jobs whose reason for waiting changed.
    pub waiting: Vec<JobKey>,
    /// How many jobs were considered.
    pub considered: usize,
}

/// Plans every eligible job that was not tried under the present circumstances, beside those that were promised a start.
pub fn plan_cycle(state: &mut State, epoch: i64, now: Timestamp) -> Cycle {
    let version = state.capacity_version;
    let mut candidates: BTreeSet<JobKey> = state
        .jobs
        .candidates(version, |job| generation(state, job))
        .cloned()
        .collect();
    let mut cycle = Cycle {
        considered: candidates.len(),
        ..Cycle::default()
    };
    if candidates.is_empty() {
        return cycle;
    }
    candidates.extend(state.jobs.promised().cloned());
    let mut specs = Vec::with_capacity(candidates.len());
    let mut keys = BTreeMap::new();
    for (job, spec) in engine_jobs(state, candidates, now) {
        match spec {
            Ok(spec) => {
                keys.insert(spec.key.clone(), job);
                specs.push(spec);
            }
            Err(issue) => wait(state, &mut cycle, job, Why::Invalid(issue), now),
        }
    }
    let options = PlanOptions {
        now_seconds: now.as_second(),
        horizon_seconds: 0,
    };
    let mut quotas = QuotaLedger::of(state);
    let plan = plan_within_quotas(&mut state.fleet, specs, &keys, &mut quotas, &options);
    for decision in plan.placements {
        if let Some(job) = keys.get(&decision.job) {
            let is_limited = quotas.limits(&job.object.namespace);
            commit(state, &mut cycle, job, decision, epoch, is_limited);
        }
    }
    let does_not_fit = |unplaced: Unplaced| {
        let key = unplaced.job.clone();
        (key, Why::does_not_fit(unplaced, now))
    };
    let unplaced = plan.unplaced.into_iter().map(does_not_fit);
    let over = plan.over_quota.into_iter();
    for (key, why) in unplaced.chain(over.map(|(key, short)| (key, Why::OverQuota(short)))) {
        if let Some(job) = keys.get(&key) {
            wait(state, &mut cycle, job.clone(), why, now);
        }
    }
    cycle
}

fn wait(state: &mut State, cycle: &mut Cycle, job: JobKey, why: Why, now: Timestamp) {
    let generation = generation(state, &job).unwrap_or_default();
    if state
        .jobs
        .must_wait(&job, why, now, state.capacity_version, generation)
    {
        cycle.waiting.push(job);
    }
}

fn generation(state: &State, job: &JobKey) -> Option<i64> {
    state.hub.job(job)?.metadata().generation
}

fn commit(
    state: &mut State,
    cycle: &mut Cycle,
    job: &JobKey,
    decision: PlacementDecision,
    epoch: i64,
    is_limited: bool,
) {
    let object = state.hub.job(job);
    let owner = object.and_then(|object| object.owner_ref());
    let (Some(owner), Some(facts)) = (owner, state.kinds.get(job.kind)) else {
        state.fleet.release(&decision.reservation.key);
        return;
    };
    let placement_name = facts.placement_name;
    let earlier = cycle.commits.iter().filter(|(key, _)| key == job).count();
    let first = next_attempt(state, job).saturating_add(i32::try_from(earlier).unwrap_or(i32::MAX));
    // From here on a reservation goes by its Placement's name, as it will after a restart.
    state.fleet.release(&decision.reservation.key);
    let parts = if facts.replicas_move {
        split(decision)
    } else {
        vec![decision]
    };
    for (attempt, part) in (first..).zip(parts) {
        let name = placement_name(&job.object.name, attempt);
        let placement = placement_object(job, &name, &part, attempt, epoch, owner.clone());
        let mut reservation = part.reservation;
        reservation.key = ObjectKey::of(&placement).to_string();
        state.fleet.reserve(reservation);
        if is_limited {
            let key = ObjectKey::of(&placement);
            state.being_written.insert(key, placement.clone());
        }
        state.jobs.commit_started(job);
        cycle.commits.push((job.clone(), placement));
    }
}

/// One more than any attempt ever made, as far as the API server knows.
fn next_attempt(state: &State, job: &JobKey) -> i32 {
    let known = state.hub.job(job).map_or(0, |object| object.last_attempt());
    state
        .placements_of(job)
        .map(|p| p.spec.attempt)
        .fold(known, i32::max)
        .saturating_add(1)
}

#[cfg(test)]
mod tests;
