//! Loads on trial.

use std::collections::BTreeMap;

use super::tree::PowerLedger;
use crate::arena::FeedIndex;

/// Loads put on trial on top of what is charged.
pub(crate) struct PowerTrial<'a> {
    ledger: &'a PowerLedger,
    added: BTreeMap<usize, i128>,
    watts_each: i64,
}

impl<'a> PowerTrial<'a> {
    /// A trial for devices of so many watts.
    pub(crate) fn new(ledger: &'a PowerLedger, watts_each: i64) -> Self {
        Self {
            ledger,
            added: BTreeMap::new(),
            watts_each,
        }
    }

    /// Takes up to `replicas` replicas of `devices` devices at a feed and returns how many fit.
    pub(crate) fn take(&mut self, feed: FeedIndex, devices: u32, replicas: u64) -> u64 {
        if self.watts_each <= 0 {
            return replicas;
        }
        let path = &self.ledger.feeds[feed].path;
        let each = i128::from(self.watts_each).saturating_mul(i128::from(devices.max(1)));
        let fits = path
            .iter()
            .filter_map(|&(at, factor)| {
                let left = self.ledger.domains.get(at)?.headroom_nano()
                    - self.added.get(&at).copied().unwrap_or(0);
                u64::try_from(left.max(0) / each.saturating_mul(factor).max(1)).ok()
            })
            .fold(replicas, u64::min);
        if fits > 0 {
            for &(at, factor) in path {
                let sum = self.added.entry(at).or_default();
                *sum = sum
                    .saturating_add(each.saturating_mul(factor).saturating_mul(i128::from(fits)));
            }
        }
        fits
    }
}
