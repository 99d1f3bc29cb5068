//! Candidates: an alternative on the pools of one group, with what it would cost.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::frontier::Frontier;
use super::price::{Quote, Use};
use super::select::{Pick, Want};
use crate::arena::{ClusterIndex, GroupIndex, PoolIndex};
use crate::fleet::{Cluster, Fleet, OfType, Pool};
use crate::model::{
    AcceleratorFacts, AcceleratorRequirement, Alternative, JobSpec, Kind, NodeRequirement,
    Objective, PodShape, Reason, Taint,
};

/// What decides between candidates; least is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    /// By the job's objective.
    pub(crate) objective: i128,
    /// Dollars, where the objective is something else.
    pub(crate) usd: i64,
    /// Watts.
    pub(crate) watts: i64,
}

/// One way to run a job.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Position of the alternative.
    pub(crate) alternative: usize,
    /// Group.
    pub(crate) group: GroupIndex,
    /// Admitted pools; `None` admits all of the group.
    pub(crate) pools: Option<Vec<PoolIndex>>,
    /// Rank by price where prices differ.
    pub(crate) ranks: Option<BTreeMap<PoolIndex, u32>>,
    /// What it costs, or at least so much where prices differ.
    pub(crate) score: Score,
    /// Least watts, dollars per hour and the like: the quote behind the score.
    pub(crate) quote: Quote,
}

/// Admitted pools of one price.
struct Tier {
    /// Per device and hour, risk of interruption, and whether there is no price.
    price: (i128, i64, bool),
    pools: Vec<PoolIndex>,
    /// Replicas that fit, as far as devices go.
    room: u64,
}

/// Why a cluster takes none of a job; `None` when it may.
pub(crate) fn cluster_refusal(job: &JobSpec, cluster: &Cluster) -> Option<Reason> {
    let Some(spec) = &cluster.spec else {
        return Some(Reason::ClusterUnreachable);
    };
    if !job.clusters.matches(&spec.labels) || job.excluded_clusters.contains(&spec.name) {
        Some(Reason::ClusterNotSelected)
    } else if !spec.allowed_namespaces.is_empty()
        && !spec.allowed_namespaces.contains(&job.namespace)
    {
        Some(Reason::NamespaceNotAllowed)
    } else if !spec.reachable {
        Some(Reason::ClusterUnreachable)
    } else {
        None
    }
}

/// The first taint of a pool that the pod does not tolerate.
pub(crate) fn untolerated<'a>(pool: &'a Pool, pod: &PodShape) -> Option<&'a Taint> {
    pool.key.taints.iter().find(|taint| {
        !pool.key.taint_keys.contains(&taint.key)
            && !pod.tolerations.iter().any(|t| t.tolerates(taint))
    })
}

/// Whether a type has what is asked for.
pub(crate) fn suits(
    wanted: &AcceleratorRequirement,
    name: &str,
    facts: Option<&AcceleratorFacts>,
) -> bool {
    match wanted {
        AcceleratorRequirement::Named(wanted) => wanted == name,
        AcceleratorRequirement::Selected {
            vendor,
            min_memory_gib,
            min_bf16_tflops,
            names,
        } => {
            (names.is_empty() || names.iter().any(|n| n == name))
                && facts.is_some_and(|facts| {
                    vendor.as_ref().is_none_or(|v| *v == facts.vendor)
                        && facts.memory_gib >= *min_memory_gib
                        && facts.bf16_tflops >= *min_bf16_tflops
                })
        }
    }
}

/// What is wrong with a job, so that no fleet could place it.
pub(crate) fn invalid(job: &JobSpec) -> Option<String> {
    if job.alternatives.is_empty() {
        return Some("the job has no alternatives; give at least one".into());
    }
    if job.alternatives.iter().all(|a| a.devices_per_replica == 0) {
        return Some("every alternative asks for 0 devices; ask for at least 1".into());
    }
    let Kind::Training { work, .. } = &job.kind else {
        return None;
    };
    if job
        .alternatives
        .iter()
        .all(|a| a.devices_per_replica == 0 || a.replicas == 0)
    {
        return Some("every alternative asks for 0 replicas; ask for at least 1".into());
    }
    match work {
        crate::model::Work::UnitsMicro(units) if *units <= 0 => {
            Some("the work is not positive; give work.units above 0".into())
        }
        crate::model::Work::DurationSeconds(seconds) if *seconds <= 0 => {
            Some("the duration is not positive; give estimatedDurationSeconds above 0".into())
        }
        _ => None,
    }
}

