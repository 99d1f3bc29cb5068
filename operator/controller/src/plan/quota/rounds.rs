//! The engine's plan within quotas that it does not know of: what they forbid of it is planned again with less.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_placement::{Fleet, JobSpec, PlacementDecision, PlanOptions, Unplaced};

use super::{QuotaLedger, Resources, decided};
use crate::state::{JobKey, QuotaShortage};

/// Most plans of one cycle: each but the first leaves out what a quota forbids, an alternative or some replicas. How a device type
/// is asked for is learned from the first job that is refused, so that a long queue of such jobs needs few.
const MAX_ROUNDS: usize = 8;

/// What the engine decided and quotas allow.
#[derive(Debug, Default)]
pub(in crate::plan) struct QuotaPlan {
    /// Decisions, whose reservations are in the fleet.
    pub(in crate::plan) placements: Vec<PlacementDecision>,
    /// Jobs that the engine found no place for.
    pub(in crate::plan) unplaced: Vec<Unplaced>,
    /// Jobs, by their keys, that a quota keeps from what the engine would decide.
    pub(in crate::plan) over_quota: BTreeMap<String, QuotaShortage>,
}

/// Plans jobs, which `keys` tells by the keys of their specs. The ledger takes in what is decided.
///
/// What quotas leave of a job is tried again, with all that have no place yet, so that nobody takes room that was promised.
pub(in crate::plan) fn plan_within_quotas(
    fleet: &mut Fleet,
    specs: Vec<JobSpec>,
    keys: &BTreeMap<String, JobKey>,
    ledger: &mut QuotaLedger,
    options: &PlanOptions,
) -> QuotaPlan {
    if ledger.is_empty() {
        let plan = fleet.plan(&specs, options);
        return QuotaPlan {
            placements: plan.placements,
            unplaced: plan.unplaced,
            over_quota: BTreeMap::new(),
        };
    }
    let mut rounds = Rounds {
        keys,
        ledger,
        resources: Resources::default(),
        plan: QuotaPlan::default(),
    };
    let mut open = specs;
    for round in 1..=MAX_ROUNDS {
        open = rounds.next(fleet, open, options, round == MAX_ROUNDS);
        if open.is_empty() {
            break;
        }
    }
    let mut plan = rounds.plan;
    // With less in it, it has a place: what is missing is asked for when that is written.
    for decision in &plan.placements {
        plan.over_quota.remove(&decision.job);
    }
    let over = &plan.over_quota;
    plan.unplaced.retain(|u| !over.contains_key(&u.job));
    plan
}

struct Rounds<'a> {
    keys: &'a BTreeMap<String, JobKey>,
    ledger: &'a mut QuotaLedger,
    resources: Resources,
    plan: QuotaPlan,
}

impl Rounds<'_> {
    /// Plans once. Returns what is to be planned again: nothing where no quota forbade anything, or `is_last`.
    fn next(
        &mut self,
        fleet: &mut Fleet,
        open: Vec<JobSpec>,
        options: &PlanOptions,
        is_last: bool,
    ) -> Vec<JobSpec> {
        let specs = self.narrowed(open);
        let plan = fleet.plan(&specs, options);
        let spec_of: BTreeMap<&str, &JobSpec> = specs.iter().map(|s| (s.key.as_str(), s)).collect();
        let (mut placed, mut refused, mut again) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (key, decisions) in by_job(plan.placements) {
            let Some(over) = self.shortage(&key, &decisions) else {
                self.plan.placements.extend(decisions);
                placed.insert(key);
                continue;
            };
            for decision in &decisions {
                fleet.release(&decision.reservation.key);
            }
            if let (Some(job), Some(spec)) = (self.keys.get(&key), spec_of.get(key.as_str())) {
                self.resources.learn(spec, &decisions);
                let all = decided(job.kind, &decisions);
                again.extend(self.ledger.reduced((*spec).clone(), &decisions, &all));
            }
            self.plan.over_quota.insert(key.clone(), over);
            refused.insert(key);
        }
        let is_last = is_last || refused.is_empty();
        for unplaced in plan.unplaced {
            let key = &unplaced.job;
            match spec_of.get(key.as_str()) {
                _ if refused.contains(key) => {}
                Some(spec) if !is_last && !placed.contains(key) => again.push((*spec).clone()),
                _ => self.plan.unplaced.push(unplaced),
            }
        }
        if is_last { Vec::new() } else { again }
    }

    /// Jobs without what is forbidden in any case; those of which nothing is left are noted and left out.
    fn narrowed(&mut self, specs: Vec<JobSpec>) -> Vec<JobSpec> {
        let mut open = Vec::with_capacity(specs.len());
        for spec in specs {
            let kind = self.keys.get(&spec.key).map(|job| job.kind);
            let Some(kind) = kind.filter(|_| self.ledger.limits(&spec.namespace)) else {
                open.push(spec);
                continue;
            };
            let key = spec.key.clone();
            match self.ledger.narrowed(spec, kind, &self.resources) {
                Ok(spec) => open.push(spec),
                Err(short) => drop(self.plan.over_quota.insert(key, short)),
            }
        }
        open
    }

    /// The quota that forbids these decisions for a job; what none forbids is held from here on.
    fn shortage(&mut self, key: &str, decisions: &[PlacementDecision]) -> Option<QuotaShortage> {
        let job = self.keys.get(key)?;
        let namespace = &job.object.namespace;
        if !self.ledger.limits(namespace) {
            return None;
        }
        let all = decided(job.kind, decisions);
        let short = self.ledger.shortage(namespace, &all);
        if short.is_none() {
            self.ledger.take(namespace, &all);
        }
        short
    }
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
