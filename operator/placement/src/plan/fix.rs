//! The smallest change that would place a job, tried before it is named.
//!
//! Each option is tried on the fleet itself, one group at a time, and taken back: what is named has been seen to work.

use std::sync::Arc;

use super::candidate::requirement;
use super::price::duration_seconds;
use super::select::{Want, total};
use super::verdict::{Diagnosis, Missing};
use crate::arena::{GroupIndex, NodeIndex, PoolIndex};
use crate::fleet::{Fleet, PowerLimit};
use crate::model::{
    Alternative, DeviceGroup, Fix, JobSpec, Kind, Level, MicroUsd, NodeFault, NodeSpec, Reason,
    Refusal, Watts,
};

/// Most groups on which an option of one kind is tried.
const MOST_TRIES: usize = 6;
/// Most nodes that are put in, restored or freed for one try.
const MOST_NODES: u64 = 4096;

/// Largest step by which a limit is raised: a billion gigawatts.
const MOST_RAISE_WATTS: i64 = 1_000_000_000_000_000_000;

/// A job on one group.
#[derive(Clone, Copy)]
struct Case<'a> {
    job: &'a JobSpec,
    at: usize,
    alternative: &'a Alternative,
    group: GroupIndex,
    missing: Missing,
    now_seconds: i64,
}

