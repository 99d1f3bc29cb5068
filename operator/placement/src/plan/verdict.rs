//! Why a job is not placed: one typed reason per candidate, with the numbers that decided, counted and bounded.

use std::collections::BTreeMap;

use super::candidate::{cluster_refusal, gang_size, requirement, untolerated};
use super::gang::affordable;
use super::price::{Use, duration_seconds};
use super::select::Want;
use crate::arena::{ClusterIndex, GroupIndex, PoolIndex};
use crate::fleet::{Fleet, PowerLimit, PowerShortage};
use crate::model::{
    AcceleratorRequirement, Alternative, JobSpec, Kind, Level, PlanOptions, Reason, Refusal, Unplaced,
};

/// Most reasons that a verdict lists.
const MOST_REASONS: usize = 32;

impl Fleet {
    /// Why a job, or `missing` replicas of it, has no place, and the smallest change that would give it one.
    pub(crate) fn explain(&mut self, job: &JobSpec, missing: u32, options: &PlanOptions) -> Unplaced {
        let mut counted: BTreeMap<(Reason, Option<String>, Option<String>), u64> = BTreeMap::new();
        for (cluster, entry) in self.clusters.iter() {
            let name = Some(entry.name.to_string());
            if let Some(reason) = cluster_refusal(job, entry) {
                *counted.entry((reason, name, None)).or_default() += 1;
                continue;
            }
            for alternative in &job.alternatives {
                let groups: Vec<GroupIndex> = self
                    .groups_for(&alternative.accelerator)
                    .into_iter()
                    .filter(|&group| self.cluster_of(group) == cluster)
                    .collect();
                let mut reasons: Vec<Reason> = groups
                    .iter()
                    .filter(|&&group| self.groups[group].pools.iter().any(|&pool| self.pools[pool].nodes > 0))
                    .map(|&group| self.group_reason(job, alternative, group, options))
                    .collect();
                if reasons.is_empty() {
                    reasons.push(Reason::NoSuchAccelerator { wanted: wanted(&alternative.accelerator) });
                }
                for reason in reasons {
                    *counted
                        .entry((reason, name.clone(), Some(alternative.name.clone())))
                        .or_default() += 1;
                }
            }
        }
        if counted.is_empty() {
            let wanted = job.alternatives.first().map(|a| wanted(&a.accelerator)).unwrap_or_default();
            counted.insert((Reason::NoSuchAccelerator { wanted }, None, None), 1);
        }
        let mut reasons: Vec<Refusal> = counted
            .into_iter()
            .map(|((reason, cluster, alternative), count)| Refusal { reason, cluster, alternative, count })
            .collect();
        // The nearer a candidate came to being taken, the more its reason tells.
        reasons.sort_by_key(|refusal| std::cmp::Reverse(nearness(&refusal.reason)));
        reasons.truncate(MOST_REASONS);
        let fix = self.smallest_fix(job, missing, options);
        Unplaced { job: job.key.clone(), replicas: missing, reasons, fix, earliest_start_seconds: None }
    }

