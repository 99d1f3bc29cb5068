//! PowerDomains that are deleted while something is charged to them. A finalizer keeps them, and with them the way to their parents:
//! what runs under a domain stays charged to all that is above it.

use std::collections::BTreeSet;

use ampacity_api::{PowerDomain, labels};
use kube::ResourceExt;

use super::finalizer::{hold, is_held, let_go};
use crate::runtime::Operator;
use crate::state::State;

/// Sees to it that no power domain goes unnoticed, and lets those go that are being deleted and carry nothing.
pub fn keep_power_domains(operator: &mut Operator) {
    let domains = operator.state.hub.power_domains.values();
    let unheld = |domain: &&PowerDomain| {
        domain.metadata.deletion_timestamp.is_none()
            && !is_held(*domain, labels::POWER_DOMAIN_FINALIZER)
    };
    let unheld: Vec<PowerDomain> = domains.filter(unheld).cloned().collect();
    for domain in unheld {
        hold(operator, &domain, labels::POWER_DOMAIN_FINALIZER);
    }
    for domain in unused(&operator.state) {
        let_go(operator, &domain, labels::POWER_DOMAIN_FINALIZER);
    }
}

/// Domains that are being deleted and that nothing is charged to any more.
fn unused(state: &State) -> Vec<PowerDomain> {
    let going = |domain: &&PowerDomain| {
        domain.metadata.deletion_timestamp.is_some()
            && is_held(*domain, labels::POWER_DOMAIN_FINALIZER)
    };
    let going: Vec<&PowerDomain> = state.hub.power_domains.values().filter(going).collect();
    if going.is_empty() {
        return Vec::new();
    }
    let named = named(state);
    let usage = state.fleet.domain_usage();
    let carries_nothing = |domain: &&PowerDomain| {
        let name = domain.name_any();
        let known = usage.iter().find(|usage| usage.name == name);
        // One that the ledger has not heard of yet says nothing.
        known.is_some_and(|usage| usage.reserved_watts.0 <= 0) && !named.contains(&name)
    };
    going.into_iter().filter(carries_nothing).cloned().collect()
}

/// The domains that Placements say they are charged to, and all above these: what runs where nodes cannot be seen is charged there.
fn named(state: &State) -> BTreeSet<String> {
    let placements = state.hub.placements.values();
    let runs = placements.flat_map(|placement| &placement.spec.power_domains);
    let mut open: Vec<String> = runs.flat_map(|run| run.domains.clone()).collect();
    let mut named = BTreeSet::new();
    while let Some(name) = open.pop() {
        if let Some(domain) = state.hub.power_domains.named(&name) {
            let parents = domain.spec.parents.iter();
            let above = parents.map(|parent| parent.name.clone());
            open.extend(above.filter(|parent| !named.contains(parent)));
        }
        named.insert(name);
    }
    named
}

#[cfg(test)]
mod tests {
    use ampacity_api::placement::NodeFeeds;
    use serde_json::json;

    use super::*;
    use crate::inventory::{refresh, refresh_facts};
    use crate::state::Change;
    use crate::testing::{NOW, hub_has, object, placement, state};

    #[test]
    fn a_domain_goes_when_nothing_is_charged_to_it_or_below_it() {
        let domain = |name: &str, parent: Option<&str>, deleting: bool| -> PowerDomain {
            let parents: Vec<_> = parent
                .map(|name| json!({"name": name}))
                .into_iter()
                .collect();
            object(json!({
                "apiVersion": "ampacity.dev/v1alpha1", "kind": "PowerDomain",
                "metadata": {"name": name, "finalizers": [labels::POWER_DOMAIN_FINALIZER],
                    "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z")},
                "spec": {"parents": parents, "ratedWatts": 100_000},
            }))
        };
        let fed_by = |name: &str| {
            let mut placement = placement("TrainingJob", 1, &[("unseen", 2)]);
            let domains = vec![name.to_owned()];
            placement.spec.power_domains = vec![NodeFeeds { nodes: 1, domains }];
            placement
        };
        for (what, deleted, placements, expected) in [
            ("in force", vec![], vec![], vec![]),
            ("unused", vec!["row", "hall"], vec![], vec!["hall", "row"]),
            ("feeds what runs", vec!["row"], vec![fed_by("row")], vec![]),
            (
                "feeds it from above",
                vec!["hall"],
                vec![fed_by("row")],
                vec![],
            ),
            ("only above", vec!["row"], vec![fed_by("hall")], vec!["row"]),
        ] {
            let mut state = state();
            let is_deleted = |name: &str| deleted.contains(&name);
            state.hub.power_domains.apply(Change::All(vec![
                domain("row", Some("hall"), is_deleted("row")),
                domain("hall", None, is_deleted("hall")),
            ]));
            assert_eq!(unused(&state), [], "{what}: the ledger does not know them");
            refresh_facts(&mut state, NOW);
            hub_has(&mut state, placements);
            refresh(&mut state, NOW);
            let names: Vec<String> = unused(&state).iter().map(ResourceExt::name_any).collect();
            assert_eq!(names, expected, "{what}");
        }
    }
}
