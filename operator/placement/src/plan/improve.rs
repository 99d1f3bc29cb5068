//! Bettering a plan: jobs are taken out and placed again in another way, and what is not better is taken back.
//!
//! Two kinds of step, drawn from a fixed sequence. *Ejection*: a job that waits, or that costs more than it could, gets a
//! place that it would like; those who stood there go on to the best that they find. *Reshuffle*: some jobs of one or two
//! groups are taken out and placed again in another order. More jobs by priority come first, then fewer dollars. The
//! number of trials bounds it, not a clock.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use super::gang::Found;
use super::round::{Round, Seat};
use super::verdict::Missing;
use crate::arena::{ClusterIndex, GroupIndex};

/// Most jobs that make way for one.
const MOST_EJECTED: usize = 6;
/// Most jobs taken out for a reshuffle.
const MOST_SHUFFLED: u64 = 8;
/// Most waiting jobs that are tried in one step.
const MOST_WAITING: usize = 6;

/// A fixed sequence of numbers: Knuth's MMIX linear congruential generator.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % (end.max(1) as u64)).unwrap_or(0)
    }

    fn take<T>(&mut self, items: &mut Vec<T>) -> Option<T> {
        (!items.is_empty()).then(|| items.swap_remove(self.below(items.len())))
    }
}

/// The order in which jobs that were taken out are placed again, within one priority.
#[derive(Clone, Copy)]
enum Order {
    Any,
    LargestFirst,
    SmallestFirst,
    /// Those first whose second choice is much dearer than their first.
    MostToLose,
}

/// One step with what it takes to undo it.
struct Step {
    before: Vec<(usize, Vec<Seat>, Option<Missing>)>,
    /// Jobs placed by priority and dollars, before.
    counts: BTreeMap<Reverse<i32>, i64>,
    usd: i128,
}

impl Round<'_, '_> {
    /// Betters the plan within so many trials.
    pub(crate) fn improve(&mut self, trials: u64) {
        let movable = self.movable();
        let mut search = Search {
            sequence: Sequence(1),
            trials,
            movable,
        };
        let mut changed = false;
        while search.trials > 0 {
            let unhappy = search.unhappy(self);
            if unhappy.is_empty() {
                break;
            }
            changed |= search.step(self, unhappy);
        }
        if changed {
            self.uphold_priorities();
        }
    }

    /// Which jobs may be moved: gangs judged by dollars. Where an inference job misses replicas, only those of lower
    /// priority, so that nothing is freed that it should have had.
    fn movable(&self) -> Vec<bool> {
        let bound = self
            .entries
            .iter()
            .filter(|entry| !entry.is_gang() && entry.missing.is_some())
            .map(|entry| entry.job.priority)
            .min();
        self.entries
            .iter()
            .map(|entry| entry.by_dollars() && bound.is_none_or(|p| entry.job.priority < p))
            .collect()
    }
}

struct Search {
    sequence: Sequence,
    trials: u64,
    movable: Vec<bool>,
}

impl Search {
    fn is_movable(&self, at: usize) -> bool {
        self.movable.get(at) == Some(&true)
    }

    /// Jobs that could gain: those that wait and those that cost more than they could.
    fn unhappy(&self, round: &Round<'_, '_>) -> Vec<(usize, i64)> {
        round
            .entries
            .iter()
            .enumerate()
            .filter(|(at, _)| self.is_movable(*at))
            .filter_map(|(at, entry)| {
                if entry.waits() {
                    return round.is_hopeful(at).then_some((at, i64::MAX));
                }
                let above = round.above_floor(entry)?;
                (above > 0).then_some((at, above))
            })
            .collect()
    }

    fn step(&mut self, round: &mut Round<'_, '_>, unhappy: Vec<(usize, i64)>) -> bool {
        // Of two, the one that could gain more.
        let one = unhappy.get(self.sequence.below(unhappy.len())).copied();
        let two = unhappy.get(self.sequence.below(unhappy.len())).copied();
        let Some((target, _)) = one.max_by_gain(two) else {
            return false;
        };
        if self.sequence.below(3) == 0 {
            self.reshuffle(round, target)
        } else {
            self.eject(round, target)
        }
    }

