//! Why a job was not placed: one typed reason per candidate, with the numbers that decided, counted and bounded.

use std::collections::BTreeMap;

use super::candidate::{cluster_refusal, gang_size, requirement, untolerated};
use super::price::{Quote, Use, duration_seconds};
use super::select::Want;
use crate::arena::{GroupIndex, Key, NodeIndex, PoolIndex};
use crate::fleet::{Fleet, PowerLimit, PowerShortage};
use crate::model::{
    AcceleratorRequirement, Alternative, JobSpec, Kind, Level, MicroUsd, PlanOptions, Reason,
    Refusal, Taint, TaintEffect, Unplaced,
};

/// Most reasons of one verdict.
pub(crate) const MOST_REASONS: usize = 32;

/// What a job still misses; by default, what a gang without a place does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Missing {
    /// Inference: replicas without a place.
    pub(crate) replicas: u32,
    /// Inference: dollars per hour of the replicas that the cycle gave one.
    pub(crate) spent_per_hour: i64,
}

impl Missing {
    /// Replicas that one candidate would have to take.
    pub(crate) fn of(self, job: &JobSpec, alternative: &Alternative) -> u64 {
        match job.kind {
            Kind::Training { .. } => gang_size(job, alternative),
            Kind::Inference { .. } => u64::from(self.replicas),
        }
    }
}

/// Why an alternative was not taken on a group.
#[derive(Clone, Debug)]
pub(crate) struct Diagnosis {
    /// Position of the alternative.
    pub(crate) alternative: usize,
    /// Group.
    pub(crate) group: GroupIndex,
    /// Why.
    pub(crate) reason: Reason,
}

impl Fleet {
    /// The verdict on a job that found no place, against the fleet as it is now.
    pub(crate) fn explain(
        &mut self,
        job: &JobSpec,
        missing: Missing,
        options: &PlanOptions,
    ) -> Unplaced {
        let open = self.open_clusters(job);
        let mut counted: BTreeMap<Refused, u64> = BTreeMap::new();
        let mut count = |reason: Reason, cluster: Option<&str>, alternative: Option<&str>| {
            let refused = Refused {
                rank: rank(&reason),
                shortage: shortage(&reason),
                cluster: cluster.map(str::to_owned),
                alternative: alternative.map(str::to_owned),
                reason,
            };
            *counted.entry(refused).or_default() += 1;
        };
        for &cluster in self.cluster_by_name.values() {
            let cluster = &self.clusters[cluster];
            if cluster.spec.is_some()
                && let Some(reason) = cluster_refusal(job, cluster)
            {
                count(reason, Some(&cluster.name), None);
            }
        }
        let mut found: Vec<Diagnosis> = Vec::new();
        for (at, alternative) in job.alternatives.iter().enumerate() {
            let name = Some(alternative.name.as_str());
            let mut offered = vec![false; self.clusters.len()];
            if matches!(job.kind, Kind::Training { .. })
                && duration_seconds(&job.kind, alternative).is_none()
            {
                count(Reason::NoThroughput, None, name);
                continue;
            }
            if alternative.devices_per_replica == 0 || gang_size(job, alternative) == 0 {
                let message =
                    "the alternative asks for no devices or no replicas; ask for at least 1";
                count(
                    Reason::Invalid {
                        message: message.into(),
                    },
                    None,
                    name,
                );
                continue;
            }
            for group in self.groups_for(alternative) {
                let cluster = self.cluster_of(group);
                let has_nodes = self.cells.get(self.groups[group].root).nodes > 0;
                if open.get(cluster.position()) != Some(&true) || !has_nodes {
                    continue;
                }
                if let Some(seen) = offered.get_mut(cluster.position()) {
                    *seen = true;
                }
                let reason = self.diagnose(job, alternative, group, missing, options.now_seconds);
                count(reason.clone(), Some(&self.clusters[cluster].name), name);
                found.push(Diagnosis {
                    alternative: at,
                    group,
                    reason,
                });
            }
            // Late even if it started now: said at once, whatever it waits for.
            let said = |d: &Diagnosis| {
                d.alternative == at && matches!(d.reason, Reason::DeadlineMissed { .. })
            };
            if let Some(late_seconds) = late_seconds(job, alternative, options.now_seconds)
                && !found.iter().any(said)
            {
                count(Reason::DeadlineMissed { late_seconds }, None, name);
            }
            let mut otherwise = self.other_parts(alternative);
            for &cluster in self.cluster_by_name.values() {
                if open.get(cluster.position()) == Some(&true)
                    && offered.get(cluster.position()) == Some(&false)
                {
                    let wanted = wanted(&alternative.accelerator);
                    let groups = otherwise.remove(&cluster).unwrap_or_default();
                    let reason = self.lacks(alternative, wanted, &groups);
                    count(reason.clone(), Some(&self.clusters[cluster].name), name);
                    found.extend(groups.into_iter().map(|group| Diagnosis {
                        alternative: at,
                        group,
                        reason: reason.clone(),
                    }));
                }
            }
        }
        let reasons = bounded(counted);
        let fix = self.fix(job, missing, &found, &reasons, options.now_seconds);
        Unplaced {
            job: job.key.clone(),
            replicas: match job.kind {
                Kind::Training { .. } => job.alternatives.first().map_or(0, |a| a.replicas),
                Kind::Inference { .. } => missing.replicas,
            },
            reasons,
            fix,
            earliest_start_seconds: None,
        }
    }

