//! Start windows: within the horizon, a gang may start later where that is worth more to it, on cheaper devices that are still
//! in use, say, and leave its room to those that come after it.
//!
//! ```text
//!            now                         horizon
//!   $2 an h  ███ runs ┃ job b ┃ job a                    a and b are worth more one after the other here …
//!   $9 an h  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░                … than one of them at once there
//! ```
//!
//! What starts now or was [promised](super::backfill) a start is gone through in order of the jobs; each takes the start that
//! is worth most to it beside what all others have, until no one gains. Then each job that still costs more than it could
//! chooses first, and those on its cheapest devices choose anew after it, in one order after another. That is kept where no
//! fewer jobs of any priority start, for fewer dollars in all; for the same dollars, who came first goes first. Nobody is made to wait for a job of lower priority.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::bounds::{least_worths, worth};
use super::lookahead::Lookahead;
use super::promises::Promises;
use crate::nodes::{Found, Missing};
use crate::schedule::{Ahead, Entry, Seat, Worth};

/// Most times that all jobs are gone through.
const MOST_PASSES: usize = 4;
/// Most choices of a start in one plan.
const MOST_CHOICES: u32 = 10_000;
/// Most jobs that choose anew after one.
const MOST_OTHERS: usize = 12;

/// What a job has: seats now, or a start later.
struct Has {
    at: usize,
    seats: Vec<Seat>,
    missing: Option<Missing>,
    ahead: Option<Ahead>,
}

/// A start that was found.
enum Start {
    Now(Found),
    Later(Box<Ahead>),
}

/// How good what some jobs have is, least is best: those that do not start within the horizon, by priority, highest first; the
/// dollars of those that do.
type Tally = (Vec<(Reverse<i32>, usize)>, i128);

/// Jobs in the order in which they choose, with how good what they got by it is, and for how long they wait.
struct Order {
    jobs: Vec<usize>,
    tally: Tally,
    waits: i128,
}

/// A schedule whose gangs may start within a horizon.
struct Deferral<'l, 's, 'a, 'f> {
    lookahead: &'l mut Lookahead<'s, 'a, 'f>,
    /// The least that a start could cost, by class.
    least: BTreeMap<usize, Option<Worth>>,
    choices: u32,
}

impl Lookahead<'_, '_, '_> {
    /// Lets gangs start within the horizon when it is worth most to them.
    pub(crate) fn defer(&mut self) {
        if self.schedule.horizon_seconds <= 0 {
            return;
        }
        self.promises.moved = 0;
        let least = least_worths(self.schedule);
        let mut deferral = Deferral {
            lookahead: self,
            least,
            choices: 0,
        };
        let mut changed = false;
        for _ in 0..MOST_PASSES {
            if !deferral.choose_all() {
                break;
            }
            changed = true;
        }
        changed |= deferral.reorder_all();
        self.promises.show_all(self.schedule.fleet);
        if changed {
            self.promise_in_order();
        }
    }

    /// Holds all promises in the order of the jobs, as if each had been made in its turn.
    fn promise_in_order(&mut self) {
        self.promises.release(self.schedule.fleet);
        for entry in &mut self.schedule.entries {
            entry.keeps = self.promises.spans.len();
            if let Some(ahead) = entry
                .ahead
                .as_ref()
                .filter(|ahead| Promises::is_kept(ahead))
            {
                self.promises
                    .hold(self.schedule.fleet, &entry.job.key, ahead);
            }
        }
    }

    /// Takes back what a job has.
    fn step_back(&mut self, at: usize) -> Has {
        let missing = self
            .schedule
            .entries
            .get(at)
            .and_then(|entry| entry.missing);
        let seats = self.schedule.unseat(at);
        let mut ahead = None;
        if let Some(entry) = self.schedule.entries.get_mut(at) {
            ahead = entry.ahead.take();
            entry.missing = Some(Missing::default());
            self.promises.give_back(self.schedule.fleet, &entry.job.key);
        }
        Has {
            at,
            seats,
            missing,
            ahead,
        }
    }

    /// Gives a job what it had.
    fn restore(&mut self, has: Has) {
        self.step_back(has.at);
        self.schedule.reseat(has.at, has.seats, has.missing);
        if let Some(ahead) = has.ahead {
            self.look_forward(has.at, ahead);
        }
    }

    /// Lets a gang have a start ahead of it, and keeps it that start.
    fn look_forward(&mut self, at: usize, ahead: Ahead) {
        let Some(entry) = self.schedule.entries.get_mut(at) else {
            return;
        };
        if Promises::is_kept(&ahead) {
            self.promises
                .hold(self.schedule.fleet, &entry.job.key, &ahead);
        }
        entry.ahead = Some(ahead);
    }

    /// Places missing replicas in what is free now, if that places more of them.
    fn fill_up(&mut self, at: usize) {
        let Some(entry) = self.schedule.entries.get(at) else {
            return;
        };
        let Some(before) = entry.missing.filter(|_| !entry.is_gang()) else {
            return;
        };
        let seats = self.schedule.unseat(at);
        self.schedule.fill_in(at);
        let missing = self
            .schedule
            .entries
            .get(at)
            .and_then(|entry| entry.missing);
        if missing.is_some_and(|missing| missing.replicas >= before.replicas) {
            self.schedule.reseat(at, seats, Some(before));
        }
    }
}

