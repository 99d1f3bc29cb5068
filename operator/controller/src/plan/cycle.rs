//! One planning cycle: eligible jobs in, placements to commit out.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::Placement;
use ampacity_placement::{Fleet, JobSpec, PlacementDecision, PlanOptions, Reservation};
use jiff::Timestamp;

use super::input::engine_jobs;
use super::placement::placement_object;
use super::quota::{QuotaLedger, Resources, decided};
use crate::state::{JobKey, ObjectKey, QuotaShortage, State, Why};

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
    let mut quotas = Quotas {
        ledger: QuotaLedger::of(state),
        resources: Resources::default(),
        short: BTreeMap::new(),
    };
    let mut open = specs;
    // Beyond what the engine knows of, quotas may forbid what it decides; what they leave of such a job is tried again, with all
    // that have no place yet, so that nobody takes room that was promised.
    for round in 1..=MAX_ROUNDS {
        let specs = quotas.narrowed(std::mem::take(&mut open), &keys);
        let plan = state.fleet.plan(&specs, &options);
        let mut tried = by_job(plan.placements);
        let tried_keys: BTreeSet<String> = tried.iter().map(|(key, _)| key.clone()).collect();
        let spec_of = by_key(&specs, &quotas.ledger);
        let mut is_last = true;
        for (key, decisions) in &mut tried {
            let Some(job) = keys.get(key) else { continue };
            let Some(over) = quotas.shortage(job, decisions) else {
                let all = decided(job.kind, decisions);
                let namespace = &job.object.namespace;
                quotas.ledger.take(namespace, &all);
                let is_limited = quotas.ledger.limits(namespace);
                for decision in std::mem::take(decisions) {
                    commit(state, &mut cycle, job, decision, epoch, is_limited);
                }
                continue;
            };
            for decision in decisions.iter() {
                state.fleet.release(&decision.reservation.key);
            }
            is_last = false;
            quotas.short.insert(key.clone(), over);
            if let Some(spec) = spec_of.get(key.as_str()) {
                quotas.resources.learn(spec, decisions);
                let all = decided(job.kind, decisions);
                open.extend(quotas.ledger.reduced((*spec).clone(), decisions, &all));
            }
        }
        is_last |= round == MAX_ROUNDS;
        for unplaced in plan.unplaced {
            let Some(job) = keys.get(&unplaced.job) else {
                continue;
            };
            let was_tried = tried_keys.contains(&unplaced.job);
            let is_over = quotas.short.contains_key(&unplaced.job);
            if is_over && was_tried {
                continue;
            }
            match spec_of.get(unplaced.job.as_str()) {
                Some(spec) if !is_last && !was_tried => open.push((*spec).clone()),
                _ if is_over => {}
                _ => wait(
                    state,
                    &mut cycle,
                    job.clone(),
                    Why::does_not_fit(unplaced, now),
                    now,
                ),
            }
        }
        if is_last {
            break;
        }
    }
    for (key, over) in quotas.short {
        // One that was placed in the end, with less, is asked again when it is written.
        if let Some(job) = keys.get(&key).filter(|job| !state.jobs.is_committing(job)) {
            wait(state, &mut cycle, job.clone(), Why::OverQuota(over), now);
        }
    }
    cycle
}

/// Most plans of one cycle: each but the first leaves out what a quota forbids, an alternative or some replicas. How a device type
/// is asked for is learned from the first job that is refused, so that a long queue of such jobs needs few.
const MAX_ROUNDS: usize = 8;

/// ResourceQuotas, and the jobs that they keep from what the engine decided.
struct Quotas {
    ledger: QuotaLedger,
    resources: Resources,
    short: BTreeMap<String, QuotaShortage>,
}

impl Quotas {
    /// Jobs without what is forbidden in any case; those of which nothing is left are noted as short and left out.
    fn narrowed(&mut self, specs: Vec<JobSpec>, keys: &BTreeMap<String, JobKey>) -> Vec<JobSpec> {
        if self.ledger.is_empty() {
            return specs;
        }
        let mut open = Vec::with_capacity(specs.len());
        for spec in specs {
            let kind = keys.get(&spec.key).map(|job| job.kind);
            let limited = kind.filter(|_| self.ledger.limits(&spec.namespace));
            let Some(kind) = limited else {
                open.push(spec);
                continue;
            };
            let key = spec.key.clone();
            match self.ledger.narrowed(spec, kind, &self.resources) {
                Ok(spec) => open.push(spec),
                Err(short) => drop(self.short.insert(key, short)),
            }
        }
        open
    }

    /// The quota that forbids these decisions for a job, if one does.
    fn shortage(&self, job: &JobKey, decisions: &[PlacementDecision]) -> Option<QuotaShortage> {
        let namespace = &job.object.namespace;
        if !self.ledger.limits(namespace) {
            return None;
        }
        self.ledger
            .shortage(namespace, &decided(job.kind, decisions))
    }
}

/// The jobs that are planned, by their keys, where a quota may have one planned again.
fn by_key<'a>(specs: &'a [JobSpec], ledger: &QuotaLedger) -> BTreeMap<&'a str, &'a JobSpec> {
    let asked = specs.iter().filter(|_| !ledger.is_empty());
    asked.map(|spec| (spec.key.as_str(), spec)).collect()
}

/// Decisions by their jobs, in the order in which these come first.
fn by_job(decisions: Vec<PlacementDecision>) -> Vec<(String, Vec<PlacementDecision>)> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut jobs: Vec<(String, Vec<PlacementDecision>)> = Vec::new();
    for decision in decisions {
        let place = *places.entry(decision.job.clone()).or_insert(jobs.len());
        match jobs.get_mut(place) {
            Some((_, decisions)) => decisions.push(decision),
            None => jobs.push((decision.job.clone(), vec![decision])),
        }
    }
    jobs
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
    let earlier = cycle.commits.iter().filter(|(key, _)| key == job).count();
    let attempt =
        next_attempt(state, job).saturating_add(i32::try_from(earlier).unwrap_or(i32::MAX));
    let name = (facts.placement_name)(&job.object.name, attempt);
    let placement = placement_object(job, &name, &decision, attempt, epoch, owner);
    rekey(
        &mut state.fleet,
        decision.reservation,
        &ObjectKey::of(&placement),
    );
    if is_limited {
        let key = ObjectKey::of(&placement);
        state.being_written.insert(key, placement.clone());
    }
    state.jobs.commit_started(job);
    cycle.commits.push((job.clone(), placement));
}

/// From here on the reservation goes by the Placement's name, as it will after a restart.
fn rekey(fleet: &mut Fleet, mut reservation: Reservation, placement: &ObjectKey) {
    fleet.release(&reservation.key);
    reservation.key = placement.to_string();
    fleet.reserve(reservation);
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
