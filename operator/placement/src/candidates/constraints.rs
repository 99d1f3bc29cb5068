//! Hard constraints, each in one place: the test and the typed reason.
//!
//! ```text
//!   job ─► alternative_refusal ─► cluster_refusal ─► group_refusal ─► pool_refusal ─► limits_refusal
//!          what it asks for       where              how it is paid   taints, price    deadline, budget
//! ```
//!
//! A candidate is what is refused nowhere here; the verdict on a job calls the same functions and says what they say. What a
//! node has left (devices, CPU, memory, labels) and what breakers carry is counted where nodes are chosen.

use super::demand::gang_size;
use super::quote::Quote;
use crate::arena::{GroupIndex, PoolIndex};
use crate::fleet::{Cluster, Fleet, GroupKey, Pool};
use crate::model::{Alternative, JobSpec, Kind, MicroUsd, Reason, Taint, TaintEffect, Work};

/// What is wrong with a job, so that no fleet could place it.
pub(crate) fn invalid(job: &JobSpec) -> Option<String> {
    if job.alternatives.is_empty() {
        return Some("the job has no alternatives; give at least one".into());
    }
    if job.alternatives.iter().all(|a| a.devices_per_replica == 0) {
        return Some("every alternative asks for 0 devices; ask for at least 1".into());
    }
    let Kind::Training { work, .. } = &job.kind else {
        return None;
    };
    if job
        .alternatives
        .iter()
        .all(|a| a.devices_per_replica == 0 || a.replicas == 0)
    {
        return Some("every alternative asks for 0 replicas; ask for at least 1".into());
    }
    match work {
        Work::UnitsMicro(units) if *units <= 0 => {
            Some("the work is not positive; give work.units above 0".into())
        }
        Work::DurationSeconds(seconds) if *seconds <= 0 => {
            Some("the duration is not positive; give estimatedDurationSeconds above 0".into())
        }
        _ => None,
    }
}

/// Why an alternative that takes so long can run nowhere; `None` when it can.
pub(crate) fn alternative_refusal(
    job: &JobSpec,
    alternative: &Alternative,
    duration: Option<i64>,
) -> Option<Reason> {
    if matches!(job.kind, Kind::Training { .. }) && duration.is_none() {
        return Some(Reason::NoThroughput);
    }
    if alternative.devices_per_replica == 0 || gang_size(job, alternative) == 0 {
        let message = "the alternative asks for no devices or no replicas; ask for at least 1";
        return Some(Reason::Invalid {
            message: message.into(),
        });
    }
    None
}

/// Why a cluster takes none of a job; `None` when it may.
pub(crate) fn cluster_refusal(job: &JobSpec, cluster: &Cluster) -> Option<Reason> {
    let Some(spec) = &cluster.spec else {
        return Some(Reason::ClusterUnreachable);
    };
    if !job.clusters.matches(&spec.labels) {
        Some(Reason::ClusterNotSelected)
    } else if !spec.allowed_namespaces.is_empty()
        && !spec.allowed_namespaces.contains(&job.namespace)
    {
        Some(Reason::NamespaceNotAllowed)
    } else if !spec.reachable {
        Some(Reason::ClusterUnreachable)
    } else if job.excluded_clusters.contains(&spec.name) {
        Some(Reason::ClusterAvoided)
    } else {
        None
    }
}

/// Why a job may use nothing of a group; `None` when it may.
pub(crate) fn group_refusal(job: &JobSpec, group: &GroupKey) -> Option<Reason> {
    let capacity_type = group.capacity_type;
    if job.capacity_types.contains(&capacity_type) {
        return None;
    }
    Some(Reason::CapacityTypeNotAllowed { capacity_type })
}

/// Why an alternative may not use a pool. In the order in which it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PoolRefusal<'a> {
    /// The pod does not tolerate this.
    Taint(&'a Taint),
    /// The job has a budget and the pool no price.
    Unpriced,
    /// No node has enough of another resource for one replica.
    Resource {
        /// Its name.
        name: &'a str,
        /// What one replica needs.
        each: u64,
    },
    /// Nodes are one unit each, and a replica asks for another number of devices than they have.
    OneUnit {
        /// Devices that a replica asks for.
        asked: u32,
        /// Devices of a node.
        node: u32,
    },
}

