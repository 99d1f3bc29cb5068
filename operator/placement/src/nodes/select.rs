//! Which nodes: best fit within the tightest domain.
//!
//! The fast way reads counters: it decides how many nodes with how many free devices to use, then walks down the domain
//! tree to such nodes, filling tight domains first so that wide ones stay whole. It looks at no node that it does not
//! take. Where what counters do not know stands in the way (CPU, memory, pod slots, node names, uneven power), the
//! thorough way looks at every node of the domain.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::request::{NodeAllocation, NodeRequest, total};
use crate::arena::{CellIndex, FeedIndex, NodeIndex, PoolIndex};
use crate::fleet::{Fleet, PowerTrial, Sizes, Slot, stranded};
use crate::model::{DevicePart, Level};

/// Nodes of one rank by price with so many free devices; `whole` when that is all they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fill {
    rank: u32,
    free: u32,
    whole: bool,
}

/// How good a fill is; least is best. A whole node is broken last, which also leaves nodes without power. Then the node
/// that it makes most useful for the replicas that usually come, then the node with the least left over, then a node in use
/// before a whole one, then the one that takes most.
type Fit = (bool, i128, u64, bool, Reverse<u64>);

/// What `replicas` replicas do to a node with so many free devices.
fn fit_key(fill: Fill, replicas: u64, devices: u32, usual: &Sizes) -> Fit {
    let left = u64::from(fill.free).saturating_sub(replicas * u64::from(devices));
    let after = stranded(usual, u32::try_from(left).unwrap_or(u32::MAX));
    let change = signed(after).saturating_sub(signed(stranded(usual, fill.free)));
    (
        fill.whole && left > 0,
        change,
        left,
        fill.whole,
        Reverse(replicas),
    )
}

fn signed(value: u128) -> i128 {
    i128::try_from(value).unwrap_or(i128::MAX)
}

impl Fleet {
    /// Nodes for a whole gang within one domain of `level`, or `None`.
    pub(crate) fn choose(
        &self,
        request: &NodeRequest<'_>,
        level: Level,
    ) -> Option<Vec<NodeAllocation>> {
        if level == Level::Node {
            return self.choose_node(request);
        }
        let root = self.groups[request.group].root;
        if self
            .cells
            .get(root)
            .capacity(request.devices, |p| request.admits(p))
            < request.replicas
            || !self.power_may_suffice(request)
        {
            return None;
        }
        self.cells
            .tightest(root, level, request.devices, request.replicas)
            // The order counts pools that are not admitted too: asked again before nodes are looked at.
            .filter(|&cell| {
                let fits = self
                    .cells
                    .get(cell)
                    .capacity(request.devices, |p| request.admits(p));
                fits >= request.replicas
            })
            .find_map(|cell| self.choose_in(request, cell))
    }

    fn choose_in(&self, request: &NodeRequest<'_>, cell: CellIndex) -> Option<Vec<NodeAllocation>> {
        if let Some(allocations) = self.by_counters(request, cell) {
            return Some(allocations);
        }
        let allocations = self.by_nodes(request, cell, &|_| u64::MAX);
        (total(&allocations) == request.replicas).then_some(allocations)
    }

    /// Nodes for as many replicas as fit, up to what is wanted.
    pub(crate) fn fill(&self, request: &NodeRequest<'_>) -> Vec<NodeAllocation> {
        let root = self.groups[request.group].root;
        let fits = self
            .cells
            .get(root)
            .capacity(request.devices, |p| request.admits(p));
        let request = NodeRequest {
            replicas: request.replicas.min(fits),
            ..request.clone()
        };
        if request.replicas == 0 {
            return Vec::new();
        }
        self.by_counters(&request, root)
            .unwrap_or_else(|| self.by_nodes(&request, root, &|_| u64::MAX))
    }

    /// As [`Self::fill`], with at most so many replicas on each node.
    pub(crate) fn fill_capped(
        &self,
        request: &NodeRequest<'_>,
        most: &dyn Fn(NodeIndex) -> u64,
    ) -> Vec<NodeAllocation> {
        self.by_nodes(request, self.groups[request.group].root, most)
    }

    /// Whether the power of the pools, each for itself, could carry the gang: cheap, and never wrong when it says no.
    pub(crate) fn power_may_suffice(&self, request: &NodeRequest<'_>) -> bool {
        if request.watts_each <= 0 {
            return true;
        }
        let needed = request.replicas.saturating_mul(u64::from(request.devices));
        let mut carried = 0_u64;
        let mut counted: Vec<FeedIndex> = Vec::new();
        for &pool in &self.groups[request.group].pools {
            let feed = self.pools[pool].key.feed;
            if request.admits(pool) && !counted.contains(&feed) {
                carried = carried.saturating_add(self.power.devices(feed, request.watts_each));
                if carried >= needed {
                    return true;
                }
                counted.push(feed);
            }
        }
        false
    }

