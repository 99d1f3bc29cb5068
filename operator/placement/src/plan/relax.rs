//! The linear relaxation of a board: jobs may be split, devices are counted per bin and not per node.
//!
//! ```text
//!   least  Σ usd · x     with   Σ x over the ways of a job, waiting included = 1
//!                               Σ use · x ≤ what there is, per bin (devices), power domain and queue (watts)
//!                               Σ units of at least a size ≤ what the nodes of a bin can be cut into
//!                               Σ waiting of a priority ≤ how many may wait
//! ```
//!
//! Its value is a bound that no plan of the board beats; its dual prices tell a job with a choice to leave what is scarce
//! to one without.

use std::collections::{BTreeMap, BTreeSet};

use super::board::{Board, Way};
use super::simplex::{Program, Vertex};

/// What it costs, in jobs as dear as the dearest, that one more waits than may; and how much more it is for each rank.
const PENALTY: f64 = 4.0;
/// Most rows; a board with more scarce things is searched without prices.
const MOST_ROWS: usize = 160;
/// Most columns.
const MOST_COLUMNS: usize = 60_000;
/// Most cuts of one bin.
const MOST_CUTS: u32 = 3;
/// Most devices of a node for which cuts are made.
const MOST_CUT_DEVICES: u32 = 64;
/// Micro-dollars of a unit of cost: dollars, so that costs and shares are of like size.
const UNIT: f64 = 1e6;

/// Prices in micro-dollars.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prices {
    /// Per device, by bin.
    bins: Vec<f64>,
    /// Per watt, by power domain.
    domains: Vec<f64>,
    /// Per watt, by queue.
    queues: Vec<f64>,
    /// Per job that waits, by rank of priority.
    waits: Vec<f64>,
    /// Per unit by its devices, by bin and cut.
    cuts: Vec<Vec<Vec<f64>>>,
}

impl Prices {
    /// The least that a way costs at these prices, all of it in the bin where it is least.
    pub(crate) fn cost(&self, board: &Board, way: &Way, queue: Option<usize>) -> f64 {
        let units = f64::from(way.units);
        let watts = way.watts as f64 * units;
        let devices = f64::from(way.devices) * units;
        let mut least = f64::INFINITY;
        for &(at, usd) in &way.bins {
            let price = self.bins.get(at as usize).copied().unwrap_or(0.0);
            let mut cost = usd as f64 + devices * price;
            for &(domain, factor) in feed(board, at) {
                let price = self.domains.get(domain).copied().unwrap_or(0.0);
                cost += watts * price * (factor as f64 / 1e9);
            }
            let cuts = self.cuts.get(at as usize).map_or(&[][..], Vec::as_slice);
            for weights in cuts {
                cost += units * weights.get(way.devices as usize).copied().unwrap_or(0.0);
            }
            least = least.min(cost);
        }
        let queue = queue.and_then(|queue| self.queues.get(queue)).copied();
        least + way.usd_egress as f64 + watts * queue.unwrap_or(0.0)
    }

    /// What it costs that a job of a rank waits.
    pub(crate) fn wait(&self, rank: usize) -> f64 {
        self.waits.get(rank).copied().unwrap_or(0.0)
    }
}

fn feed(board: &Board, bin: u32) -> &[(usize, i128)] {
    board
        .bins
        .get(bin as usize)
        .map_or(&[][..], |bin| bin.feed.as_slice())
}

/// The program of a board.
pub(crate) struct Relaxation {
    /// Rows, and a set of columns per piece: that it waits, then each way in each of its bins.
    pub(crate) program: Program,
    /// Dollars of each column.
    pub(crate) usd: Vec<f64>,
    /// Way of each column; `None` where the piece waits.
    pub(crate) ways: Vec<Option<usize>>,
    /// Rank of each piece's priority.
    ranks: Vec<usize>,
    /// What there is, by row: 1 where rows are scaled.
    have: Vec<f64>,
    /// What a row counts one of.
    scale: Vec<f64>,
    /// Where the rows of domains, queues, waiting and cuts begin.
    sections: [usize; 4],
    cuts: Vec<Cut>,
}

