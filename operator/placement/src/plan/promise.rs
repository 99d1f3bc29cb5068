//! Backfill with reservation: a gang that waits is promised a start, and who comes after it may use the room only until then.
//!
//! ```text
//!            now          promised start
//!   node a   ████ running ┃ big gang        a short job may run here ──► until the promised start
//!   node b   ░░░░ free    ┃ big gang        a long one must find room that nobody was promised
//! ```
//!
//! Jobs are gone through in the order in which they are taken. Who has a place keeps it where it breaks no promise made
//! before, else looks for another; a gang that finds none is promised the [earliest start](super::ahead) that breaks none
//! either. What was promised is held in the ledger while the others are looked at, and for nobody afterwards: the next plan
//! makes its promises anew, from what it then knows.

use std::collections::{BTreeMap, BTreeSet};

use super::ahead::Ahead;
use super::gang::Found;
use super::round::{Entry, Round, Seat, Waiting};
use super::verdict::MOST_REASONS;
use super::window::{Span, Window};
use crate::fleet::Fleet;
use crate::model::{Kind, PlanOptions, Reason, Refusal, Reservation, Unplaced};

/// Most gangs for which a start is looked for in one plan: the first in order of those that wait.
const MOST_LOOKS: usize = 64;
/// Most nodes counted in or out over one plan to look ahead.
const MOST_MOVED: u64 = 200_000;

/// What was promised in one plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises {
    /// What is held, and when.
    pub(crate) spans: Vec<Span>,
    /// The keys that it is held under, in the same order.
    keys: Vec<String>,
    /// Classes whose gangs have no start in sight, or only one that is too late: true for all that come after.
    without: BTreeMap<usize, Option<Ahead>>,
    /// Classes that have no room beside the promises.
    full: BTreeSet<usize>,
    /// Gangs for which a start was looked for.
    looks: usize,
    /// Nodes counted in or out so far.
    pub(crate) moved: u64,
}

impl Promises {
    /// How many promises are broken by what runs from now for so many seconds.
    fn within(&self, duration: i64) -> usize {
        let within = |span: &&Span| span.overlaps(0, duration);
        self.spans.iter().filter(within).count()
    }

    /// Whether looking ahead has cost as much as it may.
    pub(crate) fn is_spent(&self) -> bool {
        self.moved > MOST_MOVED
    }

    /// Whether something is held for a job that has this ahead.
    pub(crate) fn is_kept(ahead: &Ahead) -> bool {
        ahead.late_seconds == 0 && ahead.decision.start_seconds > 0
    }

    /// The key that is held for a job: no job's reservation has such a one.
    fn key(job: &str) -> String {
        format!("\u{0}promise\u{0}{job}")
    }

    /// Holds for a job what it would have ahead.
    pub(crate) fn hold(&mut self, fleet: &mut Fleet, job: &str, ahead: &Ahead) {
        let key = Self::key(job);
        fleet.reserve(Reservation {
            key: key.clone(),
            ends_seconds: None,
            ..ahead.decision.reservation.clone()
        });
        let held = fleet.ledger.find(&key);
        if let Some((index, held)) = held.and_then(|index| Some((index, fleet.ledger.get(index)?)))
        {
            let (start, end) = (ahead.decision.start_seconds, ahead.end_seconds());
            self.spans.push(Span::new(index, held, start, end));
            self.keys.push(key);
        }
    }

    /// Gives back what is held for a job, if anything is.
    pub(crate) fn give_back(&mut self, fleet: &mut Fleet, job: &str) {
        let key = Self::key(job);
        if let Some(at) = self.keys.iter().position(|held| *held == key) {
            fleet.release(&key);
            self.keys.remove(at);
            self.spans.remove(at);
        }
    }

    /// Gives back what is held.
    pub(crate) fn release(&mut self, fleet: &mut Fleet) {
        for key in std::mem::take(&mut self.keys) {
            fleet.release(&key);
        }
        self.spans.clear();
    }

