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
use super::candidate::Candidate;
use super::gang::Found;
use super::round::{Entry, Round, Seat, Waiting};
use super::verdict::MOST_REASONS;
use super::window::{Span, Window, show};
use crate::fleet::Fleet;
use crate::model::{Kind, PlanOptions, Reason, Refusal, Reservation, Unplaced};

/// How far one plan looks ahead.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// Most gangs for which a start is looked for: the first in order of those that wait.
    looks: usize,
    /// Most nodes counted in or out.
    moved: u64,
}

/// Where starts are told only.
const NEAR: Reach = Reach {
    looks: 64,
    moved: 1_000_000,
};
/// Where starts within a horizon are asked for.
const FAR: Reach = Reach {
    looks: 1024,
    moved: 5_000_000,
};

impl Default for Reach {
    fn default() -> Self {
        NEAR
    }
}

/// What was promised in one plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises {
    /// What is held, and when.
    pub(crate) spans: Vec<Span>,
    /// The keys that it is held under, in the same order.
    keys: Vec<String>,
    /// Which of it is counted out at the moment, in the same order.
    out: Vec<bool>,
    /// Classes whose gangs have no start in sight, or only one that is too late: true for all that come after.
    without: BTreeMap<usize, Option<Ahead>>,
    /// Classes that have no room beside the promises.
    full: BTreeSet<usize>,
    /// How far it looks.
    reach: Reach,
    /// Gangs for which a start was looked for.
    looks: usize,
    /// Nodes counted in or out so far.
    pub(crate) moved: u64,
}

impl Promises {
    /// None yet, of a plan with such a horizon.
    pub(crate) fn new(horizon_seconds: i64) -> Self {
        Self {
            reach: if horizon_seconds > 0 { FAR } else { NEAR },
            ..Self::default()
        }
    }

    /// How many promises are broken by what runs from now for so many seconds.
    fn within(&self, duration: i64) -> usize {
        let within = |span: &&Span| span.overlaps(0, duration);
        self.spans.iter().filter(within).count()
    }

    /// Whether looking ahead has cost as much as it may.
    pub(crate) fn is_spent(&self) -> bool {
        self.moved > self.reach.moved
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
            self.out.push(false);
        }
    }

    /// Counts in exactly those that are held as `held` says. Whoever asks next for the same ones pays nothing.
    fn show(&mut self, fleet: &mut Fleet, held: impl Fn(&Span) -> bool) {
        show(fleet, &self.spans, &mut self.out, &mut self.moved, held);
    }

    /// Counts all in.
    pub(crate) fn show_all(&mut self, fleet: &mut Fleet) {
        self.show(fleet, |_| true);
    }

    /// Counts in what is in the way of a job that runs from now for so many seconds: room is free that is promised for later.
    /// Once looking has cost as much as it may, everything is in the way.
    fn show_beside(&mut self, fleet: &mut Fleet, seconds: i64) {
        let is_spent = self.is_spent();
        self.show(fleet, |span| is_spent || span.overlaps(0, seconds));
    }

    /// Gives back what is held for a job, if anything is.
    pub(crate) fn give_back(&mut self, fleet: &mut Fleet, job: &str) {
        let key = Self::key(job);
        if let Some(at) = self.keys.iter().position(|held| *held == key) {
            let span = self.spans.remove(at);
            if self.out.remove(at) {
                fleet.count_in(span.reservation);
            }
            self.keys.remove(at);
            fleet.release(&key);
        }
    }

    /// Gives back what is held.
    pub(crate) fn release(&mut self, fleet: &mut Fleet) {
        self.show_all(fleet);
        for key in std::mem::take(&mut self.keys) {
            fleet.release(&key);
        }
        self.spans.clear();
        self.out.clear();
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
                // Where all before it keep what they had, it is only in the way of promises that begin while it runs.
                let seconds = seats.iter().map(|seat| seat.decision.duration_seconds);
                let longest = seconds.map(|s| s.unwrap_or(i64::MAX)).max().unwrap_or(0);
                let undisturbed = !changed && self.promises.within(longest) == 0;
                if undisturbed || self.keeps(&seats) {
                    let missing = self.entries.get(at).and_then(|entry| entry.missing);
                    self.reseat(at, seats, missing);
                    continue;
                }
                changed = true;
                if !self.entries.get(at).is_some_and(Entry::is_gang) {
                    self.promises.show_all(self.fleet);
                    self.fill_in(at);
                    continue;
                }
            } else if !self.entries.get(at).is_some_and(Entry::waits) {
                continue;
            }
            changed |= strict && self.place_beside(at) || self.promise(at, strict);
        }
        self.look_again(first);
        self.promises.show_all(self.fleet);
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
            let seconds = seat.decision.duration_seconds.unwrap_or(i64::MAX);
            self.promises.show_beside(self.fleet, seconds);
            fits = self.fleet.has_room(held);
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

    /// The best way to run a gang from now on beside the promises.
    pub(crate) fn best_beside(&mut self, at: usize) -> Option<Found> {
        let entry = self.entries.get(at)?;
        let (job, slate) = (entry.job, self.classes.get(entry.class)?);
        let floor = slate.candidates.first()?.score;
        // Candidates that break as many promises break the same ones: those that start soonest.
        let seconds = |candidate: &Candidate| candidate.quote.duration_seconds.unwrap_or(i64::MAX);
        let broken =
            |candidate: &Candidate, promises: &Promises| promises.within(seconds(candidate));
        let by_broken: BTreeMap<usize, i64> = slate
            .candidates
            .iter()
            .map(|candidate| (broken(candidate, &self.promises), seconds(candidate)))
            .collect();
        let mut best: Option<Found> = None;
        for (count, seconds) in by_broken {
            if best.as_ref().is_some_and(|found| found.score <= floor) {
                break;
            }
            self.promises.show_beside(self.fleet, seconds);
            let candidates = slate.candidates.iter();
            let candidates = candidates.filter(|c| broken(c, &self.promises) == count);
            let found = self
                .fleet
                .best_gang(job, candidates.map(|c| (c, None)), self.now_seconds);
            if let Some(found) = found
                && best
                    .as_ref()
                    .is_none_or(|best| (found.score, found.level) < (best.score, best.level))
            {
                best = Some(found);
            }
        }
        if best.is_none() && !slate.complete {
            self.promises.show_all(self.fleet);
            best = self.best_now(at);
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
        if promises.looks >= promises.reach.looks || promises.is_spent() {
            return false;
        }
        promises.looks += 1;
        promises.show_all(self.fleet);
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
