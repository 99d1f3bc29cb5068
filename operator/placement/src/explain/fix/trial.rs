//! One trial: whether a job would have room on a group.

use std::sync::Arc;

use crate::arena::{GroupIndex, NodeIndex, PoolIndex};
use crate::candidates::{duration_seconds, group_refusal, requirement};
use crate::fleet::Fleet;
use crate::model::{Alternative, JobSpec, Kind, MicroUsd};
use crate::nodes::Shortfall;

/// Most nodes that are put in, restored or freed for one try.
pub(super) const MOST_NODES: u64 = 4096;

/// A job on one group.
#[derive(Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) job: &'a JobSpec,
    pub(super) at: usize,
    pub(super) alternative: &'a Alternative,
    pub(super) group: GroupIndex,
    pub(super) shortfall: Shortfall,
    pub(super) now_seconds: i64,
}

impl Fleet {
    /// Whether the job has room on the group as things are.
    pub(super) fn fits(&mut self, trial: Trial<'_>) -> bool {
        let Trial {
            job,
            alternative,
            group,
            ..
        } = trial;
        if group_refusal(job, &self.groups[group].key).is_some() {
            return false;
        }
        match &job.kind {
            Kind::Training { .. } => {
                let duration = duration_seconds(&job.kind, alternative);
                let mut candidates = Vec::new();
                self.on_group(job, trial.at, alternative, group, duration, &mut candidates);
                duration.is_some()
                    && candidates
                        .iter()
                        .any(|c| self.try_candidate(job, c, trial.now_seconds).is_some())
            }
            // Placed as the planner would and taken back: which nodes it takes decides which watts are short.
            Kind::Inference {
                spread: Some(_), ..
            } => false,
            Kind::Inference { .. } => {
                let mut rest = job.clone();
                if let Kind::Inference { replicas, .. } = &mut rest.kind {
                    *replicas = trial.shortfall.replicas;
                }
                if let Some(most) = &mut rest.budget.max_usd_per_hour {
                    *most -= MicroUsd(trial.shortfall.spent_per_hour);
                }
                let filled = self.place_replicas(&rest);
                for decision in &filled.decisions {
                    self.release(&decision.reservation.key);
                }
                filled.shortfall == 0
            }
        }
    }

    pub(super) fn fits_changed(
        &mut self,
        trial: Trial<'_>,
        change: impl FnOnce(&mut JobSpec),
    ) -> bool {
        let mut job = trial.job.clone();
        change(&mut job);
        self.fits(Trial { job: &job, ..trial })
    }

    /// Nodes of the group that the job may use, by name.
    pub(super) fn own_nodes(&self, trial: Trial<'_>) -> Vec<NodeIndex> {
        let mut nodes: Vec<(&Arc<str>, NodeIndex)> = self
            .admitted(trial.job, trial.alternative, trial.group)
            .into_iter()
            .flat_map(|pool| self.selected(trial.alternative, pool))
            .collect();
        nodes.sort_unstable();
        nodes.into_iter().map(|(_, node)| node).collect()
    }

    /// Nodes of a pool that the alternative's pod may run on by its node requirement, by name.
    pub(super) fn selected(
        &self,
        alternative: &Alternative,
        pool: PoolIndex,
    ) -> impl Iterator<Item = (&Arc<str>, NodeIndex)> {
        let wanted = requirement(&alternative.pod);
        self.pools[pool]
            .members
            .iter()
            .map(|(name, node)| (name, *node))
            .filter(move |(_, node)| {
                wanted.is_none_or(|wanted| self.nodes[*node].satisfies(wanted, &self.symbols))
            })
    }
}
