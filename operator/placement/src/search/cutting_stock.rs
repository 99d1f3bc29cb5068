//! What the nodes of a bin can be cut into: rows and columns of the relaxation.
//!
//! Exactly, by patterns (Gilmore and Gomory: *A linear programming approach to the cutting-stock problem*, 1961): each kind
//! of node is shared out over the ways to cut its free devices into units, and per size no more units are placed than the
//! cuts offer. Where that would be too much, by sizes: devices in all, and what they say too little of by dual feasible
//! functions (Fekete and Schepers: *New classes of fast lower bounds for bin packing problems*, 2001).

use std::collections::{BTreeMap, BTreeSet};

use super::board::Board;

/// Most ways to cut a kind of node.
const MOST_PATTERNS: usize = 64;
/// Most functions of one bin.
const MOST_FUNCTIONS: u32 = 3;
/// Most devices of a node for which functions are made.
const MOST_DEVICES: u32 = 64;
/// What a row of sizes has beyond what the cuts offer, in parts of all that it could: too little to matter, enough that
/// the simplex method does not stand still at a corner where many rows meet.
const SLACK: f64 = 1e-9;

/// What the units of a bin use, by their devices.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Bin.
    pub(crate) bin: usize,
    weights: Vec<f64>,
    /// The most of it.
    pub(crate) most: f64,
    /// What it counts one of.
    pub(crate) scale: f64,
}

impl Row {
    /// What one unit of so many devices uses.
    pub(crate) fn weight(&self, devices: u32) -> f64 {
        self.weights.get(devices as usize).copied().unwrap_or(0.0)
    }

    /// Weights times a price.
    pub(crate) fn priced(&self, price: f64) -> impl Iterator<Item = f64> + '_ {
        self.weights.iter().map(move |weight| weight * price)
    }
}

/// Nodes of one kind: per way to cut all of them, what that adds, by row.
pub(crate) type Nodes = Vec<Vec<(usize, f64)>>;

/// Rows of all bins, and the nodes that are shared out over patterns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cutting {
    /// Rows.
    pub(crate) rows: Vec<Row>,
    /// Nodes by kind.
    pub(crate) nodes: Vec<Nodes>,
}

/// A bin's sizes of units and its nodes by free devices, as if no gang had a place.
#[derive(Clone, Debug, Default)]
struct Stock {
    sizes: BTreeSet<u32>,
    nodes: BTreeMap<u32, u32>,
}

impl Cutting {
    /// By patterns if that takes no more than so many rows, or else by sizes.
    pub(crate) fn new(board: &Board, most_rows: usize) -> Self {
        let stock = stock(board);
        let rows: usize = stock.iter().map(|bin| bin.sizes.len()).sum();
        let exact = (rows <= most_rows).then(|| Self::by_patterns(&stock));
        exact
            .flatten()
            .unwrap_or_else(|| Self::by_sizes(board, &stock))
    }

    fn by_patterns(stock: &[Stock]) -> Option<Self> {
        let mut cutting = Self::default();
        for (bin, stock) in stock.iter().enumerate() {
            let first = cutting.rows.len();
            for &size in &stock.sizes {
                let offered = |(free, nodes): (&u32, &u32)| f64::from(free / size.max(1) * nodes);
                let all: f64 = stock.nodes.iter().map(offered).sum();
                let mut weights = vec![0.0; size as usize + 1];
                *weights.get_mut(size as usize)? = 1.0;
                let scale = all.max(1.0);
                cutting.rows.push(Row {
                    bin,
                    weights,
                    most: SLACK * scale,
                    scale,
                });
            }
            let sizes: Vec<u32> = stock.sizes.iter().copied().collect();
            for (&free, &nodes) in &stock.nodes {
                let patterns = patterns(free, &sizes)?;
                let columns = patterns.into_iter().map(|pattern| {
                    let cuts = pattern.into_iter().enumerate();
                    cuts.filter(|(_, times)| *times > 0)
                        .map(|(at, times)| (first + at, -f64::from(times * nodes)))
                        .collect()
                });
                cutting.nodes.push(columns.collect());
            }
        }
        Some(cutting)
    }

    fn by_sizes(board: &Board, stock: &[Stock]) -> Self {
        let mut rows = Vec::new();
        for (bin, Stock { sizes, nodes }) in stock.iter().enumerate() {
            let whole = board.bins.get(bin).map_or(0, |bin| bin.devices);
            let devices: u32 = nodes.iter().map(|(free, nodes)| free * nodes).sum();
            let largest = sizes.last().copied().unwrap_or(0);
            rows.push(Row {
                bin,
                weights: (0..=largest).map(f64::from).collect(),
                most: f64::from(devices),
                scale: f64::from(devices.max(1)),
            });
            if whole > MOST_DEVICES {
                continue;
            }
            for parts in 1..=MOST_FUNCTIONS {
                rows.extend(function_row(bin, whole, parts, devices, sizes, nodes));
            }
        }
        Self {
            rows,
            nodes: Vec::new(),
        }
    }
}