    /// Sizes of the replicas that usually come to a group's type.
    fn usual_sizes(&self, request: &NodeRequest<'_>) -> &Sizes {
        let key = &self.groups[request.group].key;
        let name = match key.part {
            DevicePart::Whole => &*key.accelerator_type,
            _ => "",
        };
        self.ledger.mix().of_type(name)
    }

    fn is_whole(&self, pool: PoolIndex, free: u32) -> bool {
        self.pools[pool].key.devices == free
    }

    /// Chooses by counters only; `None` when a chosen node turns out to lack something else.
    fn by_counters(
        &self,
        request: &NodeRequest<'_>,
        cell: CellIndex,
    ) -> Option<Vec<NodeAllocation>> {
        if request.requirement.is_some() {
            return None;
        }
        let mut nodes: BTreeMap<Fill, u64> = BTreeMap::new();
        for count in &self.cells.get(cell).counts {
            if count.free >= request.devices && request.admits(count.pool) {
                let fill = Fill {
                    rank: request.rank(count.pool),
                    free: count.free,
                    whole: self.is_whole(count.pool, count.free),
                };
                *nodes.entry(fill).or_default() += u64::from(count.nodes);
            }
        }
        let usual = self.usual_sizes(request);
        let mut chosen: BTreeMap<Fill, Vec<(u64, u64)>> = BTreeMap::new();
        let mut left = request.replicas;
        while left > 0 {
            let (fill, each) = nodes
                .keys()
                .map(|&fill| (fill, u64::from(fill.free / request.devices).min(left)))
                .min_by_key(|&(fill, each)| {
                    (fill.rank, fit_key(fill, each, request.devices, usual))
                })?;
            let available = nodes.get_mut(&fill)?;
            let used = (left / each).min(*available);
            *available -= used;
            if *available == 0 {
                nodes.remove(&fill);
            }
            left -= used * each;
            chosen.entry(fill).or_default().push((each, used));
        }
        let mut allocations = Vec::new();
        for (fill, parts) in chosen {
            let wanted = parts.iter().map(|(_, used)| used).sum();
            let mut found = Vec::new();
            self.gather(request, cell, fill, wanted, &mut found);
            let mut found = found.into_iter();
            for (each, used) in parts {
                for _ in 0..used {
                    let node = found.next()?;
                    let slot = self.nodes[node].slot(request.group)?;
                    if self.room(request, node, slot) < each {
                        return None;
                    }
                    allocations.push(NodeAllocation {
                        node,
                        pool: slot.pool,
                        replicas: u32::try_from(each).ok()?,
                    });
                }
            }
        }
        self.power
            .shortage(&self.loads(request, &allocations))
            .is_none()
            .then_some(allocations)
    }

    fn room(&self, request: &NodeRequest<'_>, node: NodeIndex, slot: &Slot) -> u64 {
        self.nodes[node].room(slot.offered, &request.need(), &self.symbols)
    }

    /// Watts that allocations draw, by feed.
    pub(crate) fn loads(
        &self,
        request: &NodeRequest<'_>,
        allocations: &[NodeAllocation],
    ) -> Vec<(FeedIndex, i64)> {
        let mut loads: BTreeMap<FeedIndex, i64> = BTreeMap::new();
        let each = request
            .watts_each
            .saturating_mul(i64::from(request.devices));
        for allocation in allocations {
            let watts = loads
                .entry(self.pools[allocation.pool].key.feed)
                .or_default();
            *watts = watts.saturating_add(each.saturating_mul(i64::from(allocation.replicas)));
        }
        loads.into_iter().collect()
    }

    /// Collects `wanted` nodes of one fill below a domain, tight domains first.
    fn gather(
        &self,
        request: &NodeRequest<'_>,
        at: CellIndex,
        fill: Fill,
        wanted: u64,
        found: &mut Vec<NodeIndex>,
    ) {
        let admits = |pool| {
            request.admits(pool)
                && self.is_whole(pool, fill.free) == fill.whole
                && request.rank(pool) == fill.rank
        };
        let cell = self.cells.get(at);
        if wanted == 0 {
            return;
        }
        // Domains below with such nodes, and the nodes without a tighter domain as one more.
        let mut parts: Vec<(u64, u64, Option<CellIndex>)> = Vec::new();
        let mut below = 0;
        for &child in cell.children.values() {
            let child_cell = self.cells.get(child);
            let nodes = child_cell.nodes_with(fill.free, admits);
            if nodes > 0 {
                below += nodes;
                parts.push((nodes, child_cell.free_devices, Some(child)));
            }
        }
        let direct = cell.nodes_with(fill.free, admits).saturating_sub(below);
        if direct > 0 {
            parts.push((direct, 0, None));
        }
        let mut left = wanted;
        while left > 0 && !parts.is_empty() {
            let tightest = parts
                .iter()
                .enumerate()
                .filter(|(_, (nodes, _, _))| *nodes >= left)
                .min_by_key(|(_, (nodes, free, _))| {
                    // A single node goes where most is in use already; several go where they just fit.
                    if left == 1 {
                        (*free, *nodes)
                    } else {
                        (*nodes, *free)
                    }
                })
                .map(|(place, _)| place);
            let place = tightest.unwrap_or_else(|| {
                parts
                    .iter()
                    .enumerate()
                    .max_by_key(|(place, (nodes, _, _))| (*nodes, Reverse(*place)))
                    .map_or(0, |(place, _)| place)
            });
            let (nodes, _, part) = parts.remove(place);
            let taken = nodes.min(left);
            left -= taken;
            match part {
                Some(child) => self.gather(request, child, fill, taken, found),
                None => found.extend(
                    cell.direct
                        .range((fill.free, Arc::from(""), NodeIndex::FIRST)..)
                        .take_while(|(free, _, _)| *free == fill.free)
                        .map(|(_, _, node)| *node)
                        .filter(|&node| {
                            self.nodes[node]
                                .slot(request.group)
                                .is_some_and(|slot| admits(slot.pool))
                        })
                        .take(usize::try_from(taken).unwrap_or(usize::MAX)),
                ),
            }
        }
    }