impl PoolRefusal<'_> {
    /// Place of the constraint in the order in which they are asked.
    pub(crate) fn constraint(self) -> u8 {
        match self {
            Self::Taint(_) => 0,
            Self::Unpriced => 1,
            Self::Resource { .. } => 2,
            Self::OneUnit { .. } => 3,
        }
    }

    /// The reason, where so many nodes are kept out by it and the others have devices for `fitting` of `needed` replicas.
    pub(crate) fn reason(self, nodes: u64, needed: u64, fitting: u64) -> Reason {
        match self {
            Self::Resource { name, each } => Reason::InsufficientResource {
                resource: name.to_owned(),
                needed,
                fitting,
                each,
            },
            Self::OneUnit { asked, node } => Reason::NodeIsOneUnit {
                devices_per_replica: asked,
                node_devices: node,
                nodes,
            },
            Self::Taint(taint) => Reason::TaintNotTolerated {
                taint: taint_text(taint),
                nodes,
            },
            Self::Unpriced => Reason::Unpriced,
        }
    }
}

/// The first reason why an alternative may not use a pool, whatever is free there; `None` when it may.
pub(crate) fn pool_refusal<'a>(
    job: &JobSpec,
    alternative: &'a Alternative,
    pool: &'a Pool,
) -> Option<PoolRefusal<'a>> {
    let pod = &alternative.pod;
    let untolerated = pool.key.taints.iter().find(|taint| {
        !pool.key.taint_keys.contains(&taint.key)
            && !pod.tolerations.iter().any(|t| t.tolerates(taint))
    });
    if let Some(taint) = untolerated {
        return Some(PoolRefusal::Taint(taint));
    }
    let limited = job.budget.max_usd.is_some() || job.budget.max_usd_per_hour.is_some();
    if limited && pool.key.price.is_unpriced() {
        return Some(PoolRefusal::Unpriced);
    }
    if let Some((name, each)) = pool.key.lacks(&pod.other) {
        return Some(PoolRefusal::Resource { name, each });
    }
    let asked = alternative.devices_per_replica;
    let is_other = pool.key.whole_node && pool.key.devices != asked;
    is_other.then_some(PoolRefusal::OneUnit {
        asked,
        node: pool.key.devices,
    })
}

/// Seconds by which work of this duration would miss the deadline if it started now, if any.
pub(crate) fn late_seconds(job: &JobSpec, duration: Option<i64>, now_seconds: i64) -> Option<i64> {
    let Kind::Training {
        deadline_seconds: Some(deadline),
        ..
    } = job.kind
    else {
        return None;
    };
    let late = now_seconds
        .saturating_add(duration?)
        .saturating_sub(deadline);
    (late > 0).then_some(late)
}

/// Why a quote is beyond the job's own limits, an hour costing so much in all; `None` when it is within.
pub(crate) fn limits_refusal(
    job: &JobSpec,
    quote: &Quote,
    usd_per_hour: MicroUsd,
    now_seconds: i64,
) -> Option<Reason> {
    if let Some(late_seconds) = late_seconds(job, quote.duration_seconds, now_seconds) {
        return Some(Reason::DeadlineMissed { late_seconds });
    }
    if let Some(limit) = job.budget.max_usd_per_hour
        && usd_per_hour > limit
    {
        return Some(Reason::HourlyBudgetExceeded {
            needed_usd_per_hour: usd_per_hour,
            limit_usd_per_hour: limit,
        });
    }
    if let Some(limit) = job.budget.max_usd
        && quote.total() > limit
        && matches!(job.kind, Kind::Training { .. })
    {
        return Some(Reason::DollarBudgetExceeded {
            needed_usd: quote.total(),
            limit_usd: limit,
        });
    }
    None
}

/// Whether a gang's quote is within the job's own limits.
pub(crate) fn is_within_limits(job: &JobSpec, quote: &Quote, now_seconds: i64) -> bool {
    limits_refusal(job, quote, quote.per_hour(), now_seconds).is_none()
}

impl Fleet {
    /// The pools of a group that an alternative may use.
    pub(crate) fn admitted(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
    ) -> Vec<PoolIndex> {
        self.groups[group]
            .pools
            .iter()
            .copied()
            .filter(|&pool| self.admits(job, alternative, pool))
            .collect()
    }

    /// Whether an alternative may use a pool, and a node of it could hold a replica.
    pub(crate) fn admits(&self, job: &JobSpec, alternative: &Alternative, pool: PoolIndex) -> bool {
        let pool = &self.pools[pool];
        pool.nodes() > 0
            && pool.key.devices >= alternative.devices_per_replica
            && pool_refusal(job, alternative, pool).is_none()
    }
}

/// `key=value:Effect`.
fn taint_text(taint: &Taint) -> String {
    let effect = match taint.effect {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
    };
    if taint.value.is_empty() {
        format!("{}:{effect}", taint.key)
    } else {
        format!("{}={}:{effect}", taint.key, taint.value)
    }
}
