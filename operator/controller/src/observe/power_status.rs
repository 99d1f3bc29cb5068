//! The statuses of power domains and budgets.

use ampacity_api::conditions::NewCondition;
use ampacity_api::{
    ConditionReason, ConditionType, PowerBudget, PowerBudgetStatus, PowerDomain, PowerDomainStatus,
    set_condition,
};
use ampacity_placement::{PowerIssue, PowerUsage};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

/// What a domain holds and whether it is in force, as its status.
pub(super) fn domain_status(
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

/// What a budget holds and whether it is in force, as its status.
pub(super) fn budget_status(
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