    /// What keeps an alternative from a group.
    fn group_reason(&self, job: &JobSpec, alternative: &Alternative, group: GroupIndex, options: &PlanOptions) -> Reason {
        let key = &self.groups[group].key;
        if !job.capacity_types.contains(&key.capacity_type) {
            return Reason::CapacityTypeNotAllowed { capacity_type: key.capacity_type };
        }
        let duration = match &job.kind {
            Kind::Training { work, .. } => match duration_seconds(*work, alternative) {
                Some(seconds) => Some(seconds),
                None => return Reason::NoThroughput,
            },
            Kind::Inference { .. } => None,
        };
        let replicas = gang_size(job, alternative);
        let devices = alternative.devices_per_replica;
        let needed = replicas.saturating_mul(u64::from(devices));
        let pools = self.admitted(job, alternative, group);
        if pools.is_empty() {
            return self.pool_reason(job, alternative, group, needed);
        }
        let sum = |of: &dyn Fn(PoolIndex) -> u64| pools.iter().map(|&pool| of(pool)).fold(0, u64::saturating_add);
        let total = sum(&|pool| self.pools[pool].nodes.saturating_mul(u64::from(self.pools[pool].key.devices)));
        if total < needed {
            return Reason::InsufficientCapacity { needed, total };
        }
        let admits = |pool: PoolIndex| pools.contains(&pool);
        let root = self.cells.get(self.groups[group].root);
        let fitting = root.capacity(devices, admits);
        if fitting < replicas {
            let faulty = sum(&|pool| self.pools[pool].faulty());
            let if_restored = sum(&|pool| self.pools[pool].replicas_free(devices));
            if faulty > 0 && if_restored >= replicas {
                return Reason::NodesUnavailable { nodes: faulty, fault: self.usual_fault(&pools) };
            }
            let available = root.counts.iter().filter(|c| admits(c.pool)).fold(0_u64, |sum, count| {
                sum.saturating_add(u64::from(count.free) * u64::from(count.nodes))
            });
            return if available < needed {
                Reason::InsufficientDevices { needed, available }
            } else {
                Reason::Fragmented { needed: replicas, fitting, available }
            };
        }
        if let Some(reason) = self.money_reason(job, alternative, group, &pools, duration, options) {
            return reason;
        }
        self.node_reason(job, alternative, group, pools)
    }

    /// Why no pool of a group is admitted.
    fn pool_reason(&self, job: &JobSpec, alternative: &Alternative, group: GroupIndex, needed: u64) -> Reason {
        let pools = self.groups[group].pools.iter().map(|&pool| &self.pools[pool]).filter(|p| p.nodes > 0);
        let mut unpriced = false;
        let mut tainted: BTreeMap<String, u64> = BTreeMap::new();
        let mut total = 0_u64;
        for pool in pools {
            if pool.key.devices < alternative.devices_per_replica {
                total = total.max(u64::from(pool.key.devices));
            } else if let Some(taint) = untolerated(pool, &alternative.pod) {
                let text = format!("{}={}:{:?}", taint.key, taint.value, taint.effect);
                *tainted.entry(text).or_default() += pool.nodes;
            } else if pool.key.price.is_unpriced() {
                unpriced |= job.budget.max_usd.is_some() || job.budget.max_usd_per_hour.is_some();
            }
        }
        if unpriced {
            return Reason::Unpriced;
        }
        match tainted.into_iter().max_by_key(|(_, nodes)| *nodes) {
            Some((taint, nodes)) => Reason::TaintNotTolerated { taint, nodes },
            None => Reason::InsufficientCapacity { needed: needed.min(u64::from(alternative.devices_per_replica)), total },
        }
    }

    fn usual_fault(&self, pools: &[PoolIndex]) -> String {
        let mut faults: BTreeMap<String, u64> = BTreeMap::new();
        for &pool in pools {
            for (fault, nodes) in &self.pools[pool].faults {
                *faults.entry(fault_name(fault)).or_default() += nodes;
            }
        }
        faults.into_iter().max_by_key(|(_, nodes)| *nodes).map(|(fault, _)| fault).unwrap_or_default()
    }

