//! PriceSheet: what things cost, from when on, and who says so.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{decimal::Decimal, job::CapacityType, schema};

/// PUE when nothing is said: no overhead.
fn default_pue() -> Decimal {
    Decimal::from_micros(1_000_000)
}

/// Prices of one provider.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "ampacity.dev",
    version = "v1alpha1",
    kind = "PriceSheet",
    doc = "Prices of one provider. Of the sheets in force that price the same thing, the one with the latest effectiveFrom wins, row by row.",
    shortname = "ps",
    category = "ampacity",
    derive = "PartialEq",
    printcolumn(
        name = "Provider",
        type_ = "string",
        json_path = ".spec.provider",
        description = "Whose prices"
    ),
    printcolumn(
        name = "Effective-From",
        type_ = "string",
        json_path = ".spec.effectiveFrom",
        description = "When the prices come into force"
    ),
    printcolumn(
        name = "Source",
        type_ = "string",
        json_path = ".spec.source",
        description = "Where the prices are from"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since it was created"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.prices) || has(self.owned) || has(self.electricity) || has(self.egress)",
    "give at least one of prices, owned, electricity and egress"
))]
pub struct PriceSheetSpec {
    /// Whose prices these are, as in MemberCluster: `aws`, `onprem`, … Required.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub provider: String,
    /// Where the prices are from, for people, such as `list price, 2026-07`; at most 256 characters. Required.
    #[schemars(length(min = 1, max = 256))]
    pub source: String,
    /// When the prices come into force, RFC 3339; a later one replaces an earlier one. Required.
    #[x_kube(validation = ("self < timestamp('9999-01-01T00:00:00Z')", "must be before the year 9999"))]
    pub effective_from: Time,
    /// Prices of nodes, by instance type; at most 8192 rows. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8192))]
    pub prices: Vec<InstancePrice>,
    /// Prices of devices that were bought, at most 256 rows; electricity comes on top. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 256))]
    pub owned: Vec<OwnedPrice>,
    /// Prices of electricity for owned devices; at most 256 regions. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["region"]))]
    pub electricity: Vec<ElectricityPrice>,
    /// Prices of moving data between regions; at most 4096 rows. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 4096), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["from", "to"]))]
    pub egress: Vec<EgressPrice>,
}

/// Price of one instance type in one region or zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.capacityType == 'Spot' || !has(self.interruptionsPerHour)", "interruptionsPerHour is only for capacityType Spot"))]
pub struct InstancePrice {
    /// The provider's instance type, such as `p5.48xlarge`. Required.
    #[schemars(length(min = 1, max = 63))]
    pub instance_type: String,
    /// The provider's region, such as `us-east-1`; `global` for every region without a row of its own. Required.
    #[schemars(length(min = 1, max = 63))]
    pub region: String,
    /// The zone, where its price differs from the region's. Default: every zone without a row of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
    /// How the node is paid for: OnDemand, Spot, Reserved or Owned. Required.
    pub capacity_type: CapacityType,
    /// US dollars per hour of a whole node. A decimal in quotes. Required.
    pub usd_per_hour: Decimal,
    /// Interruptions per node and hour to expect of a Spot node. A decimal in quotes. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruptions_per_hour: Option<Decimal>,
}

/// Price of one owned device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnedPrice {
    /// Device type. Required.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub accelerator_type: String,
    /// US dollars per device and hour, without electricity: write-off, space, people. A decimal in quotes. Required.
    pub usd_per_device_hour: Decimal,
    /// The region that the price is for. Default: every region without a row of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
}

/// Price of electricity in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ElectricityPrice {
    /// The region. Required.
    #[schemars(length(min = 1, max = 63))]
    pub region: String,
    /// US dollars per kilowatt-hour. A decimal in quotes. Required.
    pub usd_per_kwh: Decimal,
    /// Power usage effectiveness: watts drawn by the site for each watt of the machines; at least 1. A decimal in quotes.
    /// Default: 1.
    #[serde(default = "default_pue")]
    #[x_kube(validation = ("double(self) >= 1.0", "pue must be at least 1"))]
    pub pue: Decimal,
}

/// Price of moving data from one region to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressPrice {
    /// Provider and region that the data leaves, such as `aws/us-east-1`. Required.
    #[schemars(length(min = 3, max = 127), regex(pattern = schema::LOCATION))]
    pub from: String,
    /// Provider and region that the data goes to, such as `gcp/us-central1`. Required.
    #[schemars(length(min = 3, max = 127), regex(pattern = schema::LOCATION))]
    pub to: String,
    /// US dollars per GiB. A decimal in quotes. Required.
    pub usd_per_gib: Decimal,
}