impl Fleet {
    /// The smallest change that works, by kind and then by size.
    pub(crate) fn fix(
        &mut self,
        job: &JobSpec,
        missing: Missing,
        found: &[Diagnosis],
        reasons: &[Refusal],
        now_seconds: i64,
    ) -> Option<Fix> {
        let case = |diagnosis: &Diagnosis| -> Option<Case<'_>> {
            Some(Case {
                job,
                at: diagnosis.alternative,
                alternative: job.alternatives.get(diagnosis.alternative)?,
                group: diagnosis.group,
                missing,
                now_seconds,
            })
        };
        let mut best: Option<(u8, i128, String, Fix)> = None;
        let mut tries: std::collections::BTreeMap<u8, usize> = std::collections::BTreeMap::new();
        // Nearest candidates first, so that the bound on tries leaves the likely ones in.
        let mut order: Vec<&Diagnosis> = found.iter().collect();
        order.sort_by_cached_key(|d| {
            let name = self.clusters[self.cluster_of(d.group)].name.clone();
            (
                nearness(&d.reason),
                name,
                d.alternative,
                self.groups[d.group].key.clone().capacity_type,
            )
        });
        for diagnosis in order {
            let Some(case) = case(diagnosis) else {
                continue;
            };
            for kind in kinds(&diagnosis.reason) {
                let rank = kind.rank();
                if best.as_ref().is_some_and(|(least, ..)| *least < rank) {
                    continue;
                }
                let tried = tries.entry(rank).or_default();
                if *tried >= MOST_TRIES {
                    continue;
                }
                *tried += 1;
                // Only a smaller change of the same kind is of interest now, or one as large in a cluster that comes first.
                let below = best
                    .as_ref()
                    .filter(|(least, ..)| *least == rank)
                    .map(|(_, size, name, _)| (*size, name.as_str()));
                if let Some((size, fix)) = self.try_fix(*kind, case, &diagnosis.reason, below) {
                    let name = self.clusters[self.cluster_of(case.group)].name.to_string();
                    let entry = (rank, size, name, fix);
                    if best
                        .as_ref()
                        .is_none_or(|old| (entry.0, entry.1, &entry.2) < (old.0, old.1, &old.2))
                    {
                        best = Some(entry);
                    }
                }
            }
        }
        match best {
            Some((.., fix)) => Some(fix),
            None => reasons
                .iter()
                .any(|refusal| is_jobs_own(&refusal.reason))
                .then_some(Fix::ChangeJob),
        }
    }

    fn try_fix(
        &mut self,
        kind: Change,
        case: Case<'_>,
        reason: &Reason,
        below: Option<(i128, &str)>,
    ) -> Option<(i128, Fix)> {
        match kind {
            Change::Topology => self.relax_topology(case),
            Change::Capacity => self.allow_capacity_type(case),
            Change::Restore => self.restore_nodes(case),
            Change::Power => self.raise_power(case, reason),
            Change::Money => self.raise_dollars(case, reason),
            Change::Deadline => self.extend_deadline(case, reason),
            Change::Part => self.change_part(case),
            Change::Add => self.add_nodes(case, below),
            Change::Free => self.free_devices(case),
        }
    }

    /// Whether the job has room on the group as things are.
    fn fits(&mut self, case: Case<'_>) -> bool {
        let Case {
            job,
            alternative,
            group,
            ..
        } = case;
        if !job
            .capacity_types
            .contains(&self.groups[group].key.capacity_type)
        {
            return false;
        }
        match &job.kind {
            Kind::Training { .. } => {
                let duration = duration_seconds(&job.kind, alternative);
                let mut candidates = Vec::new();
                self.on_group(job, case.at, alternative, group, duration, &mut candidates);
                duration.is_some()
                    && candidates
                        .iter()
                        .any(|c| self.try_candidate(job, c, case.now_seconds).is_some())
            }
            // Placed as the planner would and taken back: which nodes it takes decides which watts are short.
            Kind::Inference {
                spread: Some(_), ..
            } => false,
            Kind::Inference { .. } => {
                let mut rest = job.clone();
                if let Kind::Inference { replicas, .. } = &mut rest.kind {
                    *replicas = case.missing.replicas;
                }
                if let Some(most) = &mut rest.budget.max_usd_per_hour {
                    *most -= MicroUsd(case.missing.spent_per_hour);
                }
                let filled = self.place_replicas(&rest);
                for decision in &filled.decisions {
                    self.release(&decision.reservation.key);
                }
                filled.missing == 0
            }
        }
    }

    fn fits_changed(&mut self, case: Case<'_>, change: impl FnOnce(&mut JobSpec)) -> bool {
        let mut job = case.job.clone();
        change(&mut job);
        self.fits(Case { job: &job, ..case })
    }

    fn relax_topology(&mut self, case: Case<'_>) -> Option<(i128, Fix)> {
        Level::ALL
            .into_iter()
            .filter(|level| *level > case.job.topology.required)
            .find(|&level| self.fits_changed(case, |job| job.topology.required = level))
            .map(|to| (to as i128, Fix::RelaxTopology { to }))
    }

    fn allow_capacity_type(&mut self, case: Case<'_>) -> Option<(i128, Fix)> {
        let capacity_type = self.groups[case.group].key.capacity_type;
        let works = self.fits_changed(case, |job| job.capacity_types.push(capacity_type));
        works.then_some((
            capacity_type as i128,
            Fix::AllowCapacityType { capacity_type },
        ))
    }

    fn raise_power(&mut self, case: Case<'_>, reason: &Reason) -> Option<(i128, Fix)> {
        let (limit, needed, headroom) = match reason {
            Reason::PowerDomainExceeded {
                domain,
                needed_watts,
                headroom_watts,
            } => (
                PowerLimit::Domain(domain.clone()),
                needed_watts,
                headroom_watts,
            ),
            Reason::PowerBudgetExceeded {
                budget,
                needed_watts,
                headroom_watts,
            } => (
                PowerLimit::Budget(budget.clone()),
                needed_watts,
                headroom_watts,
            ),
            _ => return None,
        };
        let by = *needed - *headroom;
        // Nobody raises a limit by so much, and a larger step could not be taken back exactly.
        if by.0 > MOST_RAISE_WATTS {
            return None;
        }
        self.power.shift_limit(&limit, by.0);
        let works = self.fits(case);
        self.power.shift_limit(&limit, -by.0);
        let fix = match limit {
            PowerLimit::Domain(domain) => Fix::RaisePowerDomain {
                domain,
                by_watts: Watts(by.0),
            },
            PowerLimit::Budget(budget) => Fix::RaisePowerBudget {
                budget,
                by_watts: Watts(by.0),
            },
        };
        works.then(|| (i128::from(by.0), fix))
    }

    fn raise_dollars(&mut self, case: Case<'_>, reason: &Reason) -> Option<(i128, Fix)> {
        match *reason {
            Reason::DollarBudgetExceeded { needed_usd: to, .. } => self
                .fits_changed(case, |job| job.budget.max_usd = Some(to))
                .then(|| (i128::from(to.0), Fix::RaiseMaxUsd { to })),
            Reason::HourlyBudgetExceeded {
                needed_usd_per_hour: to,
                ..
            } => {
                // Rounding each part may add a micro-dollar a replica.
                let to = match case.job.kind {
                    Kind::Inference { .. } => to + MicroUsd(i64::from(case.missing.replicas)),
                    Kind::Training { .. } => to,
                };
                self.fits_changed(case, |job| job.budget.max_usd_per_hour = Some(to))
                    .then(|| (i128::from(to.0), Fix::RaiseMaxUsdPerHour { to }))
            }
            _ => None,
        }
    }

    fn extend_deadline(&mut self, case: Case<'_>, reason: &Reason) -> Option<(i128, Fix)> {
        let Reason::DeadlineMissed {
            late_seconds: by_seconds,
        } = *reason
        else {
            return None;
        };
        let works = self.fits_changed(case, |job| {
            if let Kind::Training {
                deadline_seconds: Some(deadline),
                ..
            } = &mut job.kind
            {
                *deadline = deadline.saturating_add(by_seconds);
            }
        });
        works.then_some((i128::from(by_seconds), Fix::ExtendDeadline { by_seconds }))
    }

    /// The group's own part, where it has at least what the alternative asks for; the least first.
    fn change_part(&mut self, case: Case<'_>) -> Option<(i128, Fix)> {
        let key = &self.groups[case.group].key;
        let part = key.part.clone();
        let millionths = i128::from(key.share.of_amount(1_000_000));
        let works = case.alternative.part.is_within(&part)
            && self.fits_changed(case, |job| {
                if let Some(alternative) = job.alternatives.get_mut(case.at) {
                    alternative.part = part.clone();
                }
            });
        works.then(|| {
            let alternative = case.alternative.name.clone();
            (millionths, Fix::ChangePart { alternative, part })
        })
    }

    /// Nodes of the group that the job may use, by name.
    fn own_nodes(&self, case: Case<'_>) -> Vec<NodeIndex> {
        let mut nodes: Vec<(&Arc<str>, NodeIndex)> = self
            .admitted(case.job, case.alternative, case.group)
            .into_iter()
            .flat_map(|pool| self.selected(case.alternative, pool))
            .collect();
        nodes.sort_unstable();
        nodes.into_iter().map(|(_, node)| node).collect()
    }

    /// Nodes of a pool that the alternative's pod may run on by its node requirement, by name.
    fn selected(
        &self,
        alternative: &Alternative,
        pool: PoolIndex,
    ) -> impl Iterator<Item = (&Arc<str>, NodeIndex)> {
        let wanted = requirement(&alternative.pod);
        self.pools[pool]
            .members
            .iter()
            .map(|(name, node)| (name, *node))
            .filter(move |(_, node)| {
                wanted.is_none_or(|wanted| self.nodes[*node].satisfies(wanted, &self.symbols))
            })
    }

    fn restore_nodes(&mut self, case: Case<'_>) -> Option<(i128, Fix)> {
        let pools = &self.groups[case.group].pools;
        if pools.iter().all(|&pool| self.pools[pool].faulty() == 0) {
            return None;
        }
        let mut out: Vec<(NodeIndex, Box<NodeFault>)> = self
            .own_nodes(case)
            .into_iter()
            .filter_map(|node| Some((node, self.nodes[node].fault.clone()?)))
            .collect();
        out.sort_by_key(|(node, _)| {
            std::cmp::Reverse(
                self.nodes[*node]
                    .slot(case.group)
                    .map_or(0, |slot| slot.free),
            )
        });
        out.truncate(usize::try_from(MOST_NODES).unwrap_or(usize::MAX));
        let count = self.fewest(
            out.len(),
            |fleet, range, on| {
                for (node, fault) in out.get(range).unwrap_or_default() {
                    fleet.nodes[*node].fault = (!on).then(|| fault.clone());
                    fleet.refresh(*node);
                }
                fleet.settle();
            },
            |fleet| fleet.fits(case),
        )?;
        let cluster = self.clusters[self.cluster_of(case.group)].name.to_string();
        let nodes = u64::try_from(count).unwrap_or(u64::MAX);
        Some((i128::from(nodes), Fix::RestoreNodes { cluster, nodes }))
    }

    fn free_devices(&mut self, case: Case<'_>) -> Option<(i128, Fix)> {
        let mut held: Vec<(NodeIndex, u32)> = self
            .own_nodes(case)
            .into_iter()
            .filter_map(|node| {
                let slot = self.nodes[node].slot(case.group)?;
                (slot.held > 0).then_some((node, slot.held))
            })
            .collect();
        held.sort_by_key(|(_, held)| *held);
        held.truncate(usize::try_from(MOST_NODES).unwrap_or(usize::MAX));
        let group = case.group;
        let count = self.fewest(
            held.len(),
            |fleet, range, on| {
                for (node, devices) in held.get(range).unwrap_or_default() {
                    if let Some(slot) = fleet.nodes[*node]
                        .slots
                        .iter_mut()
                        .find(|slot| slot.group == group)
                    {
                        slot.held = if on { 0 } else { *devices };
                    }
                    fleet.charge_held(*node);
                    fleet.refresh(*node);
                }
                fleet.settle();
            },
            |fleet| fleet.fits(case),
        )?;
        let devices: u64 = held
            .iter()
            .take(count)
            .map(|(_, held)| u64::from(*held))
            .sum();
        let cluster = self.clusters[self.cluster_of(group)].name.to_string();
        Some((i128::from(devices), Fix::FreeDevices { cluster, devices }))
    }

    /// The least number of changes, taken from the front, after which `works`; all are taken back.
    fn fewest(
        &mut self,
        all: usize,
        change: impl Fn(&mut Self, std::ops::Range<usize>, bool),
        works: impl Fn(&mut Self) -> bool,
    ) -> Option<usize> {
        if all == 0 {
            return None;
        }
        change(self, 0..all, true);
        let mut enough = works(self).then_some(all);
        let mut done = all;
        let mut too_few = 0;
        while let Some(most) = enough
            && most - too_few > 1
        {
            let middle = usize::midpoint(too_few, most);
            if middle < done {
                change(self, middle..done, false);
            } else {
                change(self, done..middle, true);
            }
            done = middle;
            if works(self) {
                enough = Some(middle);
            } else {
                too_few = middle;
            }
        }
        change(self, 0..done, false);
        enough
    }

    fn add_nodes(&mut self, case: Case<'_>, below: Option<(i128, &str)>) -> Option<(i128, Fix)> {
        let template = self.template(case)?;
        let slot = self.nodes[template].slot(case.group)?;
        let pool = slot.pool;
        let node = &self.nodes[template];
        let alternative = case.alternative;
        // A fresh node: what daemons use of the template is used there too, nothing else is.
        let room = u64::from(slot.devices.checked_div(alternative.devices_per_replica)?)
            .min(
                node.cpu
                    .total
                    .saturating_sub(node.cpu.held)
                    .checked_div(alternative.pod.cpu_milli)
                    .unwrap_or(u64::MAX),
            )
            .min(
                node.memory
                    .total
                    .saturating_sub(node.memory.held)
                    .checked_div(alternative.pod.memory_mib)
                    .unwrap_or(u64::MAX),
            )
            .min(node.pods.total.saturating_sub(node.pods.held));
        if room == 0 {
            return None;
        }
        let needed = case.missing.of(case.job, alternative);
        if self.is_beyond_budget(case, needed) {
            return None;
        }
        let level = match case.job.kind {
            Kind::Training { .. } => case.job.topology.required,
            Kind::Inference { .. } => Level::Cluster,
        };
        let nodes = match level {
            Level::Cluster | Level::Zone => {
                let fits = self.exact_room(case, level, template);
                needed.saturating_sub(fits).div_ceil(room).max(1)
            }
            Level::Node if needed <= room => 1,
            Level::Node => return None,
            // In a domain of their own, no larger than the largest there is.
            _ => {
                let nodes = needed.div_ceil(room);
                let cells = self.cells.at_level(self.groups[case.group].root, level);
                let largest = cells.iter().map(|&cell| self.cells.get(cell).nodes).max()?;
                if nodes > u64::from(largest) {
                    return None;
                }
                nodes
            }
        };
        let cluster: &str = &self.clusters[self.cluster_of(case.group)].name;
        if nodes > MOST_NODES || below.is_some_and(|best| (i128::from(nodes), cluster) >= best) {
            return None;
        }
        let mut spec = self.fresh_spec(template, case.group);
        let fresh_domain = !matches!(level, Level::Cluster | Level::Zone);
        let names: Vec<String> = (0..nodes).map(|at| format!("\u{0}fresh-{at}")).collect();
        for level in [Level::Block, Level::Rack, Level::NvlinkDomain] {
            if fresh_domain && let Some(name) = spec.domains.get_mut(&level) {
                *name = "\u{0}fresh".into();
            }
        }
        let mut names = names.into_iter();
        spec.name = names.next().unwrap_or_default();
        let first = self.put_in(spec);
        let copies = self.put_in_copies(first, names.map(Into::into));
        self.settle();
        let works = self.fits(case);
        self.take_out_copies(&copies);
        self.take_out(first);
        self.settle();
        let key = &self.pools[pool].key;
        let name = if key.instance_type.is_empty() {
            self.groups[case.group].key.accelerator_type.to_string()
        } else {
            key.instance_type.to_string()
        };
        let cluster = self.clusters[self.cluster_of(case.group)].name.to_string();
        works.then_some((
            i128::from(nodes),
            Fix::AddNodes {
                cluster,
                pool: name,
                nodes,
            },
        ))
    }

    /// Whether a gang breaks its own limits even at the group's lowest price, so that no nodes help: cheap to ask, and never wrong
    /// when it says yes.
    fn is_beyond_budget(&self, case: Case<'_>, replicas: u64) -> bool {
        let watts_each = self.watts_each(case.group);
        let lowest = self
            .admitted(case.job, case.alternative, case.group)
            .into_iter()
            .map(|pool| self.rate(pool, watts_each))
            .min();
        let (Some(lowest), Some(seconds)) =
            (lowest, duration_seconds(&case.job.kind, case.alternative))
        else {
            return false;
        };
        let devices =
            i128::from(replicas).saturating_mul(i128::from(case.alternative.devices_per_replica));
        // Rates are in millionths. Each price of a gang is rounded, so a few micro-dollars do not count.
        let usd_per_hour = lowest.saturating_mul(devices) / 1_000_000 - 1000;
        let usd = usd_per_hour.saturating_mul(i128::from(seconds)) / 3600 - 1000;
        let over =
            |limit: Option<MicroUsd>, usd| limit.is_some_and(|most| i128::from(most.0) < usd);
        over(case.job.budget.max_usd, usd) || over(case.job.budget.max_usd_per_hour, usd_per_hour)
    }

    /// Replicas that fit at a level as things are, power aside: in the cluster, or in the template's zone.
    fn exact_room(&self, case: Case<'_>, level: Level, template: NodeIndex) -> u64 {
        let mut pools = self.admitted(case.job, case.alternative, case.group);
        if level == Level::Zone
            && let Some(slot) = self.nodes[template].slot(case.group)
        {
            let zone = &self.pools[slot.pool].key.zone;
            pools.retain(|&pool| self.pools[pool].key.zone == *zone);
        }
        pools.sort_unstable();
        let needed = case.missing.of(case.job, case.alternative);
        let want = Want {
            watts_each: 0,
            ..self.want(case.alternative, case.group, needed, Some(pools))
        };
        total(&self.fill(&want))
    }

    /// A node to add more of: of the cheapest admitted pool, the first by name.
    fn template(&self, case: Case<'_>) -> Option<NodeIndex> {
        self.admitted(case.job, case.alternative, case.group)
            .into_iter()
            .filter_map(|pool| {
                let (name, node) = self.selected(case.alternative, pool).next()?;
                Some((self.rate(pool, 0), name, node))
            })
            .min()
            .map(|(.., node)| node)
    }

    /// A node like another one, with nothing on it but what daemons use.
    fn fresh_spec(&self, template: NodeIndex, group: GroupIndex) -> NodeSpec {
        let node = &self.nodes[template];
        let mut spec = NodeSpec {
            cluster: self.clusters[node.cluster].name.to_string(),
            cpu_milli: node.cpu,
            memory_mib: node.memory,
            pod_slots: node.pods,
            labels: node
                .labels
                .iter()
                .map(|(key, value)| {
                    let text = |symbol| self.symbols.text(symbol).to_owned();
                    (text(*key), text(*value))
                })
                .collect(),
            feeds: self.power.feed_names(node.feed).to_vec(),
            capacity_type: Some(self.groups[group].key.capacity_type),
            ..NodeSpec::default()
        };
        for slot in &node.slots {
            let key = &self.pools[slot.pool].key;
            let group = &self.groups[slot.group].key;
            spec.devices.push(DeviceGroup {
                accelerator_type: group.accelerator_type.to_string(),
                resource: group.resource.to_string(),
                part: group.part.clone(),
                share: group.share,
                devices: slot.devices,
                held: 0,
                node_devices: key.node_devices,
                taint_keys: key.taint_keys.clone(),
            });
            spec.instance_type = key.instance_type.to_string();
            spec.zone = key.zone.to_string();
            spec.taints.clone_from(&key.taints);
            spec.price = key.price.clone();
        }
        let mut cell = node.slot(group).map(|slot| slot.cell);
        while let Some(at) = cell {
            let here = self.cells.get(at);
            if here.level != Level::Cluster {
                spec.domains.insert(here.level, here.name.to_string());
            }
            cell = here.parent;
        }
        spec
    }
}

