//! The search from end to end.
//!
//! First [branch and bound](super::branch_and_bound) on the linear relaxation finds which jobs belong where; then
//! [annealing](super::annealing) moves jobs about at the prices that the relaxation proves. Both are bounded by trials, take
//! their chances from a fixed sequence and keep the best plan: most jobs by priority, then fewest dollars.

use super::incumbent::Bound;
use super::state::Search;

/// Trials that are kept for annealing, in percent.
const ANNEALED: u64 = 15;

impl Search<'_> {
    /// Searches and leaves the best on the board. Whether that is better than what there was, and what is proven.
    pub(crate) fn run(mut self) -> (bool, Option<Bound>) {
        let before = self.incumbent_value.clone();
        self.initialise_temperature();
        self.solve_relaxation(self.trials * ANNEALED / 100);
        if !self.is_close() {
            self.anneal(0);
        }
        (self.incumbent_value > before, self.bound)
    }
}
