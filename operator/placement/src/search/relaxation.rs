//! The linear relaxation of a board: jobs may be split, and so may the cuts of a bin's nodes.
//!
//! ```text
//!   least  Σ usd · x     with   Σ x over the candidates of a job, waiting included = 1
//!                               Σ units of a size ≤ what the nodes of a bin are [cut](super::cutting_stock) into
//!                               Σ use · x ≤ what there is, per power domain and queue (watts)
//!                               Σ waiting of a priority ≤ how many may wait
//! ```
//!
//! Its value is a bound that no plan of the board beats; its dual prices tell a job with a choice to leave what is scarce
//! to one without.

use super::board::Board;
use super::cutting_stock::{Cutting, Row};
use super::model::Target;
use super::prices::Prices;
use super::simplex::{Program, Vertex};

/// What it costs, in jobs as dear as the dearest, that one more waits than may; and how much more it is for each rank.
const PENALTY: f64 = 4.0;
/// Most rows; a board with more scarce things is searched without prices.
const MOST_ROWS: usize = 160;
/// Most columns.
const MOST_COLUMNS: usize = 60_000;
/// A share that is as good as whole.
const WHOLE: f64 = 0.999;
/// The bin of a column that waits.
const NOWHERE: u32 = u32::MAX;
/// Micro-dollars of a unit of cost: dollars, so that costs and shares are of like size.
const UNIT: f64 = 1e6;

/// The program of a board.
pub(crate) struct Relaxation {
    /// Rows; a set of columns per gang: that it waits, then each candidate in each of its bins; one per rank, for those who wait
    /// beyond what is allowed; one per kind of node, for its cuts.
    pub(crate) program: Program,
    /// Dollars of each column.
    pub(crate) usd: Vec<f64>,
    /// Candidate of each column; `None` where the gang waits.
    pub(crate) candidates: Vec<Option<usize>>,
    /// Bin of each of the first columns, those of gangs.
    bins: Vec<u32>,
    /// Rank of each gang's priority.
    ranks: Vec<usize>,
    /// What there is, by row: 1 where rows are scaled.
    have: Vec<f64>,
    /// What a row counts one of.
    scale: Vec<f64>,
    /// Where the rows of domains, queues and waiting begin.
    sections: [usize; 3],
    /// The first rows: those of bins.
    of_bins: Vec<Row>,
}

