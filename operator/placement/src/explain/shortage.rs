//! What a group is short of for a job: devices, pools that it may use, nodes in service, CPU, memory, other resources, pod slots,
//! one domain.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::arena::{GroupIndex, NodeIndex, PoolIndex};
use crate::candidates::{PoolRefusal, pool_refusal, requirement};
use crate::fleet::Fleet;
use crate::model::{Alternative, JobSpec, Kind, Level, Reason};
use crate::nodes::NodeRequest;

/// Nodes out of service, by why: how many, and the most frequent cause, the first by name among equals.
fn unavailable(faults: impl Iterator<Item = (String, u64)>) -> Reason {
    let mut by_cause: BTreeMap<String, u64> = BTreeMap::new();
    for (cause, nodes) in faults {
        let sum = by_cause.entry(cause).or_default();
        *sum = sum.saturating_add(nodes);
    }
    let nodes = by_cause.values().copied().fold(0, u64::saturating_add);
    let most = by_cause
        .into_iter()
        .min_by_key(|(_, nodes)| Reverse(*nodes));
    Reason::NodesUnavailable {
        nodes,
        fault: most.map_or_else(String::new, |(cause, _)| cause),
    }
}

impl Fleet {
    /// Devices, taints, prices, node selectors, faults.
    pub(super) fn diagnose_devices(
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
            if let Some(reason) = self.unusable(all, total, needed_devices) {
                return Some(reason);
            }
            return Some(if total < needed_devices {
                Reason::InsufficientCapacity {
                    needed: needed_devices,
                    total: self.there(all, total),
                }
            } else {
                Reason::NodesTooSmall {
                    needed,
                    fitting: capacity,
                    devices_per_replica: devices,
                    total,
                }
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
                // Of what is free, some may be on nodes out of service.
                Reason::Fragmented {
                    needed,
                    fitting: fitting(all),
                    available,
                }
            });
        }
        let refused: Vec<(Option<PoolRefusal<'_>>, PoolIndex)> = all
            .iter()
            .map(|&pool| (pool_refusal(job, alternative, &self.pools[pool]), pool))
            .collect();
        let mut constraints: Vec<u8> = refused
            .iter()
            .filter_map(|(refusal, _)| Some(refusal.as_ref()?.constraint()))
            .collect();
        constraints.sort_unstable();
        constraints.dedup();
        for constraint in constraints {
            let beyond = |refusal: &PoolRefusal<'_>| refusal.constraint() > constraint;
            let kept: Vec<PoolIndex> = refused
                .iter()
                .filter(|(refusal, _)| refusal.as_ref().is_none_or(beyond))
                .map(|(_, pool)| *pool)
                .collect();
            if fitting(&kept) >= needed {
                continue;
            }
            let mut nodes: BTreeMap<PoolRefusal<'_>, u64> = BTreeMap::new();
            for &(refusal, pool) in &refused {
                if let Some(refusal) = refusal.filter(|r| r.constraint() == constraint) {
                    *nodes.entry(refusal).or_default() += self.pools[pool].nodes();
                }
            }
            let (refusal, nodes) = nodes.into_iter().max_by_key(|(_, nodes)| *nodes)?;
            return Some(refusal.reason(nodes, needed, fitting(&kept)));
        }
        let admitted = self.admitted(job, alternative, group);
        if let Some(wanted) = requirement(&alternative.pod) {
            let (mut fits, mut left_out) = (0_u64, 0_u64);
            for node in self.nodes_of(self.cluster_of(group)) {
                let node = &self.nodes[node];
                let Some(slot) = node.slot(group) else {
                    continue;
                };
                if !node.satisfies(wanted, &self.symbols) {
                    left_out += 1;
                } else if admitted.contains(&slot.pool) {
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
            .capacity(devices, |pool| admitted.contains(&pool));
        if usable < needed {
            let faults = admitted
                .iter()
                .flat_map(|&pool| &self.pools[pool].faults)
                .map(|(fault, nodes)| (fault.to_string(), *nodes));
            return Some(unavailable(faults));
        }
        None
    }

    /// Why so many devices cannot be had where some are there that no pod can be given; `None` where those would not do either.
    fn unusable(&self, pools: &[PoolIndex], total: u64, needed: u64) -> Option<Reason> {
        let there = self.there(pools, total);
        if there < needed || there == total {
            return None;
        }
        let of_pools = pools.iter().flat_map(|&pool| &self.pools[pool].unusable);
        let whys = of_pools.map(|(why, unusable)| (why.to_string(), unusable.nodes));
        Some(unavailable(whys))
    }

    /// Devices that there are: so many that pods can be given, and the others.
    fn there(&self, pools: &[PoolIndex], total: u64) -> u64 {
        let unusable = pools
            .iter()
            .flat_map(|&pool| self.pools[pool].unusable.values());
        unusable
            .map(|unusable| unusable.units)
            .fold(total, u64::saturating_add)
    }

    /// CPU, memory, pod slots, topology.
    pub(super) fn diagnose_nodes(
        &self,
        job: &JobSpec,
        request: &NodeRequest<'_>,
    ) -> Option<Reason> {
        let unpowered = NodeRequest {
            watts_each: 0,
            ..request.clone()
        };
        let required = match job.kind {
            Kind::Training { .. } => job.topology.required,
            Kind::Inference { .. } => Level::Cluster,
        };
        if self.choose(&unpowered, required).is_some() {
            return None;
        }
        let mut nodes: Vec<NodeIndex> = Vec::new();
        self.offered_below(self.groups[request.group].root, &mut nodes);
        let (mut all, mut cpu, mut memory, mut slots, mut any) = (0_u64, 0, 0, 0, 0_u64);
        let mut other: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        let (mut admitted, mut largest) = (false, 0_u64);
        for &index in &nodes {
            let Some((slot, room)) = self.usable(&unpowered, index) else {
                continue;
            };
            admitted = true;
            let node = &self.nodes[index];
            let by_devices = u64::from(slot.offered.checked_div(request.devices).unwrap_or(0));
            let limit = |by: Option<u64>| by.unwrap_or(u64::MAX).min(by_devices);
            any = any.saturating_add(by_devices);
            all = all.saturating_add(room);
            largest = largest.max(room);
            cpu += limit(node.cpu_free.checked_div(request.cpu_milli));
            memory += limit(node.memory_free.checked_div(request.memory_mib));
            slots += limit(Some(node.pods_free));
            for (name, each) in request.other {
                let free = node.other(name, &self.symbols).map_or(0, |o| o.free);
                let (fitting, _) = other.entry(name).or_insert((0, *each));
                *fitting = fitting.saturating_add(limit(free.checked_div(*each)));
            }
        }
        let scarcest = other.into_iter().min_by_key(|(_, (fitting, _))| *fitting);
        let needed = request.replicas;
        if any < needed || !admitted {
            // Selected nodes have devices, but the usable ones among them not enough.
            let selected = self.nodes_of(self.cluster_of(request.group));
            let faults = selected
                .filter(|&node| self.usable(request, node).is_some())
                .filter_map(|node| Some((self.nodes[node].fault.as_ref()?.to_string(), 1)));
            return Some(unavailable(faults));
        }
        if let Some((name, (fitting, each))) = scarcest
            && all < needed
            && fitting <= cpu.min(memory).min(slots)
        {
            return Some(Reason::InsufficientResource {
                resource: name.to_owned(),
                needed,
                fitting: fitting.min(all),
                each,
            });
        }
        if all < needed {
            return Some(if cpu <= memory && cpu <= slots {
                Reason::InsufficientCpu {
                    needed,
                    fitting: cpu.min(all),
                    cpu_milli: request.cpu_milli,
                }
            } else if memory <= slots {
                Reason::InsufficientMemory {
                    needed,
                    fitting: memory.min(all),
                    memory_mib: request.memory_mib,
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
            let root = self.groups[request.group].root;
            let cells = self.cells.at_level(root, required);
            cells
                .into_iter()
                .map(|cell| {
                    self.cells
                        .get(cell)
                        .capacity(request.devices, |p| request.admits(p))
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
}
