//! Which groups and nodes are on the board, with what the jobs hold of them still free.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::arena::{CellIndex, GroupIndex, NodeIndex, PoolIndex};
use crate::model::Level;
use crate::schedule::{Entry, Schedule};
use crate::search::board::Board;
use crate::search::model::BoardNode;

/// Most nodes of a board. A cycle that could use more keeps its plan as it was made.
const MOST_NODES: usize = 262_144;
/// Most devices of a node on a board.
pub(super) const MOST_DEVICES: u32 = 1024;

/// What of a group is on the board.
pub(super) struct BoardGroup {
    pub(super) group: GroupIndex,
    /// The tightest level that a job requires there, if it is not the cluster's or the node's.
    pub(super) level: Option<Level>,
    /// Bins by pool and domain of that level.
    pub(super) bins: BTreeMap<(PoolIndex, Option<CellIndex>), u32>,
    /// Units of one device are enough to tell which domains are worth a candidate.
    pub(super) devices: HashMap<u32, u64>,
}

impl Schedule<'_, '_> {
    /// Groups that the jobs could use, in the order in which they name them.
    pub(super) fn board_groups(&self, entries: &[usize]) -> Vec<BoardGroup> {
        let mut board_groups: Vec<BoardGroup> = Vec::new();
        let mut place: HashMap<GroupIndex, usize> = HashMap::new();
        let mut classes = HashSet::new();
        for &at in entries {
            let Some(entry) = self.entries.get(at) else {
                continue;
            };
            if !classes.insert(entry.class) {
                continue;
            }
            let level = Some(entry.job.topology.required)
                .filter(|level| !matches!(level, Level::Node | Level::Cluster));
            let candidates = self
                .classes
                .get(entry.class)
                .map(|s| s.candidates.as_slice());
            for candidate in candidates.unwrap_or_default() {
                let at = *place.entry(candidate.group).or_insert_with(|| {
                    board_groups.push(BoardGroup {
                        group: candidate.group,
                        level: None,
                        bins: BTreeMap::new(),
                        devices: HashMap::new(),
                    });
                    board_groups.len() - 1
                });
                if let (Some(board_group), Some(level)) = (board_groups.get_mut(at), level) {
                    board_group.level = Some(
                        board_group
                            .level
                            .map_or(level, |tightest| tightest.min(level)),
                    );
                }
            }
        }
        board_groups
    }

    /// Names of the resources beside devices, CPU, memory and pods that the jobs ask for: mostly none.
    pub(super) fn other_resources(&self, entries: &[usize]) -> Vec<&str> {
        let jobs = entries.iter().filter_map(|&at| self.entries.get(at));
        let alternatives = jobs.flat_map(|entry| &entry.job.alternatives);
        let names: BTreeSet<&str> = alternatives
            .flat_map(|alternative| alternative.pod.other.keys())
            .map(String::as_str)
            .collect();
        names.into_iter().collect()
    }

