//! Every extended resource that a vendor's file knows: the inventory knows what it is. That templates may not ask for it is
//! tested where devices are asked for.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::BTreeMap;

use ampacity_catalog::{Catalog, Family, Prices, Unit};
use ampacity_controller::inventory::{
    DraFacts, FeedRules, HeldOnNode, MemberContext, NodeInventory, node_spec,
};
use serde_json::json;

/// One name of each form.
fn names() -> BTreeMap<String, Unit> {
    Family::all()
        .flat_map(|family| family.resources)
        .map(|(form, unit)| (form.replace('*', "x"), *unit))
        .collect()
}

fn take(resource: &str) -> NodeInventory {
    let has = json!({resource: "2"});
    let node = json!({"metadata": {"name": "n"}, "status": {"capacity": has, "allocatable": has}});
    let ctx = MemberContext {
        cluster: "c",
        provider: "onprem",
        region: "",
        topology_levels: &[],
        feeds: &FeedRules::default(),
        catalog: &Catalog::builtin(),
        prices: &Prices::default(),
        dra: &DraFacts::default(),
    };
    let node = serde_json::from_value(node).unwrap();
    node_spec(&ctx, &node, &[], &HeldOnNode::default())
}

#[test]
fn the_inventory_tells_devices_and_shares_from_measures() {
    for (name, unit) in names() {
        let inventory = take(&name);
        let is_listed = inventory.spec.devices.iter().any(|g| g.resource == name)
            || inventory.unsupported.iter().any(|u| u.resource == name);
        let counts_devices = !matches!(unit, Unit::Measure | Unit::Monitor | Unit::Unlisted);
        assert_eq!(is_listed, counts_devices, "{name}");
    }
}
