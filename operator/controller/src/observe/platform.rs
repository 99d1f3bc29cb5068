//! Statuses of what the platform team wrote, clusters, power domains and budgets: written when what they say changed, and no
//! more often than every few seconds.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ampacity_api::member_cluster::{AcceleratorCount, MAX_ACCELERATORS};
use ampacity_api::{
    ConditionReason, ConditionType, MemberCluster, Placement, PowerBudget, PowerDomain,
};
use ampacity_placement::PowerUsage;
use jiff::Timestamp;
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cluster_status::{cluster_status, worth_writing};
use super::event::{Change, Story};
use super::power_status::{budget_status, domain_status};
use crate::runtime::{HUB_CLUSTER, Operator, Then};
use crate::state::State;

/// These writes have a limit of their own.
const HUB_PLATFORM: &str = "(hub report)";

/// Writes the statuses that changed.
pub fn write_platform_statuses(operator: &mut Operator, now: Timestamp) {
    let clusters: Vec<MemberCluster> = operator.state.hub.clusters.values().cloned().collect();
    for cluster in clusters {
        let name = cluster.name_any();
        let Some(member) = operator.state.members.get(&name) else {
            continue;
        };
        let domain = cluster.spec.power_domain_ref.as_ref();
        let domains = &operator.state.hub.power_domains;
        let unknown = domain.filter(|domain| domains.named(&domain.name).is_none());
        let unknown = unknown.map(|domain| domain.name.clone());
        let devices = accelerators(&operator.state, &name);
        let is_leaving = cluster.metadata.deletion_timestamp.is_some();
        let here = |p: &&Placement| is_leaving && p.spec.cluster == name;
        let left = operator.state.hub.placements.values().filter(here).count();
        let next = cluster_status(&cluster, member, devices, unknown.as_deref(), left, now);
        if worth_writing(cluster.status.as_ref(), &next, now) {
            write(
                operator,
                MemberCluster {
                    status: Some(next),
                    ..cluster
                },
            );
        }
    }
    write_power_statuses(operator, now);
}

fn accelerators(state: &State, cluster: &str) -> Vec<AcceleratorCount> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let devices = state.fleet.devices(cluster);
    let count_of = |(name, devices): (String, ampacity_placement::DeviceCount)| AcceleratorCount {
        accelerator_type: name,
        devices: count(devices.total),
        free: count(devices.free),
    };
    devices
        .into_iter()
        .take(MAX_ACCELERATORS)
        .map(count_of)
        .collect()
}

fn write_power_statuses(operator: &mut Operator, now: Timestamp) {
    let usage = by_name(operator.state.fleet.domain_usage());
    let domains: Vec<PowerDomain> = operator.state.hub.power_domains.values().cloned().collect();
    for domain in domains {
        let usage = usage.get(&domain.name_any());
        let clusters = &operator.state.hub.clusters;
        let is_cluster = |name: &str| clusters.named(name).is_some();
        let issues = &operator.state.fact_issues.power;
        let next = domain_status(&domain, usage, issues, is_cluster, now);
        tell_overload(
            operator,
            &domain,
            domain.status.as_ref().map(|s| s.conditions.as_slice()),
            &next.conditions,
        );
        if domain.status.as_ref() != Some(&next) {
            write(
                operator,
                PowerDomain {
                    status: Some(next),
                    ..domain
                },
            );
        }
    }
    let usage = by_name(operator.state.fleet.budget_usage());
    let budgets: Vec<PowerBudget> = operator.state.hub.power_budgets.values().cloned().collect();
    for budget in budgets {
        let usage = usage.get(&budget.name_any());
        let next = budget_status(&budget, usage, &operator.state.fact_issues.power, now);
        tell_overload(
            operator,
            &budget,
            budget.status.as_ref().map(|s| s.conditions.as_slice()),
            &next.conditions,
        );
        if budget.status.as_ref() != Some(&next) {
            write(
                operator,
                PowerBudget {
                    status: Some(next),
                    ..budget
                },
            );
        }
    }
}

fn by_name(usage: Vec<PowerUsage>) -> BTreeMap<String, PowerUsage> {
    let named = usage.into_iter().map(|usage| (usage.name.clone(), usage));
    named.collect()
}

/// An event where more is reserved than may be drawn, when it begins.
fn tell_overload<K: Resource<DynamicType = ()>>(
    operator: &Operator,
    object: &K,
    before: Option<&[Condition]>,
    after: &[Condition],
) {
    let change = Change {
        before: before.unwrap_or_default(),
        after,
    };
    if !change.became_true(ConditionType::Overloaded) {
        return;
    }
    if let Some(now) = change.now(ConditionType::Overloaded, ConditionReason::OverLimit) {
        let mut story = Story::default();
        story.warning(ConditionReason::OverLimit, "Observe", now.message.clone());
        for happening in story.happenings {
            operator.recorder.record(object.object_ref(&()), happening);
        }
    }
}

fn write<K>(operator: &mut Operator, object: K)
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (hub, name) = (operator.hub.clone(), object.name_any());
    let key = format!("report/{}/{name}", K::kind(&()));
    operator.start(HUB_PLATFORM, key, async move {
        let written = Api::<K>::all(hub)
            .replace_status(&name, &PostParams::default(), &object)
            .await;
        Box::new(move |operator: &mut Operator| {
            operator.metrics.called("write report", written.is_ok());
            if let Err(error) = written {
                tracing::debug!(cluster = HUB_CLUSTER, %name, %error, "report not written; the next one will be");
            }
        }) as Then
    });
}