/// Kinds of change, in order of how small a change they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Topology,
    Capacity,
    Restore,
    Power,
    Money,
    Deadline,
    Part,
    Add,
    Free,
}

impl Change {
    fn rank(self) -> u8 {
        self as u8
    }
}

/// Changes that could lift a reason.
fn kinds(reason: &Reason) -> &'static [Change] {
    use Change as O;
    match reason {
        Reason::CapacityTypeNotAllowed { .. } => &[O::Capacity],
        Reason::InsufficientCapacity { .. } => &[O::Add],
        Reason::InsufficientDevices { .. } | Reason::Fragmented { .. } => {
            &[O::Restore, O::Add, O::Free]
        }
        Reason::InsufficientCpu { .. }
        | Reason::InsufficientMemory { .. }
        | Reason::InsufficientPodSlots { .. }
        | Reason::NodeSelectorMismatch { .. }
        | Reason::NodesUnavailable { .. } => &[O::Restore, O::Add],
        Reason::TopologyTooSmall { .. } | Reason::TopologyUnknown { .. } => {
            &[O::Topology, O::Restore, O::Add]
        }
        Reason::PowerDomainExceeded { .. } | Reason::PowerBudgetExceeded { .. } => &[O::Power],
        Reason::DollarBudgetExceeded { .. } | Reason::HourlyBudgetExceeded { .. } => &[O::Money],
        Reason::DeadlineMissed { .. } => &[O::Deadline],
        Reason::NoSuchPart { .. } => &[O::Part],
        _ => &[],
    }
}

/// Whether only the job's author can help.
fn is_jobs_own(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::Invalid { .. }
            | Reason::NoThroughput
            | Reason::TaintNotTolerated { .. }
            | Reason::NodeSelectorMismatch { .. }
            | Reason::ClusterNotSelected
            | Reason::NamespaceNotAllowed
            | Reason::NoSuchAccelerator { .. }
            | Reason::NoSuchPart { .. }
            | Reason::Unpriced
    )
}

/// How far a candidate is from being taken: replicas or watts or dollars that it lacks.
fn nearness(reason: &Reason) -> i128 {
    super::verdict::shortage(reason)
}
