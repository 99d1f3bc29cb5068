//! Looking prices up.

use std::collections::BTreeMap;

use ampacity_placement::{CapacityType, MicroUsd, NodePrice};

/// A region that stands for every region of a provider.
const ANY_REGION: &str = "global";

/// What a price is for: provider, instance type, region, zone (empty: the whole region), capacity type.
pub(super) type NodeKey = (String, String, String, String, CapacityType);

/// A price and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row<T> {
    pub(super) value: T,
    pub(super) sheet: String,
    pub(super) effective_from: jiff::Timestamp,
}

/// Price of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeRow {
    pub(super) usd_per_hour: MicroUsd,
    pub(super) interruptions_per_hour_micro: i64,
}

/// Price of electricity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ElectricityRow {
    pub(super) usd_per_kwh: MicroUsd,
    pub(super) pue_micro: i64,
}

/// The prices in force at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    pub(super) nodes: BTreeMap<NodeKey, Row<NodeRow>>,
    /// By provider, accelerator type, region (empty: every region).
    pub(super) owned: BTreeMap<(String, String, String), Row<MicroUsd>>,
    /// By provider and region.
    pub(super) electricity: BTreeMap<(String, String), Row<ElectricityRow>>,
    /// Per GiB, by location left and location entered.
    pub(super) egress: BTreeMap<(String, String), Row<MicroUsd>>,
}

impl Prices {
    /// What one node costs: the zone's row, else the region's, else one for region `global`. For `Owned` capacity without a row
    /// of its own: the price of the device type plus electricity. [`NodePrice::is_unpriced`] where nothing is known.
    pub fn node_price(
        &self,
        provider: &str,
        region: &str,
        zone: &str,
        instance_type: &str,
        capacity_type: CapacityType,
        accelerator_type: &str,
    ) -> NodePrice {
        self.node_price_in(
            provider,
            region,
            &[zone],
            instance_type,
            capacity_type,
            accelerator_type,
        )
    }

    /// As [`Self::node_price`] for a zone that goes by several names: AWS prices spot by zone id (`use1-az2`), nodes show the
    /// zone's name too (`us-east-1a`). The first name that has a row wins.
    pub fn node_price_in(
        &self,
        provider: &str,
        region: &str,
        zones: &[&str],
        instance_type: &str,
        capacity_type: CapacityType,
        accelerator_type: &str,
    ) -> NodePrice {
        let row = self.node_row(provider, region, zones, instance_type, capacity_type);
        let mut price = NodePrice {
            pue_micro: 1_000_000,
            ..NodePrice::default()
        };
        if let Some(row) = row {
            price.usd_per_node_hour = Some(row.value.usd_per_hour);
            price.interruptions_per_hour_micro = row.value.interruptions_per_hour_micro;
            price.sheet = Some(row.sheet.clone());
        } else if capacity_type == CapacityType::Owned
            && let Some(row) = self.owned_row(provider, region, accelerator_type)
        {
            price.usd_per_device_hour = Some(row.value);
            price.sheet = Some(row.sheet.clone());
            if let Some(row) = self
                .electricity
                .get(&(provider.to_owned(), region.to_owned()))
            {
                price.usd_per_kwh = row.value.usd_per_kwh;
                price.pue_micro = row.value.pue_micro;
            }
        }
        price
    }

    fn node_row(
        &self,
        provider: &str,
        region: &str,
        zones: &[&str],
        instance_type: &str,
        capacity_type: CapacityType,
    ) -> Option<&Row<NodeRow>> {
        if instance_type.is_empty() {
            return None;
        }
        let find = |region: &str, zone: &str| {
            self.nodes.get(&(
                provider.to_owned(),
                instance_type.to_owned(),
                region.to_owned(),
                zone.to_owned(),
                capacity_type,
            ))
        };
        let in_zone = zones
            .iter()
            .filter(|zone| !zone.is_empty())
            .find_map(|zone| find(region, zone));
        in_zone
            .or_else(|| find(region, ""))
            .or_else(|| find(ANY_REGION, ""))
    }

    fn owned_row(
        &self,
        provider: &str,
        region: &str,
        accelerator_type: &str,
    ) -> Option<&Row<MicroUsd>> {
        let find = |region: &str| {
            self.owned.get(&(
                provider.to_owned(),
                accelerator_type.to_owned(),
                region.to_owned(),
            ))
        };
        find(region).or_else(|| find(""))
    }

    /// What moving `size_gib` from one location (`aws/us-east-1`) to another costs. `None` where no row says so; moving nothing,
    /// or within a location, costs nothing.
    pub fn egress(&self, from: &str, to: &str, size_gib: u64) -> Option<MicroUsd> {
        if from == to || size_gib == 0 {
            return Some(MicroUsd::ZERO);
        }
        let row = self.egress.get(&(from.to_owned(), to.to_owned()))?;
        let size = i64::try_from(size_gib).unwrap_or(i64::MAX);
        Some(MicroUsd(row.value.0.saturating_mul(size)))
    }

    /// As [`Self::egress`], with nothing where no row says otherwise.
    pub fn egress_usd(&self, from: &str, to: &str, size_gib: u64) -> MicroUsd {
        self.egress(from, to, size_gib).unwrap_or_default()
    }
}
