//! Reading PriceSheet objects.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ampacity_api::price_sheet::PriceSheet;
use ampacity_api::{CapacityType as ApiCapacityType, Decimal};
use ampacity_placement::{CapacityType, MicroUsd};

use super::issue::PriceIssue;
use super::lookup::{ElectricityRow, NodeKey, NodeRow, Prices, Row};

/// A node above this is a sentinel: the dearest listed machine (a 72-GPU rack) is under a tenth of it.
const MAX_NODE_USD_PER_HOUR: MicroUsd = MicroUsd(10_000_000_000);
/// A device above this is a sentinel.
const MAX_DEVICE_USD_PER_HOUR: MicroUsd = MicroUsd(1_000_000_000);
/// More than one interruption a minute is no rate but a mistake of unit.
const MAX_INTERRUPTIONS_PER_HOUR_MICRO: i64 = 60_000_000;
/// Dearer electricity than $5 a kilowatt-hour is a mistake of unit.
const MAX_USD_PER_KWH: MicroUsd = MicroUsd(5_000_000);
/// Sites with a power usage effectiveness above 4 do not exist.
const PUE_MICRO: std::ops::RangeInclusive<i64> = 1_000_000..=4_000_000;
/// Dearer egress than $5 a GiB is a mistake of unit.
const MAX_USD_PER_GIB: MicroUsd = MicroUsd(5_000_000);

impl Prices {
    /// The prices in force at `now`. The order of `sheets` does not matter. Rows that cannot be right are left out and reported;
    /// the earlier row that they would have replaced then stays in force.
    pub fn from_sheets<'a>(
        sheets: impl IntoIterator<Item = &'a PriceSheet>,
        now: jiff::Timestamp,
    ) -> (Self, Vec<PriceIssue>) {
        let mut sheets: Vec<Sheet<'a>> = sheets
            .into_iter()
            .map(|object| Sheet {
                name: object.metadata.name.as_deref().unwrap_or_default(),
                effective_from: object.spec.effective_from.0,
                object,
            })
            .filter(|sheet| sheet.effective_from <= now)
            .collect();
        sheets.sort_by_key(|sheet| (sheet.effective_from, sheet.name));
        let mut prices = Self::default();
        let mut issues = Vec::new();
        for sheet in &sheets {
            prices.read(sheet, &mut issues);
        }
        prices.compare_spot(&mut issues);
        (prices, issues)
    }

    fn read(&mut self, sheet: &Sheet<'_>, issues: &mut Vec<PriceIssue>) {
        let spec = &sheet.object.spec;
        for row in &spec.prices {
            let capacity_type = capacity_type(row.capacity_type);
            let key = (
                spec.provider.clone(),
                row.instance_type.clone(),
                row.region.clone(),
                row.zone.clone().unwrap_or_default(),
                capacity_type,
            );
            let usd_per_hour = usd(row.usd_per_hour);
            // Capacity that was paid for in advance may cost nothing more; the rest never does.
            let may_be_free = matches!(capacity_type, CapacityType::Owned | CapacityType::Reserved);
            let absurd = usd_per_hour > MAX_NODE_USD_PER_HOUR
                || (usd_per_hour == MicroUsd::ZERO && !may_be_free);
            if absurd {
                sheet.absurd(node_words(&key), format!("{usd_per_hour} an hour"), issues);
                continue;
            }
            let mut rate = row.interruptions_per_hour.map_or(0, Decimal::micros);
            if rate > MAX_INTERRUPTIONS_PER_HOUR_MICRO {
                let value = format!("{} interruptions an hour", rate / 1_000_000);
                sheet.absurd(node_words(&key), value, issues);
                rate = 0;
            }
            let words = node_words(&key);
            let value = NodeRow {
                usd_per_hour,
                interruptions_per_hour_micro: rate,
            };
            sheet.put(&mut self.nodes, key, value, words, issues);
        }
        for row in &spec.owned {
            let value = usd(row.usd_per_device_hour);
            let words = format!("owned {}", row.accelerator_type);
            if value > MAX_DEVICE_USD_PER_HOUR {
                sheet.absurd(words, format!("{value} a device and hour"), issues);
                continue;
            }
            let key = (
                spec.provider.clone(),
                row.accelerator_type.clone(),
                row.region.clone().unwrap_or_default(),
            );
            sheet.put(&mut self.owned, key, value, words, issues);
        }
        for row in &spec.electricity {
            let usd_per_kwh = usd(row.usd_per_kwh);
            let words = format!("electricity in {}", row.region);
            if usd_per_kwh > MAX_USD_PER_KWH {
                sheet.absurd(words, format!("{usd_per_kwh} a kWh"), issues);
                continue;
            }
            if !PUE_MICRO.contains(&row.pue.micros()) {
                sheet.absurd(words.clone(), format!("pue {}", row.pue), issues);
            }
            let value = ElectricityRow {
                usd_per_kwh,
                pue_micro: row.pue.micros().clamp(*PUE_MICRO.start(), *PUE_MICRO.end()),
            };
            let key = (spec.provider.clone(), row.region.clone());
            sheet.put(&mut self.electricity, key, value, words, issues);
        }
        for row in &spec.egress {
            let value = usd(row.usd_per_gib);
            let words = format!("egress from {} to {}", row.from, row.to);
            if value > MAX_USD_PER_GIB {
                sheet.absurd(words, format!("{value} a GiB"), issues);
                continue;
            }
            let key = (row.from.clone(), row.to.clone());
            sheet.put(&mut self.egress, key, value, words, issues);
        }
    }

    /// Spot dearer than on-demand is real now and then, and a mistake more often.
    fn compare_spot(&self, issues: &mut Vec<PriceIssue>) {
        for (key, spot) in &self.nodes {
            if key.4 != CapacityType::Spot {
                continue;
            }
            let on_demand = |zone: &str| {
                let mut key = key.clone();
                key.3 = zone.to_owned();
                key.4 = CapacityType::OnDemand;
                self.nodes.get(&key)
            };
            if let Some(listed) = on_demand(&key.3).or_else(|| on_demand(""))
                && spot.value.usd_per_hour > listed.value.usd_per_hour
            {
                issues.push(PriceIssue::SpotAboveOnDemand {
                    sheet: spot.sheet.clone(),
                    row: node_words(key),
                    spot: spot.value.usd_per_hour,
                    on_demand: listed.value.usd_per_hour,
                });
            }
        }
    }
}

