//! Shadow prices: what the relaxation proves each scarce thing to be worth.

use super::board::Board;
use super::model::BoardCandidate;

/// Prices in micro-dollars.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prices {
    /// Per unit, by bin and the unit's devices.
    pub(super) bins: Vec<Vec<f64>>,
    /// Per watt, by power domain.
    pub(super) domains: Vec<f64>,
    /// Per watt, by queue.
    pub(super) queues: Vec<f64>,
    /// Per job that waits, by rank of priority.
    pub(super) waits: Vec<f64>,
}

impl Prices {
    /// The least that a candidate costs at these prices, all of it in the bin where it is least.
    pub(crate) fn cost(
        &self,
        board: &Board,
        candidate: &BoardCandidate,
        queue: Option<usize>,
    ) -> f64 {
        let units = f64::from(candidate.units);
        let watts = candidate.watts as f64 * units;
        let mut least = f64::INFINITY;
        for &(at, usd) in &candidate.bins {
            let of_bin = self.bins.get(at as usize);
            let price = of_bin.and_then(|prices| prices.get(candidate.devices as usize));
            let mut cost = usd as f64 + units * price.copied().unwrap_or(0.0);
            for &(domain, factor) in board.feed(at) {
                let price = self.domains.get(domain).copied().unwrap_or(0.0);
                cost += watts * price * (factor as f64 / 1e9);
            }
            least = least.min(cost);
        }
        let queue = queue.and_then(|queue| self.queues.get(queue)).copied();
        least + candidate.usd_egress as f64 + watts * queue.unwrap_or(0.0)
    }

    /// What it costs that a job of a rank waits.
    pub(crate) fn wait(&self, rank: usize) -> f64 {
        self.waits.get(rank).copied().unwrap_or(0.0)
    }
}
