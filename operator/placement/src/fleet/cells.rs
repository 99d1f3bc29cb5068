//! The capacity index: per group a tree of topology domains, each with counters of nodes by free devices.
//!
//! ```text
//!   cluster ── zone ── block ── rack ── NVLink domain          one tree per group
//!      │          │       │       │            └ nodes, ordered by free devices and name
//!      └──────────┴───────┴───────┴ (pool, free devices) → nodes
//! ```
//!
//! "How many replicas of d devices fit in this domain" is a sum over its counters. Per level and d, domains are kept
//! ordered by that sum, so the tightest domain that holds a gang is found without looking at nodes. A change of one node
//! touches its own path only; [`Cells::settle`] brings the orders up to date once for a whole batch of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::arena::{Arena, CellIndex, GroupIndex, Key, NodeIndex, PoolIndex};
use crate::model::Level;

/// Most device counts per group and level for which an order is kept; other counts are answered by looking at every domain.
const MOST_ORDERS: usize = 16;

/// So many usable nodes of a pool have so many devices free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// Pool.
    pub(crate) pool: PoolIndex,
    /// Free devices of each of the nodes; never 0.
    pub(crate) free: u32,
    /// Nodes.
    pub(crate) nodes: u32,
}

/// One topology domain as far as one group has nodes in it.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Group.
    pub(crate) group: GroupIndex,
    /// Level.
    pub(crate) level: Level,
    /// Names from the cluster down: the order of domains.
    pub(crate) path: Arc<str>,
    /// The same order among the cells of its group and level, once they are kept in order of room: compared without
    /// looking at names.
    rank: u64,
    /// The domain's own name.
    pub(crate) name: Arc<str>,
    /// The next wider domain.
    pub(crate) parent: Option<CellIndex>,
    /// The whole domain that this is a part of, where wider labels of its nodes differ or are missing.
    pub(super) union: Option<CellIndex>,
    /// The next tighter domains; the parts of a domain that is in several.
    pub(crate) children: BTreeMap<(Level, Arc<str>), CellIndex>,
    /// Usable nodes at or below, by pool and free devices.
    pub(crate) counts: Vec<Count>,
    /// Usable nodes with free devices whose tightest domain this is.
    pub(crate) direct: BTreeSet<(u32, Arc<str>, NodeIndex)>,
    /// All nodes at or below.
    pub(crate) nodes: u32,
    /// Free devices at or below.
    pub(crate) free_devices: u64,
    /// Replicas that fit, per device count with an order.
    ranked: Vec<(u32, u64)>,
}

impl Cell {
    /// Replicas of `devices` devices that fit on nodes of the admitted pools, as far as devices go.
    pub(crate) fn capacity(&self, devices: u32, admits: impl Fn(PoolIndex) -> bool) -> u64 {
        if devices == 0 {
            return 0;
        }
        self.counts
            .iter()
            .filter(|count| count.free >= devices && admits(count.pool))
            .map(|count| u64::from(count.free / devices) * u64::from(count.nodes))
            .sum()
    }

    /// Nodes of the admitted pools with exactly so many free devices.
    pub(crate) fn nodes_with(&self, free: u32, admits: impl Fn(PoolIndex) -> bool) -> u64 {
        self.counts
            .iter()
            .filter(|count| count.free == free && admits(count.pool))
            .map(|count| u64::from(count.nodes))
            .sum()
    }
}

/// Cells that hold so many replicas, fewest first; equals by rank.
type Order = BTreeSet<(u64, u64, CellIndex)>;

/// Between the ranks of neighbours, at first: room for cells that come later.
const RANK_GAP: u64 = 1 << 32;

/// The order of a group's cells of one level for one count of devices.
#[derive(Clone, Debug)]
struct CellOrder {
    level: Level,
    devices: u32,
    order: Order,
}

/// Every cell of the fleet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells {
    cells: Arena<CellIndex, Cell>,
    /// By position of the group.
    orders: Vec<Vec<CellOrder>>,
    touched: Vec<CellIndex>,
    /// Clusters that have changed.
    roots: Vec<CellIndex>,
    /// Every part of a domain: what it is called is what it is, whatever wider domain its nodes say they are in.
    pub(super) parts: BTreeMap<(GroupIndex, Level, Arc<str>), Vec<CellIndex>>,
}

impl Cells {
    /// A new group's root.
    pub(crate) fn root(&mut self, group: GroupIndex, cluster: &Arc<str>) -> CellIndex {
        self.cells.add(Self::cell(
            group,
            Level::Cluster,
            cluster.clone(),
            cluster.clone(),
            None,
        ))
    }

