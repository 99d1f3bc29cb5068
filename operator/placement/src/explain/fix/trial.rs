//! One trial: whether a job would have room on a group.

use std::sync::Arc;

use crate::arena::{GroupIndex, NodeIndex, PoolIndex};
use crate::candidates::{duration_seconds, group_refusal, requirement};
use crate::fleet::Fleet;
use crate::model::{Alternative, JobSpec, Kind, MicroUsd};
use crate::nodes::Missing;

/// Most nodes that are put in, restored or freed for one try.
pub(super) const MOST_NODES: u64 = 4096;

/// A job on one group.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) job: &'a JobSpec,
    pub(super) at: usize,
    pub(super) alternative: &'a Alternative,
    pub(super) group: GroupIndex,
    pub(super) missing: Missing,
    pub(super) now_seconds: i64,
}

impl Fleet {
    /// Whether the job has room on the group as things are.
    pub(super) fn fits(&mut self, case: Case<'_>) -> bool {
        let Case {
            job,
            alternative,
            group,
            ..
        } = case;
        if group_refusal(job, &self.groups[group].key).is_some() {
            return false;
        }
        match &job.kind {
            Kind::Training { .. } => {
                let duration = duration_seconds(&job.kind, alternative);
                let mut candidates = Vec::new();
                self.on_group(job, case.at, alternative, group, duration, &mut candidates);
                duration.is_some()
                    && candidates
                        .iter()
                        .any(|c| self.try_candidate(job, c, case.now_seconds).is_some())
            }
            // Placed as the planner would and taken back: which nodes it takes decides which watts are short.
            Kind::Inference {
                spread: Some(_), ..
            } => false,
            Kind::Inference { .. } => {
                let mut rest = job.clone();
                if let Kind::Inference { replicas, .. } = &mut rest.kind {
                    *replicas = case.missing.replicas;
                }
                if let Some(most) = &mut rest.budget.max_usd_per_hour {
                    *most -= MicroUsd(case.missing.spent_per_hour);
                }
                let filled = self.place_replicas(&rest);
                for decision in &filled.decisions {
                    self.release(&decision.reservation.key);
                }
                filled.missing == 0
            }
        }
    }

    pub(super) fn fits_changed(
        &mut self,
        case: Case<'_>,
        change: impl FnOnce(&mut JobSpec),
    ) -> bool {
        let mut job = case.job.clone();
        change(&mut job);
        self.fits(Case { job: &job, ..case })
    }

    /// Nodes of the group that the job may use, by name.
    pub(super) fn own_nodes(&self, case: Case<'_>) -> Vec<NodeIndex> {
        let mut nodes: Vec<(&Arc<str>, NodeIndex)> = self
            .admitted(case.job, case.alternative, case.group)
            .into_iter()
            .flat_map(|pool| self.selected(case.alternative, pool))
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