impl Relaxation {
    /// The relaxation of a board; `None` where there is too much of it.
    pub(crate) fn new(board: &Board) -> Option<Self> {
        let cuts = cuts(board);
        let domains = board.bins.len();
        let queues = domains + board.headroom.len();
        let waits = queues + board.queues.len();
        let cut_rows = waits + board.placed.len();
        let rows = cut_rows + cuts.len();
        if rows > MOST_ROWS {
            return None;
        }
        let mut have = available(board);
        have.resize(cut_rows, 0.0);
        for piece in &board.pieces {
            *have.get_mut(waits + piece.rank)? += 1.0;
        }
        have.extend(cuts.iter().map(|cut| cut.most));
        have.iter_mut().for_each(|have| *have = have.max(0.0));
        let scale: Vec<f64> = have
            .iter()
            .map(|have| if *have > 0.0 { *have } else { 1.0 })
            .collect();
        let mut program = Program::new(rows);
        let (mut usd, mut ways, mut uses) = (Vec::new(), Vec::new(), Vec::new());
        for piece in &board.pieces {
            let row = waits + piece.rank;
            program.add([(row, 1.0 / scale.get(row)?)]);
            usd.push(0.0);
            ways.push(None);
            for (at, way) in board.ways.get(piece.class)?.iter().enumerate() {
                let units = f64::from(way.units);
                let watts = way.watts as f64 * units;
                for &(bin, cost) in &way.bins {
                    uses.clear();
                    uses.push((bin as usize, f64::from(way.devices) * units));
                    if watts > 0.0 {
                        let above = feed(board, bin).iter();
                        uses.extend(above.map(|&(domain, factor)| {
                            (domains + domain, watts * (factor as f64 / 1e9))
                        }));
                        uses.extend(piece.queue.map(|queue| (queues + queue, watts)));
                    }
                    let of_bin = cuts.iter().enumerate().filter(|(_, cut)| {
                        cut.bin == bin as usize && cut.weight(way.devices) > 0.0
                    });
                    uses.extend(
                        of_bin.map(|(at, cut)| (cut_rows + at, units * cut.weight(way.devices))),
                    );
                    program.add(uses.iter().map(|&(row, amount)| {
                        (row, amount / scale.get(row).copied().unwrap_or(1.0))
                    }));
                    usd.push((cost as f64 + way.usd_egress as f64) / UNIT);
                    ways.push(Some(at));
                }
            }
            program.end_set();
            if program.columns() > MOST_COLUMNS {
                return None;
            }
        }
        // More may wait than are allowed, but dearly, so that every branch ends in a plan.
        let dearest = usd.iter().copied().fold(1.0, f64::max);
        let mut penalty = PENALTY * dearest;
        for rank in 0..board.placed.len() {
            let row = waits + rank;
            let all = *have.get(row)?;
            program.add([]);
            program.add([(row, -all / scale.get(row)?)]);
            program.end_set();
            usd.extend([0.0, penalty * all]);
            ways.extend([None, None]);
            penalty *= PENALTY;
        }
        Some(Self {
            program,
            usd,
            ways,
            ranks: board.pieces.iter().map(|piece| piece.rank).collect(),
            have: have
                .iter()
                .zip(&scale)
                .map(|(have, scale)| have / scale)
                .collect(),
            scale,
            sections: [domains, queues, waits, cut_rows],
            cuts,
        })
    }

    /// The vertex at which as few wait as the relaxation needs, priority by priority, and the rest is as cheap as can be;
    /// but as many may wait as `allowed` says, by rank. Returns how many may wait, too. `None` when the pivots are used up.
    pub(crate) fn solve(&self, allowed: &[f64], pivots: &mut u64) -> Option<(Vertex, Vec<f64>)> {
        let [_, _, waits, cuts] = self.sections;
        let mut vertex = Vertex::first(&self.program, &self.have);
        let mut waiting = vec![0.0; cuts - waits];
        let mut cost = vec![0.0; self.usd.len()];
        for rank in (0..cuts - waits).rev() {
            cost.fill(0.0);
            for rank in 0..waiting.len() {
                let extra = self.program.of_set(self.ranks.len() + rank).end - 1;
                *cost.get_mut(extra)? = 1e6;
            }
            for (piece, _) in self.ranks.iter().enumerate().filter(|(_, of)| **of == rank) {
                *cost.get_mut(self.program.of_set(piece).start)? = 1.0;
            }
            if !vertex.minimise(&self.program, &cost, pivots) {
                return None;
            }
            // Whole jobs wait.
            let mut most = (vertex.cost(&cost) - 1e-6).ceil().max(0.0);
            if let Some(&allowed) = allowed.get(rank) {
                most = most.max(allowed);
            }
            let row = waits + rank;
            vertex.widen(
                &self.program,
                row,
                (most / self.scale.get(row)?) - self.have.get(row)?,
            );
            *waiting.get_mut(rank)? = most;
        }
        vertex
            .minimise(&self.program, &self.usd, pivots)
            .then_some((vertex, waiting))
    }

