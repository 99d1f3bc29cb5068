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
    let is_terminating = domain.metadata.deletion_timestamp.is_some();
    let terminating = is_terminating.then(|| terminating(&name, status.reserved_watts));
    for condition in [Some(ready), overloaded, terminating].into_iter().flatten() {
        let condition = condition.observed_generation(domain.metadata.generation);
        set_condition(&mut status.conditions, condition, &Time(now));
    }
    status
}

/// What keeps a domain that is being deleted, and what to do about it.
fn terminating(name: &str, reserved_watts: Option<i64>) -> NewCondition {
    let watts = reserved_watts.unwrap_or_default();
    let message = format!(
        "{watts} W are charged to it, and by way of it to its parents; it goes when nothing is, and nothing more is placed under it meanwhile. End or move the jobs under it (kubectl get placements -A -o wide), or put its nodes under another PowerDomain. To give it up at once, with what its parents are charged by way of it: kubectl patch powerdomain {name} --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'"
    );
    NewCondition::new(ConditionType::Terminating, true, ConditionReason::InUse).message(message)
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
