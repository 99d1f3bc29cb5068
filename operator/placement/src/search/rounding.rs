//! Plans from the [relaxation](super::relaxation): solved, made whole by [branches](super::branch_and_bound), placed on nodes.

use std::cmp::{Ordering, Reverse};

use super::branch_and_bound::Tree;
use super::incumbent::Bound;
use super::model::Target;
use super::prices::Prices;
use super::relaxation::Relaxation;
use super::simplex::Vertex;
use super::state::Search;

/// Trials that one pivot counts as, on a small board. About as long.
const TRIALS_OF_PIVOT: u64 = 8;
/// Times that the relaxation is solved for other numbers of waiting jobs.
const ROUNDS: u64 = 6;

impl Search<'_> {
    /// Solves the relaxation and makes whole jobs of its shares, down to `end` trials left.
    ///
    /// First for as few waiting as the relaxation needs; while more have to wait than that, again with one more allowed of
    /// the highest priority that falls short.
    pub(crate) fn solve_relaxation(&mut self, end: u64) {
        let Some(relaxation) = Relaxation::new(self.board) else {
            return;
        };
        let each = TRIALS_OF_PIVOT + relaxation.work() / 64;
        let mut pivots = self.trials.saturating_sub(end) / each;
        let all = pivots;
        let mut allowed = vec![0.0; self.board.placed.len()];
        for round in 0..ROUNDS {
            let Some((root, waiting)) = relaxation.solve(&allowed, &mut pivots) else {
                break;
            };
            if round == 0 {
                self.bound = Some(Bound {
                    waiting: waiting.clone(),
                    usd: root.cost(&relaxation.usd),
                });
            }
            let prices = relaxation.prices(&root);
            self.board.price(|board, class, candidate| {
                let queue = board.queue_of.get(class).copied().flatten();
                prices.cost(board, candidate, queue).clamp(-1e18, 1e18) as i64
            });
            self.adopt_prices(&prices);
            // Half for the first, and a third of the rest for each that follows.
            let part = pivots / if round == 0 { 2 } else { 3 };
            let mut left = part;
            let proven = self.branch(&relaxation, &root, &waiting, &mut left);
            pivots -= part - left;
            let missed = self.missed();
            if missed == waiting
                && let Some(bound) = &mut self.bound
                && bound.waiting == waiting
            {
                bound.usd = bound.usd.max(proven);
            }
            let short = (0..missed.len())
                .rev()
                .find(|&rank| missed.get(rank) > waiting.get(rank));
            let Some(rank) = short else { break };
            for (at, allowed) in allowed.iter_mut().enumerate() {
                *allowed = match at.cmp(&rank) {
                    Ordering::Less => 0.0,
                    Ordering::Equal => waiting.get(at).copied().unwrap_or(0.0) + 1.0,
                    Ordering::Greater => missed.get(at).copied().unwrap_or(0.0),
                };
            }
        }
        self.restore_incumbent();
        self.trials = self.trials.saturating_sub((all - pivots) * each);
    }

    /// Whole plans from one tree, until one is close to the bound. What no plan goes below in which so many wait.
    fn branch(
        &mut self,
        relaxation: &Relaxation,
        root: &Vertex,
        waiting: &[f64],
        pivots: &mut u64,
    ) -> f64 {
        let mut tree = Tree::new(relaxation, root);
        loop {
            let usd = -self.incumbent_value.1 as f64 / 1e6;
            if !tree.cut_off(relaxation.worth(usd, &self.missed(), waiting)) {
                break;
            }
            let Some(targets) = tree.next(pivots) else {
                break;
            };
            self.place_as(&targets);
        }
        tree.bound()
    }

    /// Places gangs as said, the largest units first; who has no room there, and who is to wait, takes what is left.
    fn place_as(&mut self, targets: &[Target]) {
        let candidates: Vec<Option<usize>> = targets
            .iter()
            .enumerate()
            .map(|(at, target)| self.board.candidate_at(at, *target))
            .collect();
        let mut order: Vec<(Reverse<u32>, usize)> = Vec::with_capacity(self.board.gangs.len());
        for (at, gang) in self.board.gangs.iter().enumerate() {
            let candidate = candidates.get(at).copied().flatten();
            let candidate = candidate
                .and_then(|candidate| self.board.candidates.get(gang.class)?.get(candidate));
            order.push((
                Reverse(candidate.map_or(0, |candidate| candidate.devices)),
                at,
            ));
        }
        order.sort_unstable();
        for at in 0..self.board.gangs.len() {
            self.take_out(at);
        }
        let mut rest: Vec<(Reverse<usize>, usize)> = Vec::new();
        for (_, at) in order {
            let candidate = candidates.get(at).copied().flatten();
            if candidate.is_none_or(|candidate| self.board.place(at, candidate).is_err()) {
                let rank = self.board.gangs.get(at).map_or(0, |gang| gang.rank);
                rest.push((Reverse(rank), at));
            }
            self.note_waiting(at);
        }
        rest.sort_unstable();
        for (_, at) in rest {
            self.place_cheapest(at);
        }
        self.keep();
    }

    /// Takes over for annealing what waiting is worth, and how much is at stake between a job's candidates.
    fn adopt_prices(&mut self, prices: &Prices) {
        let mut stakes = 0_i128;
        for gang in &self.board.gangs {
            let wait = prices.wait(gang.rank).min(1e18) as i64;
            let nth = |place| {
                self.board
                    .nth(gang.class, place)
                    .map(|(_, candidate)| candidate)
            };
            let first = nth(0)
                .map_or(wait, |candidate| candidate.priced_usd)
                .min(wait);
            let second = nth(1)
                .map_or(wait, |candidate| candidate.priced_usd)
                .min(wait);
            stakes += i128::from(second.saturating_sub(first).max(0));
        }
        let gangs = i128::try_from(self.board.gangs.len()).unwrap_or(1).max(1);
        self.temperature = stakes.saturating_mul(3) / (gangs * 10);
        let mut least = 1_i128;
        for (rank, penalty) in self.penalties.iter_mut().enumerate() {
            *penalty = ((prices.wait(rank) * 4.0).min(1e30) as i128).max(least);
            least = penalty.saturating_mul(3);
        }
    }
}
