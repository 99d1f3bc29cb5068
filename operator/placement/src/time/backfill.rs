//! Backfill with reservation: a gang that waits is promised a start, and who comes after it may use the room only until then.
//!
//! ```text
//!            now          promised start
//!   node a   ████ running ┃ big gang        a short job may run here ──► until the promised start
//!   node b   ░░░░ free    ┃ big gang        a long one must find room that nobody was promised
//! ```
//!
//! Jobs are gone through in the order in which they are taken. Who has a place keeps it where it breaks no promise made
//! before, else looks for another; a gang that finds none is promised the [earliest start](super::earliest) that breaks none
//! either. What was promised is held in the ledger while the others are looked at, and for nobody afterwards: the next plan
//! makes its promises anew, from what it then knows.

use std::collections::BTreeMap;

use super::lookahead::Lookahead;
use crate::model::Reservation;
use crate::schedule::{Assignment, Entry, FutureStart};

impl Lookahead<'_, '_, '_> {
    /// Finds out when waiting gangs can start. With `strict`, nobody who comes after them delays them; whether somebody has
    /// something else by that.
    pub(crate) fn backfill(&mut self, strict: bool) -> bool {
        let Some(first) = self.schedule.entries.iter().position(Entry::is_pending) else {
            return false;
        };
        let mut assigned: BTreeMap<usize, Vec<Assignment>> = BTreeMap::new();
        if strict {
            for at in first..self.schedule.entries.len() {
                let assignments = self.schedule.unassign(at);
                if !assignments.is_empty() {
                    assigned.insert(at, assignments);
                }
            }
        }
        let mut changed = false;
        for at in first..self.schedule.entries.len() {
            if let Some(entry) = self.schedule.entries.get_mut(at) {
                entry.keeps = self.promises.spans.len();
            }
            if let Some(assignments) = assigned.remove(&at) {
                // Where all before it keep what they had, it is only in the way of promises that begin while it runs.
                let seconds = assignments
                    .iter()
                    .map(|assignment| assignment.decision.duration_seconds);
                let longest = seconds.map(|s| s.unwrap_or(i64::MAX)).max().unwrap_or(0);
                let undisturbed = !changed && self.promises.within(longest) == 0;
                if undisturbed || self.keeps(&assignments) {
                    let shortfall = self
                        .schedule
                        .entries
                        .get(at)
                        .and_then(|entry| entry.shortfall);
                    self.schedule.reassign(at, assignments, shortfall);
                    continue;
                }
                changed = true;
                if !self.schedule.entries.get(at).is_some_and(Entry::is_gang) {
                    self.promises.show_all(self.schedule.fleet);
                    self.schedule.fill_in(at);
                    continue;
                }
            } else if !self.schedule.entries.get(at).is_some_and(Entry::is_pending) {
                continue;
            }
            changed |= strict && self.place_beside(at) || self.promise(at, strict);
        }
        self.look_again(first);
        self.promises.show_all(self.schedule.fleet);
        changed
    }

    /// For gangs that are late nothing was held: what came after them may have delayed them further.
    fn look_again(&mut self, first: usize) {
        let is_late = |entry: &Entry<'_>| {
            entry
                .future_start
                .as_ref()
                .is_some_and(|a| a.late_seconds > 0)
        };
        self.promises.without.clear();
        for at in first..self.schedule.entries.len() {
            if self.schedule.entries.get(at).is_some_and(is_late) {
                self.promise(at, false);
            }
        }
    }

    /// Whether what a job has breaks no promise.
    fn keeps(&mut self, assignments: &[Assignment]) -> bool {
        let mut reserved: Vec<&Reservation> = Vec::new();
        let mut fits = true;
        for assignment in assignments {
            let held = &assignment.decision.reservation;
            let seconds = assignment.decision.duration_seconds.unwrap_or(i64::MAX);
            self.promises.show_beside(self.schedule.fleet, seconds);
            fits = self.schedule.fleet.has_room(held);
            if !fits {
                break;
            }
            self.schedule.fleet.reserve(held.clone());
            reserved.push(held);
        }
        for held in reserved {
            self.schedule.fleet.release(&held.key);
        }
        fits
    }

    /// Places a gang beside the promises: in room that nobody was promised, or where it is gone before it is needed.
    fn place_beside(&mut self, at: usize) -> bool {
        let class = self.schedule.entries.get(at).map_or(0, |entry| entry.class);
        let found = if self.promises.full.contains(&class) {
            None
        } else {
            self.best_beside(at)
        };
        if found.is_none() {
            // Room only shrinks from here on.
            self.promises.full.insert(class);
        }
        self.schedule.assign(at, found)
    }

    /// Looks for the earliest start of a gang and holds it. Whether that is at once, after all.
    fn promise(&mut self, at: usize, strict: bool) -> bool {
        let promises = &mut self.promises;
        let Some(entry) = self.schedule.entries.get_mut(at) else {
            return false;
        };
        if let Some(without) = promises.without.get(&entry.class) {
            entry.future_start.clone_from(without);
            return false;
        }
        if promises.looks >= promises.limits.looks || promises.is_spent() {
            return false;
        }
        promises.looks += 1;
        promises.show_all(self.schedule.fleet);
        let future_start = self.schedule.fleet.earliest(
            entry.job,
            &promises.spans,
            self.schedule.now_seconds,
            &mut promises.moved,
        );
        match future_start {
            // Choosing nodes under uneven power is no exact science: what was not found before may be found now.
            Some(FutureStart {
                decision,
                late_seconds: 0,
                ..
            }) if decision.start_seconds <= 0 => {
                if strict {
                    self.schedule.fleet.reserve(decision.reservation.clone());
                    entry.shortfall = None;
                    let placement = None;
                    entry.assignments.push(Assignment {
                        decision,
                        placement,
                    });
                }
                strict
            }
            Some(future_start) if future_start.late_seconds == 0 => {
                promises.hold(self.schedule.fleet, &entry.job.key, &future_start);
                entry.future_start = Some(future_start);
                false
            }
            without => {
                promises.without.insert(entry.class, without.clone());
                entry.future_start = without;
                false
            }
        }
    }
}