fn stock(board: &Board) -> Vec<Stock> {
    let mut stock = vec![Stock::default(); board.bins.len()];
    for candidate in board.candidates.iter().flatten() {
        for (bin, _) in &candidate.bins {
            if let Some(bin) = stock.get_mut(*bin as usize) {
                bin.sizes.insert(candidate.devices);
            }
        }
    }
    let mut free: Vec<u32> = board.nodes.iter().map(|node| node.free).collect();
    for gang in &board.gangs {
        let candidate = gang
            .now
            .and_then(|(choice, _)| board.candidates.get(gang.class)?.get(choice));
        for (node, units) in &gang.held {
            if let (Some(free), Some(candidate)) = (free.get_mut(*node as usize), candidate) {
                *free = free.saturating_add(units.saturating_mul(candidate.devices));
            }
        }
    }
    for (node, free) in board.nodes.iter().zip(free) {
        if let Some(bin) = stock.get_mut(node.bin as usize)
            && bin.sizes.first().is_some_and(|least| *least <= free)
        {
            *bin.nodes.entry(free).or_default() += 1;
        }
    }
    stock
}

/// Every way to cut so many devices into units of these sizes, smallest first, that leaves no room for one more: how many
/// of each. The one with the most of the largest comes first. `None` where there are too many.
fn patterns(free: u32, sizes: &[u32]) -> Option<Vec<Vec<u32>>> {
    let least = sizes.iter().copied().find(|size| *size > 0)?;
    let mut found = Vec::new();
    let mut open = vec![(sizes.len(), free, vec![0; sizes.len()])];
    while let Some((at, left, pattern)) = open.pop() {
        let Some(below) = at.checked_sub(1) else {
            if left < least {
                found.push(pattern);
            }
            if found.len() > MOST_PATTERNS {
                return None;
            }
            continue;
        };
        let size = sizes.get(below).copied().unwrap_or(0);
        for times in 0..=left.checked_div(size).unwrap_or(0) {
            let mut longer = pattern.clone();
            if let Some(count) = longer.get_mut(below) {
                *count = times;
            }
            open.push((below, left - times * size, longer));
        }
    }
    Some(found)
}

/// Units of more than half a node count as a node and those of half a node as half of one, and so on for thirds and
/// quarters. What a node that is held in part can hold of it is counted exactly. `None` where the count of devices says as
/// much.
fn function_row(
    bin: usize,
    whole: u32,
    parts: u32,
    devices: u32,
    sizes: &BTreeSet<u32>,
    nodes: &BTreeMap<u32, u32>,
) -> Option<Row> {
    let weigh = |devices: u32| -> f64 {
        let scaled = (parts + 1) * devices;
        if scaled.is_multiple_of(whole.max(1)) {
            f64::from(devices) / f64::from(whole.max(1))
        } else {
            f64::from(scaled / whole.max(1)) / f64::from(parts)
        }
    };
    let weight_of = |devices: u32| {
        if sizes.contains(&devices) {
            weigh(devices)
        } else {
            0.0
        }
    };
    let weights: Vec<f64> = (0..=whole).map(weight_of).collect();
    // The most that so many free devices can hold.
    let mut holds = vec![0.0_f64; weights.len()];
    for free in 1..holds.len() {
        let most = (1..=free).map(|devices| {
            let rest = holds.get(free - devices).copied().unwrap_or(0.0);
            weights.get(devices).copied().unwrap_or(0.0) + rest
        });
        let most = most.fold(0.0, f64::max);
        if let Some(place) = holds.get_mut(free) {
            *place = most;
        }
    }
    let held = |(free, nodes): (&u32, &u32)| {
        holds.get(*free as usize).copied().unwrap_or(0.0) * f64::from(*nodes)
    };
    let most: f64 = nodes.iter().map(held).sum();
    // Implied by the count of devices where no unit weighs more here than there.
    let share = f64::from(devices) / most.max(1e-9);
    let mut sized = weights.iter().enumerate();
    sized
        .any(|(size, weight)| weight * share > size as f64 + 1e-9)
        .then(|| Row {
            bin,
            weights: weights.clone(),
            most,
            scale: if most > 0.0 { most } else { 1.0 },
        })
}