impl Deferral<'_, '_, '_, '_> {
    /// Gangs with a start within the horizon that could be worth more, and those without one; with the dollars that this could save.
    fn could_gain(&self) -> Vec<(usize, i128)> {
        let entries = self.lookahead.schedule.entries.iter().enumerate();
        entries
            .filter_map(|(at, entry)| {
                let least = self.least.get(&entry.class)?.as_ref()?;
                if !is_judged(entry) {
                    return None;
                }
                match worth(self.lookahead.schedule, entry) {
                    Some(has) => (*least < has).then(|| (at, has.usd() - least.usd())),
                    None => Some((at, i128::MAX)),
                }
            })
            .collect()
    }

    /// Whether choosing has cost as much as it may.
    fn is_spent(&self) -> bool {
        self.choices >= MOST_CHOICES || self.lookahead.promises.is_spent()
    }

    /// Lets every job choose in its turn; whether any of them gained.
    fn choose_all(&mut self) -> bool {
        let mut changed = false;
        for (at, _) in self.could_gain() {
            changed |= self.choose(at);
        }
        // What left its place makes room for replicas that are missing.
        if changed {
            // Replicas never end, so that every promise is in their way.
            self.lookahead
                .promises
                .show_all(self.lookahead.schedule.fleet);
            for at in 0..self.lookahead.schedule.entries.len() {
                self.lookahead.fill_up(at);
            }
        }
        changed
    }

    /// Gives a gang the start that is worth most to it beside what all others have; whether that is another one than before.
    fn choose(&mut self, at: usize) -> bool {
        let before = self
            .lookahead
            .schedule
            .entries
            .get(at)
            .and_then(|entry| worth(self.lookahead.schedule, entry));
        let has = self.lookahead.step_back(at);
        let start = self.best_start(at, before);
        let is_better = start.is_some();
        match start {
            Some(start) => self.take(at, start),
            None => self.lookahead.restore(has),
        }
        is_better
    }

    /// The start that is worth most to a gang, and more than `than`.
    fn best_start(&mut self, at: usize, than: Option<Worth>) -> Option<Start> {
        if self.is_spent() {
            return None;
        }
        self.choices += 1;
        let job = self.lookahead.schedule.entries.get(at)?.job;
        let worth_now = |found: &Found| Worth::of(job, found.score, 0);
        let now = self.lookahead.best_beside(at);
        let now = now.filter(|found| than.is_none_or(|than| worth_now(found) < than));
        let than = now
            .as_ref()
            .map(worth_now)
            .or(than)
            .unwrap_or(Worth::NOTHING);
        let promises = &mut self.lookahead.promises;
        promises.show_all(self.lookahead.schedule.fleet);
        let later = self.lookahead.schedule.fleet.better_start(
            job,
            than,
            &promises.spans,
            (
                self.lookahead.schedule.now_seconds,
                self.lookahead.schedule.horizon_seconds,
            ),
            &mut promises.moved,
        );
        later
            .map(|ahead| Start::Later(Box::new(ahead)))
            .or(now.map(Start::Now))
    }

    fn take(&mut self, at: usize, start: Start) {
        match start {
            Start::Now(found) => {
                self.lookahead.schedule.seat(at, Some(found));
            }
            Start::Later(ahead) => self.lookahead.look_forward(at, *ahead),
        }
    }

    /// Lets those who could save most choose first, one after the other; whether that was worth it to any.
    fn reorder_all(&mut self) -> bool {
        let mut savings: Vec<(Reverse<i128>, usize)> = self
            .could_gain()
            .into_iter()
            .filter(|&(at, saving)| {
                saving > 0
                    && self
                        .lookahead
                        .schedule
                        .entries
                        .get(at)
                        .is_some_and(Entry::by_dollars)
            })
            .map(|(at, saving)| (Reverse(saving), at))
            .collect();
        savings.sort_unstable();
        let mut changed = false;
        for (_, at) in savings {
            if self.is_spent() {
                break;
            }
            let others = self.on_cheaper_devices(at);
            changed |= !others.is_empty() && self.reorder(at, &others);
        }
        changed
    }

