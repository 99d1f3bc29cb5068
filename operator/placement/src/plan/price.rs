//! What a placement costs: dollars per hour, dollars for the work, seconds.
//!
//! All arithmetic is on 128-bit integers that stop at their ends, so absurd prices and durations give absurd totals and
//! nothing worse.

use crate::arena::PoolIndex;
use crate::fleet::Fleet;
use crate::model::{Alternative, DeviceShare, JobSpec, Kind, MicroUsd, NodePrice, Work};

/// Devices and nodes used of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Pool.
    pub(crate) pool: PoolIndex,
    /// Devices.
    pub(crate) devices: u64,
    /// Nodes.
    pub(crate) nodes: u64,
}

/// What a placement costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quote {
    /// Per hour.
    pub(crate) usd_per_hour: i64,
    /// Training: for the work. Inference: egress.
    pub(crate) usd_total: i64,
    /// Of it: moving the data.
    pub(crate) usd_egress: i64,
    /// Seconds; `None` for inference.
    pub(crate) duration_seconds: Option<i64>,
    /// Watts of all devices with their hosts.
    pub(crate) watts: i64,
    /// Whose price sheet it is: the first pool with one.
    pub(crate) sheet_of: Option<PoolIndex>,
    /// Whether a node without a price is part of it.
    pub(crate) unpriced: bool,
}

/// Seconds that an alternative needs for a gang's work, with restoring a checkpoint where there is one; `None` where it would
/// never end, and for inference.
pub(crate) fn duration_seconds(kind: &Kind, alternative: &Alternative) -> Option<i64> {
    let Kind::Training {
        work,
        restores,
        checkpoint_restore_seconds,
        ..
    } = kind
    else {
        return None;
    };
    let seconds = match *work {
        Work::DurationSeconds(seconds) => seconds,
        Work::UnitsMicro(units) => {
            let rate = i128::from(alternative.throughput_micro.filter(|&t| t > 0)?);
            // To the nearest second, and never nothing.
            clamp((i128::from(units) + rate / 2) / rate).max(1)
        }
    };
    let restore = (*checkpoint_restore_seconds).max(0);
    Some(seconds.saturating_add(if *restores { restore } else { 0 }))
}

/// What a unit is of its device and its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnitShare {
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
fn hourly(price: &NodePrice, share: UnitShare, held: u64, watts: i64) -> i128 {
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
    fn unit_share(&self, pool: PoolIndex) -> UnitShare {
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

    /// What using these devices for a job costs in a cluster.
    pub(crate) fn quote(
        &self,
        job: &JobSpec,
        cluster: &str,
        uses: &[Use],
        watts_each: i64,
        duration: Option<i64>,
    ) -> Quote {
        let mut quote = Quote {
            usd_egress: job
                .egress
                .iter()
                .filter(|egress| egress.cluster == cluster)
                .map(|egress| egress.usd.0.max(0))
                .fold(0, i64::saturating_add),
            duration_seconds: duration,
            ..Quote::default()
        };
        let mut hour = 0_i128;
        // Interruptions expected per hour, in millionths, over all nodes.
        let mut interruptions = 0_i128;
        for part in uses {
            let pool = &self.pools[part.pool].key;
            let watts = watts_each.saturating_mul(clamp(i128::from(part.devices)));
            quote.watts = quote.watts.saturating_add(watts);
            let share = self.unit_share(part.pool);
            hour = hour.saturating_add(hourly(&pool.price, share, part.devices, watts));
            interruptions = interruptions.saturating_add(
                i128::from(pool.price.interruptions_per_hour_micro.max(0))
                    .saturating_mul(i128::from(part.nodes)),
            );
            quote.unpriced |= pool.price.is_unpriced();
            if quote.sheet_of.is_none() && pool.price.sheet.is_some() {
                quote.sheet_of = Some(part.pool);
            }
        }
        quote.usd_per_hour = clamp(hour);
        let mut total = i128::from(quote.usd_egress);
        if let (
            Some(duration),
            Kind::Training {
                checkpoint_interval_seconds,
                checkpoint_restore_seconds,
                ..
            },
        ) = (duration, &job.kind)
        {
            let duration = i128::from(duration.max(0));
            total = total.saturating_add(nearest(hour.saturating_mul(duration), 3600));
            // On average half of what lies between checkpoints is lost, and of the whole run without them.
            let between = match *checkpoint_interval_seconds {
                interval if interval > 0 => i128::from(interval).min(duration),
                _ => duration,
            };
            let lost_twice = between + 2 * i128::from((*checkpoint_restore_seconds).max(0));
            let loss = nearest(
                interruptions
                    .saturating_mul(duration)
                    .saturating_mul(lost_twice)
                    .saturating_mul(hour),
                2 * 3600 * 3600 * 1_000_000,
            );
            total = total.saturating_add(loss);
        }
        quote.usd_total = clamp(total);
        quote
    }

    /// Where a quote's price comes from.
    pub(crate) fn sheet(&self, quote: &Quote) -> Option<String> {
        let pool = quote.sheet_of?;
        self.pools[pool].key.price.sheet.clone()
    }
}

/// Division to the nearest integer; both sides not negative.
fn nearest(value: i128, by: i128) -> i128 {
    let sum = value.saturating_add(by / 2);
    match (u64::try_from(sum), u64::try_from(by)) {
        // What any real price and duration gives; many times faster.
        (Ok(sum), Ok(by)) => i128::from(sum.checked_div(by).unwrap_or(0)),
        _ => sum.checked_div(by).unwrap_or(0),
    }
}

/// Cut to 64 bits.
pub(crate) fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl Quote {
    /// Dollars per hour.
    pub(crate) fn per_hour(&self) -> MicroUsd {
        MicroUsd(self.usd_per_hour)
    }

    /// Dollars in all.
    pub(crate) fn total(&self) -> MicroUsd {
        MicroUsd(self.usd_total)
    }
}
