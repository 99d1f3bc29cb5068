//! Prices from sheets: which row wins, and which cannot be right.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::BTreeMap;

use ampacity_api::price_sheet::{EgressPrice, ElectricityPrice, InstancePrice, OwnedPrice};
use ampacity_api::{CapacityType as ApiCapacityType, Decimal, PriceSheet, PriceSheetSpec};
use ampacity_catalog::{PriceIssue, Prices};
use ampacity_placement::{CapacityType, MicroUsd, NodePrice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

const H100: &str = "nvidia-h100-sxm5-80gb";

fn usd(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn at(time: &str) -> jiff::Timestamp {
    time.parse().unwrap()
}

fn now() -> jiff::Timestamp {
    at("2026-08-01T00:00:00Z")
}

fn sheet(name: &str, provider: &str, from: &str) -> PriceSheet {
    PriceSheet::new(
        name,
        PriceSheetSpec {
            provider: provider.into(),
            source: "test".into(),
            effective_from: Time(at(from)),
            prices: vec![],
            owned: vec![],
            electricity: vec![],
            egress: vec![],
        },
    )
}

fn row(
    instance_type: &str,
    region: &str,
    zone: &str,
    capacity_type: ApiCapacityType,
    price: &str,
) -> InstancePrice {
    InstancePrice {
        instance_type: instance_type.into(),
        region: region.into(),
        zone: Some(zone.to_owned()).filter(|z| !z.is_empty()),
        capacity_type,
        usd_per_hour: usd(price),
        interruptions_per_hour: None,
    }
}

/// One sheet for each provider of the fixture.
fn listed() -> Vec<PriceSheet> {
    let text = include_str!("fixtures/prices.csv");
    let mut sheets: BTreeMap<String, PriceSheet> = BTreeMap::new();
    let mut reader = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    for record in reader.deserialize::<BTreeMap<String, String>>() {
        let record = record.unwrap();
        let provider = record["provider"].as_str();
        let sheet = sheets
            .entry(provider.to_owned())
            .or_insert_with(|| sheet(provider, provider, "2026-07-01T00:00:00Z"));
        for (column, capacity_type) in [
            ("price_usd_hour", ApiCapacityType::OnDemand),
            ("spot_price_usd_hour", ApiCapacityType::Spot),
        ] {
            if !record[column].is_empty() {
                sheet.spec.prices.push(row(
                    &record["instance_type"],
                    &record["region"],
                    &record["zone"],
                    capacity_type,
                    &record[column],
                ));
            }
        }
    }
    sheets.into_values().collect()
}

fn node_usd(price: &NodePrice) -> Option<i64> {
    price.usd_per_node_hour.map(|usd| usd.0)
}

#[test]
fn listed_prices_are_found_by_zone_then_region() {
    let (prices, issues) = Prices::from_sheets(&listed(), now());
    let of = |provider, region, zone, instance, capacity| {
        node_usd(&prices.node_price(provider, region, zone, instance, capacity, ""))
    };
    use CapacityType::{OnDemand, Owned, Spot};
    let cases = [
        // Observed in one zone.
        (
            "aws",
            "ap-northeast-2",
            "apne2-az2",
            "p4d.24xlarge",
            Spot,
            Some(10_749_800),
        ),
        (
            "aws",
            "ap-northeast-2",
            "apne2-az4",
            "p4d.24xlarge",
            Spot,
            Some(10_446_600),
        ),
        (
            "azure",
            "eastus",
            "eastus-1",
            "Standard_ND96isr_H100_v5",
            OnDemand,
            Some(98_320_000),
        ),
        (
            "gcp",
            "asia-east1",
            "asia-east1-c",
            "a3-highgpu-8g",
            Spot,
            Some(47_998_309),
        ),
        // One price everywhere.
        (
            "runpod",
            "EU-RO-1",
            "",
            "1x-nvidia-h100-sxm-80gb-sxm",
            OnDemand,
            Some(3_290_000),
        ),
        ("gcp", "asia-east1", "", "a3-highgpu-8g", Owned, None),
        ("aws", "asia-east1", "", "a3-highgpu-8g", OnDemand, None),
        ("aws", "ap-northeast-2", "", "", OnDemand, None),
    ];
    for (provider, region, zone, instance, capacity, expected) in cases {
        assert_eq!(
            of(provider, region, zone, instance, capacity),
            expected,
            "{provider} {region} {zone} {instance}"
        );
    }
    // The sources hold spot prices above on-demand; they are told and used.
    let dear: Vec<&str> = issues
        .iter()
        .map(|issue| match issue {
            PriceIssue::SpotAboveOnDemand { sheet, .. } => sheet.as_str(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(dear, ["dataoorts", "runpod"]);
    assert_eq!(
        of("runpod", "", "", "1x-nvidia-h100-sxm-80gb-sxm", Spot),
        Some(4_760_000)
    );
}

#[test]
fn a_zone_may_go_by_two_names() {
    let (prices, _) = Prices::from_sheets(&listed(), now());
    let price = prices.node_price_in(
        "aws",
        "ap-northeast-2",
        &["ap-northeast-2b", "apne2-az2"],
        "p4d.24xlarge",
        CapacityType::Spot,
        "",
    );
    assert_eq!(node_usd(&price), Some(10_749_800));
}

#[test]
fn the_latest_sheet_in_force_wins_row_by_row() {
    let with = |name, from, rows: &[(&str, &str)]| {
        let mut sheet = sheet(name, "aws", from);
        sheet.spec.prices = rows
            .iter()
            .map(|(instance, price)| row(instance, "r", "", ApiCapacityType::OnDemand, price))
            .collect();
        sheet
    };
    let sheets = [
        with("future", "2026-09-01T00:00:00Z", &[("a", "9")]),
        with("new", "2026-07-01T00:00:00Z", &[("a", "2")]),
        with("old", "2026-01-01T00:00:00Z", &[("a", "1"), ("b", "5")]),
    ];
    let (prices, issues) = Prices::from_sheets(&sheets, now());
    assert_eq!(issues, []);
    let of = |instance| prices.node_price("aws", "r", "z", instance, CapacityType::OnDemand, "");
    assert_eq!(
        (node_usd(&of("a")), of("a").sheet.as_deref()),
        (Some(2_000_000), Some("new"))
    );
    assert_eq!(
        (node_usd(&of("b")), of("b").sheet.as_deref()),
        (Some(5_000_000), Some("old"))
    );
}

#[test]
fn owned_devices_cost_their_price_and_electricity() {
    let mut sheet = sheet("oslo", "onprem", "2026-01-01T00:00:00Z");
    let owned = |region: Option<&str>, price: &str| OwnedPrice {
        accelerator_type: H100.into(),
        usd_per_device_hour: usd(price),
        region: region.map(str::to_owned),
    };
    sheet.spec.owned = vec![owned(None, "1.10"), owned(Some("bergen"), "1.30")];
    sheet.spec.electricity = vec![ElectricityPrice {
        region: "oslo".into(),
        usd_per_kwh: usd("0.06"),
        pue: usd("1.2"),
    }];
    let (prices, issues) = Prices::from_sheets([&sheet], now());
    assert_eq!(issues, []);
    let of = |region, capacity| prices.node_price("onprem", region, "", "dgx", capacity, H100);
    assert_eq!(
        of("oslo", CapacityType::Owned),
        NodePrice {
            usd_per_node_hour: None,
            usd_per_device_hour: Some(MicroUsd(1_100_000)),
            usd_per_kwh: MicroUsd(60_000),
            pue_micro: 1_200_000,
            interruptions_per_hour_micro: 0,
            sheet: Some("oslo".into()),
        }
    );
    assert_eq!(
        of("bergen", CapacityType::Owned).usd_per_device_hour,
        Some(MicroUsd(1_300_000))
    );
    assert_eq!(of("bergen", CapacityType::Owned).usd_per_kwh, MicroUsd(0));
    assert!(of("oslo", CapacityType::OnDemand).is_unpriced());
}

#[test]
fn moving_data_costs_what_a_row_says() {
    let mut sheet = sheet("egress", "aws", "2026-01-01T00:00:00Z");
    sheet.spec.egress = vec![EgressPrice {
        from: "aws/us-east-1".into(),
        to: "gcp/us-central1".into(),
        usd_per_gib: usd("0.09"),
    }];
    let (prices, _) = Prices::from_sheets([&sheet], now());
    let of = |from, to, gib| prices.egress(from, to, gib);
    assert_eq!(
        of("aws/us-east-1", "gcp/us-central1", 500),
        Some(MicroUsd(45_000_000))
    );
    assert_eq!(of("gcp/us-central1", "aws/us-east-1", 500), None);
    assert_eq!(of("aws/us-east-1", "aws/us-east-1", 500), Some(MicroUsd(0)));
    assert_eq!(
        prices.egress_usd("gcp/us-central1", "aws/us-east-1", 500),
        MicroUsd(0)
    );
}

#[test]
fn what_cannot_be_right_is_left_out_and_told() {
    let mut sheet = sheet("odd", "aws", "2026-01-01T00:00:00Z");
    let spot = |price| row("spot", "r", "", ApiCapacityType::Spot, price);
    let mut often = row("often", "r", "", ApiCapacityType::Spot, "1");
    often.interruptions_per_hour = Some(usd("100"));
    sheet.spec.prices = vec![
        row("sentinel", "r", "", ApiCapacityType::OnDemand, "99999"),
        spot("0"),
        row("prepaid", "r", "", ApiCapacityType::Reserved, "0"),
        row("twice", "r", "", ApiCapacityType::OnDemand, "1"),
        row("twice", "r", "", ApiCapacityType::OnDemand, "2"),
        often,
    ];
    sheet.spec.electricity = vec![ElectricityPrice {
        region: "r".into(),
        usd_per_kwh: usd("60"),
        pue: usd("1"),
    }];
    let (prices, issues) = Prices::from_sheets([&sheet], now());
    let of = |instance, capacity| prices.node_price("aws", "r", "", instance, capacity, "");
    assert!(of("sentinel", CapacityType::OnDemand).is_unpriced());
    assert!(of("spot", CapacityType::Spot).is_unpriced());
    assert_eq!(node_usd(&of("prepaid", CapacityType::Reserved)), Some(0));
    assert_eq!(
        node_usd(&of("twice", CapacityType::OnDemand)),
        Some(2_000_000)
    );
    assert_eq!(
        of("often", CapacityType::Spot).interruptions_per_hour_micro,
        0
    );
    let told: Vec<String> = issues.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"));
}

proptest! {
    /// Sheets are objects of a store: the order that they come in must not matter.
    #[test]
    fn the_order_of_sheets_does_not_matter(
        parts in proptest::collection::vec((0_u8..3, 0_i64..4, 1_u32..50), 1..8),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut sheets: Vec<PriceSheet> = parts
            .iter()
            .enumerate()
            .map(|(index, (instance, month, price))| {
                let mut sheet = sheet(&format!("s{index}"), "aws", &format!("2026-0{}-01T00:00:00Z", month + 6));
                sheet.spec.prices = vec![row(&format!("i{instance}"), "r", "", ApiCapacityType::OnDemand, &price.to_string())];
                sheet
            })
            .collect();
        let (before, _) = Prices::from_sheets(&sheets, now());
        let middle = seed.index(sheets.len());
        sheets.rotate_left(middle);
        sheets.reverse();
        let (after, _) = Prices::from_sheets(&sheets, now());
        prop_assert_eq!(before, after);
    }
}
