//! Which rows are in force, and which cannot be right.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ampacity_api::Decimal;
use ampacity_placement::{CapacityType, MicroUsd};

use super::issue::PriceIssue;
use super::lookup::{ElectricityRow, NodeKey, NodeRow, Prices, Row};
use super::source::{PriceRow, PriceSource};

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
    /// The prices in force at `now`. The order of `sources` does not matter. Rows that cannot be right are left out and reported;
    /// the earlier row that they would have replaced then stays in force.
    pub fn from_sources<'a>(
        sources: impl IntoIterator<Item = &'a dyn PriceSource>,
        now: jiff::Timestamp,
    ) -> (Self, Vec<PriceIssue>) {
        let mut lists: Vec<List<'a>> = sources
            .into_iter()
            .map(|source| List {
                name: source.name(),
                effective_from: source.effective_from(),
                source,
            })
            .filter(|list| list.effective_from <= now)
            .collect();
        lists.sort_by_key(|list| (list.effective_from, list.name));
        let mut prices = Self::default();
        let mut issues = Vec::new();
        for list in &lists {
            for row in list.source.rows() {
                match row {
                    Ok(row) => prices.take(list, row, &mut issues),
                    Err(issue) => issues.push(issue),
                }
            }
        }
        prices.compare_spot(&mut issues);
        (prices, issues)
    }

    fn take(&mut self, list: &List<'_>, row: PriceRow, issues: &mut Vec<PriceIssue>) {
        match row {
            PriceRow::Node {
                provider,
                instance_type,
                region,
                zone,
                capacity_type,
                usd_per_hour,
                interruptions_per_hour_micro,
            } => {
                let key = (provider, instance_type, region, zone, capacity_type);
                let row = NodeRow {
                    usd_per_hour,
                    interruptions_per_hour_micro,
                };
                self.take_node(list, key, row, issues);
            }
            PriceRow::Owned {
                provider,
                accelerator_type,
                region,
                usd_per_device_hour: value,
            } => {
                let words = format!("owned {accelerator_type}");
                if value > MAX_DEVICE_USD_PER_HOUR {
                    list.absurd(words, format!("{value} a device and hour"), issues);
                    return;
                }
                let key = (provider, accelerator_type, region);
                list.put(&mut self.owned, key, value, words, issues);
            }
            PriceRow::Electricity {
                provider,
                region,
                usd_per_kwh,
                pue_micro,
            } => {
                let words = format!("electricity in {region}");
                if usd_per_kwh > MAX_USD_PER_KWH {
                    list.absurd(words, format!("{usd_per_kwh} a kWh"), issues);
                    return;
                }
                if !PUE_MICRO.contains(&pue_micro) {
                    let pue = Decimal::from_micros(pue_micro);
                    list.absurd(words.clone(), format!("pue {pue}"), issues);
                }
                let value = ElectricityRow {
                    usd_per_kwh,
                    pue_micro: pue_micro.clamp(*PUE_MICRO.start(), *PUE_MICRO.end()),
                };
                let key = (provider, region);
                list.put(&mut self.electricity, key, value, words, issues);
            }
            PriceRow::Egress {
                from,
                to,
                usd_per_gib: value,
            } => {
                let words = format!("egress from {from} to {to}");
                if value > MAX_USD_PER_GIB {
                    list.absurd(words, format!("{value} a GiB"), issues);
                    return;
                }
                list.put(&mut self.egress, (from, to), value, words, issues);
            }
        }
    }

    fn take_node(
        &mut self,
        list: &List<'_>,
        key: NodeKey,
        mut row: NodeRow,
        issues: &mut Vec<PriceIssue>,
    ) {
        // Capacity that was paid for in advance may cost nothing more; the rest never does.
        let may_be_free = matches!(key.4, CapacityType::Owned | CapacityType::Reserved);
        let absurd = row.usd_per_hour > MAX_NODE_USD_PER_HOUR
            || (row.usd_per_hour == MicroUsd::ZERO && !may_be_free);
        let words = node_words(&key);
        if absurd {
            list.absurd(words, format!("{} an hour", row.usd_per_hour), issues);
            return;
        }
        let rate = row.interruptions_per_hour_micro;
        if rate > MAX_INTERRUPTIONS_PER_HOUR_MICRO {
            let value = format!("{} interruptions an hour", rate / 1_000_000);
            list.absurd(words.clone(), value, issues);
            row.interruptions_per_hour_micro = 0;
        }
        list.put(&mut self.nodes, key, row, words, issues);
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

/// A source with what its rows are sorted and named by.
struct List<'a> {
    name: &'a str,
    effective_from: jiff::Timestamp,
    source: &'a dyn PriceSource,
}

impl List<'_> {
    fn absurd(&self, row: String, value: String, issues: &mut Vec<PriceIssue>) {
        issues.push(PriceIssue::Absurd {
            sheet: self.name.to_owned(),
            row,
            value,
        });
    }

    /// Lists come oldest first, so a later row replaces an earlier one.
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

fn node_words((provider, instance_type, region, zone, capacity_type): &NodeKey) -> String {
    let place = if zone.is_empty() { region } else { zone };
    let capacity_type = capacity_type.as_str();
    format!("{provider} {instance_type} {capacity_type} in {place}")
}