    /// The binding constraint of one alternative on one group: the first whose lifting nothing before it could replace.
    pub(crate) fn diagnose(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
        missing: Missing,
        now_seconds: i64,
    ) -> Reason {
        let key = &self.groups[group].key;
        if !job.capacity_types.contains(&key.capacity_type) {
            return Reason::CapacityTypeNotAllowed {
                capacity_type: key.capacity_type,
            };
        }
        let needed = missing.of(job, alternative);
        if let Some(reason) = self.diagnose_devices(job, alternative, group, needed) {
            return reason;
        }
        let mut pools = self.admitted(job, alternative, group);
        pools.sort_unstable();
        let want = self.want(alternative, group, needed, Some(pools));
        if let Some(reason) = self.diagnose_nodes(job, &want) {
            return reason;
        }
        if let Some(reason) = self.diagnose_power(job, &want) {
            return reason;
        }
        if let Some(reason) = self.diagnose_money(job, alternative, &want, missing, now_seconds) {
            return reason;
        }
        if let Kind::Inference {
            spread: Some(spread),
            ..
        } = job.kind
        {
            return Reason::SpreadExceeded {
                level: spread.by,
                max_skew: spread.max_skew,
            };
        }
        self.too_few(&want)
    }

    /// Whether watts are what keeps a gang's alternative from a group.
    pub(crate) fn lacks_watts(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
        now_seconds: i64,
    ) -> bool {
        matches!(
            self.diagnose(job, alternative, group, Missing::default(), now_seconds),
            Reason::PowerDomainExceeded { .. } | Reason::PowerBudgetExceeded { .. }
        )
    }

