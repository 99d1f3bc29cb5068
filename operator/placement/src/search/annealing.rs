//! Annealing: a gang gets a way that it would like, and who stands there makes way.
//!
//! Those who made way go on to the best way that has room, and waiting gangs try what became free. A step that makes
//! things worse is kept with a chance that falls with how much worse, and with the trials that are left (Kirkpatrick,
//! Gelatt and Vecchi: *Optimization by simulated annealing*, 1983).

use std::cmp::Reverse;

use super::model::Lack;
use super::state::Search;

/// Most gangs that make way in one step.
const MOST_EJECTED: usize = 8;
/// Most draws for one that makes way.
const MOST_DRAWS: usize = 6;
/// Most waiting gangs that are tried in one step.
const MOST_WAITING: usize = 4;
/// Times that it is heated up again.
const ROUNDS: u64 = 3;

impl Search<'_> {
    /// Heat and penalties as long as no prices are known.
    pub(crate) fn warm_up(&mut self) {
        let (mut sum, mut dearest) = (0_i128, 1_i128);
        for piece in &self.board.pieces {
            let ways = self
                .board
                .ways
                .get(piece.class)
                .map_or(&[][..], Vec::as_slice);
            if let (Some(first), Some(last)) = (ways.first(), ways.get(ways.len().clamp(1, 4) - 1))
            {
                sum += i128::from(last.least_usd) - i128::from(first.least_usd);
            }
            let most = ways.iter().map(|way| i128::from(way.least_usd)).max();
            dearest = dearest.max(most.unwrap_or(1));
        }
        let pieces = i128::try_from(self.board.pieces.len()).unwrap_or(1).max(1);
        self.heat = sum / (pieces * 4);
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
            while self.trials > until && self.board.pieces.len() > 1 {
                let left = i128::from(self.trials - until);
                let heat = self.heat.saturating_mul(left) / i128::from(each);
                self.step(heat);
            }
            self.back_to_best();
            if self.is_perfect() {
                break;
            }
        }
    }

    /// Draws who is to be better off: mostly one who waits or whose way is far from its best.
    fn draw(&mut self) -> usize {
        if !self.waiting.is_empty() && self.sequence.below(2) == 0 {
            let place = self.sequence.below(self.waiting.len());
            return self.waiting.get(place).map_or(0, |&at| at as usize);
        }
        let mut most: Option<(i64, usize)> = None;
        for _ in 0..3 {
            let at = self.sequence.below(self.board.pieces.len());
            let above = self.above_best(at);
            if most.is_none_or(|(least, _)| above > least) {
                most = Some((above, at));
            }
        }
        most.map_or(0, |(_, at)| at)
    }

    /// How much more a piece with a place costs, at shadow prices, than it could.
    fn above_best(&self, at: usize) -> i64 {
        let Some(piece) = self.board.pieces.get(at) else {
            return 0;
        };
        let ways = self.board.ways.get(piece.class);
        let now = piece.now.and_then(|(choice, _)| ways?.get(choice));
        match (now, self.board.nth(piece.class, 0)) {
            (Some(now), Some((_, best))) => now.priced_usd.saturating_sub(best.priced_usd),
            _ => 0,
        }
    }

    fn step(&mut self, heat: i128) {
        self.trials = self.trials.saturating_sub(1);
        let target = self.draw();
        let Some(choice) = self.liked(target) else {
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
        let may = heat.saturating_mul(self.sequence.exponential()) / 1477;
        if change > may {
            self.take_back();
        } else {
            self.keep();
        }
    }

    /// A way that a piece would like: a better one or, now and then, any; the best most often.
    fn liked(&mut self, at: usize) -> Option<usize> {
        let piece = self.board.pieces.get(at)?;
        let (class, now) = (piece.class, piece.now);
        let ways = self.board.ways.get(class)?;
        let count = ways.len();
        let now = now.and_then(|(choice, _)| ways.get(choice));
        let liked = match now.map(|way| way.priced_usd) {
            Some(usd) if self.sequence.next_u32() & 7 != 0 => {
                let better = |place: &usize| {
                    let way = self.board.nth(class, *place);
                    way.is_some_and(|(_, way)| way.priced_usd < usd)
                };
                (0..count).take_while(better).count()
            }
            _ => count,
        };
        if liked == 0 {
            return None;
        }
        let place = self.sequence.below(liked).min(self.sequence.below(liked));
        self.board.nth(class, place).map(|(choice, _)| choice)
    }

    /// Places the target in a way, ejecting who stands there until it fits.
    fn make_room(&mut self, target: usize, choice: usize, out: &mut Vec<usize>) -> bool {
        let yard = self.board.pieces.get(target).and_then(|piece| {
            let way = self.board.ways.get(piece.class)?.get(choice)?;
            Some(way.yard)
        });
        let Some(yard) = yard else {
            return false;
        };
        while self.trials > 0 {
            self.trials -= 1;
            let lack = match self.board.place(target, choice) {
                Ok(()) => {
                    self.note_waiting(target);
                    return true;
                }
                Err(lack) => lack,
            };
            if out.len() >= MOST_EJECTED {
                return false;
            }
            let shared = matches!(lack, Lack::Watts | Lack::Queue);
            // Anyone may be what draws too much: mostly those who stand here.
            let from = if shared && self.sequence.below(2) == 0 {
                self.sequence.below(self.board.yards.len())
            } else {
                yard
            };
            let of_way = (from == yard && lack == Lack::Devices).then_some((target, choice));
            match self.ejected(from, of_way) {
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

    /// Of two who stand in a yard, and where a way of a target could use the room, the one that would rather be elsewhere.
    fn ejected(&mut self, yard: usize, of_way: Option<(usize, usize)>) -> Option<usize> {
        let mut most: Option<(i64, usize)> = None;
        let mut seen = 0;
        for _ in 0..MOST_DRAWS {
            let count = self.board.yards.get(yard)?.len();
            let place = self.sequence.below(count);
            let at = *self.board.yards.get(yard)?.get(place)? as usize;
            if of_way.is_some_and(|(to, choice)| !self.board.shares_bins(at, to, choice)) {
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

    /// Places the ejected and some who wait, those of higher priority first, each in the best way with room.
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
            let rank = self.board.pieces.get(at).map_or(0, |piece| piece.rank);
            keyed.push((Reverse(rank), self.sequence.next_u32(), at));
        }
        keyed.sort_unstable();
        for (_, _, at) in keyed {
            if self.board.pieces.get(at).is_some_and(|p| p.now.is_none()) {
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