impl Relaxation {
    /// The relaxation of a board; `None` where there is too much of it.
    pub(crate) fn new(board: &Board) -> Option<Self> {
        let others = board.headroom.len() + board.queues.len() + board.placed.len();
        let Cutting {
            rows: of_bins,
            nodes,
        } = Cutting::new(board, MOST_ROWS.saturating_sub(others));
        let domains = of_bins.len();
        let queues = domains + board.headroom.len();
        let waits = queues + board.queues.len();
        let rows = waits + board.placed.len();
        if rows > MOST_ROWS {
            return None;
        }
        let mut have: Vec<f64> = of_bins.iter().map(|row| row.most).collect();
        have.extend(available(board));
        have.resize(rows, 0.0);
        for gang in &board.gangs {
            *have.get_mut(waits + gang.rank)? += 1.0;
        }
        have.iter_mut().for_each(|have| *have = have.max(0.0));
        let scale_of = |(row, have): (usize, &f64)| match of_bins.get(row) {
            Some(row) => row.scale,
            None if *have > 0.0 => *have,
            None => 1.0,
        };
        let scale: Vec<f64> = have.iter().enumerate().map(scale_of).collect();
        let mut by_bin: Vec<Vec<usize>> = vec![Vec::new(); board.bins.len()];
        for (at, row) in of_bins.iter().enumerate() {
            by_bin.get_mut(row.bin)?.push(at);
        }
        let mut program = Program::new(rows);
        let (mut usd, mut candidates, mut bins, mut uses) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for gang in &board.gangs {
            let row = waits + gang.rank;
            program.add([(row, 1.0 / scale.get(row)?)]);
            usd.push(0.0);
            candidates.push(None);
            bins.push(NOWHERE);
            let of_class = board.candidates.get(gang.class)?.iter().enumerate();
            for (at, candidate) in of_class.filter(|(at, candidate)| candidate.base == *at) {
                let units = f64::from(candidate.units);
                let watts = candidate.watts as f64 * units;
                for &(bin, cost) in &candidate.bins {
                    uses.clear();
                    let rows = by_bin.get(bin as usize)?.iter();
                    uses.extend(rows.filter_map(|&at| {
                        let weight = of_bins.get(at)?.weight(candidate.devices);
                        (weight > 0.0).then_some((at, units * weight))
                    }));
                    if watts > 0.0 {
                        let above = board.feed(bin).iter();
                        uses.extend(above.map(|&(domain, factor)| {
                            (domains + domain, watts * (factor as f64 / 1e9))
                        }));
                        uses.extend(gang.queue.map(|queue| (queues + queue, watts)));
                    }
                    program.add(uses.iter().map(|&(row, amount)| {
                        (row, amount / scale.get(row).copied().unwrap_or(1.0))
                    }));
                    usd.push((cost as f64 + candidate.usd_egress as f64) / UNIT);
                    candidates.push(Some(at));
                    bins.push(bin);
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
            candidates.extend([None, None]);
            penalty *= PENALTY;
        }
        for columns in nodes {
            for column in columns {
                program.add(
                    column.into_iter().map(|(row, amount)| {
                        (row, amount / scale.get(row).copied().unwrap_or(1.0))
                    }),
                );
                usd.push(0.0);
                candidates.push(None);
            }
            program.end_set();
        }
        Some(Self {
            program,
            usd,
            candidates,
            bins,
            ranks: board.gangs.iter().map(|gang| gang.rank).collect(),
            have: have
                .iter()
                .zip(&scale)
                .map(|(have, scale)| have / scale)
                .collect(),
            scale,
            sections: [domains, queues, waits],
            of_bins,
        })
    }

    /// The vertex at which as few wait as the relaxation needs, priority by priority, and the rest is as cheap as can be;
    /// but as many may wait as `allowed` says, by rank. Returns how many may wait, too. `None` when the pivots are used up.
    pub(crate) fn solve(&self, allowed: &[f64], pivots: &mut u64) -> Option<(Vertex, Vec<f64>)> {
        let [_, _, waits] = self.sections;
        let mut vertex = Vertex::first(&self.program, &self.have);
        let mut waiting = vec![0.0; self.have.len() - waits];
        let mut cost = vec![0.0; self.usd.len()];
        for rank in (0..waiting.len()).rev() {
            cost.fill(0.0);
            for rank in 0..waiting.len() {
                let extra = self.program.of_set(self.ranks.len() + rank).end - 1;
                *cost.get_mut(extra)? = 1e6;
            }
            for (gang, _) in self.ranks.iter().enumerate().filter(|(_, of)| **of == rank) {
                *cost.get_mut(self.program.of_set(gang).start)? = 1.0;
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

    /// What a plan of so many dollars counts as where more wait than are allowed.
    pub(crate) fn worth(&self, usd: f64, missed: &[f64], waiting: &[f64]) -> f64 {
        let [_, _, waits] = self.sections;
        let mut worth = usd;
        for (rank, (missed, waiting)) in missed.iter().zip(waiting).enumerate() {
            let extra = self.program.of_set(self.ranks.len() + rank).end - 1;
            let all = self.scale.get(waits + rank).copied().unwrap_or(1.0);
            let penalty = self.usd.get(extra).copied().unwrap_or(0.0) / all;
            worth += (missed - waiting).max(0.0) * penalty;
        }
        worth
    }

    /// The most dollars that a gang costs in a candidate; where it waits, in any.
    pub(crate) fn dearest(&self, gang: usize, candidate: Option<usize>) -> f64 {
        let columns = self.program.of_set(gang).filter(|&column| {
            candidate.is_none() || self.candidates.get(column) == Some(&candidate)
        });
        columns
            .filter_map(|column| self.usd.get(column))
            .fold(1e-3, |most, usd| usd.max(most))
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
        let [domains, queues, waits] = self.sections;
        let mut bins: Vec<Vec<f64>> = Vec::new();
        for (row, price) in self.of_bins.iter().zip(&prices) {
            if bins.len() <= row.bin {
                bins.resize(row.bin + 1, Vec::new());
            }
            let Some(of_bin) = bins.get_mut(row.bin) else {
                continue;
            };
            for (devices, usd) in row.priced(*price).enumerate() {
                match of_bin.get_mut(devices) {
                    Some(sum) => *sum += usd,
                    None => of_bin.push(usd),
                }
            }
        }
        Prices {
            bins,
            domains: part(domains, queues),
            queues: part(queues, waits),
            waits: part(waits, prices.len()),
        }
    }

    /// How much of each gang goes to each candidate, for gangs that are split.
    pub(crate) fn split(&self, vertex: &Vertex) -> Vec<(usize, Option<usize>, f64)> {
        let mut shares: Vec<(usize, Option<usize>, f64)> = Vec::new();
        for (column, much) in vertex.amounts() {
            let gang = self.program.set(column);
            if much < 1.0 - 1e-7
                && gang < self.ranks.len()
                && let Some(&candidate) = self.candidates.get(column)
            {
                match shares
                    .iter_mut()
                    .find(|(p, w, _)| (*p, *w) == (gang, candidate))
                {
                    Some((_, _, sum)) => *sum += much,
                    None => shares.push((gang, candidate, much)),
                }
            }
        }
        shares.retain(|(_, _, much)| *much < 1.0 - 1e-6);
        shares
    }

    /// The candidate of each gang at a vertex: the one with the largest share, with the bin that has all of it, if any.
    pub(crate) fn rounded(&self, vertex: &Vertex) -> Vec<Target> {
        let mut parts: Vec<Vec<Part>> = vec![Vec::new(); self.ranks.len()];
        for (column, much) in vertex.amounts() {
            let parts = parts.get_mut(self.program.set(column));
            let of_column = self.candidates.get(column).zip(self.bins.get(column));
            let (Some(parts), Some((&candidate, &bin))) = (parts, of_column) else {
                continue;
            };
            match parts.iter_mut().find(|part| part.candidate == candidate) {
                Some(part) => part.much += much,
                None => parts.push(Part {
                    candidate,
                    much,
                    bin: None,
                }),
            }
            if much > WHOLE
                && let Some(part) = parts.last_mut()
            {
                part.bin = Some(bin);
            }
        }
        let largest = |parts: Vec<Part>| {
            let mut parts = parts.into_iter();
            let first = parts.next()?;
            let most = parts.fold(
                first,
                |most, part| {
                    if part.much > most.much { part } else { most }
                },
            );
            Some((most.candidate?, most.bin))
        };
        parts.into_iter().map(largest).collect()
    }
}

/// How much of a gang goes to a candidate, and the bin if it is all of it.
#[derive(Clone)]
struct Part {
    candidate: Option<usize>,
    much: f64,
    bin: Option<u32>,
}

/// Watts that all gangs together may draw, by power domain and then by queue: what is left and what they draw.
fn available(board: &Board) -> Vec<f64> {
    let mut domains: Vec<f64> = board
        .headroom
        .iter()
        .map(|left| *left as f64 / 1e9)
        .collect();
    let mut queues: Vec<f64> = board.queues.iter().map(|left| *left as f64).collect();
    for gang in &board.gangs {
        let candidate = gang
            .now
            .and_then(|(choice, _)| board.candidates.get(gang.class)?.get(choice));
        let Some(candidate) = candidate else { continue };
        for &(node, units) in &gang.held {
            let Some(node) = board.nodes.get(node as usize) else {
                continue;
            };
            let watts = candidate.watts as f64 * f64::from(units);
            for &(domain, factor) in board.feed(node.bin) {
                if let Some(sum) = domains.get_mut(domain) {
                    *sum += watts * (factor as f64 / 1e9);
                }
            }
            if let Some(sum) = gang.queue.and_then(|queue| queues.get_mut(queue)) {
                *sum += watts;
            }
        }
    }
    domains.extend(queues);
    domains
}
