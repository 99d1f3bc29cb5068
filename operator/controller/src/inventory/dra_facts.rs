//! What is known of a cluster's DRA devices beyond the slices of one node.

use std::collections::BTreeMap;

use ampacity_catalog::Family;

use crate::state::{SlimDeviceTaintRule, SlimResourceSlice};

/// The driver; where a trimmed file leaves it out, it is read from the slice's name (`<node>-<driver>-<suffix>`).
pub(super) fn driver(slice: &SlimResourceSlice) -> &str {
    if !slice.spec.driver.is_empty() {
        return &slice.spec.driver;
    }
    let name = slice.metadata.name.as_deref().unwrap_or_default();
    Family::all()
        .flat_map(|family| family.dra.drivers)
        .find(|driver| name.contains(&format!("-{driver}-")))
        .copied()
        .unwrap_or_default()
}

/// How far a pool is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PoolCount {
    /// The highest generation: only its slices count.
    pub(super) generation: i64,
    /// Slices of it that are there.
    pub(super) slices: i64,
    /// Slices that make the pool whole, where it is said.
    pub(super) wanted: Option<i64>,
}

impl PoolCount {
    /// Counts a slice in.
    pub(super) fn add(&mut self, slice: &SlimResourceSlice) {
        let pool = &slice.spec.pool;
        if pool.generation > self.generation || self.slices == 0 {
            *self = Self {
                generation: pool.generation,
                ..Self::default()
            };
        }
        if pool.generation == self.generation {
            self.slices += 1;
            self.wanted = self.wanted.max(pool.resource_slice_count);
        }
    }

    /// How many slices there should be, where some are missing.
    pub(super) fn missing_of(&self) -> Option<i64> {
        self.wanted.filter(|wanted| *wanted > self.slices)
    }
}

/// Pools over several nodes, and the devices that DeviceTaintRules take out of service.
#[derive(Clone, Debug, Default)]
pub struct DraFacts {
    /// By driver and pool.
    pools: BTreeMap<String, BTreeMap<String, PoolCount>>,
    taint_rules: Vec<SlimDeviceTaintRule>,
}

impl DraFacts {
    /// From all slices and rules of a cluster.
    pub fn of<'a>(
        slices: impl IntoIterator<Item = &'a SlimResourceSlice>,
        taint_rules: impl IntoIterator<Item = &'a SlimDeviceTaintRule>,
    ) -> Self {
        let mut facts = Self {
            pools: BTreeMap::new(),
            taint_rules: taint_rules.into_iter().cloned().collect(),
        };
        for slice in slices.into_iter().filter(|slice| slice.is_of_shared_pool()) {
            let pools = facts.pools.entry(driver(slice).to_owned()).or_default();
            let pool = pools.entry(slice.spec.pool.name.clone()).or_default();
            pool.add(slice);
        }
        facts
    }

    /// A pool that may be over several nodes.
    pub(super) fn pool(&self, driver: &str, pool: &str) -> Option<PoolCount> {
        self.pools.get(driver)?.get(pool).copied()
    }

    /// Whether a rule keeps new claims off a device.
    pub(super) fn is_tainted(&self, driver: &str, pool: &str, device: &str) -> bool {
        self.taint_rules
            .iter()
            .any(|rule| rule.keeps_off(driver, pool, device))
    }
}