    /// Gives a job a place that it would like; who stands there makes way.
    fn eject(&mut self, round: &mut Round<'_, '_>, target: usize) -> bool {
        let Some(entry) = round.entries.get(target) else {
            return false;
        };
        let (job, class, now) = (entry.job, entry.class, entry.usd());
        let Some(slate) = round.classes.get(class) else {
            return false;
        };
        let liked = slate
            .candidates
            .iter()
            .take_while(|c| now.is_none_or(|usd| c.score.usd < usd))
            .count();
        let choice = self.sequence.below(liked).min(self.sequence.below(liked));
        let Some(candidate) = slate.candidates.get(choice).cloned() else {
            return false;
        };
        let mut step = Step::new(round);
        step.take_out(round, target);
        let mut there = self.seated(round, |group, _| group == candidate.group, target);
        let cluster = round.fleet.cluster_of(candidate.group);
        let mut out = Vec::new();
        let found = loop {
            self.trials = self.trials.saturating_sub(1);
            let found = round
                .fleet
                .try_candidate(job, &candidate, round.now_seconds);
            if found.is_some() || out.len() >= MOST_EJECTED {
                break found;
            }
            if there.is_empty() && round.fleet.power.has_limits() {
                // Watts may be what is short: those of the whole cluster.
                there = self.seated(round, |_, of| of == cluster, target);
            }
            let Some(next) = self.sequence.take(&mut there) else {
                break None;
            };
            step.take_out(round, next);
            out.push(next);
        };
        if found.is_none() {
            step.undo(round);
            return false;
        }
        round.seat(target, found);
        self.settle(round, step, out)
    }

    /// Places some jobs of the target's group, or of one that it would like, in another order.
    fn reshuffle(&mut self, round: &mut Round<'_, '_>, target: usize) -> bool {
        let Some(entry) = round.entries.get(target) else {
            return false;
        };
        let own = entry.seats.first().and_then(|seat| seat.place);
        let own = own.map(|(group, _)| group);
        let Some(slate) = round.classes.get(entry.class) else {
            return false;
        };
        let choice = self.sequence.below(slate.candidates.len());
        let other = slate.candidates.get(choice).map(|c| c.group);
        let mut there = self.seated(
            round,
            |group, _| Some(group) == own || Some(group) == other,
            target,
        );
        let mut step = Step::new(round);
        let mut out = Vec::new();
        step.take_out(round, target);
        out.push(target);
        let count = 1 + self
            .sequence
            .below(usize::try_from(MOST_SHUFFLED).unwrap_or(1));
        while out.len() <= count
            && let Some(next) = self.sequence.take(&mut there)
        {
            step.take_out(round, next);
            out.push(next);
        }
        self.settle(round, step, out)
    }

    /// Movable jobs but `except` with a place that is asked for.
    fn seated(
        &self,
        round: &Round<'_, '_>,
        there: impl Fn(GroupIndex, ClusterIndex) -> bool,
        except: usize,
    ) -> Vec<usize> {
        round
            .entries
            .iter()
            .enumerate()
            .filter(|(at, entry)| {
                *at != except
                    && self.is_movable(*at)
                    && entry
                        .seats
                        .first()
                        .and_then(|seat| seat.place)
                        .is_some_and(|(group, _)| there(group, round.fleet.cluster_of(group)))
            })
            .map(|(at, _)| at)
            .collect()
    }

    /// Places who was taken out, and some who wait, and keeps the outcome if it is not worse.
    fn settle(&mut self, round: &mut Round<'_, '_>, mut step: Step, mut out: Vec<usize>) -> bool {
        let mut waiting: Vec<usize> = (0..round.entries.len())
            .filter(|&at| self.is_movable(at) && round.is_hopeful(at) && !step.has(at))
            .collect();
        for _ in 0..MOST_WAITING {
            if let Some(at) = self.sequence.take(&mut waiting) {
                step.take_out(round, at);
                out.push(at);
            }
        }
        let order = match self.sequence.below(4) {
            0 => Order::Any,
            1 => Order::LargestFirst,
            2 => Order::SmallestFirst,
            _ => Order::MostToLose,
        };
        let mut keyed: Vec<_> = out
            .into_iter()
            .map(|at| (self.key(round, at, order), at))
            .collect();
        keyed.sort_unstable();
        for (_, at) in keyed {
            let found = self.best(round, at);
            round.seat(at, found);
        }
        match step.compare(round) {
            Ordering::Greater => {
                step.undo(round);
                false
            }
            Ordering::Equal => true,
            Ordering::Less => true,
        }
    }