    /// The verdict on a job that waits. Nothing is held against it but what was promised before its turn.
    pub(crate) fn verdict(
        &mut self,
        fleet: &mut Fleet,
        waits: &Waiting<'_>,
        options: &PlanOptions,
    ) -> Unplaced {
        let later = self.spans.get(waits.keeps..).unwrap_or_default().to_vec();
        let mut window = Window::new(fleet, later, &mut self.moved);
        window.show(|_| false);
        let mut verdict = window.fleet.explain(waits.job, waits.missing, options);
        drop(window);
        if self.keep_back(fleet, waits, options.now_seconds) {
            let gangs = u64::try_from(waits.keeps).unwrap_or(u64::MAX);
            let refusal = Refusal {
                reason: Reason::Promised { gangs },
                cluster: None,
                alternative: None,
                count: 1,
            };
            verdict.reasons.insert(0, refusal);
            verdict.reasons.truncate(MOST_REASONS);
        }
        verdict
    }

    /// Whether a gang had room if nothing were promised.
    fn keep_back(&mut self, fleet: &mut Fleet, waits: &Waiting<'_>, now_seconds: i64) -> bool {
        let job = waits.job;
        if waits.keeps == 0
            || self.spans.is_empty()
            || self.is_spent()
            || matches!(job.kind, Kind::Inference { .. })
        {
            return false;
        }
        let mut window = Window::new(fleet, self.spans.clone(), &mut self.moved);
        window.show(|_| false);
        let candidates = window.fleet.candidates(job);
        let candidates = candidates.iter().map(|candidate| (candidate, None));
        window
            .fleet
            .best_gang(job, candidates, now_seconds)
            .is_some()
    }
}

impl Round<'_, '_> {
    /// Finds out when waiting gangs can start. With `strict`, nobody who comes after them delays them.
    pub(crate) fn look_ahead(&mut self, strict: bool) {
        let Some(first) = self.entries.iter().position(Entry::waits) else {
            return;
        };
        let mut seated: BTreeMap<usize, Vec<Seat>> = BTreeMap::new();
        if strict {
            for at in first..self.entries.len() {
                let seats = self.unseat(at);
                if !seats.is_empty() {
                    seated.insert(at, seats);
                }
            }
        }
        let mut changed = false;
        for at in first..self.entries.len() {
            if let Some(entry) = self.entries.get_mut(at) {
                entry.keeps = self.promises.spans.len();
            }
            if let Some(seats) = seated.remove(&at) {
                let undisturbed = !changed && self.promises.spans.is_empty();
                if undisturbed || self.keeps(&seats) {
                    let missing = self.entries.get(at).and_then(|entry| entry.missing);
                    self.reseat(at, seats, missing);
                    continue;
                }
                changed = true;
                if !self.entries.get(at).is_some_and(Entry::is_gang) {
                    self.fill_in(at);
                    continue;
                }
            } else if !self.entries.get(at).is_some_and(Entry::waits) {
                continue;
            }
            changed |= strict && self.place_beside(at) || self.promise(at, strict);
        }
        self.look_again(first);
        if changed {
            // What was proven is proven of plans that need not keep promises.
            self.bound = None;
        }
    }

    /// For gangs that are late nothing was held: what came after them may have delayed them further.
    fn look_again(&mut self, first: usize) {
        let is_late = |entry: &Entry<'_>| entry.ahead.as_ref().is_some_and(|a| a.late_seconds > 0);
        self.promises.without.clear();
        for at in first..self.entries.len() {
            if self.entries.get(at).is_some_and(is_late) {
                self.promise(at, false);
            }
        }
    }

    /// Whether what a job has breaks no promise.
    fn keeps(&mut self, seats: &[Seat]) -> bool {
        let mut reserved: Vec<&Reservation> = Vec::new();
        let mut fits = true;
        for seat in seats {
            let held = &seat.decision.reservation;
            fits = self.fleet.has_room(held)
                || seat.decision.duration_seconds.is_some_and(|duration| {
                    let room = |fleet: &Fleet| fleet.has_room(held).then_some(());
                    self.beside_later(duration, room).is_some()
                });
            if !fits {
                break;
            }
            self.fleet.reserve(held.clone());
            reserved.push(held);
        }
        for held in reserved {
            self.fleet.release(&held.key);
        }
        fits
    }