    fn cell(
        group: GroupIndex,
        level: Level,
        path: Arc<str>,
        name: Arc<str>,
        parent: Option<CellIndex>,
    ) -> Cell {
        Cell {
            group,
            level,
            path,
            rank: 0,
            name,
            parent,
            union: None,
            children: BTreeMap::new(),
            counts: Vec::new(),
            direct: BTreeSet::new(),
            nodes: 0,
            free_devices: 0,
            ranked: Vec::new(),
        }
    }

    /// One cell.
    pub(crate) fn get(&self, cell: CellIndex) -> &Cell {
        &self.cells[cell]
    }

    /// The cell at the end of a path below `root`, made where missing. `path` goes from wide to tight.
    pub(crate) fn descend(&mut self, root: CellIndex, path: &[(Level, &str)]) -> CellIndex {
        let mut at = root;
        for &(level, name) in path {
            let key = (level, Arc::<str>::from(name));
            at = match self.cells[at].children.get(&key) {
                Some(&child) => child,
                None => {
                    let parent = &self.cells[at];
                    let full: Arc<str> = format!("{}\u{1}{name}", parent.path).into();
                    let group = parent.group;
                    let child =
                        self.cells
                            .add(Self::cell(group, level, full, key.1.clone(), Some(at)));
                    self.cells[at].children.insert(key, child);
                    self.add_part(child, root);
                    child
                }
            };
        }
        at
    }

    /// Counts a node in on its path.
    pub(crate) fn attach(&mut self, cell: CellIndex) {
        let mut next = Some(cell);
        while let Some(at) = next {
            let cell = &mut self.cells[at];
            cell.nodes += 1;
            next = cell.parent;
            if let Some(union) = cell.union {
                self.cells[union].nodes += 1;
            }
        }
    }

    /// Counts a node out on its path; domains without nodes are forgotten.
    pub(crate) fn detach(&mut self, cell: CellIndex) {
        let mut next = Some(cell);
        while let Some(at) = next {
            let cell = &mut self.cells[at];
            cell.nodes = cell.nodes.saturating_sub(1);
            let (empty, parent) = (cell.nodes == 0, cell.parent);
            let union = cell.union;
            let key = (cell.level, cell.name.clone());
            if let Some(union) = union {
                let whole = &mut self.cells[union];
                whole.nodes = whole.nodes.saturating_sub(1);
            }
            if let (true, Some(parent)) = (empty, parent) {
                self.unlist(at);
                self.cells[parent].children.remove(&key);
                self.remove_part(at);
                self.cells.retire(at);
            }
            next = parent;
        }
    }

    /// Moves a node from one number of free devices to another; 0 means it is not offered. Call [`Self::settle`] afterwards.
    pub(crate) fn shift(
        &mut self,
        cell: CellIndex,
        pool: PoolIndex,
        (node, name): (NodeIndex, &Arc<str>),
        from: u32,
        to: u32,
    ) {
        if from == to {
            return;
        }
        let direct = &mut self.cells[cell].direct;
        if from > 0 {
            direct.remove(&(from, name.clone(), node));
        }
        if to > 0 {
            direct.insert((to, name.clone(), node));
        }
        let mut next = Some(cell);
        while let Some(at) = next {
            self.shift_one(at, pool, from, to);
            let cell = &self.cells[at];
            next = cell.parent;
            if let Some(union) = cell.union {
                self.shift_one(union, pool, from, to);
            }
            if next.is_none() && self.roots.last() != Some(&at) {
                self.roots.push(at);
            }
        }
    }

    /// Moves a node in the counters of one cell.
    fn shift_one(&mut self, at: CellIndex, pool: PoolIndex, from: u32, to: u32) {
        let cell = &mut self.cells[at];
        if from > 0
            && let Ok(place) = cell
                .counts
                .binary_search_by_key(&(pool, from), |c| (c.pool, c.free))
            && let Some(count) = cell.counts.get_mut(place)
        {
            count.nodes = count.nodes.saturating_sub(1);
            if count.nodes == 0 {
                cell.counts.remove(place);
            }
        }
        if to > 0 {
            match cell
                .counts
                .binary_search_by_key(&(pool, to), |c| (c.pool, c.free))
            {
                Ok(place) => {
                    if let Some(count) = cell.counts.get_mut(place) {
                        count.nodes += 1;
                    }
                }
                Err(place) => cell.counts.insert(
                    place,
                    Count {
                        pool,
                        free: to,
                        nodes: 1,
                    },
                ),
            }
        }
        cell.free_devices = cell.free_devices + u64::from(to) - u64::from(from);
        if !cell.ranked.is_empty() && self.touched.last() != Some(&at) {
            self.touched.push(at);
        }
    }

