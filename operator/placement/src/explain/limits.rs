//! Which limit on watts or dollars a job would break on a group.

use crate::arena::PoolIndex;
use crate::candidates::{Quote, Use, duration_seconds, limits_refusal};
use crate::fleet::{Fleet, PowerLimit, PowerShortage};
use crate::model::{Alternative, DollarBudget, JobSpec, Kind, Level, MicroUsd, Reason};
use crate::nodes::{Missing, Want};

impl Fleet {
    pub(super) fn diagnose_power(&self, job: &JobSpec, want: &Want<'_>) -> Option<Reason> {
        let watts = want
            .watts_each
            .saturating_mul(i64::from(want.devices))
            .saturating_mul(i64::try_from(want.replicas).unwrap_or(i64::MAX));
        if let Some(shortage) = self.power.queue_shortage(&job.queue, watts) {
            return Some(power_reason(shortage));
        }
        let required = match job.kind {
            Kind::Training { .. } => job.topology.required,
            Kind::Inference { .. } => Level::Cluster,
        };
        if self.choose(want, required).is_some() {
            return None;
        }
        let unpowered = Want {
            watts_each: 0,
            ..want.clone()
        };
        let picks = self.choose(&unpowered, required)?;
        self.power
            .shortage(&self.loads(want, &picks))
            .map(power_reason)
    }

    /// What it would cost, at the cheapest of the admitted prices that have room, or about so.
    fn likely_quote(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        want: &Want<'_>,
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
            want.group,
            duration,
            &mut candidates,
        );
        let cluster = &self.clusters[self.cluster_of(want.group)].name;
        let picks = candidates
            .iter()
            .find_map(|candidate| {
                let pools: Vec<PoolIndex> = candidate
                    .pools
                    .clone()
                    .unwrap_or_else(|| {
                        let mut all = self.groups[want.group].pools.clone();
                        all.sort_unstable();
                        all
                    })
                    .into_iter()
                    .filter(|&pool| want.admits(pool))
                    .collect();
                let tried = Want {
                    pools: Some(pools),
                    ranks: candidate.ranks.clone(),
                    ..want.clone()
                };
                self.choose(&tried, required)
            })
            .or_else(|| self.choose(want, required))?;
        let uses: Vec<Use> = self.uses(&picks, want.devices);
        Some(self.quote(job, cluster, &uses, want.watts_each, duration))
    }

    pub(super) fn diagnose_money(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        want: &Want<'_>,
        missing: Missing,
        now_seconds: i64,
    ) -> Option<Reason> {
        let quote = self.likely_quote(job, alternative, want)?;
        let hour =
            quote.per_hour() + MicroUsd(missing.spent_per_hour) + job.kind.placed_usd_per_hour();
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
        PowerLimit::Budget(budget) => Reason::PowerBudgetExceeded {
            budget,
            needed_watts: shortage.needed,
            headroom_watts: shortage.headroom,
        },
    }
}