    /// Every node below a domain that has free devices, in domain order.
    pub(crate) fn offered_below(&self, at: CellIndex, found: &mut Vec<NodeIndex>) {
        let cell = self.cells.get(at);
        for &child in cell.children.values() {
            self.offered_below(child, found);
        }
        let mut direct: Vec<_> = cell
            .direct
            .iter()
            .map(|(_, name, node)| (name, node))
            .collect();
        direct.sort_unstable();
        found.extend(direct.into_iter().map(|(_, node)| *node));
    }

    /// Looks at every node of a domain: as many replicas as fit, up to what is wanted.
    fn by_nodes(
        &self,
        request: &NodeRequest<'_>,
        at: CellIndex,
        most: &dyn Fn(NodeIndex) -> u64,
    ) -> Vec<NodeAllocation> {
        let mut nodes = Vec::new();
        self.offered_below(at, &mut nodes);
        let usual = self.usual_sizes(request);
        let mut options: Vec<_> = nodes
            .into_iter()
            .filter_map(|node| {
                let (slot, room) = self.usable(request, node)?;
                let room = room.min(most(node)).min(request.replicas);
                let fill = Fill {
                    rank: request.rank(slot.pool),
                    free: slot.offered,
                    whole: slot.offered == slot.devices,
                };
                let key = (fill.rank, fit_key(fill, room, request.devices, usual));
                (room > 0).then_some((key, node, slot.pool, room))
            })
            .collect();
        // Stable: equal nodes stay in domain order.
        options.sort_by_key(|(key, _, _, _)| *key);
        let mut power = PowerTrial::new(&self.power, request.watts_each);
        let mut allocations = Vec::new();
        let mut left = request.replicas;
        for (_, node, pool, room) in options {
            if left == 0 {
                break;
            }
            let replicas = power.take(self.pools[pool].key.feed, request.devices, room.min(left));
            if let Ok(count) = u32::try_from(replicas)
                && count > 0
            {
                left -= replicas;
                allocations.push(NodeAllocation {
                    node,
                    pool,
                    replicas: count,
                });
            }
        }
        allocations
    }

    /// Whether a node passes everything but power, and how many replicas it has room for.
    pub(crate) fn usable(
        &self,
        request: &NodeRequest<'_>,
        node: NodeIndex,
    ) -> Option<(&Slot, u64)> {
        let slot = self.nodes[node].slot(request.group)?;
        let admitted = request.admits(slot.pool)
            && request
                .requirement
                .is_none_or(|wanted| self.nodes[node].satisfies(wanted, &self.symbols));
        admitted.then(|| (slot, self.room(request, node, slot)))
    }

    /// One node that holds the whole gang.
    fn choose_node(&self, request: &NodeRequest<'_>) -> Option<Vec<NodeAllocation>> {
        let devices = u64::from(request.devices).checked_mul(request.replicas)?;
        let devices = u32::try_from(devices).ok()?;
        let replicas = u32::try_from(request.replicas).ok()?;
        let as_one = NodeRequest {
            devices,
            replicas: 1,
            cpu_milli: request.cpu_milli.saturating_mul(request.replicas),
            memory_mib: request.memory_mib.saturating_mul(request.replicas),
            // Other resources are those of one replica here: whether all have room is asked of each node below.
            ..request.clone()
        };
        let root = self.groups[request.group].root;
        let suits = |allocation: &NodeAllocation| {
            self.usable(request, allocation.node)
                .is_some_and(|(_, room)| room >= request.replicas)
        };
        let mut allocations = match self
            .by_counters(&as_one, root)
            .filter(|p| p.iter().all(suits))
        {
            Some(allocations) => allocations,
            None => self.by_nodes(&as_one, root, &|node| {
                u64::from(
                    self.usable(request, node)
                        .is_some_and(|(_, room)| room >= request.replicas),
                )
            }),
        };
        for allocation in &mut allocations {
            allocation.replicas = replicas;
        }
        (allocations.len() == 1).then_some(allocations)
    }
}