    /// Puts the nodes of the groups on the board, with what the jobs hold of them still free. Of other resources those in
    /// `resources`.
    pub(super) fn add_nodes(
        &self,
        board: &mut Board,
        board_groups: &mut [BoardGroup],
        entries: &[usize],
        resources: &[&str],
    ) -> Option<HashMap<(GroupIndex, NodeIndex), u32>> {
        // Replicas of each job by node, to be added to what is free.
        let mut held: HashMap<(GroupIndex, NodeIndex), [u64; 4]> = HashMap::new();
        let mut held_other: HashMap<(GroupIndex, NodeIndex, &str), u64> = HashMap::new();
        let mut full: HashMap<GroupIndex, Vec<NodeIndex>> = HashMap::new();
        for &at in entries {
            let Some(place) = self.entries.get(at).and_then(Entry::placement) else {
                continue;
            };
            let alternative = self
                .entries
                .get(at)?
                .job
                .alternatives
                .get(place.alternative)?;
            for allocation in &place.allocations {
                let first = !held.contains_key(&(place.group, allocation.node));
                let sum = held.entry((place.group, allocation.node)).or_default();
                let replicas = u64::from(allocation.replicas);
                let each = [
                    u64::from(alternative.devices_per_replica),
                    alternative.pod.cpu_milli,
                    alternative.pod.memory_mib,
                    1,
                ];
                for (sum, each) in sum.iter_mut().zip(each) {
                    *sum = sum.saturating_add(each.saturating_mul(replicas));
                }
                for (name, each) in &alternative.pod.other {
                    let key = (place.group, allocation.node, name.as_str());
                    let sum = held_other.entry(key).or_default();
                    *sum = sum.saturating_add(each.saturating_mul(replicas));
                }
                let offered = self.fleet.nodes[allocation.node].slot(place.group)?.offered;
                if first && offered == 0 {
                    full.entry(place.group).or_default().push(allocation.node);
                }
            }
        }
        let mut board_node_of = HashMap::new();
        for board_group in board_groups {
            let root = self.fleet.groups[board_group.group].root;
            let offered: usize = self
                .fleet
                .cells
                .get(root)
                .counts
                .iter()
                .map(|count| count.nodes as usize)
                .sum();
            if board.nodes.len() + offered > MOST_NODES {
                return None;
            }
            let mut nodes = Vec::with_capacity(offered);
            self.fleet.offered_below(root, &mut nodes);
            nodes.extend(full.remove(&board_group.group).unwrap_or_default());
            for index in nodes {
                let node = &self.fleet.nodes[index];
                let Some(slot) = node.slot(board_group.group) else {
                    continue;
                };
                let [devices, cpu, memory, pods] = held
                    .get(&(board_group.group, index))
                    .copied()
                    .unwrap_or_default();
                let free = u64::from(slot.offered).saturating_add(devices);
                let free = u32::try_from(free)
                    .ok()
                    .filter(|free| *free <= MOST_DEVICES)?;
                let cell = board_group
                    .level
                    .and_then(|level| self.fleet.cells.above(slot.cell, level));
                let bin = *board_group
                    .bins
                    .entry((slot.pool, cell))
                    .or_insert_with(|| {
                        let key = &self.fleet.pools[slot.pool].key;
                        board.add_bin(key.devices, self.fleet.power.path_of(key.feed).to_vec())
                    });
                *board_group.devices.entry(bin).or_default() += u64::from(free);
                let other = resources.iter().map(|name| {
                    let known = node.other(name, &self.fleet.symbols);
                    let free = known.map_or(0, |other| other.free);
                    let ours = held_other.get(&(board_group.group, index, *name));
                    free.saturating_add(ours.copied().unwrap_or(0))
                });
                let other: Box<[u64]> = other.collect();
                let at = u32::try_from(board.nodes.len()).ok()?;
                board_node_of.insert((board_group.group, index), at);
                board.add_node(BoardNode::new(
                    (index, slot.pool),
                    bin,
                    [
                        u64::from(free),
                        node.cpu_free.saturating_add(cpu),
                        node.memory_free.saturating_add(memory),
                        node.pods_free.saturating_add(pods),
                    ],
                    other,
                ));
            }
        }
        // What the jobs draw is given back too, and charged again when each is put where it is.
        for &at in entries {
            if let Some(place) = self.entries.get(at).and_then(Entry::placement) {
                let alternative = self
                    .entries
                    .get(at)?
                    .job
                    .alternatives
                    .get(place.alternative)?;
                for allocation in &place.allocations {
                    let feed = self.fleet.pools[allocation.pool].key.feed;
                    let watts =
                        i128::from(self.watts(alternative.devices_per_replica, place.group))
                            * i128::from(allocation.replicas);
                    for &(domain, factor) in self.fleet.power.path_of(feed) {
                        if let Some(left) = board.headroom.get_mut(domain) {
                            *left = left.saturating_add(watts.saturating_mul(factor));
                        }
                    }
                }
            }
        }
        Some(board_node_of)
    }

    /// Watts of one replica on a group.
    pub(super) fn watts(&self, devices: u32, group: GroupIndex) -> i64 {
        let each = self.fleet.watts_each(group);
        each.saturating_mul(i64::from(devices))
    }
}
