//! Statuses of clusters, power domains and budgets: written when what they say changed, and no more often than every few
//! seconds.

use std::fmt::Debug;

use ampacity_api::conditions::{ConditionStatus, NewCondition};
use ampacity_api::member_cluster::{AcceleratorCount, MAX_ACCELERATORS};
use ampacity_api::{
    ConditionReason, ConditionType, MemberCluster, MemberClusterStatus, PowerBudget,
    PowerBudgetStatus, PowerDomain, PowerDomainStatus, set_condition,
};
use ampacity_placement::{PowerIssue, PowerUsage};
use jiff::Timestamp;
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::operator::{Operator, Then};
use crate::world::{Member, Reach};

/// Longest that `lastSeenTime` of a member may be out of date, in seconds.
const SEEN_EVERY_SECONDS: i64 = 60;
/// A watch that failed longer ago than this has been tried again since, and has not failed.
const WATCH_FAILURE_SECONDS: i64 = 30;
/// Most node notes that a condition's message repeats.
const MAX_NOTES: usize = 5;
const HUB_REPORT: &str = "(hub report)";

impl Operator {
    /// Writes the statuses that changed.
    pub(crate) fn report(&mut self, now: Timestamp) {
        let held = self
            .world
            .hub
            .placements
            .values()
            .filter(|p| p.metadata.deletion_timestamp.is_none());
        let (watts, usd) = held.fold((0_i64, 0_i64), |(watts, usd), p| {
            (
                watts.saturating_add(p.spec.watts),
                usd.saturating_add(p.spec.usd_per_hour.micros()),
            )
        });
        self.metrics
            .set_held(self.world.attempts.eligible_count(), watts, usd);
        let clusters: Vec<MemberCluster> = self.world.hub.clusters.values().cloned().collect();
        for cluster in clusters {
            let name = cluster.name_any();
            let Some(member) = self.world.members.get(&name) else {
                continue;
            };
            let next = cluster_status(&cluster, member, self.accelerators(&name), now);
            if worth_writing(cluster.status.as_ref(), &next, now) {
                self.write_report(MemberCluster {
                    status: Some(next),
                    ..cluster
                });
            }
        }
        self.report_power(now);
    }

    fn accelerators(&self, cluster: &str) -> Vec<AcceleratorCount> {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let devices = self.world.fleet.devices(cluster);
        let count_of =
            |(name, devices): (String, ampacity_placement::DeviceCount)| AcceleratorCount {
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

    fn report_power(&mut self, now: Timestamp) {
        let usage = self.world.fleet.domain_usage();
        let domains: Vec<PowerDomain> = self.world.hub.power_domains.values().cloned().collect();
        for domain in domains {
            let usage = usage.iter().find(|u| u.name == domain.name_any());
            let next = domain_status(&domain, usage, &self.fact_issues.power, now);
            if domain.status.as_ref() != Some(&next) {
                self.write_report(PowerDomain {
                    status: Some(next),
                    ..domain
                });
            }
        }
        let usage = self.world.fleet.budget_usage();
        let budgets: Vec<PowerBudget> = self.world.hub.power_budgets.values().cloned().collect();
        for budget in budgets {
            let usage = usage.iter().find(|u| u.name == budget.name_any());
            let next = budget_status(&budget, usage, &self.fact_issues.power, now);
            if budget.status.as_ref() != Some(&next) {
                self.write_report(PowerBudget {
                    status: Some(next),
                    ..budget
                });
            }
        }
    }

    fn write_report<K>(&mut self, object: K)
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
        let (hub, name) = (self.hub.clone(), object.name_any());
        let key = format!("report/{}/{name}", K::kind(&()));
        self.start(HUB_REPORT, key, async move {
            let written = Api::<K>::all(hub)
                .replace_status(&name, &PostParams::default(), &object)
                .await;
            Box::new(move |operator: &mut Operator| {
                operator.metrics.called("write report", written.is_ok());
                if let Err(error) = written {
                    tracing::debug!(%name, %error, "report not written; the next one will be");
                }
            }) as Then
        });
    }
}

fn worth_writing(
    old: Option<&MemberClusterStatus>,
    next: &MemberClusterStatus,
    now: Timestamp,
) -> bool {
    let Some(old) = old else { return true };
    let seen = old.last_seen_time.as_ref().map(|t| t.0.as_second());
    let stale = seen.is_none_or(|t| now.as_second() - t >= SEEN_EVERY_SECONDS)
        && next.last_seen_time != old.last_seen_time;
    stale
        || MemberClusterStatus {
            last_seen_time: old.last_seen_time.clone(),
            ..next.clone()
        } != *old
}

fn cluster_status(
    cluster: &MemberCluster,
    member: &Member,
    accelerators: Vec<AcceleratorCount>,
    now: Timestamp,
) -> MemberClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    status.observed_generation = cluster.metadata.generation;
    status.version = member.version.clone().or(status.version);
    status.last_seen_time = member.last_seen.map(Time).or(status.last_seen_time);
    if member.is_synced() {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        status.nodes = count(member.nodes.values().count());
        let ready = |n: &&crate::inventory::SlimNode| {
            !n.spec.unschedulable
                && n.status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == "Ready" && c.status == "True")
        };
        status.nodes_ready = count(member.nodes.values().filter(ready).count());
        let parts: Vec<String> = accelerators
            .iter()
            .map(|a| format!("{} {}/{}", a.accelerator_type, a.free, a.devices))
            .collect();
        status.summary = Some(shorten(&parts.join(", "), 1024));
        status.accelerators = accelerators;
    }
    let (answer, reason, message) = match &member.reach {
        Reach::Connecting => (
            ConditionStatus::Unknown,
            ConditionReason::Connecting,
            String::new(),
        ),
        Reach::Connected => match &member.watch_failed {
            Some((failure, at))
                if now.as_second() - at.as_second() < WATCH_FAILURE_SECONDS
                    && (!member.is_synced() || failure.is_refusal()) =>
            {
                (
                    ConditionStatus::False,
                    if failure.is_refusal() {
                        ConditionReason::Forbidden
                    } else {
                        ConditionReason::ConnectionFailed
                    },
                    failure.message.clone(),
                )
            }
            _ => (
                ConditionStatus::True,
                ConditionReason::Connected,
                String::new(),
            ),
        },
        Reach::Unreachable {
            reason, message, ..
        } => {
            let reason = match *reason {
                "SecretMissing" | "SecretForbidden" => ConditionReason::SecretMissing,
                "KubeconfigInvalid" => ConditionReason::KubeconfigInvalid,
                "Unauthorized" => ConditionReason::Unauthorized,
                "Forbidden" => ConditionReason::Forbidden,
                "UnsupportedVersion" => ConditionReason::UnsupportedVersion,
                _ => ConditionReason::ConnectionFailed,
            };
            (ConditionStatus::False, reason, message.clone())
        }
    };
    let reachable = NewCondition::new(ConditionType::Reachable, answer, reason)
        .message(shorten(&message, 1024))
        .observed_generation(cluster.metadata.generation);
    set_condition(&mut status.conditions, reachable, &Time(now));
    let notes: Vec<&String> = member.notes.values().flatten().collect();
    let valid = NewCondition::new(ConditionType::Valid, true, ConditionReason::Accepted)
        .message(notes_text(&notes))
        .observed_generation(cluster.metadata.generation);
    set_condition(&mut status.conditions, valid, &Time(now));
    status
}