    fn best(&mut self, round: &Round<'_, '_>, at: usize) -> Option<Found> {
        let found = round.best_now(at);
        self.trials = self.trials.saturating_sub(4);
        found
    }

    fn key(
        &mut self,
        round: &Round<'_, '_>,
        at: usize,
        order: Order,
    ) -> (Reverse<i32>, i128, usize) {
        let random = self.sequence.below(1 << 20);
        let Some(entry) = round.entries.get(at) else {
            return (Reverse(0), 0, random);
        };
        let candidates = round
            .classes
            .get(entry.class)
            .map_or(&[][..], |slate| &slate.candidates);
        let devices = || {
            let alternative = candidates
                .first()
                .and_then(|c| entry.job.alternatives.get(c.alternative));
            alternative.map_or(0, |a| {
                i128::from(a.devices_per_replica) * i128::from(a.replicas)
            })
        };
        let key = match order {
            Order::Any => 0,
            Order::LargestFirst => -devices(),
            Order::SmallestFirst => devices(),
            Order::MostToLose => {
                let first = candidates.first();
                let second =
                    first.and_then(|first| candidates.iter().find(|c| c.group != first.group));
                match (first, second) {
                    (Some(first), Some(second)) => {
                        i128::from(first.score.usd) - i128::from(second.score.usd)
                    }
                    _ => i128::MIN,
                }
            }
        };
        (Reverse(entry.job.priority), key, random)
    }
}

trait Gain: Sized {
    fn max_by_gain(self, other: Self) -> Self;
}

impl Gain for Option<(usize, i64)> {
    fn max_by_gain(self, other: Self) -> Self {
        match (self, other) {
            (Some(a), Some(b)) => Some(if b.1 > a.1 { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

impl Step {
    fn new(_round: &Round<'_, '_>) -> Self {
        Self {
            before: Vec::new(),
            counts: BTreeMap::new(),
            usd: 0,
        }
    }

    fn has(&self, at: usize) -> bool {
        self.before.iter().any(|(seen, _, _)| *seen == at)
    }

    /// Takes a job out, whether or not it has a place.
    fn take_out(&mut self, round: &mut Round<'_, '_>, at: usize) {
        let missing = round.entries.get(at).and_then(|entry| entry.missing);
        let seats = round.unseat(at);
        if let Some(entry) = round.entries.get(at) {
            for seat in &seats {
                *self.counts.entry(Reverse(entry.job.priority)).or_default() += 1;
                self.usd += i128::from(seat.decision.usd_total.0);
            }
        }
        self.before.push((at, seats, missing));
    }

    /// Whether what there is now is better (less), equal or worse (greater) than before.
    fn compare(&self, round: &Round<'_, '_>) -> Ordering {
        let mut lost = self.counts.clone();
        let mut usd = 0_i128;
        for (at, _, _) in &self.before {
            let Some(entry) = round.entries.get(*at) else {
                continue;
            };
            if let Some(now) = entry.usd() {
                *lost.entry(Reverse(entry.job.priority)).or_default() -= 1;
                usd += i128::from(now);
            }
        }
        lost.values()
            .find(|lost| **lost != 0)
            .map_or_else(|| usd.cmp(&self.usd), |lost| lost.cmp(&0))
    }

    fn undo(self, round: &mut Round<'_, '_>) {
        for (at, _, _) in &self.before {
            round.unseat(*at);
        }
        for (at, seats, missing) in self.before {
            round.reseat(at, seats, missing);
        }
    }
}
