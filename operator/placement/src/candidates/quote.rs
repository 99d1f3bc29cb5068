//! A quote: what a placement costs in dollars per hour, in dollars for the work and in seconds.
//!
//! All arithmetic is on 128-bit integers that stop at their ends, so absurd prices and durations give absurd totals and
//! nothing worse.

use crate::arena::PoolIndex;
use crate::fleet::{Fleet, hourly, nearest};
use crate::model::{JobSpec, Kind, MicroUsd, saturated};

/// Devices and nodes used of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolUse {
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

impl Fleet {
    /// What using these devices for a job costs in a cluster.
    pub(crate) fn quote(
        &self,
        job: &JobSpec,
        cluster: &str,
        uses: &[PoolUse],
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
            let watts = watts_each.saturating_mul(saturated(i128::from(part.devices)));
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
        quote.usd_per_hour = saturated(hour);
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
        quote.usd_total = saturated(total);
        quote
    }

    /// Where a quote's price comes from.
    pub(crate) fn sheet(&self, quote: &Quote) -> Option<String> {
        let pool = quote.sheet_of?;
        self.pools[pool].key.price.sheet.clone()
    }
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
