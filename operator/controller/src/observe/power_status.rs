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
    is_cluster: impl Fn(&str) -> bool,
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
    let mut members = domain.spec.members.iter().enumerate();
    let stray = members.find(|(_, member)| !is_cluster(&member.cluster));
    let ready = match issue {
        None if let Some((index, member)) = stray => {
            let text = format!(
                "spec.members[{index}].cluster names MemberCluster {}, which does not exist; its other members are limited all the same",
                member.cluster
            );
            NewCondition::new(ConditionType::Ready, false, ConditionReason::UnknownCluster)
                .message(text)
        }
        None => NewCondition::new(ConditionType::Ready, true, ConditionReason::InForce),
        Some((reason, issue)) => {
            NewCondition::new(ConditionType::Ready, false, reason).message(issue.to_string())
        }
    };
    let overloaded = overloaded(status.headroom_watts, &format!("PowerDomain {name}"));
    for condition in [Some(ready), overloaded].into_iter().flatten() {
        let condition = condition.observed_generation(domain.metadata.generation);
        set_condition(&mut status.conditions, condition, &Time(now));
    }
    status
}

/// Whether more is reserved than may be drawn, where what is left is known.
fn overloaded(headroom_watts: Option<i64>, what: &str) -> Option<NewCondition> {
    let headroom = headroom_watts?;
    let is_over = headroom < 0;
    let reason = if is_over {
        ConditionReason::OverLimit
    } else {
        ConditionReason::WithinLimit
    };
    let condition = NewCondition::new(ConditionType::Overloaded, is_over, reason);
    if !is_over {
        return Some(condition);
    }
    Some(condition.message(format!(
        "{} W more are reserved than {what} allows; nothing more is placed under it: raise the limit, or stop or scale down what runs there",
        headroom.unsigned_abs()
    )))
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
    let overloaded = overloaded(status.headroom_watts, &format!("PowerBudget {name}"));
    for condition in [Some(ready), overloaded].into_iter().flatten() {
        let condition = condition.observed_generation(budget.metadata.generation);
        set_condition(&mut status.conditions, condition, &Time(now));
    }
    status
}
