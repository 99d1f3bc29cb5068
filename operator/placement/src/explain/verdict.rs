//! Why a job was not placed: one typed reason per candidate, with the numbers that decided, counted and bounded.

use std::collections::BTreeMap;

use super::diagnosis::Diagnosis;
use super::reasons::{MOST_REASONS, rank, shortage};
use crate::arena::Key;
use crate::candidates::{alternative_refusal, cluster_refusal, duration_seconds, late_seconds};
use crate::fleet::Fleet;
use crate::model::{AcceleratorRequirement, JobSpec, Kind, PlanOptions, Reason, Refusal, Unplaced};
use crate::nodes::Shortfall;

impl Fleet {
    /// The verdict on a job that found no place, against the fleet as it is now.
    pub(crate) fn explain(
        &mut self,
        job: &JobSpec,
        shortfall: Shortfall,
        options: &PlanOptions,
    ) -> Unplaced {
        let (reasons, reasons_cut, found) = self.reasons(job, shortfall, options, None);
        let fix = self.fix(job, shortfall, &found, &reasons, options.now_seconds);
        Unplaced {
            job: job.key.clone(),
            replicas: match job.kind {
                Kind::Training { .. } => job.alternatives.first().map_or(0, |a| a.replicas),
                Kind::Inference { .. } => shortfall.replicas,
            },
            reasons_cut,
            reasons,
            fix,
            earliest_start_seconds: None,
        }
    }

    /// Why no candidate took a job, most telling first, and whether there were more than are
    /// listed, and each candidate's own reason. With `kept_for`, the fleet shows nothing
    /// of what was promised: where there is room, it is kept for so many gangs.
    pub(crate) fn reasons(
        &self,
        job: &JobSpec,
        shortfall: Shortfall,
        options: &PlanOptions,
        kept_for: Option<u64>,
    ) -> (Vec<Refusal>, bool, Vec<Diagnosis>) {
        let open = self.open_clusters(job);
        let mut counted: BTreeMap<CountedReason, u64> = BTreeMap::new();
        let mut count = |reason: Reason, cluster: Option<&str>, alternative: Option<&str>| {
            let refused = CountedReason {
                rank: rank(&reason),
                shortage: shortage(&reason),
                cluster: cluster.map(str::to_owned),
                alternative: alternative.map(str::to_owned),
                reason,
            };
            *counted.entry(refused).or_default() += 1;
        };
        for &cluster in self.cluster_by_name.values() {
            let cluster = &self.clusters[cluster];
            if cluster.spec.is_some()
                && let Some(reason) = cluster_refusal(job, cluster)
            {
                count(reason, Some(&cluster.name), None);
            }
        }
        let mut found: Vec<Diagnosis> = Vec::new();
        for (at, alternative) in job.alternatives.iter().enumerate() {
            let name = Some(alternative.name.as_str());
            let mut offered = vec![false; self.clusters.len()];
            let duration = duration_seconds(&job.kind, alternative);
            if let Some(reason) = alternative_refusal(job, alternative, duration) {
                count(reason, None, name);
                continue;
            }
            for group in self.groups_for(alternative) {
                let cluster = self.cluster_of(group);
                let has_nodes = self.cells.get(self.groups[group].root).nodes > 0;
                if open.get(cluster.position()) != Some(&true) || !has_nodes {
                    continue;
                }
                if let Some(seen) = offered.get_mut(cluster.position()) {
                    *seen = true;
                }
                let now = options.now_seconds;
                let reason = match kept_for {
                    None => self.diagnose(job, alternative, group, shortfall, now),
                    Some(gangs) => self
                        .binding_constraint(job, alternative, group, shortfall, now)
                        .unwrap_or(Reason::Promised { gangs }),
                };
                count(reason.clone(), Some(&self.clusters[cluster].name), name);
                for other in self.other_power_limits(job, alternative, group, shortfall, &reason) {
                    count(other, Some(&self.clusters[cluster].name), name);
                }
                found.push(Diagnosis {
                    alternative: at,
                    group,
                    reason,
                });
            }
            // Late even if it started now: said at once, whatever it waits for.
            let said = |d: &Diagnosis| {
                d.alternative == at && matches!(d.reason, Reason::DeadlineMissed { .. })
            };
            if let Some(late_seconds) = late_seconds(job, duration, options.now_seconds)
                && !found.iter().any(said)
            {
                count(Reason::DeadlineMissed { late_seconds }, None, name);
            }
            let mut otherwise = self.other_parts(alternative);
            for &cluster in self.cluster_by_name.values() {
                if open.get(cluster.position()) == Some(&true)
                    && offered.get(cluster.position()) == Some(&false)
                {
                    let wanted = wanted(&alternative.accelerator);
                    let groups = otherwise.remove(&cluster).unwrap_or_default();
                    let reason = self.lacks(alternative, wanted, &groups);
                    count(reason.clone(), Some(&self.clusters[cluster].name), name);
                    found.extend(groups.into_iter().map(|group| Diagnosis {
                        alternative: at,
                        group,
                        reason: reason.clone(),
                    }));
                }
            }
        }
        let is_cut = counted.len() > MOST_REASONS;
        (bounded(counted), is_cut, found)
    }
}

/// A reason with where it holds, in order of how telling it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CountedReason {
    rank: u8,
    shortage: i128,
    cluster: Option<String>,
    alternative: Option<String>,
    reason: Reason,
}

/// Most telling first, at most [`MOST_REASONS`]: the closest candidates one by one, the others counted by reason.
fn bounded(counted: BTreeMap<CountedReason, u64>) -> Vec<Refusal> {
    let mut ranks: Vec<u8> = counted.keys().map(|refused| refused.rank).collect();
    ranks.dedup();
    let single = if counted.len() <= MOST_REASONS {
        MOST_REASONS
    } else {
        MOST_REASONS.saturating_sub(ranks.len())
    };
    let mut reasons: Vec<Refusal> = Vec::new();
    let mut rest: BTreeMap<u8, Refusal> = BTreeMap::new();
    for (refused, count) in counted {
        let refusal = Refusal {
            reason: refused.reason,
            cluster: refused.cluster,
            alternative: refused.alternative,
            count,
        };
        if reasons.len() < single {
            reasons.push(refusal);
        } else {
            rest.entry(refused.rank)
                .and_modify(|sum| {
                    sum.count = sum.count.saturating_add(count);
                    sum.cluster = None;
                    sum.alternative = None;
                })
                .or_insert(refusal);
        }
    }
    reasons.extend(rest.into_values());
    reasons
}

/// What an alternative asks for, in words.
fn wanted(requirement: &AcceleratorRequirement) -> String {
    match requirement {
        AcceleratorRequirement::Named(name) => name.clone(),
        AcceleratorRequirement::Selected {
            vendor,
            min_memory_gib,
            min_bf16_tflops,
            names,
        } => {
            let mut parts = Vec::new();
            if let Some(vendor) = vendor {
                parts.push(format!("vendor {vendor}"));
            }
            if *min_memory_gib > 0 {
                parts.push(format!("at least {min_memory_gib} GiB"));
            }
            if *min_bf16_tflops > 0 {
                parts.push(format!("at least {min_bf16_tflops} TFLOPS"));
            }
            if !names.is_empty() {
                parts.push(format!("one of {}", names.join(", ")));
            }
            if parts.is_empty() {
                parts.push("any accelerator with known facts".into());
            }
            parts.join(", ")
        }
    }
}
