//! The search for a better plan on a [board](super::board), and the best that it has seen: the incumbent.

use super::board::Board;
use super::incumbent::{Bound, CLOSE};
use super::model::BoardCandidate;
use crate::numerics::Mmix;

/// Candidates of a gang that are tried before it has to wait.
const MOST_CANDIDATES: usize = 64;
/// Not in the list of those who wait.
const NOWHERE: u32 = u32::MAX;

/// What a gang had, so that it can have it again: its candidate, dollars and units by node.
type GangSnapshot = Option<(usize, i64, Vec<(u32, u32)>)>;

/// How good a plan is: jobs placed by priority, highest first, then minus the dollars. More is better.
type PlanValue = (Vec<i64>, i128);

/// The search.
pub(crate) struct Search<'b> {
    /// The board.
    pub(crate) board: &'b mut Board,
    /// Chance.
    pub(crate) sequence: Mmix,
    /// Trials left.
    pub(crate) trials: u64,
    /// What not placing a gang counts as in annealing, by rank of priority.
    pub(crate) penalties: Vec<i128>,
    /// Dollars by which a step may be worse at the start of annealing.
    pub(crate) temperature: i128,
    /// Gangs without a place.
    pub(crate) waiting: Vec<u32>,
    /// The best that was seen.
    pub(crate) incumbent_value: PlanValue,
    /// What the relaxation proves.
    pub(crate) bound: Option<Bound>,
    waits_at: Vec<u32>,
    incumbent: Vec<GangSnapshot>,
    /// Gangs that are not as in `best`.
    stale: Vec<u32>,
    is_stale: Vec<bool>,
    /// What this step has changed.
    undo: Vec<(usize, GangSnapshot)>,
    in_step: Vec<bool>,
}

impl<'b> Search<'b> {
    /// A search from the board as it is.
    pub(crate) fn new(board: &'b mut Board, trials: u64) -> Self {
        let gangs = board.gangs.len();
        board.price(|_, _, candidate| candidate.least_usd);
        let mut search = Self {
            sequence: Mmix::new(1),
            trials,
            penalties: Vec::new(),
            temperature: 0,
            waiting: Vec::new(),
            incumbent_value: (Vec::new(), 0),
            bound: None,
            waits_at: vec![NOWHERE; gangs],
            incumbent: Vec::new(),
            stale: Vec::new(),
            is_stale: vec![false; gangs],
            undo: Vec::new(),
            in_step: vec![false; gangs],
            board,
        };
        for at in 0..gangs {
            search.note_waiting(at);
        }
        search.incumbent = (0..gangs).map(|at| search.had(at)).collect();
        search.incumbent_value = search.value();
        search
    }

    /// Whether the best plan places as many as any and costs little more than the bound.
    pub(super) fn is_close(&self) -> bool {
        let usd = -self.incumbent_value.1 as f64 / 1e6;
        self.bound
            .as_ref()
            .is_some_and(|bound| bound.waiting == self.missed() && usd <= bound.usd * CLOSE)
    }

    /// Whether every gang has the cheapest of its candidates.
    pub(crate) fn is_perfect(&self) -> bool {
        let least = |candidates: &Vec<BoardCandidate>| {
            candidates.iter().map(|candidate| candidate.least_usd).min()
        };
        let floor: i128 = self
            .board
            .gangs
            .iter()
            .filter_map(|gang| least(self.board.candidates.get(gang.class)?))
            .map(i128::from)
            .sum();
        let all: usize = self.board.gangs.len();
        let placed: i64 = self.incumbent_value.0.iter().sum();
        usize::try_from(placed) == Ok(all) && -self.incumbent_value.1 <= floor
    }

    /// How many gangs of the best plan wait, by rank of priority.
    pub(crate) fn missed(&self) -> Vec<f64> {
        let mut missed = vec![0.0; self.board.placed.len()];
        for gang in &self.board.gangs {
            if let Some(count) = missed.get_mut(gang.rank) {
                *count += 1.0;
            }
        }
        for (missed, placed) in missed.iter_mut().zip(self.incumbent_value.0.iter().rev()) {
            *missed -= *placed as f64;
        }
        missed
    }

    fn value(&self) -> PlanValue {
        let counts = self.board.placed.iter().rev().copied().collect();
        (counts, -self.board.usd)
    }

