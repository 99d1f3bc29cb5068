//! Simulated annealing: a gang gets a candidate that it would like, and those who are there are ejected.
//!
//! The ejected go on to the best candidate that has room, and waiting gangs try what became free. A step that makes
//! things worse is kept with a chance that falls with how much worse, and with the trials that are left (Kirkpatrick,
//! Gelatt and Vecchi: *Optimization by simulated annealing*, 1983).

use std::cmp::Reverse;

use super::model::Shortage;
use super::state::Search;

/// Most gangs that are ejected in one step.
const MOST_EJECTED: usize = 8;
/// Most draws for one that is ejected.
const MOST_DRAWS: usize = 6;
/// Most waiting gangs that are tried in one step.
const MOST_WAITING: usize = 4;
/// Times that it is heated up again.
const ROUNDS: u64 = 3;

impl Search<'_> {
    /// Temperature and penalties as long as no prices are known.
    pub(crate) fn initialise_temperature(&mut self) {
        let (mut sum, mut dearest) = (0_i128, 1_i128);
        for gang in &self.board.gangs {
            let candidates = self
                .board
                .candidates
                .get(gang.class)
                .map_or(&[][..], Vec::as_slice);
            if let (Some(first), Some(last)) = (
                candidates.first(),
                candidates.get(candidates.len().clamp(1, 4) - 1),
            ) {
                sum += i128::from(last.least_usd) - i128::from(first.least_usd);
            }
            let most = candidates
                .iter()
                .map(|candidate| i128::from(candidate.least_usd))
                .max();
            dearest = dearest.max(most.unwrap_or(1));
        }
        let gangs = i128::try_from(self.board.gangs.len()).unwrap_or(1).max(1);
        self.temperature = sum / (gangs * 4);
        let mut penalty = dearest.saturating_mul(2);
        self.penalties.clear();
        for _ in &self.board.placed {
            self.penalties.push(penalty);
            penalty = penalty.saturating_mul(3);
        }
    }

    /// Takes steps until `end` trials are left, and leaves the best plan on the board.
    pub(crate) fn anneal(&mut self, end: u64) {
        let all = self.trials.saturating_sub(end);
        let each = (all / ROUNDS).max(1);
        for round in (0..ROUNDS).rev() {
            let until = end + each * round;
            while self.trials > until && self.board.gangs.len() > 1 {
                let left = i128::from(self.trials - until);
                let temperature = self.temperature.saturating_mul(left) / i128::from(each);
                self.step(temperature);
            }
            self.restore_incumbent();
            if self.is_perfect() {
                break;
            }
        }
    }

    /// Draws who is to be better off: mostly one who waits or whose candidate is far from its best.
    fn draw(&mut self) -> usize {
        if !self.waiting.is_empty() && self.sequence.below(2) == 0 {
            let place = self.sequence.below(self.waiting.len());
            return self.waiting.get(place).map_or(0, |&at| at as usize);
        }
        let mut most: Option<(i64, usize)> = None;
        for _ in 0..3 {
            let at = self.sequence.below(self.board.gangs.len());
            let above = self.above_best(at);
            if most.is_none_or(|(least, _)| above > least) {
                most = Some((above, at));
            }
        }
        most.map_or(0, |(_, at)| at)
    }

    /// How much more a gang with a place costs, at shadow prices, than it could.
    fn above_best(&self, at: usize) -> i64 {
        let Some(gang) = self.board.gangs.get(at) else {
            return 0;
        };
        let candidates = self.board.candidates.get(gang.class);
        let now = gang.now.and_then(|(choice, _)| candidates?.get(choice));
        match (now, self.board.nth(gang.class, 0)) {
            (Some(now), Some((_, best))) => now.priced_usd.saturating_sub(best.priced_usd),
            _ => 0,
        }
    }

    fn step(&mut self, temperature: i128) {
        self.trials = self.trials.saturating_sub(1);
        let target = self.draw();
        let Some(choice) = self.draw_candidate(target) else {
            return;
        };
        let before = self.penalised();
        self.take_out(target);
        let mut out: Vec<usize> = Vec::new();
        if !self.make_room(target, choice, &mut out) {
            self.take_back();
            return;
        }
        self.place_others(out);
        let change = self.penalised().saturating_sub(before);
        let may = temperature.saturating_mul(self.sequence.exponential()) / 1477;
        if change > may {
            self.take_back();
        } else {
            self.keep();
        }
    }

    /// A candidate that a gang would like: a better one or, now and then, any; the best most often.
    fn draw_candidate(&mut self, at: usize) -> Option<usize> {
        let gang = self.board.gangs.get(at)?;
        let (class, now) = (gang.class, gang.now);
        let candidates = self.board.candidates.get(class)?;
        let count = candidates.len();
        let now = now.and_then(|(choice, _)| candidates.get(choice));
        let choices = match now.map(|candidate| candidate.priced_usd) {
            Some(usd) if self.sequence.next_u32() & 7 != 0 => {
                let better = |place: &usize| {
                    let candidate = self.board.nth(class, *place);
                    candidate.is_some_and(|(_, candidate)| candidate.priced_usd < usd)
                };
                (0..count).take_while(better).count()
            }
            _ => count,
        };
        if choices == 0 {
            return None;
        }
        let place = self
            .sequence
            .below(choices)
            .min(self.sequence.below(choices));
        self.board.nth(class, place).map(|(choice, _)| choice)
    }

    /// Places the target in a candidate, ejecting who is there until it fits.
    fn make_room(&mut self, target: usize, choice: usize, out: &mut Vec<usize>) -> bool {
        let board_group = self.board.gangs.get(target).and_then(|gang| {
            let candidate = self.board.candidates.get(gang.class)?.get(choice)?;
            Some(candidate.board_group)
        });
        let Some(board_group) = board_group else {
            return false;
        };
        while self.trials > 0 {
            self.trials -= 1;
            let shortage = match self.board.place(target, choice) {
                Ok(()) => {
                    self.note_waiting(target);
                    return true;
                }
                Err(shortage) => shortage,
            };
            if out.len() >= MOST_EJECTED {
                return false;
            }
            let shared = matches!(shortage, Shortage::Watts | Shortage::Queue);
            // Anyone may be what draws too much: mostly those who stand here.
            let from = if shared && self.sequence.below(2) == 0 {
                self.sequence.below(self.board.gangs_by_group.len())
            } else {
                board_group
            };
            let of_candidate =
                (from == board_group && shortage == Shortage::Devices).then_some((target, choice));
            match self.draw_ejected(from, of_candidate) {
                Some(next) => {
                    self.take_out(next);
                    out.push(next);
                }
                None if shared => {}
                None => return false,
            }
        }
        false
    }

    /// Of two who are in a group, and where a candidate of a target could use the room, the one that would rather be elsewhere.
    fn draw_ejected(
        &mut self,
        board_group: usize,
        of_candidate: Option<(usize, usize)>,
    ) -> Option<usize> {
        let mut most: Option<(i64, usize)> = None;
        let mut seen = 0;
        for _ in 0..MOST_DRAWS {
            let count = self.board.gangs_by_group.get(board_group)?.len();
            let place = self.sequence.below(count);
            let at = *self.board.gangs_by_group.get(board_group)?.get(place)? as usize;
            if of_candidate.is_some_and(|(to, choice)| !self.board.shares_bins(at, to, choice)) {
                continue;
            }
            let above = self.above_best(at);
            if most.is_none_or(|(least, _)| above > least) {
                most = Some((above, at));
            }
            seen += 1;
            if seen == 2 {
                break;
            }
        }
        most.map(|(_, at)| at)
    }

    /// Places the ejected and some who wait, those of higher priority first, each in the best candidate with room.
    fn place_others(&mut self, mut out: Vec<usize>) {
        for _ in 0..MOST_WAITING.min(self.waiting.len()) {
            let place = self.sequence.below(self.waiting.len());
            if let Some(&at) = self.waiting.get(place)
                && !out.contains(&(at as usize))
            {
                out.push(at as usize);
            }
        }
        let mut keyed: Vec<(Reverse<usize>, u32, usize)> = Vec::with_capacity(out.len());
        for at in out {
            let rank = self.board.gangs.get(at).map_or(0, |gang| gang.rank);
            keyed.push((Reverse(rank), self.sequence.next_u32(), at));
        }
        keyed.sort_unstable();
        for (_, _, at) in keyed {
            if self.board.gangs.get(at).is_some_and(|p| p.now.is_none()) {
                self.remember(at);
                self.place_cheapest(at);
            }
        }
    }

    fn penalised(&self) -> i128 {
        let mut usd = self.board.usd;
        for (placed, penalty) in self.board.placed.iter().zip(&self.penalties) {
            usd = usd.saturating_sub(i128::from(*placed).saturating_mul(*penalty));
        }
        usd
    }
}