    /// Brings the orders up to date after a batch of [`Self::shift`]. Returns the roots that have changed.
    pub(crate) fn settle(&mut self) -> Vec<CellIndex> {
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_unstable();
        roots.dedup();
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        for &at in &touched {
            let cell = &mut self.cells[at];
            let (group, level, rank) = (cell.group, cell.level, cell.rank);
            let mut ranked = std::mem::take(&mut cell.ranked);
            for (devices, capacity) in &mut ranked {
                let now = self.cells[at].capacity(*devices, |_| true);
                if now != *capacity
                    && let Some(order) = self.order_mut(group, level, *devices)
                {
                    order.remove(&(*capacity, rank, at));
                    order.insert((now, rank, at));
                    *capacity = now;
                }
            }
            self.cells[at].ranked = ranked;
        }
        touched.clear();
        self.touched = touched;
        roots
    }

    /// A cell of the same domain that nothing is in yet and that is not part of the tree.
    pub(super) fn alike(&mut self, cell: CellIndex) -> CellIndex {
        let like = &self.cells[cell];
        let (group, level) = (like.group, like.level);
        let (path, name) = (like.path.clone(), like.name.clone());
        self.cells.add(Self::cell(group, level, path, name, None))
    }

    pub(super) fn cell_mut(&mut self, cell: CellIndex) -> &mut Cell {
        &mut self.cells[cell]
    }

    pub(super) fn retire(&mut self, cell: CellIndex) {
        self.cells.retire(cell);
    }

    /// What a part is called among all parts of its group.
    pub(super) fn part_key(&self, cell: CellIndex) -> (GroupIndex, Level, Arc<str>) {
        let cell = &self.cells[cell];
        (cell.group, cell.level, cell.name.clone())
    }

    /// Where a part stands in its union.
    pub(super) fn child_key(&self, cell: CellIndex) -> (Level, Arc<str>) {
        let cell = &self.cells[cell];
        (cell.level, cell.path.clone())
    }

    pub(super) fn root_of(&self, cell: CellIndex) -> CellIndex {
        let mut at = cell;
        while let Some(parent) = self.cells[at].parent {
            at = parent;
        }
        at
    }

    /// Takes a cell out of the orders of its level.
    pub(super) fn unlist(&mut self, at: CellIndex) {
        let cell = &mut self.cells[at];
        let (group, level, rank) = (cell.group, cell.level, cell.rank);
        for (devices, capacity) in std::mem::take(&mut cell.ranked) {
            if let Some(order) = self.order_mut(group, level, devices) {
                order.remove(&(capacity, rank, at));
            }
        }
    }

    fn kept(&self, group: GroupIndex) -> &[CellOrder] {
        self.orders.get(group.position()).map_or(&[], Vec::as_slice)
    }

    fn order(&self, group: GroupIndex, level: Level, devices: u32) -> Option<&Order> {
        let mut kept = self.kept(group).iter();
        kept.find(|kept| (kept.level, kept.devices) == (level, devices))
            .map(|kept| &kept.order)
    }

    fn order_mut(&mut self, group: GroupIndex, level: Level, devices: u32) -> Option<&mut Order> {
        let mut kept = self.orders.get_mut(group.position())?.iter_mut();
        kept.find(|kept| (kept.level, kept.devices) == (level, devices))
            .map(|kept| &mut kept.order)
    }

    /// Device counts for which a level of a group has an order.
    fn ordered(&self, group: GroupIndex, level: Level) -> Vec<u32> {
        let mut devices: Vec<u32> = self
            .kept(group)
            .iter()
            .filter(|kept| kept.level == level)
            .map(|kept| kept.devices)
            .collect();
        devices.sort_unstable();
        devices
    }

    /// Puts a cell into an order.
    fn enter(&mut self, at: CellIndex, devices: u32) {
        let cell = &mut self.cells[at];
        let capacity = cell.capacity(devices, |_| true);
        cell.ranked.push((devices, capacity));
        let (group, level, rank) = (cell.group, cell.level, cell.rank);
        if let Some(order) = self.order_mut(group, level, devices) {
            order.insert((capacity, rank, at));
        }
    }

