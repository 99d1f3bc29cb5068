//! What a source of prices is.

use ampacity_placement::{CapacityType, MicroUsd};

use super::issue::PriceIssue;

/// A list of prices: a PriceSheet, or a list of a provider in the provider's own form.
///
/// A new source is one file here: a type for the list and this trait for it. [`super::Prices::from_sources`] checks the rows of
/// all sources alike and decides which of them are in force.
pub trait PriceSource {
    /// Name of the list, by which messages and Placements speak of it.
    fn name(&self) -> &str;

    /// From when on its rows hold.
    fn effective_from(&self) -> jiff::Timestamp;

    /// Its rows in the list's order; what cannot be read is an issue.
    fn rows(&self) -> Box<dyn Iterator<Item = Result<PriceRow, PriceIssue>> + '_>;
}

/// One price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PriceRow {
    /// A node.
    Node {
        /// Provider, such as `aws`.
        provider: String,
        /// Instance type.
        instance_type: String,
        /// Region; `global` for every region.
        region: String,
        /// Zone; empty for the whole region.
        zone: String,
        /// How the node is paid for.
        capacity_type: CapacityType,
        /// Price of the whole node.
        usd_per_hour: MicroUsd,
        /// Millionths of an interruption an hour.
        interruptions_per_hour_micro: i64,
    },
    /// A device of one's own.
    Owned {
        /// Provider.
        provider: String,
        /// Accelerator type.
        accelerator_type: String,
        /// Region; empty for every region.
        region: String,
        /// Price of one device.
        usd_per_device_hour: MicroUsd,
    },
    /// Electricity of nodes of one's own.
    Electricity {
        /// Provider.
        provider: String,
        /// Region.
        region: String,
        /// Price of a kilowatt-hour.
        usd_per_kwh: MicroUsd,
        /// Millionths of power usage effectiveness: 1,200,000 for a PUE of 1.2.
        pue_micro: i64,
    },
    /// Data that leaves a location.
    Egress {
        /// Location left, such as `aws/us-east-1`.
        from: String,
        /// Location entered.
        to: String,
        /// Price of a GiB.
        usd_per_gib: MicroUsd,
    },
}