    /// Devices, taints, prices, node selectors, faults.
    fn diagnose_devices(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
        needed: u64,
    ) -> Option<Reason> {
        let devices = alternative.devices_per_replica;
        let all = &self.groups[group].pools;
        let fitting = |pools: &[PoolIndex]| -> u64 {
            pools
                .iter()
                .map(|&pool| self.pools[pool].replicas_free(devices))
                .fold(0, u64::saturating_add)
        };
        let (mut total, mut capacity) = (0_u64, 0_u64);
        for &pool in all {
            let pool = &self.pools[pool];
            total = total.saturating_add(pool.nodes() * u64::from(pool.key.devices));
            capacity = capacity
                .saturating_add(pool.nodes() * u64::from(pool.key.devices / devices.max(1)));
        }
        let needed_devices = needed.saturating_mul(u64::from(devices));
        if capacity < needed {
            return Some(Reason::InsufficientCapacity {
                needed: needed_devices,
                total,
            });
        }
        if fitting(all) < needed {
            let free = all
                .iter()
                .flat_map(|&pool| self.pools[pool].by_free.iter())
                .map(|(free, nodes)| u64::from(*free) * nodes)
                .fold(0, u64::saturating_add);
            let available = self.cells.get(self.groups[group].root).free_devices;
            return Some(if free < needed_devices {
                Reason::InsufficientDevices {
                    needed: needed_devices,
                    available,
                }
            } else {
                Reason::Fragmented {
                    needed,
                    fitting: fitting(all),
                    available,
                }
            });
        }
        let (tolerated, kept_out): (Vec<PoolIndex>, Vec<PoolIndex>) = all
            .iter()
            .partition(|&&pool| untolerated(&self.pools[pool], &alternative.pod).is_none());
        if fitting(&tolerated) < needed {
            let mut taints: BTreeMap<&Taint, u64> = BTreeMap::new();
            for &pool in &kept_out {
                if let Some(taint) = untolerated(&self.pools[pool], &alternative.pod) {
                    *taints.entry(taint).or_default() += self.pools[pool].nodes();
                }
            }
            let (taint, nodes) = taints.into_iter().max_by_key(|(_, nodes)| *nodes)?;
            return Some(Reason::TaintNotTolerated {
                taint: taint_text(taint),
                nodes,
            });
        }
        let priced = self.admitted(job, alternative, group);
        if fitting(&priced) < needed {
            return Some(Reason::Unpriced);
        }
        if let Some(wanted) = requirement(&alternative.pod) {
            let (mut fits, mut left_out) = (0_u64, 0_u64);
            for node in self.nodes_of(self.cluster_of(group)) {
                let node = &self.nodes[node];
                let Some(slot) = node.slot(group) else {
                    continue;
                };
                if !node.satisfies(wanted, &self.symbols) {
                    left_out += 1;
                } else if priced.contains(&slot.pool) {
                    fits = fits.saturating_add(u64::from(slot.free / devices.max(1)));
                }
            }
            if fits < needed {
                return Some(Reason::NodeSelectorMismatch { nodes: left_out });
            }
        }
        let usable = self
            .cells
            .get(self.groups[group].root)
            .capacity(devices, |pool| priced.contains(&pool));
        if usable < needed {
            let mut faults: BTreeMap<String, u64> = BTreeMap::new();
            for &pool in &priced {
                for (fault, nodes) in &self.pools[pool].faults {
                    *faults.entry(format!("{fault:?}")).or_default() += nodes;
                }
            }
            let nodes = faults.values().sum();
            let (fault, _) = faults
                .into_iter()
                .max_by_key(|(_, nodes)| *nodes)
                .unwrap_or_default();
            return Some(Reason::NodesUnavailable { nodes, fault });
        }
        None
    }

