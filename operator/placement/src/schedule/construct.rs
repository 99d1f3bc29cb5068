//! Jobs are placed one after the other, by priority; and no gang waits that would fit in what lower ones got.

use std::collections::BTreeSet;

use super::entry::Entry;
use super::state::Schedule;
use crate::model::Kind;

impl Schedule<'_, '_> {
    /// Places every job that has room, one after the other.
    pub(crate) fn place_all(&mut self) {
        for at in 0..self.entries.len() {
            let Some(Entry { job, class, .. }) = self.entries.get(at) else {
                continue;
            };
            let (job, class) = (*job, *class);
            if matches!(job.kind, Kind::Inference { .. }) {
                self.fill_in(at);
                continue;
            }
            let found = match self.classes.get_mut(class) {
                Some(class) => self.fleet.best_of_class(job, class, self.now_seconds),
                None => None,
            };
            self.assign(at, found);
        }
    }

    /// Sees to it that no gang waits that would fit, not even in what jobs of lower priority have: what was moved may
    /// have made room.
    pub(crate) fn uphold_priorities(&mut self) {
        loop {
            let hopeful: Vec<usize> = (0..self.entries.len())
                .filter(|&at| self.is_hopeful(at))
                .collect();
            for &at in &hopeful {
                let found = self.best_now(at);
                self.assign(at, found);
            }
            let priorities: BTreeSet<i32> = hopeful
                .iter()
                .filter_map(|&at| self.entries.get(at))
                .filter(|entry| entry.is_pending())
                .map(|entry| entry.job.priority)
                .collect();
            if !priorities.into_iter().rev().any(|p| self.overtake(p)) {
                return;
            }
        }
    }

    /// Places waiting gangs of a priority in what lower ones have; the lower ones then take what is left.
    fn overtake(&mut self, priority: i32) -> bool {
        let lower: Vec<usize> = (0..self.entries.len())
            .filter(|&at| {
                self.entries
                    .get(at)
                    .is_some_and(|e| e.job.priority < priority && !e.assignments.is_empty())
            })
            .collect();
        if lower.is_empty() {
            return false;
        }
        let before: Vec<_> = lower
            .iter()
            .map(|&at| {
                let shortfall = self.entries.get(at).and_then(|entry| entry.shortfall);
                (at, self.unassign(at), shortfall)
            })
            .collect();
        let mut overtook = false;
        for at in 0..self.entries.len() {
            let of_priority = self
                .entries
                .get(at)
                .is_some_and(|entry| entry.job.priority == priority);
            if of_priority && self.is_hopeful(at) {
                let found = self.best_now(at);
                overtook |= self.assign(at, found);
            }
        }
        for (at, assignments, shortfall) in before {
            if !overtook {
                self.reassign(at, assignments, shortfall);
            } else if self.entries.get(at).is_some_and(Entry::is_gang) {
                let found = self.best_now(at);
                self.assign(at, found);
            } else {
                self.fill_in(at);
            }
        }
        overtook
    }
}
