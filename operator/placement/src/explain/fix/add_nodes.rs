//! More nodes like those of a pool.

use super::trial::{MOST_NODES, Trial};
use crate::arena::NodeIndex;
use crate::candidates::duration_seconds;
use crate::fleet::Fleet;
use crate::model::{Fix, Kind, Level, MicroUsd};
use crate::nodes::{NodeRequest, total};

impl Fleet {
    pub(super) fn add_nodes(
        &mut self,
        trial: Trial<'_>,
        below: Option<(i128, &str)>,
        tries: &mut usize,
    ) -> Option<(i128, Fix)> {
        let template = self.template(trial)?;
        let slot = self.nodes[template].slot(trial.group)?;
        let pool = slot.pool;
        let node = &self.nodes[template];
        let alternative = trial.alternative;
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
        let room = alternative
            .pod
            .other
            .iter()
            .fold(room, |room, (name, each)| {
                let of_daemons = node.other(name, &self.symbols).map_or(0, |other| {
                    other.amount.total.saturating_sub(other.amount.held)
                });
                room.min(of_daemons.checked_div(*each).unwrap_or(u64::MAX))
            });
        if room == 0 {
            return None;
        }
        let needed = trial.shortfall.of(trial.job, alternative);
        if self.is_beyond_budget(trial, needed) {
            return None;
        }
        *tries += 1;
        let level = match trial.job.kind {
            Kind::Training { .. } => trial.job.topology.required,
            Kind::Inference { .. } => Level::Cluster,
        };
        let nodes = match level {
            Level::Cluster | Level::Zone => {
                let fits = self.exact_room(trial, level, template);
                needed.saturating_sub(fits).div_ceil(room).max(1)
            }
            Level::Node if needed <= room => 1,
            Level::Node => return None,
            // In a domain of their own, no larger than the largest there is.
            _ => {
                let nodes = needed.div_ceil(room);
                let cells = self.cells.at_level(self.groups[trial.group].root, level);
                let largest = cells.iter().map(|&cell| self.cells.get(cell).nodes).max()?;
                if nodes > u64::from(largest) {
                    return None;
                }
                nodes
            }
        };
        let cluster: &str = &self.clusters[self.cluster_of(trial.group)].name;
        if nodes > MOST_NODES || below.is_some_and(|best| (i128::from(nodes), cluster) >= best) {
            return None;
        }
        let mut spec = self.spec_like(template, trial.group);
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
        let works = self.fits(trial);
        self.take_out_copies(&copies);
        self.take_out(first);
        self.settle();
        let key = &self.pools[pool].key;
        let group = &self.groups[trial.group].key;
        let accelerator_type = group.accelerator_type.to_string();
        let (devices_per_node, capacity_type) = (key.devices, group.capacity_type);
        let name = if key.instance_type.is_empty() {
            self.groups[trial.group].key.accelerator_type.to_string()
        } else {
            key.instance_type.to_string()
        };
        let cluster = self.clusters[self.cluster_of(trial.group)].name.to_string();
        works.then_some((
            i128::from(nodes),
            Fix::AddNodes {
                cluster,
                pool: name,
                nodes,
                accelerator_type,
                devices_per_node,
                capacity_type,
            },
        ))
    }

    /// Whether a gang breaks its own limits even at the group's lowest price, so that no nodes help: cheap to ask, and never wrong
    /// when it says yes.
    fn is_beyond_budget(&self, trial: Trial<'_>, replicas: u64) -> bool {
        let watts_each = self.watts_each(trial.group);
        let lowest = self
            .admitted(trial.job, trial.alternative, trial.group)
            .into_iter()
            .map(|pool| self.rate(pool, watts_each))
            .min();
        let (Some(lowest), Some(seconds)) =
            (lowest, duration_seconds(&trial.job.kind, trial.alternative))
        else {
            return false;
        };
        let devices =
            i128::from(replicas).saturating_mul(i128::from(trial.alternative.devices_per_replica));
        // Rates are in millionths. Each price of a gang is rounded, so a few micro-dollars do not count.
        let usd_per_hour = lowest.saturating_mul(devices) / 1_000_000 - 1000;
        let usd = usd_per_hour.saturating_mul(i128::from(seconds)) / 3600 - 1000;
        let over =
            |limit: Option<MicroUsd>, usd| limit.is_some_and(|most| i128::from(most.0) < usd);
        over(trial.job.budget.max_usd, usd) || over(trial.job.budget.max_usd_per_hour, usd_per_hour)
    }

    /// Replicas that fit at a level as things are, power aside: in the cluster, or in the template's zone.
    fn exact_room(&self, trial: Trial<'_>, level: Level, template: NodeIndex) -> u64 {
        let mut pools = self.admitted(trial.job, trial.alternative, trial.group);
        if level == Level::Zone
            && let Some(slot) = self.nodes[template].slot(trial.group)
        {
            let zone = &self.pools[slot.pool].key.zone;
            pools.retain(|&pool| self.pools[pool].key.zone == *zone);
        }
        pools.sort_unstable();
        let needed = trial.shortfall.of(trial.job, trial.alternative);
        let request = NodeRequest {
            watts_each: 0,
            ..self.node_request(trial.alternative, trial.group, needed, Some(pools))
        };
        total(&self.fill(&request))
    }

    /// A node to add more of: of the cheapest admitted pool, the first by name.
    fn template(&self, trial: Trial<'_>) -> Option<NodeIndex> {
        self.admitted(trial.job, trial.alternative, trial.group)
            .into_iter()
            .filter_map(|pool| {
                let (name, node) = self.selected(trial.alternative, pool).next()?;
                Some((self.rate(pool, 0), name, node))
            })
            .min()
            .map(|(.., node)| node)
    }
}
