//! Brings catalogue, prices and power up to date with what the platform team wrote.

use ampacity_catalog::{Catalog, Prices};
use jiff::Timestamp;
use kube::ResourceExt;

use super::power::power_spec;
use crate::state::{FactIssues, FactNote, FactObject, State};

/// Takes the platform team's facts in: catalogue, prices, power. Every node is to be read again afterwards.
pub fn refresh_facts(state: &mut State, now: Timestamp) {
    let sheets = state.hub.price_sheets.values();
    let mut issues = FactIssues {
        next_prices: sheets
            .map(|sheet| sheet.spec.effective_from.0)
            .filter(|from| *from > now)
            .min(),
        ..FactIssues::default()
    };
    let (catalog, catalog_issues) = Catalog::with_overrides(state.hub.accelerator_types.values());
    issues.notes.extend(catalog_issues.iter().map(|issue| {
        let name = issue.name().map(ToOwned::to_owned);
        FactNote {
            object: name.map(FactObject::AcceleratorType),
            text: issue.to_string(),
        }
    }));
    let (prices, price_issues) = Prices::from_sheets(state.hub.price_sheets.values(), now);
    issues
        .notes
        .extend(price_issues.iter().map(|issue| FactNote {
            object: Some(FactObject::PriceSheet(issue.sheet().to_owned())),
            text: issue.to_string(),
        }));
    for accelerator in catalog.iter() {
        state.fleet.set_accelerator(accelerator.facts());
    }
    state.catalog = catalog;
    state.prices = prices;
    issues.power = state.fleet.set_power(power_spec(
        state.hub.power_domains.values(),
        state.hub.power_budgets.values(),
    ));
    state
        .dirty
        .clusters
        .extend(state.hub.clusters.values().map(ResourceExt::name_any));
    state.capacity_version += 1;
    state.fact_issues = issues;
}
