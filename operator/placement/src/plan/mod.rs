//! One cycle: which jobs start now, where, and why the others do not.

mod candidate;
mod fix;
mod gang;
mod price;
mod replicas;
mod select;
mod verdict;

use std::collections::BTreeSet;

use self::verdict::Missing;
use crate::fleet::Fleet;
use crate::model::{Fix, JobSpec, Kind, Plan, PlanOptions, Proof, Reason, Refusal, Unplaced};

impl Fleet {
    /// Plans a cycle and reserves what it decides, each part under the job's key, `/` and a number.
    ///
    /// Jobs are taken by priority, then by time of submission, then by key, so the order of `jobs` does not matter.
    pub fn plan(&mut self, jobs: &[JobSpec], options: &PlanOptions) -> Plan {
        let mut order: Vec<&JobSpec> = jobs.iter().collect();
        order.sort_by(|a, b| {
            (b.priority, a.submitted_seconds, &a.key).cmp(&(
                a.priority,
                b.submitted_seconds,
                &b.key,
            ))
        });
        let mut plan = Plan {
            proof: Proof::StoppedAtLimit,
            ..Plan::default()
        };
        let mut keys = BTreeSet::new();
        let mut waiting: Vec<(&JobSpec, Missing)> = Vec::new();
        for job in order {
            let fault = if keys.insert(&job.key) {
                candidate::invalid(job)
            } else {
                Some(format!(
                    "two jobs have the key {:?}; give each its own",
                    job.key
                ))
            };
            if let Some(message) = fault {
                plan.unplaced.push(refused(job, message));
                continue;
            }
            match &job.kind {
                Kind::Training { .. } => {
                    self.prepare(job);
                    let decision = self
                        .best_gang(job, options.now_seconds)
                        .and_then(|found| self.decision(job, found));
                    match decision {
                        Some(decision) => {
                            self.reserve(decision.reservation.clone());
                            plan.placements.push(decision);
                        }
                        None => waiting.push((
                            job,
                            Missing {
                                replicas: 0,
                                spent_per_hour: 0,
                            },
                        )),
                    }
                }
                Kind::Inference { .. } => {
                    let filled = self.place_replicas(job);
                    let spent_per_hour = filled
                        .decisions
                        .iter()
                        .map(|decision| decision.usd_per_hour.0)
                        .fold(0, i64::saturating_add);
                    plan.placements.extend(filled.decisions);
                    if filled.missing > 0 {
                        let missing = Missing {
                            replicas: filled.missing,
                            spent_per_hour,
                        };
                        waiting.push((job, missing));
                    }
                }
            }
        }
        // Judged against what the plan leaves, so that a fix would really place the job.
        for (job, missing) in waiting {
            let unplaced = self.explain(job, missing, options);
            plan.unplaced.push(unplaced);
        }
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
        fix: Some(Fix::ChangeJob),
        earliest_start_seconds: None,
    }
}