    /// How much there is to do for one pivot: entries that are priced and entries of the inverse.
    pub(crate) fn work(&self) -> u64 {
        let rows = self.have.len();
        u64::try_from(self.usd.len() + rows * rows / 4).unwrap_or(u64::MAX)
    }

    /// What the vertex proves each scarce thing to be worth.
    pub(crate) fn prices(&self, vertex: &Vertex) -> Prices {
        let duals = vertex.duals(&self.program, &self.usd);
        let prices: Vec<f64> = duals
            .iter()
            .zip(&self.scale)
            .map(|(dual, scale)| (-dual / scale).max(0.0) * UNIT)
            .collect();
        let part = |from: usize, to: usize| prices.get(from..to).unwrap_or_default().to_vec();
        let [domains, queues, waits, cuts] = self.sections;
        let mut by_bin: Vec<Vec<Vec<f64>>> = vec![Vec::new(); domains];
        for (cut, price) in self.cuts.iter().zip(prices.get(cuts..).unwrap_or_default()) {
            if let Some(of_bin) = by_bin.get_mut(cut.bin) {
                of_bin.push(cut.weights.iter().map(|weight| weight * price).collect());
            }
        }
        Prices {
            bins: part(0, domains),
            domains: part(domains, queues),
            queues: part(queues, waits),
            waits: part(waits, cuts),
            cuts: by_bin,
        }
    }

    /// How much of each piece goes each way, for pieces that are split.
    pub(crate) fn split(&self, vertex: &Vertex, shares: &mut Vec<(usize, Option<usize>, f64)>) {
        shares.clear();
        for (column, much) in vertex.amounts() {
            let piece = self.program.set(column);
            if much < 1.0 - 1e-7
                && piece < self.ranks.len()
                && let Some(&way) = self.ways.get(column)
            {
                match shares.iter_mut().find(|(p, w, _)| (*p, *w) == (piece, way)) {
                    Some((_, _, sum)) => *sum += much,
                    None => shares.push((piece, way, much)),
                }
            }
        }
        shares.retain(|(_, _, much)| *much < 1.0 - 1e-6);
    }

    /// The way of each piece at a vertex: the one with the largest share.
    pub(crate) fn rounded(&self, vertex: &Vertex) -> Vec<Option<usize>> {
        let mut largest: Vec<(Option<usize>, f64)> = vec![(None, 0.0); self.ranks.len()];
        for (column, much) in vertex.amounts() {
            if let (Some(place), Some(&way)) = (
                largest.get_mut(self.program.set(column)),
                self.ways.get(column),
            ) {
                if place.0 == way {
                    place.1 += much;
                } else if much > place.1 {
                    *place = (way, much);
                }
            }
        }
        largest.into_iter().map(|(way, _)| way).collect()
    }
}

/// Weights of units by their devices, and the most that a bin's nodes can hold of it.
struct Cut {
    bin: usize,
    weights: Vec<f64>,
    most: f64,
}

impl Cut {
    fn weight(&self, devices: u32) -> f64 {
        self.weights.get(devices as usize).copied().unwrap_or(0.0)
    }
}