/// The node requirement, where it says anything.
pub(crate) fn requirement(pod: &PodShape) -> Option<&NodeRequirement> {
    (!pod.nodes.all.0.is_empty() || !pod.nodes.any.is_empty()).then_some(&pod.nodes)
}

/// Replicas that an alternative must place at once: the gang, or one inference replica.
pub(crate) fn gang_size(job: &JobSpec, alternative: &Alternative) -> u64 {
    match job.kind {
        Kind::Training { .. } => u64::from(alternative.replicas),
        Kind::Inference { .. } => 1,
    }
}

impl Fleet {
    /// Which clusters may take a job, by cluster index.
    pub(crate) fn open_clusters(&self, job: &JobSpec) -> Vec<bool> {
        self.clusters
            .iter()
            .map(|(_, cluster)| cluster_refusal(job, cluster).is_none())
            .collect()
    }

    /// Groups whose type and part an alternative may use.
    pub(crate) fn groups_for(&self, alternative: &Alternative) -> Vec<GroupIndex> {
        let mut groups = self.groups_of_type(&alternative.accelerator);
        groups.retain(|&group| alternative.part.is_served_by(&self.groups[group].key.part));
        groups
    }

    /// Groups of the types that are asked for, whatever the part.
    pub(crate) fn groups_of_type(&self, wanted: &AcceleratorRequirement) -> Vec<GroupIndex> {
        let types = self.types_for(wanted);
        types.flat_map(|(_, groups)| groups.iter()).collect()
    }