    /// Gangs that have a start where one would be worth more to a job: of no higher priority, the last ones in order.
    fn on_cheaper_devices(&self, at: usize) -> Vec<usize> {
        let Some(first) = self.lookahead.schedule.entries.get(at) else {
            return Vec::new();
        };
        let than = worth(self.lookahead.schedule, first).unwrap_or(Worth::NOTHING);
        let wanted = self.lookahead.schedule.fleet.cheaper_types(first.job, than);
        let is_there = |other: &Entry<'_>| {
            let now = other.seats.first().map(|seat| &seat.decision);
            let decision = now.or(other.ahead.as_ref().map(|ahead| &ahead.decision));
            decision.is_some_and(|decision| {
                let held = &decision.reservation;
                wanted.contains(&(held.cluster.clone(), held.accelerator_type.clone()))
            })
        };
        let chooses = |other: &Entry<'_>| {
            other.by_dollars()
                && is_judged(other)
                && other.job.priority <= first.job.priority
                && is_there(other)
        };
        let entries = self.lookahead.schedule.entries.iter().enumerate();
        let mut others: Vec<usize> = entries
            .filter(|&(other, entry)| other != at && chooses(entry))
            .map(|(other, _)| other)
            .collect();
        others.drain(..others.len().saturating_sub(MOST_OTHERS));
        others
    }

    /// Lets a job and others choose anew in other orders than they did, until none is better; whether any was.
    fn reorder(&mut self, first: usize, others: &[usize]) -> bool {
        let mut jobs: Vec<usize> = std::iter::once(first)
            .chain(others.iter().copied())
            .collect();
        jobs.sort_by_key(|&at| {
            Reverse(
                self.lookahead
                    .schedule
                    .entries
                    .get(at)
                    .map(|e| e.job.priority),
            )
        });
        let before = self.snapshot(&jobs);
        let mut best = self.judged(jobs.clone());
        let tally = best.tally.clone();
        if let Some(better) = self.choose_in_order(jobs, &best) {
            best = better;
        }
        // Each pair changes places, as long as that helps. Who waits less for the same dollars is on the way to fewer.
        while let Some(better) = self.swap_one(&best) {
            best = better;
        }
        if best.tally < tally {
            return true;
        }
        self.put_back(before);
        false
    }

    /// The first order that differs in one pair and is better; carried out.
    fn swap_one(&mut self, best: &Order) -> Option<Order> {
        let priority = |at: usize| {
            self.lookahead
                .schedule
                .entries
                .get(at)
                .map(|entry| entry.job.priority)
        };
        let priorities: Vec<Option<i32>> = best.jobs.iter().map(|&at| priority(at)).collect();
        for a in 0..best.jobs.len() {
            for b in a + 1..best.jobs.len() {
                if self.is_spent() {
                    return None;
                }
                if priorities.get(a) != priorities.get(b) {
                    continue;
                }
                let mut swapped = best.jobs.clone();
                swapped.swap(a, b);
                if let Some(better) = self.choose_in_order(swapped, best) {
                    return Some(better);
                }
            }
        }
        None
    }

    /// Lets jobs choose anew one after the other, if that is better for all of them together than what they have.
    fn choose_in_order(&mut self, jobs: Vec<usize>, best: &Order) -> Option<Order> {
        let had: Vec<Has> = jobs
            .iter()
            .map(|&at| self.lookahead.step_back(at))
            .collect();
        for &at in &jobs {
            if let Some(start) = self.best_start(at, None) {
                self.take(at, start);
            }
        }
        let order = self.judged(jobs);
        if (&order.tally, order.waits) < (&best.tally, best.waits) {
            return Some(order);
        }
        self.put_back(had);
        None
    }

    fn snapshot(&self, jobs: &[usize]) -> Vec<Has> {
        let entries = jobs
            .iter()
            .filter_map(|&at| Some((at, self.lookahead.schedule.entries.get(at)?)));
        entries
            .map(|(at, entry)| Has {
                at,
                seats: entry.seats.clone(),
                missing: entry.missing,
                ahead: entry.ahead.clone(),
            })
            .collect()
    }

    /// Gives jobs what they had.
    fn put_back(&mut self, had: Vec<Has>) {
        for has in &had {
            self.lookahead.step_back(has.at);
        }
        for has in had {
            self.lookahead.restore(has);
        }
    }

    fn judged(&self, jobs: Vec<usize>) -> Order {
        let mut without: BTreeMap<Reverse<i32>, usize> = BTreeMap::new();
        let (mut usd, mut waits) = (0, 0);
        for entry in jobs
            .iter()
            .filter_map(|&at| self.lookahead.schedule.entries.get(at))
        {
            let has = worth(self.lookahead.schedule, entry);
            *without.entry(Reverse(entry.job.priority)).or_default() += usize::from(has.is_none());
            usd += has.map_or(0, |has| has.usd());
            waits += has.map_or(0, |has| has.waits());
        }
        Order {
            jobs,
            tally: (without.into_iter().collect(), usd),
            waits,
        }
    }
}

/// Whether it is a gang of which it is known what its place is worth to it.
fn is_judged(entry: &Entry<'_>) -> bool {
    entry.is_gang() && entry.seats.iter().all(|seat| seat.place.is_some())
}