/// Cuts that say more than the count of devices does, by the dual feasible functions of Fekete and Schepers (*New classes
/// of fast lower bounds for bin packing problems*, 2001): units of more than half a node count as a node and those of half
/// a node as half of one, and so on for thirds and quarters. What a node that is held in part can hold of it is counted
/// exactly.
fn cuts(board: &Board) -> Vec<Cut> {
    let mut sizes: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); board.bins.len()];
    for way in board.ways.iter().flatten() {
        for (bin, _) in &way.bins {
            if let Some(sizes) = sizes.get_mut(*bin as usize) {
                sizes.insert(way.devices);
            }
        }
    }
    let mut nodes: Vec<BTreeMap<u32, u32>> = vec![BTreeMap::new(); board.bins.len()];
    let mut free: Vec<u32> = board.spots.iter().map(|spot| spot.free).collect();
    for piece in &board.pieces {
        let way = piece
            .now
            .and_then(|(choice, _)| board.ways.get(piece.class)?.get(choice));
        for (spot, units) in &piece.held {
            if let (Some(free), Some(way)) = (free.get_mut(*spot as usize), way) {
                *free = free.saturating_add(units.saturating_mul(way.devices));
            }
        }
    }
    for (spot, free) in board.spots.iter().zip(free) {
        if let Some(nodes) = nodes.get_mut(spot.bin as usize) {
            *nodes.entry(free).or_default() += 1;
        }
    }
    let mut cuts = Vec::new();
    for (bin, (sizes, nodes)) in sizes.iter().zip(&nodes).enumerate() {
        let whole = board.bins.get(bin).map_or(0, |bin| bin.devices);
        if whole > MOST_CUT_DEVICES {
            continue;
        }
        for parts in 1..=MOST_CUTS {
            let weigh = |devices: u32| -> f64 {
                let pieces = (parts + 1) * devices;
                if pieces.is_multiple_of(whole.max(1)) {
                    f64::from(devices) / f64::from(whole.max(1))
                } else {
                    f64::from(pieces / whole.max(1)) / f64::from(parts)
                }
            };
            let weights: Vec<f64> = (0..=whole)
                .map(|devices| {
                    if sizes.contains(&devices) {
                        weigh(devices)
                    } else {
                        0.0
                    }
                })
                .collect();
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
            let most: f64 = nodes
                .iter()
                .map(|(free, nodes)| {
                    holds.get(*free as usize).copied().unwrap_or(0.0) * f64::from(*nodes)
                })
                .sum();
            let devices: u32 = nodes.iter().map(|(free, nodes)| free * nodes).sum();
            // Implied by the count of devices where no unit weighs more here than there.
            let share = f64::from(devices) / most.max(1e-9);
            if weights
                .iter()
                .enumerate()
                .any(|(size, weight)| weight * share > size as f64 + 1e-9)
            {
                cuts.push(Cut { bin, weights, most });
            }
        }
    }
    cuts
}

/// What all pieces together may have, by row: what is free and what they hold.
fn available(board: &Board) -> Vec<f64> {
    let mut bins = vec![0.0; board.bins.len()];
    let mut add = |bin: u32, devices: f64| {
        if let Some(sum) = bins.get_mut(bin as usize) {
            *sum += devices;
        }
    };
    let mut domains: Vec<f64> = board
        .headroom
        .iter()
        .map(|left| *left as f64 / 1e9)
        .collect();
    let mut queues: Vec<f64> = board.queues.iter().map(|left| *left as f64).collect();
    for spot in &board.spots {
        add(spot.bin, f64::from(spot.free));
    }
    for piece in &board.pieces {
        let way = piece
            .now
            .and_then(|(choice, _)| board.ways.get(piece.class)?.get(choice));
        let Some(way) = way else { continue };
        for &(spot, units) in &piece.held {
            let Some(spot) = board.spots.get(spot as usize) else {
                continue;
            };
            let watts = way.watts as f64 * f64::from(units);
            add(spot.bin, f64::from(way.devices) * f64::from(units));
            for &(domain, factor) in feed(board, spot.bin) {
                if let Some(sum) = domains.get_mut(domain) {
                    *sum += watts * (factor as f64 / 1e9);
                }
            }
            if let Some(sum) = piece.queue.and_then(|queue| queues.get_mut(queue)) {
                *sum += watts;
            }
        }
    }
    bins.extend(domains);
    bins.extend(queues);
    bins
}
