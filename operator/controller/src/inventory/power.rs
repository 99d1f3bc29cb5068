//! PowerDomains and PowerBudgets to the engine's power picture.

use ampacity_api::{PowerBudget, PowerDomain};
use ampacity_placement::{BudgetScope, PowerBudgetSpec, PowerDomainSpec, PowerSpec, Watts};

/// The power picture of these objects, sorted by name.
///
/// A domain's usable watts are `ratedWatts × continuousPercent / 100 − reserveWatts`, rounded down and never below zero.
/// A budget that names neither a domain nor a queue limits nothing and is left out (the schema refuses it).
pub fn power_spec<'a>(
    domains: impl IntoIterator<Item = &'a PowerDomain>,
    budgets: impl IntoIterator<Item = &'a PowerBudget>,
) -> PowerSpec {
    let mut spec = PowerSpec {
        domains: domains.into_iter().map(domain_spec).collect(),
        budgets: budgets.into_iter().filter_map(budget_spec).collect(),
    };
    spec.domains.sort_by(|a, b| a.name.cmp(&b.name));
    spec.budgets.sort_by(|a, b| a.name.cmp(&b.name));
    spec
}

fn domain_spec(domain: &PowerDomain) -> PowerDomainSpec {
    let spec = &domain.spec;
    let continuous =
        i128::from(spec.rated_watts) * i128::from(spec.continuous_percent.clamp(0, 100)) / 100;
    let usable = (continuous - i128::from(spec.reserve_watts)).max(0);
    PowerDomainSpec {
        name: domain.metadata.name.clone().unwrap_or_default(),
        parents: spec.parents.iter().map(|p| p.name.clone()).collect(),
        usable_watts: Watts(i64::try_from(usable).unwrap_or(i64::MAX)),
        loss_percent: u32::try_from(spec.loss_percent).unwrap_or(0),
        is_terminating: domain.metadata.deletion_timestamp.is_some(),
    }
}

fn budget_spec(budget: &PowerBudget) -> Option<PowerBudgetSpec> {
    let spec = &budget.spec;
    let scope = match (&spec.power_domain_ref, &spec.queue_ref) {
        (Some(domain), _) => BudgetScope::Domain(domain.name.clone()),
        (None, Some(queue)) => BudgetScope::Queue(queue.name.clone()),
        (None, None) => return None,
    };
    Some(PowerBudgetSpec {
        name: budget.metadata.name.clone().unwrap_or_default(),
        scope,
        limit_watts: Watts(spec.limit_watts),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_watts_follow_the_rating_and_nothing_goes_below_zero() {
        let domains: Vec<PowerDomain> = serde_saphyr::from_str(
            "
- {metadata: {name: hall}, spec: {parents: [{name: site}], ratedWatts: 500000, reserveWatts: 40000, lossPercent: 3}}
- {metadata: {name: closet}, spec: {ratedWatts: 10, continuousPercent: 50, reserveWatts: 99}}
",
        )
        .unwrap();
        let budgets: Vec<PowerBudget> = serde_saphyr::from_str(
            "
- {metadata: {name: team}, spec: {queueRef: {name: research}, limitWatts: 7}}
- {metadata: {name: day}, spec: {powerDomainRef: {name: hall}, limitWatts: 9}}
",
        )
        .unwrap();
        let spec = power_spec(&domains, &budgets);
        let domains: Vec<_> = spec
            .domains
            .iter()
            .map(|d| (d.name.as_str(), d.usable_watts.0, d.loss_percent))
            .collect();
        assert_eq!(domains, [("closet", 0, 0), ("hall", 360_000, 3)]);
        let budgets: Vec<_> = spec
            .budgets
            .iter()
            .map(|b| (b.name.as_str(), b.scope.clone()))
            .collect();
        assert_eq!(
            budgets,
            [
                ("day", BudgetScope::Domain("hall".into())),
                ("team", BudgetScope::Queue("research".into()))
            ]
        );
    }
}
