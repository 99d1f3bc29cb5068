//! One cycle: which jobs start now, where, and why the others do not.

use std::collections::{BTreeMap, BTreeSet};

use super::proof::proof;
use crate::candidates::invalid;
use crate::fleet::Fleet;
use crate::model::{Effort, Fix, JobSpec, Kind, Plan, PlanOptions, Reason, Refusal, Unplaced};
use crate::schedule::{Schedule, turn};
use crate::time::Lookahead;

impl Fleet {
    /// Plans a cycle and reserves what it decides, each part under the job's key, `/` and a number.
    ///
    /// Jobs are taken by priority, then by time of submission, then by key, so the order of `jobs` does not matter. What
    /// was placed is then moved about, with the [`Effort`] that is the default, so that more jobs are placed or the same
    /// for fewer dollars.
    ///
    /// Gangs that have to wait are told when they can start, where that is known. Once something runs whose end is known,
    /// or with a horizon, they are also kept their start: who comes after them may use the room only until then. Within the
    /// horizon a gang starts when it is worth most to it: later than it could, if it then costs less.
    pub fn plan(&mut self, jobs: &[JobSpec], options: &PlanOptions) -> Plan {
        self.plan_with(jobs, options, Effort::default())
    }

    /// As [`Self::plan`], with another effort to better the plan. More effort never places fewer jobs of a priority
    /// without placing more of a higher one, nor the same jobs for more dollars.
    pub fn plan_with(&mut self, jobs: &[JobSpec], options: &PlanOptions, effort: Effort) -> Plan {
        let mut order: Vec<&JobSpec> = jobs.iter().collect();
        order.sort_by(|a, b| turn(a).cmp(&turn(b)));
        let mut plan = Plan::default();
        let mut keys = BTreeSet::new();
        let mut valid = Vec::with_capacity(order.len());
        for job in order {
            let fault = if keys.insert(&job.key) {
                invalid(job)
            } else {
                Some(format!(
                    "two jobs have the key {:?}; give each its own",
                    job.key
                ))
            };
            match fault {
                Some(message) => plan.unplaced.push(refused(job, message)),
                None => valid.push(job),
            }
        }
        let strict = options.horizon_seconds > 0 || !self.ledger.ends().is_empty();
        let mut schedule = Schedule::new(self, &valid, options);
        schedule.place_all();
        let bound = schedule.improve(effort.trials);
        let mut lookahead = Lookahead::new(&mut schedule);
        let is_delayed = lookahead.backfill(strict);
        if effort.trials > 0 {
            lookahead.defer();
        }
        let mut promises = lookahead.promises;
        // What the search has proven is proven of plans that need not keep promises.
        plan.proof = proof(&schedule, bound.filter(|_| !is_delayed).as_ref());
        let waiting = schedule.finish(&mut plan);
        if !strict {
            promises.release(self);
        }
        // Judged against what the plan leaves, so that a fix would really place the job. Equal gangs get equal verdicts.
        let mut known: BTreeMap<usize, Unplaced> = BTreeMap::new();
        for waits in waiting {
            let job = waits.job;
            let mut verdict = match known.get(&waits.class) {
                Some(verdict) => Unplaced {
                    job: job.key.clone(),
                    ..verdict.clone()
                },
                None => promises.verdict(self, &waits, options),
            };
            if matches!(job.kind, Kind::Training { .. }) {
                known.entry(waits.class).or_insert_with(|| verdict.clone());
            }
            if let Some(future_start) = waits.future_start {
                future_start.tell(&mut verdict);
            }
            plan.unplaced.push(verdict);
        }
        promises.release(self);
        plan
    }
}

fn refused(job: &JobSpec, message: String) -> Unplaced {
    Unplaced {
        job: job.key.clone(),
        replicas: match job.kind {
            Kind::Inference { replicas, .. } => replicas,
            Kind::Training { .. } => 0,
        },
        reasons: vec![Refusal {
            reason: Reason::Invalid { message },
            cluster: None,
            alternative: None,
            count: 1,
        }],
        reasons_cut: false,
        fix: Some(Fix::ChangeJob),
        earliest_start_seconds: None,
    }
}