    /// Budgets and deadline, judged on the cheapest pool.
    fn money_reason(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
        pools: &[PoolIndex],
        duration: Option<i64>,
        options: &PlanOptions,
    ) -> Option<Reason> {
        let watts_each = self.watts_in_use(&self.groups[group].key.accelerator_type);
        let cluster = &self.clusters[self.cluster_of(group)].name;
        let replicas = gang_size(job, alternative);
        let devices = alternative.devices_per_replica;
        let quote = pools
            .iter()
            .map(|&pool| {
                let per_node = u64::from(self.pools[pool].key.devices / devices.max(1)).max(1);
                let used = Use {
                    pool,
                    devices: replicas.saturating_mul(u64::from(devices)),
                    nodes: replicas.div_ceil(per_node),
                };
                self.quote(job, cluster, &[used], watts_each, duration)
            })
            .min_by_key(|quote| (quote.usd_total, quote.usd_per_hour))?;
        if affordable(job, &quote, options.now_seconds) {
            return None;
        }
        if let (Kind::Training { deadline_seconds: Some(deadline), .. }, Some(duration)) = (&job.kind, duration) {
            let late_seconds = options.now_seconds.saturating_add(duration).saturating_sub(*deadline);
            if late_seconds > 0 {
                return Some(Reason::DeadlineMissed { late_seconds });
            }
        }
        if let Some(limit_usd) = job.budget.max_usd.filter(|most| quote.total() > *most) {
            return Some(Reason::DollarBudgetExceeded { needed_usd: quote.total(), limit_usd });
        }
        job.budget.max_usd_per_hour.map(|limit| Reason::HourlyBudgetExceeded {
            needed_usd_per_hour: quote.per_hour(),
            limit_usd_per_hour: limit,
        })
    }

    /// Topology, power, and what single nodes lack.
    fn node_reason(&self, job: &JobSpec, alternative: &Alternative, group: GroupIndex, pools: Vec<PoolIndex>) -> Reason {
        let replicas = gang_size(job, alternative);
        let want = self.want(alternative, group, replicas, Some(pools));
        let watts = want.watts_each.saturating_mul(i64::from(want.devices)).saturating_mul(i64::try_from(replicas).unwrap_or(i64::MAX));
        if let Some(shortage) = self.power.queue_shortage(&job.queue, watts) {
            return power_reason(shortage);
        }
        let root = self.groups[group].root;
        // Without power, and without what single nodes lack, is there a domain?
        let bare = Want { watts_each: 0, cpu_milli: 0, memory_mib: 0, requirement: None, ..want.clone() };
        if matches!(job.kind, Kind::Training { .. }) && job.topology.required < Level::Cluster {
            let level = job.topology.required;
            let largest = match level {
                Level::Node => self.largest_node(&bare),
                _ => self.cells.largest(root, level, want.devices),
            };
            match largest {
                None => return Reason::TopologyUnknown { level },
                Some(fitting) if fitting < replicas => return Reason::TopologyTooSmall { level, needed: replicas, fitting },
                Some(_) => {}
            }
        }
        let mut nodes = Vec::new();
        self.offered_below(root, &mut nodes);
        let rooms = |want: &Want<'_>| -> u64 { nodes.iter().filter_map(|&n| self.usable(want, n)).map(|(_, room)| room).fold(0, u64::saturating_add) };
        let with_labels = Want { requirement: requirement(&alternative.pod), ..bare.clone() };
        if rooms(&with_labels) < replicas {
            let left_out = nodes.iter().filter(|&&n| self.usable(&bare, n).is_some() && self.usable(&with_labels, n).is_none()).count();
            if left_out > 0 {
                return Reason::NodeSelectorMismatch { nodes: left_out as u64 };
            }
            return Reason::InsufficientPodSlots { needed: replicas, fitting: rooms(&with_labels) };
        }
        let with_cpu = Want { cpu_milli: want.cpu_milli, ..with_labels.clone() };
        let fitting = rooms(&with_cpu);
        if fitting < replicas {
            return Reason::InsufficientCpu { needed: replicas, fitting, cpu_milli: want.cpu_milli };
        }
        let with_memory = Want { memory_mib: want.memory_mib, ..with_labels };
        let fitting = rooms(&with_memory);
        if fitting < replicas {
            return Reason::InsufficientMemory { needed: replicas, fitting, memory_mib: want.memory_mib };
        }
        if let Some(shortage) = self.power_shortage(job, &want) {
            return power_reason(shortage);
        }
        if let Kind::Inference { spread: Some(spread), .. } = &job.kind {
            return Reason::SpreadExceeded { level: spread.by, max_skew: spread.max_skew };
        }
        Reason::Fragmented { needed: replicas, fitting: rooms(&want).min(replicas.saturating_sub(1)), available: rooms(&want) }
    }

