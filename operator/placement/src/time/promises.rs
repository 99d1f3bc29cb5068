//! Starts that waiting gangs were promised, held in the ledger while others are looked at.

use std::collections::{BTreeMap, BTreeSet};

use super::window::{Span, show};
use crate::fleet::Fleet;
use crate::model::Reservation;
use crate::schedule::FutureStart;

/// How far one plan looks ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookaheadLimits {
    /// Most gangs for which a start is looked for: the first in order of those that wait.
    pub(super) looks: usize,
    /// Most nodes counted in or out.
    moved: u64,
}

/// Where starts are told only.
const NEAR: LookaheadLimits = LookaheadLimits {
    looks: 64,
    moved: 1_000_000,
};
/// Where starts within a horizon are asked for.
const FAR: LookaheadLimits = LookaheadLimits {
    looks: 1024,
    moved: 5_000_000,
};

impl Default for LookaheadLimits {
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
    pub(super) without: BTreeMap<usize, Option<FutureStart>>,
    /// Classes that have no room beside the promises.
    pub(super) full: BTreeSet<usize>,
    /// How far it looks.
    pub(super) limits: LookaheadLimits,
    /// Gangs for which a start was looked for.
    pub(super) looks: usize,
    /// Nodes counted in or out so far.
    pub(crate) moved: u64,
}

impl Promises {
    /// None yet, of a plan with such a horizon.
    pub(crate) fn new(horizon_seconds: i64) -> Self {
        Self {
            limits: if horizon_seconds > 0 { FAR } else { NEAR },
            ..Self::default()
        }
    }

    /// How many promises are broken by what runs from now for so many seconds.
    pub(super) fn within(&self, duration: i64) -> usize {
        let within = |span: &&Span| span.overlaps(0, duration);
        self.spans.iter().filter(within).count()
    }

    /// Whether looking ahead has cost as much as it may.
    pub(crate) fn is_spent(&self) -> bool {
        self.moved > self.limits.moved
    }

    /// Whether something is held for a job that has this ahead.
    pub(crate) fn is_kept(future_start: &FutureStart) -> bool {
        future_start.late_seconds == 0 && future_start.decision.start_seconds > 0
    }

    /// The key that is held for a job: no job's reservation has such a one.
    fn key(job: &str) -> String {
        format!("\u{0}promise\u{0}{job}")
    }

    /// Holds for a job what it would have ahead.
    pub(crate) fn hold(&mut self, fleet: &mut Fleet, job: &str, future_start: &FutureStart) {
        let key = Self::key(job);
        fleet.reserve(Reservation {
            key: key.clone(),
            ends_seconds: None,
            ..future_start.decision.reservation.clone()
        });
        let held = fleet.ledger.find(&key);
        if let Some((index, held)) = held.and_then(|index| Some((index, fleet.ledger.get(index)?)))
        {
            let (start, end) = (
                future_start.decision.start_seconds,
                future_start.end_seconds(),
            );
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
    pub(super) fn show_beside(&mut self, fleet: &mut Fleet, seconds: i64) {
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
}
