//! Watts charged to the tree and given back, and whether more would break a limit.

use std::collections::BTreeMap;

use super::limits::{PowerLimit, PowerShortage};
use super::tree::{MOST_WATTS, NANO, PowerLedger};
use crate::arena::FeedIndex;
use crate::fleet::node::AbsentHolder;
use crate::model::{Watts, saturated};

impl PowerLedger {
    /// Charges watts (or, negative, gives them back) to a feed and all above it.
    pub(crate) fn charge(&mut self, feed: FeedIndex, watts: i64) {
        if watts == 0 {
            return;
        }
        let watts = i128::from(watts);
        let feed = &mut self.feeds[feed];
        feed.watts += watts;
        for &(at, factor) in &feed.path {
            if let Some(domain) = self.domains.get_mut(at) {
                domain.load_nano = domain
                    .load_nano
                    .saturating_add(watts.saturating_mul(factor));
            }
        }
    }

    /// Gives back what parts on nodes that are not there are charged.
    pub(crate) fn discharge_absent(&mut self, absent: &[AbsentHolder]) {
        for absent in absent {
            if let Some(feed) = absent.feed {
                self.charge(feed, -absent.holder.watts);
            }
        }
    }

    /// Charges watts to a queue.
    pub(crate) fn charge_queue(&mut self, queue: &str, watts: i64) {
        match self.queue_watts.get_mut(queue) {
            Some(sum) => {
                *sum += i128::from(watts);
                if *sum == 0 {
                    self.queue_watts.remove(queue);
                }
            }
            None if watts != 0 => {
                self.queue_watts.insert(queue.to_owned(), i128::from(watts));
            }
            None => {}
        }
    }

    /// How many devices of so many watts each a feed can still carry.
    pub(crate) fn devices(&self, feed: FeedIndex, watts_each: i64) -> u64 {
        if watts_each <= 0 {
            return u64::MAX;
        }
        self.feeds[feed]
            .path
            .iter()
            .filter_map(|&(at, factor)| {
                let headroom = self.domains.get(at)?.headroom_nano().max(0);
                let each = i128::from(watts_each).saturating_mul(factor).max(1);
                u64::try_from(headroom / each).ok()
            })
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Whether these loads together break a limit; the worst one that they break.
    pub(crate) fn shortage(&self, loads: &[(FeedIndex, i64)]) -> Option<PowerShortage> {
        if let [(feed, watts)] = loads {
            return self.worst(
                self.feeds[*feed]
                    .path
                    .iter()
                    .map(|&(at, factor)| (at, i128::from(*watts).saturating_mul(factor))),
            );
        }
        let mut added: BTreeMap<usize, i128> = BTreeMap::new();
        for &(feed, watts) in loads {
            for &(at, factor) in &self.feeds[feed].path {
                let sum = added.entry(at).or_default();
                *sum = sum.saturating_add(i128::from(watts).saturating_mul(factor));
            }
        }
        self.worst(added.into_iter())
    }

    /// Every limit that these loads together break, the worst first.
    pub(crate) fn shortages(&self, loads: &[(FeedIndex, i64)]) -> Vec<PowerShortage> {
        let mut added: BTreeMap<usize, i128> = BTreeMap::new();
        for &(feed, watts) in loads {
            for &(at, factor) in &self.feeds[feed].path {
                let sum = added.entry(at).or_default();
                *sum = sum.saturating_add(i128::from(watts).saturating_mul(factor));
            }
        }
        let mut broken: Vec<(i128, usize, i128)> = added
            .into_iter()
            .filter_map(|(at, load)| {
                let missing = load - self.domains.get(at)?.headroom_nano();
                (load > 0 && missing > 0).then_some((missing, at, load))
            })
            .collect();
        broken.sort_by_key(|(missing, at, _)| (std::cmp::Reverse(*missing), *at));
        broken
            .into_iter()
            .filter_map(|(_, at, load)| {
                let (limit, headroom) = self.domains.get(at)?.tightest();
                Some(PowerShortage {
                    limit,
                    needed: Watts(up(load)),
                    headroom: Watts(down(headroom)),
                })
            })
            .collect()
    }

    fn worst(&self, added: impl Iterator<Item = (usize, i128)>) -> Option<PowerShortage> {
        let mut worst: Option<(i128, usize, i128)> = None;
        for (at, load) in added {
            let Some(domain) = self.domains.get(at) else {
                continue;
            };
            let missing = load - domain.headroom_nano();
            if load > 0 && missing > 0 && worst.is_none_or(|(most, _, _)| missing > most) {
                worst = Some((missing, at, load));
            }
        }
        let (_, at, load) = worst?;
        let (limit, headroom) = self.domains.get(at)?.tightest();
        Some(PowerShortage {
            limit,
            needed: Watts(up(load)),
            headroom: Watts(down(headroom)),
        })
    }

    /// Whether a queue has no room for so many watts.
    pub(crate) fn queue_shortage(&self, queue: &str, watts: i64) -> Option<PowerShortage> {
        let budgets = self.queue_budgets.get(queue)?;
        let (name, limit) = budgets.iter().min_by_key(|(_, limit)| *limit)?;
        let used = self.queue_watts.get(queue).copied().unwrap_or_default();
        let headroom = i128::from(*limit) - used;
        (watts > 0 && i128::from(watts) > headroom).then(|| PowerShortage {
            limit: PowerLimit::Budget(name.clone()),
            needed: Watts(watts),
            headroom: Watts(saturated(headroom)),
        })
    }

    /// Watts that a queue may still reserve; `None` without a limit.
    pub(crate) fn queue_headroom(&self, queue: &str) -> Option<i128> {
        let limit = self
            .queue_budgets
            .get(queue)?
            .iter()
            .map(|(_, limit)| *limit)
            .min()?;
        Some(i128::from(limit) - self.queue_watts.get(queue).copied().unwrap_or_default())
    }

    /// Raises a limit by so many watts; negative takes it back. For trying a fix.
    pub(crate) fn shift_limit(&mut self, limit: &PowerLimit, by: i64) {
        match limit {
            PowerLimit::Domain(name) | PowerLimit::Missing(name) => {
                if let Some(domain) = self
                    .by_name
                    .get(name)
                    .and_then(|&at| self.domains.get_mut(at))
                {
                    domain.usable += by;
                }
            }
            PowerLimit::Closed(..) => {}
            PowerLimit::Budget(name) => {
                let budgets = self
                    .domains
                    .iter_mut()
                    .flat_map(|d| d.budgets.iter_mut())
                    .chain(self.queue_budgets.values_mut().flatten());
                for (_, watts) in budgets.filter(|(budget, _)| budget == name) {
                    *watts += by;
                }
            }
        }
    }
}

/// A charge cut to what can be summed safely.
pub(crate) fn chargeable(watts: i64) -> i64 {
    watts.clamp(0, MOST_WATTS)
}

/// Whole watts of a load, rounded up.
pub(super) fn up(nano: i128) -> i64 {
    saturated(nano.saturating_add(NANO - 1).div_euclid(NANO))
}

/// Whole watts of what is left, rounded down.
fn down(nano: i128) -> i64 {
    saturated(nano.div_euclid(NANO))
}