/// The first few notes, and how many more there are.
fn notes_text(notes: &[&String]) -> String {
    let mut text = notes
        .iter()
        .take(MAX_NOTES)
        .map(|n| n.as_str())
        .collect::<Vec<_>>()
        .join("; ");
    if notes.len() > MAX_NOTES {
        text.push_str(&format!("; and {} more", notes.len() - MAX_NOTES));
    }
    shorten(&text, 2048)
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((end, _)) if text.len() > most => format!("{}…", text.get(..end).unwrap_or_default()),
        _ => text.to_owned(),
    }
}

fn domain_status(
    domain: &PowerDomain,
    usage: Option<&PowerUsage>,
    issues: &[PowerIssue],
    now: Timestamp,
) -> PowerDomainStatus {
    let name = domain.name_any();
    let mut status = domain.status.clone().unwrap_or_default();
    status.observed_generation = domain.metadata.generation;
    status.usable_watts = usage.map(|u| u.limit_watts.0);
    status.reserved_watts = usage.map(|u| u.reserved_watts.0);
    status.headroom_watts = usage.map(|u| u.headroom_watts().0);
    let issue = issues.iter().find_map(|issue| match issue {
        PowerIssue::UnknownParent { domain, .. } if *domain == name => {
            Some((ConditionReason::UnknownParent, issue))
        }
        PowerIssue::Cycle { domain, .. } if *domain == name => {
            Some((ConditionReason::Cycle, issue))
        }
        _ => None,
    });
    let ready = match issue {
        None => NewCondition::new(ConditionType::Ready, true, ConditionReason::InForce),
        Some((reason, issue)) => {
            NewCondition::new(ConditionType::Ready, false, reason).message(issue.to_string())
        }
    };
    set_condition(
        &mut status.conditions,
        ready.observed_generation(domain.metadata.generation),
        &Time(now),
    );
    status
}

fn budget_status(
    budget: &PowerBudget,
    usage: Option<&PowerUsage>,
    issues: &[PowerIssue],
    now: Timestamp,
) -> PowerBudgetStatus {
    let name = budget.name_any();
    let mut status = budget.status.clone().unwrap_or_default();
    status.observed_generation = budget.metadata.generation;
    status.reserved_watts = usage.map(|u| u.reserved_watts.0);
    status.headroom_watts = usage.map(|u| u.headroom_watts().0);
    let issue = issues
        .iter()
        .find(|issue| matches!(issue, PowerIssue::UnknownDomain { budget, .. } if *budget == name));
    let ready = match issue {
        None => NewCondition::new(ConditionType::Ready, true, ConditionReason::InForce),
        Some(issue) => NewCondition::new(
            ConditionType::Ready,
            false,
            ConditionReason::UnknownPowerDomain,
        )
        .message(issue.to_string()),
    };
    set_condition(
        &mut status.conditions,
        ready.observed_generation(budget.metadata.generation),
        &Time(now),
    );
    status
}