    /// Looks at the fleet as it is for what ends within `duration` seconds: room is free that is promised for later.
    fn beside_later<T>(
        &mut self,
        duration: i64,
        look: impl FnOnce(&Fleet) -> Option<T>,
    ) -> Option<T> {
        let promises = &mut self.promises;
        if promises.within(duration) == promises.spans.len() || promises.is_spent() {
            return None;
        }
        let spans = promises.spans.clone();
        let mut window = Window::new(self.fleet, spans, &mut promises.moved);
        window.show(|span| span.overlaps(0, duration));
        look(window.fleet)
    }

    /// Places a gang beside the promises: in room that nobody was promised, or where it is gone before it is needed.
    fn place_beside(&mut self, at: usize) -> bool {
        let class = self.entries.get(at).map_or(0, |entry| entry.class);
        let found = if self.promises.full.contains(&class) {
            None
        } else {
            self.best_beside(at)
        };
        if found.is_none() {
            // Room only shrinks from here on.
            self.promises.full.insert(class);
        }
        self.seat(at, found)
    }

    pub(crate) fn best_beside(&mut self, at: usize) -> Option<Found> {
        let mut best = self.best_now(at);
        let entry = self.entries.get(at)?;
        let (job, slate) = (entry.job, self.classes.get(entry.class)?.clone());
        let floor = slate.candidates.first()?.score;
        // Candidates that break as many promises break the same ones: those that start soonest.
        let broken = |duration: Option<i64>, promises: &Promises| {
            promises.within(duration.unwrap_or(i64::MAX))
        };
        let by_broken: BTreeMap<usize, Option<i64>> = slate
            .candidates
            .iter()
            .map(|candidate| candidate.quote.duration_seconds)
            .map(|duration| (broken(duration, &self.promises), duration))
            .collect();
        for (count, duration) in by_broken {
            if best.as_ref().is_some_and(|found| found.score <= floor) {
                break;
            }
            let now_seconds = self.now_seconds;
            let candidates: Vec<_> = slate
                .candidates
                .iter()
                .filter(|c| broken(c.quote.duration_seconds, &self.promises) == count)
                .collect();
            let found = self.beside_later(duration.unwrap_or(i64::MAX), |fleet| {
                let candidates = candidates.into_iter().map(|c| (c, None));
                fleet.best_gang(job, candidates, now_seconds)
            });
            if let Some(found) = found
                && best
                    .as_ref()
                    .is_none_or(|best| (found.score, found.level) < (best.score, best.level))
            {
                best = Some(found);
            }
        }
        best
    }

    /// Looks for the earliest start of a gang and holds it. Whether that is at once, after all.
    fn promise(&mut self, at: usize, strict: bool) -> bool {
        let promises = &mut self.promises;
        let Some(entry) = self.entries.get_mut(at) else {
            return false;
        };
        if let Some(without) = promises.without.get(&entry.class) {
            entry.ahead.clone_from(without);
            return false;
        }
        if promises.looks >= MOST_LOOKS || promises.is_spent() {
            return false;
        }
        promises.looks += 1;
        let ahead = self.fleet.earliest(
            entry.job,
            &promises.spans,
            self.now_seconds,
            &mut promises.moved,
        );
        match ahead {
            // Choosing nodes under uneven power is no exact science: what was not found before may be found now.
            Some(Ahead {
                decision,
                late_seconds: 0,
                ..
            }) if decision.start_seconds <= 0 => {
                if strict {
                    self.fleet.reserve(decision.reservation.clone());
                    entry.missing = None;
                    let place = None;
                    entry.seats.push(Seat { decision, place });
                }
                strict
            }
            Some(ahead) if ahead.late_seconds == 0 => {
                promises.hold(self.fleet, &entry.job.key, &ahead);
                entry.ahead = Some(ahead);
                false
            }
            without => {
                promises.without.insert(entry.class, without.clone());
                entry.ahead = without;
                false
            }
        }
    }
}
