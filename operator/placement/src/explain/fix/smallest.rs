//! Tries kinds of change on the nearest candidates and names the smallest that works.

use std::collections::BTreeMap;

use super::trial::Trial;
use crate::explain::diagnosis::Diagnosis;
use crate::explain::reasons::{FixKind, is_jobs_own, kinds, shortage};
use crate::fleet::Fleet;
use crate::model::{Fix, JobSpec, Reason, Refusal};
use crate::nodes::Shortfall;

/// Most groups on which an option of one kind is tried. One that has nothing to try it on does not count.
const MOST_TRIES: usize = 6;

impl Fleet {
    /// The smallest change that works, by kind and then by size.
    pub(crate) fn fix(
        &mut self,
        job: &JobSpec,
        shortfall: Shortfall,
        found: &[Diagnosis],
        reasons: &[Refusal],
        now_seconds: i64,
    ) -> Option<Fix> {
        let trial = |diagnosis: &Diagnosis| -> Option<Trial<'_>> {
            Some(Trial {
                job,
                at: diagnosis.alternative,
                alternative: job.alternatives.get(diagnosis.alternative)?,
                group: diagnosis.group,
                shortfall,
                now_seconds,
            })
        };
        let mut best: Option<(u8, i128, String, Fix)> = None;
        let mut tries: BTreeMap<u8, usize> = BTreeMap::new();
        // Nearest candidates first, so that the bound on tries leaves the likely ones in.
        let mut order: Vec<&Diagnosis> = found.iter().collect();
        order.sort_by_cached_key(|d| {
            let name = self.clusters[self.cluster_of(d.group)].name.clone();
            (
                shortage(&d.reason),
                name,
                d.alternative,
                self.groups[d.group].key.clone().capacity_type,
            )
        });
        for diagnosis in order {
            let Some(trial) = trial(diagnosis) else {
                continue;
            };
            for kind in kinds(&diagnosis.reason) {
                let rank = kind.rank();
                if best.as_ref().is_some_and(|(least, ..)| *least < rank) {
                    continue;
                }
                let tried = tries.entry(rank).or_default();
                if *tried >= MOST_TRIES {
                    continue;
                }
                // Only a smaller change of the same kind is of interest now, or one as large in a cluster that comes first.
                let below = best
                    .as_ref()
                    .filter(|(least, ..)| *least == rank)
                    .map(|(_, size, name, _)| (*size, name.as_str()));
                if let Some((size, fix)) =
                    self.try_fix(*kind, trial, &diagnosis.reason, below, tried)
                {
                    let name = self.clusters[self.cluster_of(trial.group)].name.to_string();
                    let entry = (rank, size, name, fix);
                    if best
                        .as_ref()
                        .is_none_or(|old| (entry.0, entry.1, &entry.2) < (old.0, old.1, &old.2))
                    {
                        best = Some(entry);
                    }
                }
            }
        }
        match best {
            Some((.., fix)) => Some(fix),
            None => reasons
                .iter()
                .any(|refusal| is_jobs_own(&refusal.reason))
                .then_some(Fix::ChangeJob),
        }
    }

    fn try_fix(
        &mut self,
        kind: FixKind,
        trial: Trial<'_>,
        reason: &Reason,
        below: Option<(i128, &str)>,
        tries: &mut usize,
    ) -> Option<(i128, Fix)> {
        match kind {
            FixKind::Restore => return self.restore_nodes(trial, tries),
            FixKind::Add => return self.add_nodes(trial, below, tries),
            FixKind::Free => return self.free_devices(trial, tries),
            _ => *tries += 1,
        }
        match kind {
            FixKind::Topology => self.relax_topology(trial),
            FixKind::Capacity => self.allow_capacity_type(trial),
            FixKind::Power => self.raise_power(trial, reason),
            FixKind::Money => self.raise_dollars(trial, reason),
            FixKind::Deadline => self.extend_deadline(trial, reason),
            FixKind::Part => self.change_part(trial),
            FixKind::Restore | FixKind::Add | FixKind::Free => None,
        }
    }
}