    /// Accelerator types that a requirement admits, with their groups.
    pub(crate) fn types_for<'a>(
        &'a self,
        wanted: &'a AcceleratorRequirement,
    ) -> Box<dyn Iterator<Item = (&'a Arc<str>, &'a OfType)> + 'a> {
        match wanted {
            AcceleratorRequirement::Named(name) => {
                Box::new(self.groups_by_type.get_key_value(name.as_str()).into_iter())
            }
            AcceleratorRequirement::Selected { .. } => Box::new(
                self.groups_by_type
                    .iter()
                    .filter(|(name, _)| suits(wanted, name, self.facts.get(&***name))),
            ),
        }
    }

    /// What is looked for when an alternative is tried on a group.
    pub(crate) fn want<'a>(
        &self,
        alternative: &'a Alternative,
        group: GroupIndex,
        replicas: u64,
        pools: Option<Vec<PoolIndex>>,
    ) -> Want<'a> {
        Want {
            group,
            pools,
            ranks: None,
            replicas,
            devices: alternative.devices_per_replica,
            cpu_milli: alternative.pod.cpu_milli,
            memory_mib: alternative.pod.memory_mib,
            watts_each: self.watts_each(group),
            requirement: requirement(&alternative.pod),
        }
    }

    /// Candidates of a job that could have room, best first.
    pub(crate) fn candidates(&self, job: &JobSpec) -> Vec<Candidate> {
        Frontier::new(self, job).rest(self, job)
    }

    /// Puts the best candidates first. Stable: those that differ in pools only stay in order.
    pub(crate) fn sort_candidates(&self, candidates: &mut [Candidate]) {
        candidates.sort_by(|a, b| self.compare(a, b));
    }

    /// Whether one candidate comes before another.
    pub(crate) fn is_better(&self, a: &Candidate, b: &Candidate) -> bool {
        self.compare(a, b).is_lt()
    }

    fn compare(&self, a: &Candidate, b: &Candidate) -> Ordering {
        let by_name = || self.name_order(a).cmp(&self.name_order(b));
        a.score.cmp(&b.score).then_with(by_name)
    }

    /// What decides between equals: names, never indices, which depend on the order of calls.
    fn name_order<'a>(&'a self, candidate: &Candidate) -> (&'a str, usize, impl Ord + use<'a>) {
        let key = &self.groups[candidate.group].key;
        (
            &*self.clusters[key.cluster].name,
            candidate.alternative,
            (
                key.capacity_type,
                &*key.accelerator_type,
                &*key.resource,
                &key.part,
                key.share,
            ),
        )
    }

    /// The pools of a group that an alternative may use.
    pub(crate) fn admitted(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
    ) -> Vec<PoolIndex> {
        self.groups[group]
            .pools
            .iter()
            .copied()
            .filter(|&pool| self.admits(job, alternative, pool))
            .collect()
    }

    /// Whether an alternative may use a pool.
    fn admits(&self, job: &JobSpec, alternative: &Alternative, pool: PoolIndex) -> bool {
        let limited = job.budget.max_usd.is_some() || job.budget.max_usd_per_hour.is_some();
        let pool = &self.pools[pool];
        pool.nodes() > 0
            && pool.key.devices >= alternative.devices_per_replica
            && untolerated(pool, &alternative.pod).is_none()
            && !(limited && pool.key.price.is_unpriced())
    }

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
        let mut uses: Vec<Use> = Vec::new();
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
    pub(crate) fn part_of(&self, pool: PoolIndex, replicas: u64, devices: u32) -> Use {
        let per_node = u64::from(
            self.pools[pool]
                .key
                .devices
                .checked_div(devices)
                .unwrap_or(0),
        );
        Use {
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

    /// Devices and nodes by pool.
    pub(crate) fn uses(&self, picks: &[Pick], devices: u32) -> Vec<Use> {
        let mut uses: BTreeMap<PoolIndex, Use> = BTreeMap::new();
        for pick in picks {
            let part = uses.entry(pick.pool).or_insert(Use {
                pool: pick.pool,
                devices: 0,
                nodes: 0,
            });
            part.devices += u64::from(devices) * u64::from(pick.replicas);
            part.nodes += 1;
        }
        // By name, not by index: which price sheet is named first must not depend on the order of calls.
        let mut uses: Vec<Use> = uses.into_values().collect();
        uses.sort_by(|a, b| {
            let key = |part: &Use| {
                let pool = &self.pools[part.pool].key;
                (Reverse(part.devices), pool.zone.clone(), pool.price.clone())
            };
            key(a).cmp(&key(b))
        });
        uses
    }

    /// The cluster of a group.
    pub(crate) fn cluster_of(&self, group: GroupIndex) -> ClusterIndex {
        self.groups[group].key.cluster
    }
}

/// What a quote is worth to a job.
pub(crate) fn score(job: &JobSpec, alternative: &Alternative, quote: &Quote) -> Score {
    let objective = match (&job.kind, job.objective) {
        (Kind::Training { .. }, Objective::Cost) => i128::from(quote.usd_total),
        (Kind::Training { .. }, Objective::Time) => {
            i128::from(quote.duration_seconds.unwrap_or(i64::MAX))
        }
        (Kind::Training { .. }, Objective::Energy) => i128::from(quote.watts)
            .saturating_mul(i128::from(quote.duration_seconds.unwrap_or(i64::MAX))),
        (Kind::Inference { .. }, objective) => {
            // Per unit of throughput where every alternative says its own; a faster replica is then worth its price.
            let comparable = job
                .alternatives
                .iter()
                .all(|a| a.throughput_micro.is_some_and(|t| t > 0));
            let rate = alternative.throughput_micro.unwrap_or(0).max(1);
            let amount = match objective {
                Objective::Cost => quote.usd_per_hour,
                Objective::Energy => quote.watts,
                Objective::Time if comparable => {
                    return Score {
                        objective: -i128::from(rate),
                        usd: quote.usd_per_hour,
                        watts: quote.watts,
                    };
                }
                Objective::Time => quote.usd_per_hour,
            };
            if comparable {
                i128::from(amount).saturating_mul(1_000_000_000_000) / i128::from(rate)
            } else {
                i128::from(amount)
            }
        }
    };
    Score {
        objective,
        usd: match job.kind {
            Kind::Training { .. } => quote.usd_total,
            Kind::Inference { .. } => quote.usd_per_hour,
        },
        watts: quote.watts,
    }
}
