//! The smallest change that would place a job: each is tried on the fleet, and only one that works is named.

use super::candidate::gang_size;
use crate::arena::{GroupIndex, PoolIndex};
use crate::fleet::{Fleet, PowerLimit};
use crate::model::{CapacityType, Fix, JobSpec, Kind, Level, MicroUsd, PlanOptions, Watts};

/// Most limits on the way up that are raised one after another for one fix.
const MOST_RAISES: usize = 4;

impl Fleet {
    /// The first of these that places the job: a wider topology level, another capacity type, a raised budget or deadline,
    /// a raised power limit, more nodes.
    pub(crate) fn smallest_fix(&mut self, job: &JobSpec, missing: u32, options: &PlanOptions) -> Option<Fix> {
        let job = &rest_of(job, missing);
        self.relaxed_topology(job, options)
            .or_else(|| self.allowed_capacity_type(job, options))
            .or_else(|| self.raised_budget(job, options))
            .or_else(|| self.raised_power(job, options))
            .or_else(|| self.added_nodes(job))
    }

    fn would_place(&mut self, job: &JobSpec, options: &PlanOptions) -> bool {
        match job.kind {
            Kind::Training { .. } => {
                self.prepare(job);
                self.best_gang(job, options.now_seconds).is_some()
            }
            Kind::Inference { .. } => {
                let filled = self.place_replicas(job);
                for decision in &filled.decisions {
                    self.release(&decision.reservation.key);
                }
                filled.missing == 0
            }
        }
    }

    fn relaxed_topology(&mut self, job: &JobSpec, options: &PlanOptions) -> Option<Fix> {
        if !matches!(job.kind, Kind::Training { .. }) {
            return None;
        }
        Level::ALL.into_iter().filter(|level| *level > job.topology.required).find_map(|to| {
            let mut wider = job.clone();
            wider.topology.required = to;
            self.would_place(&wider, options).then_some(Fix::RelaxTopology { to })
        })
    }

    fn allowed_capacity_type(&mut self, job: &JobSpec, options: &PlanOptions) -> Option<Fix> {
        CapacityType::ALL.into_iter().filter(|t| !job.capacity_types.contains(t)).find_map(|capacity_type| {
            let mut wider = job.clone();
            wider.capacity_types.push(capacity_type);
            self.would_place(&wider, options).then_some(Fix::AllowCapacityType { capacity_type })
        })
    }

    fn raised_budget(&mut self, job: &JobSpec, options: &PlanOptions) -> Option<Fix> {
        if let Kind::Inference { .. } = job.kind {
            return None;
        }
        let mut free = job.clone();
        let tried = |fleet: &mut Self, free: &JobSpec| {
            fleet.prepare(free);
            fleet.best_gang(free, options.now_seconds).map(|found| found.quote)
        };
        if job.budget.max_usd.is_some() {
            free.budget.max_usd = None;
            if let Some(quote) = tried(self, &free) {
                return Some(Fix::RaiseMaxUsd { to: quote.total() });
            }
            free.budget.max_usd = job.budget.max_usd;
        }
        if job.budget.max_usd_per_hour.is_some() {
            free.budget.max_usd_per_hour = None;
            if let Some(quote) = tried(self, &free) {
                return Some(Fix::RaiseMaxUsdPerHour { to: MicroUsd(quote.usd_per_hour) });
            }
            free.budget.max_usd_per_hour = job.budget.max_usd_per_hour;
        }
        let mut late = free;
        let Kind::Training { deadline_seconds, .. } = &mut late.kind else { return None };
        let deadline = deadline_seconds.take()?;
        let quote = tried(self, &late)?;
        let end = options.now_seconds.saturating_add(quote.duration_seconds?);
        Some(Fix::ExtendDeadline { by_seconds: end.saturating_sub(deadline) })
    }