    fn largest_node(&self, want: &Want<'_>) -> Option<u64> {
        let mut nodes = Vec::new();
        self.offered_below(self.groups[want.group].root, &mut nodes);
        nodes.iter().filter_map(|&n| self.usable(want, n)).map(|(_, room)| room).max()
    }

    /// The limit that the gang would break on the nodes that it would get if power did not matter.
    pub(crate) fn power_shortage(&self, job: &JobSpec, want: &Want<'_>) -> Option<PowerShortage> {
        let free = Want { watts_each: 0, ..want.clone() };
        let level = if matches!(job.kind, Kind::Training { .. }) { job.topology.required } else { Level::Cluster };
        let picks = self.choose(&free, level)?;
        self.power.shortage(&self.loads(want, &picks))
    }

    /// The clusters that may take a job.
    pub(crate) fn open(&self, job: &JobSpec) -> Vec<ClusterIndex> {
        self.clusters.iter().filter(|(_, c)| cluster_refusal(job, c).is_none()).map(|(at, _)| at).collect()
    }
}

fn power_reason(shortage: PowerShortage) -> Reason {
    let (needed_watts, headroom_watts) = (shortage.needed, shortage.headroom);
    match shortage.limit {
        PowerLimit::Domain(domain) => Reason::PowerDomainExceeded { domain, needed_watts, headroom_watts },
        PowerLimit::Budget(budget) => Reason::PowerBudgetExceeded { budget, needed_watts, headroom_watts },
    }
}

fn fault_name(fault: &crate::model::NodeFault) -> String {
    use crate::model::NodeFault;
    match fault {
        NodeFault::Cordoned => "Cordoned".to_owned(),
        NodeFault::NotReady => "NotReady".to_owned(),
        NodeFault::Terminating => "Terminating".to_owned(),
        NodeFault::Unhealthy(what) => what.clone(),
    }
}

/// What an alternative asks for, in words.
fn wanted(requirement: &AcceleratorRequirement) -> String {
    match requirement {
        AcceleratorRequirement::Named(name) => name.clone(),
        AcceleratorRequirement::Selected { vendor, min_memory_gib, min_bf16_tflops, names } => {
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
            parts.join(", ")
        }
    }
}

/// How near a candidate came; the greater the nearer.
fn nearness(reason: &Reason) -> u8 {
    match reason {
        Reason::PowerDomainExceeded { .. } | Reason::PowerBudgetExceeded { .. } => 12,
        Reason::DollarBudgetExceeded { .. } | Reason::HourlyBudgetExceeded { .. } | Reason::DeadlineMissed { .. } => 11,
        Reason::TopologyTooSmall { .. } | Reason::SpreadExceeded { .. } => 10,
        Reason::InsufficientCpu { .. } | Reason::InsufficientMemory { .. } | Reason::InsufficientPodSlots { .. } => 9,
        Reason::Fragmented { .. } => 8,
        Reason::InsufficientDevices { .. } => 7,
        Reason::NodesUnavailable { .. } | Reason::TaintNotTolerated { .. } | Reason::NodeSelectorMismatch { .. } => 6,
        Reason::TopologyUnknown { .. } | Reason::Unpriced => 5,
        Reason::InsufficientCapacity { .. } | Reason::NoThroughput => 4,
        Reason::CapacityTypeNotAllowed { .. } => 3,
        Reason::ClusterUnreachable => 2,
        Reason::NoSuchAccelerator { .. } | Reason::NamespaceNotAllowed | Reason::ClusterNotSelected => 1,
        Reason::Invalid { .. } => 13,
    }
}