struct Sheet<'a> {
    name: &'a str,
    effective_from: jiff::Timestamp,
    object: &'a PriceSheet,
}

impl Sheet<'_> {
    fn absurd(&self, row: String, value: String, issues: &mut Vec<PriceIssue>) {
        issues.push(PriceIssue::Absurd {
            sheet: self.name.to_owned(),
            row,
            value,
        });
    }

    /// Sheets come oldest first, so a later row replaces an earlier one.
    fn put<K: Ord, V>(
        &self,
        map: &mut BTreeMap<K, Row<V>>,
        key: K,
        value: V,
        words: String,
        issues: &mut Vec<PriceIssue>,
    ) {
        let row = Row {
            value,
            sheet: self.name.to_owned(),
            effective_from: self.effective_from,
        };
        match map.entry(key) {
            Entry::Vacant(slot) => {
                slot.insert(row);
            }
            Entry::Occupied(mut slot) => {
                let before = slot.get();
                if before.sheet == row.sheet && before.effective_from == row.effective_from {
                    issues.push(PriceIssue::Duplicate {
                        sheet: self.name.to_owned(),
                        row: words,
                    });
                }
                slot.insert(row);
            }
        }
    }
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

fn node_words((provider, instance_type, region, zone, capacity_type): &NodeKey) -> String {
    let place = if zone.is_empty() { region } else { zone };
    let capacity_type = capacity_type.as_str();
    format!("{provider} {instance_type} {capacity_type} in {place}")
}
