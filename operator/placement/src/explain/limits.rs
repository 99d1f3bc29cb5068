//! Which limit on watts or dollars a job would break on a group.

use crate::arena::PoolIndex;
use crate::candidates::{PoolUse, Quote, duration_seconds, limits_refusal};
use crate::fleet::{Fleet, PowerLimit, PowerShortage};
use crate::model::{Alternative, DollarBudget, JobSpec, Kind, Level, MicroUsd, Reason};
use crate::nodes::{NodeRequest, Shortfall};

impl Fleet {
    /// The worst limit on watts that keeps a job from a group.
    pub(super) fn diagnose_power(
        &self,
        job: &JobSpec,
        request: &NodeRequest<'_>,
    ) -> Option<Reason> {
        self.power_limits(job, request).into_iter().next()
    }

    /// Every limit on watts that a job would break on a group, the worst first: of two feeds that each carry the whole load
    /// both may be too small.
    pub(super) fn power_limits(&self, job: &JobSpec, request: &NodeRequest<'_>) -> Vec<Reason> {
        let watts = request
            .watts_each
            .saturating_mul(i64::from(request.devices))
            .saturating_mul(i64::try_from(request.replicas).unwrap_or(i64::MAX));
        if let Some(shortage) = self.power.queue_shortage(&job.queue, watts) {
            return vec![power_reason(shortage)];
        }
        let required = match job.kind {
            Kind::Training { .. } => job.topology.required,
            Kind::Inference { .. } => Level::Cluster,
        };
        if self.choose(request, required).is_some() {
            return Vec::new();
        }
        let unpowered = NodeRequest {
            watts_each: 0,
            ..request.clone()
        };
        let Some(allocations) = self.choose(&unpowered, required) else {
            return Vec::new();
        };
        let broken = self.power.shortages(&self.loads(request, &allocations));
        broken.into_iter().map(power_reason).collect()
    }

    /// What it would cost, at the cheapest of the admitted prices that have room, or about so.
    fn likely_quote(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        request: &NodeRequest<'_>,
    ) -> Option<Quote> {
        let required = match job.kind {
            Kind::Training { .. } => job.topology.required,
            Kind::Inference { .. } => Level::Cluster,
        };
        let duration = duration_seconds(&job.kind, alternative);
        // The cheapest prefix of prices that holds it, as the planner would take it.
        let mut free = job.clone();
        free.budget = DollarBudget::default();
        let mut candidates = Vec::new();
        let at = job.alternatives.iter().position(|a| a == alternative)?;
        self.on_group(
            &free,
            at,
            alternative,
            request.group,
            duration,
            &mut candidates,
        );
        let cluster = &self.clusters[self.cluster_of(request.group)].name;
        let allocations = candidates
            .iter()
            .find_map(|candidate| {
                let pools: Vec<PoolIndex> = candidate
                    .pools
                    .clone()
                    .unwrap_or_else(|| {
                        let mut all = self.groups[request.group].pools.clone();
                        all.sort_unstable();
                        all
                    })
                    .into_iter()
                    .filter(|&pool| request.admits(pool))
                    .collect();
                let tried = NodeRequest {
                    pools: Some(pools),
                    ranks: candidate.ranks.clone(),
                    ..request.clone()
                };
                self.choose(&tried, required)
            })
            .or_else(|| self.choose(request, required))?;
        let uses: Vec<PoolUse> = self.uses(&allocations, request.devices);
        Some(self.quote(job, cluster, &uses, request.watts_each, duration))
    }

    pub(super) fn diagnose_money(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        request: &NodeRequest<'_>,
        shortfall: Shortfall,
        now_seconds: i64,
    ) -> Option<Reason> {
        let quote = self.likely_quote(job, alternative, request)?;
        let hour =
            quote.per_hour() + MicroUsd(shortfall.spent_per_hour) + job.kind.placed_usd_per_hour();
        limits_refusal(job, &quote, hour, now_seconds)
    }
}

fn power_reason(shortage: PowerShortage) -> Reason {
    match shortage.limit {
        PowerLimit::Domain(domain) => Reason::PowerDomainExceeded {
            domain,
            needed_watts: shortage.needed,
            headroom_watts: shortage.headroom,
        },
        PowerLimit::Missing(domain) => Reason::UnknownPowerDomain {
            domain,
            needed_watts: shortage.needed,
        },
        PowerLimit::Closed(domain, why) => Reason::PowerDomainClosed {
            domain,
            why,
            needed_watts: shortage.needed,
        },
        PowerLimit::Budget(budget) => Reason::PowerBudgetExceeded {
            budget,
            needed_watts: shortage.needed,
            headroom_watts: shortage.headroom,
        },
    }
}
