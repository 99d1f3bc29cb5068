//! By which region's price a node is charged.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use ampacity_api::PriceSheet;
use ampacity_catalog::{Catalog, Prices};
use ampacity_controller::inventory::{
    DraFacts, FeedRules, HeldOnNode, MemberContext, SlimNode, node_spec,
};
use ampacity_placement::MicroUsd;
use serde_json::{Value, json};

/// What a node of `labels` costs per hour in a cluster of `provider` whose region is `home`, at 5 dollars.
fn usd_per_hour(provider: &str, labels: Value) -> Option<MicroUsd> {
    let sheet: PriceSheet = serde_json::from_value(json!({
        "apiVersion": "ampacity.dev/v1alpha1", "kind": "PriceSheet", "metadata": {"name": "s"},
        "spec": {"provider": provider, "source": "test", "effectiveFrom": "2026-01-01T00:00:00Z", "prices": [
            {"instanceType": "big", "region": "home", "capacityType": "OnDemand", "usdPerHour": "5"},
            {"instanceType": "anywhere", "region": "global", "capacityType": "OnDemand", "usdPerHour": "3"}]}}))
    .unwrap();
    let now = "2026-07-01T00:00:00Z".parse().unwrap();
    let (prices, issues) = Prices::from_sheets([&sheet], now);
    assert_eq!(issues, []);
    let ctx = MemberContext {
        cluster: "c",
        provider,
        region: "home",
        topology_levels: &[],
        feeds: &FeedRules::default(),
        catalog: &Catalog::builtin(),
        prices: &prices,
        dra: &DraFacts::default(),
    };
    let node: SlimNode =
        serde_json::from_value(json!({"metadata": {"name": "n", "labels": labels}})).unwrap();
    let inventory = node_spec(&ctx, &node, &[], &HeldOnNode::default());
    inventory.spec.price.usd_per_node_hour
}

#[test]
fn a_node_is_priced_in_its_own_region() {
    let (it, region) = (
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
    );
    let five = Some(MicroUsd(5_000_000));
    let cases = [
        ("aws", json!({it: "big"}), five),
        ("aws", json!({it: "big", region: "home"}), five),
        // Another region's price is unknown, not that of the cluster's.
        ("aws", json!({it: "big", region: "elsewhere"}), None),
        ("aws", json!({it: "big", region: "iad"}), None),
        // OKE's keys are other names of the cluster's region.
        ("oci", json!({it: "big", region: "iad"}), five),
        ("oci", json!({it: "big", region: "us-ashburn-1"}), None),
        // A row for region `global` holds in all.
        (
            "aws",
            json!({it: "anywhere", region: "elsewhere"}),
            Some(MicroUsd(3_000_000)),
        ),
    ];
    for (provider, labels, expected) in cases {
        assert_eq!(
            usd_per_hour(provider, labels.clone()),
            expected,
            "{provider} {labels}"
        );
    }
}