    fn had(&self, at: usize) -> GangSnapshot {
        let gang = self.board.gangs.get(at)?;
        let (choice, usd) = gang.now?;
        Some((choice, usd, gang.held.clone()))
    }

    /// Remembers a gang as it is before the step first changes it.
    pub(crate) fn remember(&mut self, at: usize) {
        if self.in_step.get(at) == Some(&false) {
            let had = self.had(at);
            self.undo.push((at, had));
            if let Some(flag) = self.in_step.get_mut(at) {
                *flag = true;
            }
        }
    }

    /// Takes a gang's place away.
    pub(crate) fn take_out(&mut self, at: usize) {
        self.remember(at);
        self.board.lift(at);
        self.note_waiting(at);
    }

    /// Places a gang in the best candidate, at shadow prices, that has room.
    pub(crate) fn place_cheapest(&mut self, at: usize) {
        let class = self.board.gangs.get(at).map_or(0, |gang| gang.class);
        for place in 0..MOST_CANDIDATES {
            let Some((choice, _)) = self.board.nth(class, place) else {
                break;
            };
            self.trials = self.trials.saturating_sub(1);
            if self.board.place(at, choice).is_ok() {
                break;
            }
        }
        self.note_waiting(at);
    }

    /// Brings the list of those who wait up to date for one gang.
    pub(crate) fn note_waiting(&mut self, at: usize) {
        let waits = self.board.gangs.get(at).is_some_and(|p| p.now.is_none());
        let place = self.waits_at.get(at).copied().unwrap_or(NOWHERE);
        if waits && place == NOWHERE {
            if let Some(slot) = self.waits_at.get_mut(at) {
                *slot = u32::try_from(self.waiting.len()).unwrap_or(NOWHERE);
            }
            self.waiting.push(u32::try_from(at).unwrap_or(NOWHERE));
        } else if !waits && place != NOWHERE {
            self.waiting.swap_remove(place as usize);
            if let Some(&moved) = self.waiting.get(place as usize)
                && let Some(slot) = self.waits_at.get_mut(moved as usize)
            {
                *slot = place;
            }
            if let Some(slot) = self.waits_at.get_mut(at) {
                *slot = NOWHERE;
            }
        }
    }

    /// Undoes the step.
    pub(crate) fn take_back(&mut self) {
        let mut undo = std::mem::take(&mut self.undo);
        for (at, _) in &undo {
            self.board.lift(*at);
        }
        for (at, had) in undo.drain(..) {
            if let Some((choice, usd, held)) = had {
                self.board.restore(at, choice, usd, &held);
            }
            if let Some(flag) = self.in_step.get_mut(at) {
                *flag = false;
            }
            self.note_waiting(at);
        }
        self.undo = undo;
    }

    /// Ends the step; where that is the best that was seen, it is remembered.
    pub(crate) fn keep(&mut self) {
        let mut undo = std::mem::take(&mut self.undo);
        for (at, _) in undo.drain(..) {
            if let Some(flag) = self.in_step.get_mut(at) {
                *flag = false;
            }
            if let Some(flag) = self.is_stale.get_mut(at)
                && !*flag
            {
                *flag = true;
                self.stale.push(u32::try_from(at).unwrap_or(NOWHERE));
            }
        }
        self.undo = undo;
        let value = self.value();
        if value > self.incumbent_value {
            self.incumbent_value = value;
            for at in std::mem::take(&mut self.stale) {
                let had = self.had(at as usize);
                if let Some(place) = self.incumbent.get_mut(at as usize) {
                    *place = had;
                }
                if let Some(flag) = self.is_stale.get_mut(at as usize) {
                    *flag = false;
                }
            }
        }
    }

    /// Puts the best plan back on the board.
    pub(crate) fn restore_incumbent(&mut self) {
        let stale = std::mem::take(&mut self.stale);
        for &at in &stale {
            self.board.lift(at as usize);
        }
        for at in stale {
            let at = at as usize;
            if let Some(Some((choice, usd, held))) = self.incumbent.get(at) {
                self.board.restore(at, *choice, *usd, held);
            }
            if let Some(flag) = self.is_stale.get_mut(at) {
                *flag = false;
            }
            self.note_waiting(at);
        }
    }
}
