//! The candidates of one alternative on one group: one per prefix of its prices.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::candidate::{Candidate, score};
use super::demand::gang_size;
use super::quote::{PoolUse, Quote};
use crate::arena::{GroupIndex, PoolIndex};
use crate::fleet::Fleet;
use crate::model::{Alternative, JobSpec, Kind};

/// Admitted pools of one price.
struct Tier {
    /// Per device and hour, risk of interruption, and whether there is no price.
    price: (i128, i64, bool),
    pools: Vec<PoolIndex>,
    /// Replicas that fit, as far as devices go.
    room: u64,
}

impl Fleet {
    /// Candidates of one alternative on one group that have room as far as devices go: one per prefix of its prices,
    /// cheapest first. Each is scored as if its cheapest prices were used up first, which is the least that it can cost.
    pub(crate) fn on_group(
        &self,
        job: &JobSpec,
        at: usize,
        alternative: &Alternative,
        group: GroupIndex,
        duration: Option<i64>,
        found: &mut Vec<Candidate>,
    ) {
        let replicas = gang_size(job, alternative);
        let devices = alternative.devices_per_replica;
        let root = self.cells.get(self.groups[group].root);
        if root.capacity(devices, |_| true) < replicas {
            return;
        }
        let watts_each = self.watts_each(group);
        let cluster = &self.clusters[self.groups[group].key.cluster].name;
        if let &[pool] = self.groups[group].pools.as_slice() {
            // Most groups are one pool: one price, and nothing to sort.
            if self.admits(job, alternative, pool) {
                let uses = [self.part_of(pool, replicas, devices)];
                let quote = self.quote(job, cluster, &uses, watts_each, duration);
                found.push(Candidate {
                    alternative: at,
                    group,
                    pools: None,
                    ranks: None,
                    score: score(job, alternative, &quote),
                    quote,
                });
            }
            return;
        }
        let tiers = self.tiers(job, alternative, group, watts_each);
        let gang = matches!(job.kind, Kind::Training { .. });
        let whole_group = self.groups[group].pools.len();
        let mut pools: Vec<PoolIndex> = Vec::new();
        let mut ranks: BTreeMap<PoolIndex, u32> = BTreeMap::new();
        let mut uses: Vec<PoolUse> = Vec::new();
        let mut left = replicas;
        let mut quoted: Option<Quote> = None;
        for (rank, tier) in tiers.iter().enumerate() {
            // An inference replica stands alone: it never mixes prices.
            if !gang {
                pools.clear();
                uses.clear();
                (left, quoted) = (replicas, None);
            }
            let Some(&first) = tier.pools.first() else {
                continue;
            };
            pools.extend(&tier.pools);
            pools.sort_unstable();
            if gang && tiers.len() > 1 {
                let rank = u32::try_from(rank).unwrap_or(u32::MAX);
                ranks.extend(tier.pools.iter().map(|&pool| (pool, rank)));
            }
            let taken = tier.room.min(left);
            if taken > 0 {
                uses.push(self.part_of(first, taken, devices));
            }
            left -= taken;
            if left > 0 {
                continue;
            }
            let quote = quoted
                .get_or_insert_with(|| self.quote(job, cluster, &uses, watts_each, duration))
                .clone();
            found.push(Candidate {
                alternative: at,
                group,
                pools: (pools.len() < whole_group).then(|| pools.clone()),
                ranks: (gang && rank > 0).then(|| ranks.clone()),
                score: score(job, alternative, &quote),
                quote,
            });
        }
    }

    /// What so many replicas use of a pool, on as few nodes as can be.
    pub(crate) fn part_of(&self, pool: PoolIndex, replicas: u64, devices: u32) -> PoolUse {
        let per_node = u64::from(
            self.pools[pool]
                .key
                .devices
                .checked_div(devices)
                .unwrap_or(0),
        );
        PoolUse {
            pool,
            devices: replicas.saturating_mul(u64::from(devices)),
            nodes: replicas.div_ceil(per_node.max(1)),
        }
    }

    /// The admitted pools of a group by price, cheapest first, with the replicas that fit in each.
    fn tiers(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
        watts_each: i64,
    ) -> Vec<Tier> {
        let devices = alternative.devices_per_replica;
        let root = self.cells.get(self.groups[group].root);
        let mut pools: Vec<_> = self
            .admitted(job, alternative, group)
            .into_iter()
            .map(|pool| {
                let key = &self.pools[pool].key;
                let price = &key.price;
                let risk = price.interruptions_per_hour_micro.max(0);
                let rate = self.rate(pool, watts_each);
                (
                    (rate, risk, price.is_unpriced()),
                    Reverse(key.devices),
                    pool,
                )
            })
            .collect();
        pools.sort_unstable();
        let mut tiers: Vec<Tier> = Vec::new();
        for (price, _, pool) in pools {
            match tiers.last_mut() {
                Some(tier) if tier.price == price => tier.pools.push(pool),
                _ => tiers.push(Tier {
                    price,
                    pools: vec![pool],
                    room: 0,
                }),
            }
        }
        if let [tier] = tiers.as_mut_slice()
            && tier.pools.len() == self.groups[group].pools.len()
        {
            tier.room = root.capacity(devices, |_| true);
        } else {
            for tier in &mut tiers {
                tier.room = root.capacity(devices, |pool| tier.pools.contains(&pool));
            }
        }
        tiers
    }
}