    /// CPU, memory, pod slots, topology.
    fn diagnose_nodes(&self, job: &JobSpec, want: &Want<'_>) -> Option<Reason> {
        let unpowered = Want {
            watts_each: 0,
            ..want.clone()
        };
        let required = match job.kind {
            Kind::Training { .. } => job.topology.required,
            Kind::Inference { .. } => Level::Cluster,
        };
        if self.choose(&unpowered, required).is_some() {
            return None;
        }
        let mut nodes: Vec<NodeIndex> = Vec::new();
        self.offered_below(self.groups[want.group].root, &mut nodes);
        let (mut all, mut cpu, mut memory, mut slots, mut any) = (0_u64, 0, 0, 0, 0_u64);
        let (mut admitted, mut largest) = (false, 0_u64);
        for &index in &nodes {
            let Some((slot, room)) = self.usable(&unpowered, index) else {
                continue;
            };
            admitted = true;
            let node = &self.nodes[index];
            let by_devices = u64::from(slot.offered.checked_div(want.devices).unwrap_or(0));
            let limit = |by: Option<u64>| by.unwrap_or(u64::MAX).min(by_devices);
            any = any.saturating_add(by_devices);
            all = all.saturating_add(room);
            largest = largest.max(room);
            cpu += limit(node.cpu_free.checked_div(want.cpu_milli));
            memory += limit(node.memory_free.checked_div(want.memory_mib));
            slots += limit(Some(node.pods_free));
        }
        let needed = want.replicas;
        if any < needed || !admitted {
            // Selected nodes have devices, but the usable ones among them not enough.
            let faults = self.nodes_of(self.cluster_of(want.group));
            let out = faults
                .filter(|&node| {
                    self.nodes[node].fault.is_some() && self.usable(want, node).is_some()
                })
                .count();
            return Some(Reason::NodesUnavailable {
                nodes: u64::try_from(out).unwrap_or(u64::MAX),
                fault: "Unavailable".into(),
            });
        }
        if all < needed {
            return Some(if cpu <= memory && cpu <= slots {
                Reason::InsufficientCpu {
                    needed,
                    fitting: cpu.min(all),
                    cpu_milli: want.cpu_milli,
                }
            } else if memory <= slots {
                Reason::InsufficientMemory {
                    needed,
                    fitting: memory.min(all),
                    memory_mib: want.memory_mib,
                }
            } else {
                Reason::InsufficientPodSlots {
                    needed,
                    fitting: slots.min(all),
                }
            });
        }
        let fitting = if required == Level::Node {
            Some(largest)
        } else {
            let root = self.groups[want.group].root;
            let cells = self.cells.at_level(root, required);
            cells
                .into_iter()
                .map(|cell| {
                    self.cells
                        .get(cell)
                        .capacity(want.devices, |p| want.admits(p))
                })
                .max()
        };
        Some(match fitting {
            Some(fitting) => Reason::TopologyTooSmall {
                level: required,
                needed,
                fitting: fitting.min(needed.saturating_sub(1)),
            },
            None => Reason::TopologyUnknown { level: required },
        })
    }

    fn diagnose_power(&self, job: &JobSpec, want: &Want<'_>) -> Option<Reason> {
        let watts = want
            .watts_each
            .saturating_mul(i64::from(want.devices))
            .saturating_mul(i64::try_from(want.replicas).unwrap_or(i64::MAX));
        if let Some(shortage) = self.power.queue_shortage(&job.queue, watts) {
            return Some(power_reason(shortage));
        }
        let required = match job.kind {
            Kind::Training { .. } => job.topology.required,
            Kind::Inference { .. } => Level::Cluster,
        };
        if self.choose(want, required).is_some() {
            return None;
        }
        let unpowered = Want {
            watts_each: 0,
            ..want.clone()
        };
        let picks = self.choose(&unpowered, required)?;
        self.power
            .shortage(&self.loads(want, &picks))
            .map(power_reason)
    }

    /// What it would cost, at the cheapest of the admitted prices that have room, or about so.
    pub(crate) fn likely_quote(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        want: &Want<'_>,
    ) -> Option<Quote> {
        let required = match job.kind {
            Kind::Training { .. } => job.topology.required,
            Kind::Inference { .. } => Level::Cluster,
        };
        let duration = duration_seconds(&job.kind, alternative);
        // The cheapest prefix of prices that holds it, as the planner would take it.
        let mut free = job.clone();
        free.budget = crate::model::DollarBudget::default();
        let mut candidates = Vec::new();
        let at = job.alternatives.iter().position(|a| a == alternative)?;
        self.on_group(
            &free,
            at,
            alternative,
            want.group,
            duration,
            &mut candidates,
        );
        let cluster = &self.clusters[self.cluster_of(want.group)].name;
        let picks = candidates
            .iter()
            .find_map(|candidate| {
                let pools: Vec<PoolIndex> = candidate
                    .pools
                    .clone()
                    .unwrap_or_else(|| {
                        let mut all = self.groups[want.group].pools.clone();
                        all.sort_unstable();
                        all
                    })
                    .into_iter()
                    .filter(|&pool| want.admits(pool))
                    .collect();
                let tried = Want {
                    pools: Some(pools),
                    ranks: candidate.ranks.clone(),
                    ..want.clone()
                };
                self.choose(&tried, required)
            })
            .or_else(|| self.choose(want, required))?;
        let uses: Vec<Use> = self.uses(&picks, want.devices);
        Some(self.quote(job, cluster, &uses, want.watts_each, duration))
    }

