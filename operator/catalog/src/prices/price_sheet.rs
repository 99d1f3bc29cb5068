//! PriceSheet objects as a source of prices.

use ampacity_api::price_sheet::{PriceSheet, PriceSheetSpec};
use ampacity_api::{CapacityType as ApiCapacityType, Decimal};
use ampacity_placement::{CapacityType, MicroUsd};

use super::issue::PriceIssue;
use super::lookup::Prices;
use super::source::{PriceRow, PriceSource};

impl Prices {
    /// [`Self::from_sources`] for PriceSheets alone.
    pub fn from_sheets<'a>(
        sheets: impl IntoIterator<Item = &'a PriceSheet>,
        now: jiff::Timestamp,
    ) -> (Self, Vec<PriceIssue>) {
        let sources = sheets.into_iter().map(|sheet| sheet as &dyn PriceSource);
        Self::from_sources(sources, now)
    }
}

impl PriceSource for PriceSheet {
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    fn effective_from(&self) -> jiff::Timestamp {
        self.spec.effective_from.0
    }

    fn rows(&self) -> Box<dyn Iterator<Item = Result<PriceRow, PriceIssue>> + '_> {
        Box::new(rows(&self.spec).map(Ok))
    }
}

fn rows(spec: &PriceSheetSpec) -> impl Iterator<Item = PriceRow> + '_ {
    let nodes = spec.prices.iter().map(|row| PriceRow::Node {
        provider: spec.provider.clone(),
        instance_type: row.instance_type.clone(),
        region: row.region.clone(),
        zone: row.zone.clone().unwrap_or_default(),
        capacity_type: capacity_type(row.capacity_type),
        usd_per_hour: usd(row.usd_per_hour),
        interruptions_per_hour_micro: row.interruptions_per_hour.map_or(0, Decimal::micros),
    });
    let owned = spec.owned.iter().map(|row| PriceRow::Owned {
        provider: spec.provider.clone(),
        accelerator_type: row.accelerator_type.clone(),
        region: row.region.clone().unwrap_or_default(),
        usd_per_device_hour: usd(row.usd_per_device_hour),
    });
    let electricity = spec.electricity.iter().map(|row| PriceRow::Electricity {
        provider: spec.provider.clone(),
        region: row.region.clone(),
        usd_per_kwh: usd(row.usd_per_kwh),
        pue_micro: row.pue.micros(),
    });
    let egress = spec.egress.iter().map(|row| PriceRow::Egress {
        from: row.from.clone(),
        to: row.to.clone(),
        usd_per_gib: usd(row.usd_per_gib),
    });
    nodes.chain(owned).chain(electricity).chain(egress)
}

fn usd(decimal: Decimal) -> MicroUsd {
    MicroUsd(decimal.micros())
}

fn capacity_type(from: ApiCapacityType) -> CapacityType {
    match from {
        ApiCapacityType::OnDemand => CapacityType::OnDemand,
        ApiCapacityType::Spot => CapacityType::Spot,
        ApiCapacityType::Reserved => CapacityType::Reserved,
        ApiCapacityType::Owned => CapacityType::Owned,
    }
}
