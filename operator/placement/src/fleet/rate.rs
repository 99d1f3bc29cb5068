//! What a unit of a pool costs per hour.
//!
//! All arithmetic is on 128-bit integers that stop at their ends, so absurd prices give absurd totals and nothing worse.

use super::index::Fleet;
use crate::arena::PoolIndex;
use crate::model::{DeviceShare, NodePrice};

/// What a unit is of its device and its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnitShare {
    /// Of the device.
    device: DeviceShare,
    /// Devices of the node.
    node_devices: u32,
}

impl UnitShare {
    /// So many units' part of what one device has, before it is divided by the second number.
    fn of_device(self, amount: i64, units: i128) -> (i128, i128) {
        let all = i128::from(amount.max(0))
            .saturating_mul(units)
            .saturating_mul(i128::from(self.device.parts()));
        (all, i128::from(self.device.of()))
    }

    /// The same of what the node has.
    fn of_node(self, amount: i64, units: i128) -> (i128, i128) {
        let (all, of) = self.of_device(amount, units);
        (all, of * i128::from(self.node_devices.max(1)))
    }
}

/// Electricity for so many watts and an hour, in 10⁻⁹ micro-dollars: watts / 1000 × PUE × dollars per kilowatt-hour.
fn electricity(price: &NodePrice, watts: i64) -> i128 {
    i128::from(watts.max(0))
        .saturating_mul(i128::from(price.pue_micro.max(0)))
        .saturating_mul(i128::from(price.usd_per_kwh.0.max(0)))
}

/// Dollars per hour for units of one pool.
pub(crate) fn hourly(price: &NodePrice, share: UnitShare, held: u64, watts: i64) -> i128 {
    let held = i128::from(held);
    let mut usd = 0_i128;
    if let Some(node) = price.usd_per_node_hour {
        let (all, of) = share.of_node(node.0, held);
        usd += nearest(all, of);
    }
    if let Some(device) = price.usd_per_device_hour {
        let (all, of) = share.of_device(device.0, held);
        usd = usd
            .saturating_add(nearest(all, of))
            .saturating_add(nearest(electricity(price, watts), 1_000_000_000));
    }
    usd
}

impl Fleet {
    /// What a unit of a pool is.
    pub(crate) fn unit_share(&self, pool: PoolIndex) -> UnitShare {
        let key = &self.pools[pool].key;
        UnitShare {
            device: self.groups[key.group].key.share,
            node_devices: key.node_devices,
        }
    }

    /// Millionths of a micro-dollar per unit of a pool and hour: for ordering pools by price without rounding.
    pub(crate) fn rate(&self, pool: PoolIndex, watts_each: i64) -> i128 {
        const MICRO: i128 = 1_000_000;
        let price = &self.pools[pool].key.price;
        let share = self.unit_share(pool);
        let (node, of) = share.of_node(price.usd_per_node_hour.unwrap_or_default().0, MICRO);
        let device = price.usd_per_device_hour.map_or(0, |usd| {
            let (device, of) = share.of_device(usd.0, MICRO);
            device / of + electricity(price, watts_each) / 1_000
        });
        node / of + device
    }
}

/// Division to the nearest integer; both sides not negative.
pub(crate) fn nearest(value: i128, by: i128) -> i128 {
    let sum = value.saturating_add(by / 2);
    match (u64::try_from(sum), u64::try_from(by)) {
        // What any real price and duration gives; many times faster.
        (Ok(sum), Ok(by)) => i128::from(sum.checked_div(by).unwrap_or(0)),
        _ => sum.checked_div(by).unwrap_or(0),
    }
}