    fn diagnose_money(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        want: &Want<'_>,
        missing: Missing,
        now_seconds: i64,
    ) -> Option<Reason> {
        let quote = self.likely_quote(job, alternative, want)?;
        if let Some(late_seconds) = late_seconds(job, alternative, now_seconds) {
            return Some(Reason::DeadlineMissed { late_seconds });
        }
        let hour = MicroUsd(quote.usd_per_hour)
            + MicroUsd(missing.spent_per_hour)
            + job.kind.placed_usd_per_hour();
        if let Some(limit) = job.budget.max_usd_per_hour
            && hour > limit
        {
            return Some(Reason::HourlyBudgetExceeded {
                needed_usd_per_hour: hour,
                limit_usd_per_hour: limit,
            });
        }
        if let Some(limit) = job.budget.max_usd
            && quote.total() > limit
            && matches!(job.kind, Kind::Training { .. })
        {
            return Some(Reason::DollarBudgetExceeded {
                needed_usd: quote.total(),
                limit_usd: limit,
            });
        }
        None
    }

    fn too_few(&self, want: &Want<'_>) -> Reason {
        Reason::InsufficientDevices {
            needed: want.replicas.saturating_mul(u64::from(want.devices)),
            available: self.cells.get(self.groups[want.group].root).free_devices,
        }
    }
}

/// Seconds by which the work would miss the deadline if it started now, if any.
fn late_seconds(job: &JobSpec, alternative: &Alternative, now_seconds: i64) -> Option<i64> {
    let Kind::Training {
        deadline_seconds: Some(deadline),
        ..
    } = job.kind
    else {
        return None;
    };
    let duration = duration_seconds(&job.kind, alternative)?;
    let late = now_seconds
        .saturating_add(duration)
        .saturating_sub(deadline);
    (late > 0).then_some(late)
}

/// A reason with where it holds, in order of how telling it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Refused {
    rank: u8,
    shortage: i128,
    cluster: Option<String>,
    alternative: Option<String>,
    reason: Reason,
}

/// Most telling first, at most [`MOST_REASONS`]: the closest candidates one by one, the others counted by reason.
fn bounded(counted: BTreeMap<Refused, u64>) -> Vec<Refusal> {
    let mut ranks: Vec<u8> = counted.keys().map(|refused| refused.rank).collect();
    ranks.dedup();
    let single = if counted.len() <= MOST_REASONS {
        MOST_REASONS
    } else {
        MOST_REASONS.saturating_sub(ranks.len())
    };
    let mut reasons: Vec<Refusal> = Vec::new();
    let mut rest: BTreeMap<u8, Refusal> = BTreeMap::new();
    for (refused, count) in counted {
        let refusal = Refusal {
            reason: refused.reason,
            cluster: refused.cluster,
            alternative: refused.alternative,
            count,
        };
        if reasons.len() < single {
            reasons.push(refusal);
        } else {
            rest.entry(refused.rank)
                .and_modify(|sum| {
                    sum.count = sum.count.saturating_add(count);
                    sum.cluster = None;
                    sum.alternative = None;
                })
                .or_insert(refusal);
        }
    }
    reasons.extend(rest.into_values());
    reasons
}