    /// Puts a new cell into the orders of its level.
    pub(super) fn list(&mut self, at: CellIndex, root: CellIndex) {
        let (group, level) = (self.cells[at].group, self.cells[at].level);
        let ordered = self.ordered(group, level);
        if ordered.is_empty() {
            return;
        }
        let all = self.at_level(root, level);
        let place = all.iter().position(|&other| other == at);
        let beside = |place: Option<usize>| {
            let other = place.and_then(|place| all.get(place));
            other.map(|&other| self.cells[other].rank)
        };
        let below = beside(place.and_then(|place| place.checked_sub(1))).unwrap_or(0);
        let above = beside(place.map(|place| place + 1))
            .unwrap_or_else(|| below.saturating_add(2 * RANK_GAP));
        let rank = below + (above - below) / 2;
        if rank > below {
            self.cells[at].rank = rank;
            for devices in ordered {
                self.enter(at, devices);
            }
            return;
        }
        // No room between its neighbours: all get new ranks.
        for &devices in &ordered {
            if let Some(order) = self.order_mut(group, level, devices) {
                order.clear();
            }
        }
        for &other in &all {
            self.cells[other].ranked.clear();
        }
        self.spread_ranks(&all);
        for devices in ordered {
            for &other in &all {
                self.enter(other, devices);
            }
        }
    }

    fn spread_ranks(&mut self, all: &[CellIndex]) {
        let mut rank = 0;
        for &at in all {
            rank += RANK_GAP;
            self.cells[at].rank = rank;
        }
    }

    /// Keeps the domains of a level ordered by how many replicas of `devices` devices they hold, from now on.
    pub(crate) fn keep_order(&mut self, root: CellIndex, level: Level, devices: u32) {
        let group = self.cells[root].group;
        if self.order(group, level, devices).is_some()
            || self.ordered(group, level).len() >= MOST_ORDERS
        {
            return;
        }
        if self.orders.len() <= group.position() {
            self.orders.resize(group.position() + 1, Vec::new());
        }
        let all = self.at_level(root, level);
        if self.ordered(group, level).is_empty() {
            self.spread_ranks(&all);
        }
        if let Some(kept) = self.orders.get_mut(group.position()) {
            kept.push(CellOrder {
                level,
                devices,
                order: Order::new(),
            });
        }
        for at in all {
            self.enter(at, devices);
        }
    }

    /// The domain of a level that a domain lies in, itself included.
    pub(crate) fn above(&self, cell: CellIndex, level: Level) -> Option<CellIndex> {
        let mut next = Some(cell);
        while let Some(at) = next {
            let cell = &self.cells[at];
            if cell.level == level {
                return Some(cell.union.unwrap_or(at));
            }
            next = cell.parent.filter(|_| cell.level < level);
        }
        None
    }

    /// Every domain of a level below `root`, in path order; one of several parts where the first of them stands.
    pub(crate) fn at_level(&self, root: CellIndex, level: Level) -> Vec<CellIndex> {
        let mut found = Vec::new();
        let mut unions = BTreeSet::new();
        let mut open = vec![root];
        while let Some(at) = open.pop() {
            let cell = &self.cells[at];
            if cell.level == level {
                match cell.union {
                    None => found.push(at),
                    Some(union) if unions.insert(union) => found.push(union),
                    Some(_) => {}
                }
            } else if cell.level > level {
                open.extend(cell.children.values().rev().copied());
            }
        }
        found
    }

    /// The cells of a level with room for `replicas` replicas of `devices` devices each, tightest first. An upper bound:
    /// pools that are not admitted, CPU, memory and power are not looked at.
    pub(crate) fn tightest(
        &self,
        root: CellIndex,
        level: Level,
        devices: u32,
        replicas: u64,
    ) -> Box<dyn Iterator<Item = CellIndex> + '_> {
        if level == Level::Cluster {
            let fits = self.cells[root].capacity(devices, |_| true) >= replicas;
            return Box::new(fits.then_some(root).into_iter());
        }
        let group = self.cells[root].group;
        match self.order(group, level, devices) {
            Some(order) => Box::new(
                order
                    .range((replicas, 0, CellIndex::FIRST)..)
                    .map(|(_, _, cell)| *cell),
            ),
            None => {
                let mut cells: Vec<(u64, CellIndex)> = self
                    .at_level(root, level)
                    .into_iter()
                    .map(|at| (self.cells[at].capacity(devices, |_| true), at))
                    .filter(|(capacity, _)| *capacity >= replicas)
                    .collect();
                cells.sort_by_key(|(capacity, _)| *capacity);
                Box::new(cells.into_iter().map(|(_, at)| at))
            }
        }
    }
}
