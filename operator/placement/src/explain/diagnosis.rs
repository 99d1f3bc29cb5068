//! The binding constraint of one alternative on one group: the first whose lifting nothing before it could replace.

use crate::arena::GroupIndex;
use crate::candidates::group_refusal;
use crate::fleet::Fleet;
use crate::model::{Alternative, JobSpec, Kind, Reason};
use crate::nodes::{NodeRequest, Shortfall, total};

/// Why an alternative was not taken on a group.
#[derive(Clone, Debug)]
pub(crate) struct Diagnosis {
    /// Position of the alternative.
    pub(crate) alternative: usize,
    /// Group.
    pub(crate) group: GroupIndex,
    /// Why.
    pub(crate) reason: Reason,
}

impl Fleet {
    /// The binding constraint of one alternative on one group; where none is found, that the devices that are free do not do.
    pub(crate) fn diagnose(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
        shortfall: Shortfall,
        now_seconds: i64,
    ) -> Reason {
        self.binding_constraint(job, alternative, group, shortfall, now_seconds)
            .unwrap_or_else(|| self.too_few(&self.request_of(job, alternative, group, shortfall)))
    }

    /// The binding constraint of one alternative on one group: the first whose lifting nothing before it could replace. `None`
    /// where there is room.
    pub(crate) fn binding_constraint(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
        shortfall: Shortfall,
        now_seconds: i64,
    ) -> Option<Reason> {
        if let Some(reason) = group_refusal(job, &self.groups[group].key) {
            return Some(reason);
        }
        let needed = shortfall.of(job, alternative);
        if let Some(reason) = self.diagnose_devices(job, alternative, group, needed) {
            return Some(reason);
        }
        let request = self.request_of(job, alternative, group, shortfall);
        self.diagnose_nodes(job, &request)
            .or_else(|| self.diagnose_power(job, &request))
            .or_else(|| self.diagnose_money(job, alternative, &request, shortfall, now_seconds))
            .or(match job.kind {
                Kind::Inference {
                    spread: Some(spread),
                    ..
                } => Some(Reason::SpreadExceeded {
                    level: spread.by,
                    max_skew: spread.max_skew,
                }),
                _ => None,
            })
    }

    /// Limits on watts that bind beside the one that was named.
    pub(super) fn other_power_limits(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
        shortfall: Shortfall,
        named: &Reason,
    ) -> Vec<Reason> {
        if !is_power(named) {
            return Vec::new();
        }
        let request = self.request_of(job, alternative, group, shortfall);
        let mut others = self.power_limits(job, &request);
        others.retain(|reason| reason != named);
        others
    }

    /// What is asked of the nodes of a group that the job admits.
    fn request_of<'a>(
        &self,
        job: &JobSpec,
        alternative: &'a Alternative,
        group: GroupIndex,
        shortfall: Shortfall,
    ) -> NodeRequest<'a> {
        let mut pools = self.admitted(job, alternative, group);
        pools.sort_unstable();
        let needed = shortfall.of(job, alternative);
        self.node_request(alternative, group, needed, Some(pools))
    }

    /// Whether watts are what keeps a gang's alternative from a group.
    pub(crate) fn lacks_watts(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
        now_seconds: i64,
    ) -> bool {
        let reason = self.diagnose(job, alternative, group, Shortfall::default(), now_seconds);
        is_power(&reason)
            && !matches!(
                reason,
                Reason::UnknownPowerDomain { .. } | Reason::PowerDomainClosed { .. }
            )
    }

    /// Nothing that is looked at explains it: told in devices where these are short, else in replicas.
    fn too_few(&self, request: &NodeRequest<'_>) -> Reason {
        let needed = request.replicas.saturating_mul(u64::from(request.devices));
        let available = self.cells.get(self.groups[request.group].root).free_devices;
        if available < needed {
            return Reason::InsufficientDevices { needed, available };
        }
        Reason::Fragmented {
            needed: request.replicas,
            fitting: total(&self.fill(request)).min(request.replicas.saturating_sub(1)),
            available,
        }
    }
}

fn is_power(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::PowerDomainExceeded { .. }
            | Reason::PowerBudgetExceeded { .. }
            | Reason::UnknownPowerDomain { .. }
            | Reason::PowerDomainClosed { .. }
    )
}