/// How telling a reason is, least first: what is nearest to a placement. Unique per variant.
fn rank(reason: &Reason) -> u8 {
    match reason {
        Reason::Invalid { .. } => 0,
        Reason::NoThroughput => 1,
        Reason::DeadlineMissed { .. } => 2,
        Reason::HourlyBudgetExceeded { .. } => 3,
        Reason::DollarBudgetExceeded { .. } => 4,
        Reason::PowerBudgetExceeded { .. } => 5,
        Reason::PowerDomainExceeded { .. } => 6,
        Reason::SpreadExceeded { .. } => 7,
        Reason::TopologyTooSmall { .. } => 8,
        Reason::TopologyUnknown { .. } => 9,
        Reason::InsufficientCpu { .. } => 10,
        Reason::InsufficientMemory { .. } => 11,
        Reason::InsufficientPodSlots { .. } => 12,
        Reason::NodesUnavailable { .. } => 13,
        Reason::NodeSelectorMismatch { .. } => 14,
        Reason::TaintNotTolerated { .. } => 15,
        Reason::Unpriced => 16,
        Reason::Fragmented { .. } => 17,
        Reason::InsufficientDevices { .. } => 18,
        Reason::InsufficientCapacity { .. } => 19,
        Reason::CapacityTypeNotAllowed { .. } => 20,
        Reason::ClusterUnreachable => 21,
        Reason::NamespaceNotAllowed => 22,
        Reason::ClusterNotSelected => 23,
        Reason::NoSuchPart { .. } => 24,
        Reason::NoSuchAccelerator { .. } => 25,
        Reason::Promised { .. } => 26,
    }
}

/// How much is missing, to put the closest first among equal reasons.
pub(crate) fn shortage(reason: &Reason) -> i128 {
    let less = |needed: u64, have: u64| i128::from(needed) - i128::from(have);
    match reason {
        Reason::DeadlineMissed { late_seconds } => i128::from(*late_seconds),
        Reason::HourlyBudgetExceeded {
            needed_usd_per_hour: needed,
            limit_usd_per_hour: limit,
        }
        | Reason::DollarBudgetExceeded {
            needed_usd: needed,
            limit_usd: limit,
        } => i128::from(needed.0) - i128::from(limit.0),
        Reason::PowerBudgetExceeded {
            needed_watts,
            headroom_watts,
            ..
        }
        | Reason::PowerDomainExceeded {
            needed_watts,
            headroom_watts,
            ..
        } => i128::from(needed_watts.0) - i128::from(headroom_watts.0),
        Reason::TopologyTooSmall {
            needed, fitting, ..
        }
        | Reason::InsufficientCpu {
            needed, fitting, ..
        }
        | Reason::InsufficientMemory {
            needed, fitting, ..
        }
        | Reason::InsufficientPodSlots { needed, fitting }
        | Reason::Fragmented {
            needed, fitting, ..
        } => less(*needed, *fitting),
        Reason::InsufficientDevices { needed, available } => less(*needed, *available),
        Reason::InsufficientCapacity { needed, total } => less(*needed, *total),
        _ => 0,
    }
}

fn power_reason(shortage: PowerShortage) -> Reason {
    match shortage.limit {
        PowerLimit::Domain(domain) => Reason::PowerDomainExceeded {
            domain,
            needed_watts: shortage.needed,
            headroom_watts: shortage.headroom,
        },
        PowerLimit::Budget(budget) => Reason::PowerBudgetExceeded {
            budget,
            needed_watts: shortage.needed,
            headroom_watts: shortage.headroom,
        },
    }
}

fn taint_text(taint: &Taint) -> String {
    let effect = match taint.effect {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
    };
    if taint.value.is_empty() {
        format!("{}:{effect}", taint.key)
    } else {
        format!("{}={}:{effect}", taint.key, taint.value)
    }
}

/// What an alternative asks for, in words.
fn wanted(requirement: &AcceleratorRequirement) -> String {
    match requirement {
        AcceleratorRequirement::Named(name) => name.clone(),
        AcceleratorRequirement::Selected {
            vendor,
            min_memory_gib,
            min_bf16_tflops,
            names,
        } => {
            let mut parts = Vec::new();
            if let Some(vendor) = vendor {
                parts.push(format!("vendor {vendor}"));
            }
            if *min_memory_gib > 0 {
                parts.push(format!("at least {min_memory_gib} GiB"));
            }
            if *min_bf16_tflops > 0 {
                parts.push(format!("at least {min_bf16_tflops} TFLOPS"));
            }
            if !names.is_empty() {
                parts.push(format!("one of {}", names.join(", ")));
            }
            if parts.is_empty() {
                parts.push("any accelerator with known facts".into());
            }
            parts.join(", ")
        }
    }
}