    fn raised_power(&mut self, job: &JobSpec, options: &PlanOptions) -> Option<Fix> {
        let shortages = self.shortages(job);
        for (limit, by) in shortages {
            let mut raised = 0_i64;
            let mut worked = false;
            let mut step = by;
            for _ in 0..MOST_RAISES {
                self.power.shift_limit(&limit, step);
                raised = raised.saturating_add(step);
                if self.would_place(job, options) {
                    worked = true;
                    break;
                }
                let next = self.shortages(job).into_iter().find(|(other, _)| *other == limit);
                let Some((_, more)) = next else { break };
                step = more;
            }
            self.power.shift_limit(&limit, -raised);
            if worked {
                let by_watts = Watts(raised);
                return Some(match limit {
                    PowerLimit::Domain(domain) => Fix::RaisePowerDomain { domain, by_watts },
                    PowerLimit::Budget(budget) => Fix::RaisePowerBudget { budget, by_watts },
                });
            }
        }
        None
    }

    /// Limits that stand in the way, with the watts missing there, least first.
    fn shortages(&self, job: &JobSpec) -> Vec<(PowerLimit, i64)> {
        let mut found = Vec::new();
        let open = self.open(job);
        for alternative in job.alternatives.iter().filter(|a| a.devices_per_replica > 0) {
            let replicas = match job.kind {
                Kind::Inference { replicas, .. } => u64::from(replicas),
                Kind::Training { .. } => gang_size(job, alternative),
            };
            for group in self.groups_for(&alternative.accelerator) {
                if !open.contains(&self.cluster_of(group)) || !job.capacity_types.contains(&self.groups[group].key.capacity_type) {
                    continue;
                }
                let want = self.want(alternative, group, replicas, Some(self.admitted(job, alternative, group)));
                let watts = want
                    .watts_each
                    .saturating_mul(i64::from(want.devices))
                    .saturating_mul(i64::try_from(replicas).unwrap_or(i64::MAX));
                let shortage = self.power.queue_shortage(&job.queue, watts).or_else(|| self.power_shortage(job, &want));
                if let Some(shortage) = shortage {
                    let by = shortage.needed.0.saturating_sub(shortage.headroom.0).max(1);
                    if !found.iter().any(|(limit, _)| *limit == shortage.limit) {
                        found.push((shortage.limit, by));
                    }
                }
            }
        }
        found.sort_by_key(|(_, by)| *by);
        found
    }

    /// Nodes like those of a pool, the fewest that bring the room that is missing. Nodes of the pool are taken as the
    /// measure: empty, healthy, and fed by power that is not short.
    fn added_nodes(&mut self, job: &JobSpec) -> Option<Fix> {
        let mut best: Option<(u64, String, String)> = None;
        let open = self.open(job);
        for alternative in job.alternatives.iter().filter(|a| a.devices_per_replica > 0) {
            let replicas = match job.kind {
                Kind::Inference { replicas, .. } => u64::from(replicas),
                Kind::Training { .. } => gang_size(job, alternative),
            };
            for group in self.groups_for(&alternative.accelerator) {
                if !open.contains(&self.cluster_of(group)) || !job.capacity_types.contains(&self.groups[group].key.capacity_type) {
                    continue;
                }
                for pool in self.admitted(job, alternative, group) {
                    let (nodes, name) = self.nodes_missing(group, pool, alternative.devices_per_replica, replicas);
                    let cluster = self.clusters[self.cluster_of(group)].name.to_string();
                    let candidate = (nodes, cluster, name);
                    if nodes > 0 && best.as_ref().is_none_or(|old| candidate < *old) {
                        best = Some(candidate);
                    }
                }
            }
        }
        best.map(|(nodes, cluster, pool)| Fix::AddNodes { cluster, pool, nodes })
    }

    fn nodes_missing(&self, group: GroupIndex, pool: PoolIndex, devices: u32, replicas: u64) -> (u64, String) {
        let key = &self.pools[pool].key;
        let per_node = u64::from(key.devices / devices.max(1)).max(1);
        let fitting = self.cells.get(self.groups[group].root).capacity(devices, |p| p == pool);
        let name = if key.instance_type.is_empty() { &self.groups[group].key.accelerator_type } else { &key.instance_type };
        (replicas.saturating_sub(fitting).div_ceil(per_node), name.to_string())
    }
}

/// The part of a job that has no place yet.
fn rest_of(job: &JobSpec, missing: u32) -> JobSpec {
    let mut rest = job.clone();
    if let Kind::Inference { replicas, .. } = &mut rest.kind {
        *replicas = missing;
    }
    rest
}
