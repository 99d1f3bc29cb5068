//! Victims: who has to stop so that a gang has room, as few as can be, the lowest in order first.

use std::collections::BTreeSet;

use super::state::{Holding, PreemptionCycle};
use crate::candidates::{Candidate, gang_size};
use crate::model::JobSpec;
use crate::nodes::FeasiblePlacement;

/// Most nodes counted in or out over one cycle to make room.
const MOST_MOVED: u64 = 200_000;

impl PreemptionCycle<'_, '_> {
    /// The fewest jobs of lower priority, the last ones first, without which a candidate has room.
    pub(super) fn find_victims(
        &mut self,
        at: usize,
        job: &JobSpec,
        candidate: &Candidate,
    ) -> Option<(FeasiblePlacement, Vec<usize>)> {
        let group = candidate.group;
        let in_group = self.placed_in.get(&group);
        let mut others = in_group.map_or_else(Vec::new, |placed_in| self.lower(at, job, placed_in));
        let alternative = job.alternatives.get(candidate.alternative)?;
        let needed =
            gang_size(job, alternative).saturating_mul(u64::from(alternative.devices_per_replica));
        let mut devices = self
            .fleet
            .cells
            .get(self.fleet.groups[group].root)
            .free_devices;
        let mut enough = 0;
        while devices < needed {
            devices = devices.saturating_add(self.holding(*others.get(enough)?)?.devices);
            enough += 1;
        }
        let mut out: Vec<usize> = Vec::new();
        let mut everywhere = false;
        let mut found = None;
        loop {
            for &other in others.get(out.len()..enough).unwrap_or_default() {
                self.count(other, false);
                out.push(other);
            }
            if enough > 0 {
                found = self.fleet.try_candidate(job, candidate, self.now_seconds);
            }
            if found.is_some() || self.moved > MOST_MOVED {
                break;
            }
            if enough == others.len() {
                if everywhere || !self.is_short_of_watts(job, candidate) {
                    break;
                }
                // Whoever stops anywhere gives back watts.
                everywhere = true;
                let mut anywhere: Vec<usize> = self
                    .placed_in
                    .iter()
                    .filter(|(placed_in, _)| **placed_in != group)
                    .flat_map(|(_, placed_in)| self.lower(at, job, placed_in))
                    .collect();
                anywhere.sort_unstable_by(|a, b| b.cmp(a));
                others.append(&mut anywhere);
            }
            enough = (enough * 2).max(1).min(others.len());
        }
        // Who need not have stopped goes on: those that come first before the others.
        out.sort_unstable();
        let mut stopped = Vec::new();
        for other in out {
            self.count(other, true);
            if found.is_none() {
                continue;
            }
            match self.fleet.try_candidate(job, candidate, self.now_seconds) {
                Some(still) => found = Some(still),
                None => {
                    self.count(other, false);
                    stopped.push(other);
                }
            }
        }
        for &other in &stopped {
            self.count(other, true);
        }
        Some((found?, stopped))
    }

    fn holding(&self, at: usize) -> Option<&Holding> {
        self.contenders.get(at)?.holding.as_ref()
    }

    /// Those that have to make way for a job if need be, the last ones first.
    fn lower(&self, at: usize, job: &JobSpec, placed_in: &BTreeSet<usize>) -> Vec<usize> {
        let is_lower = |other: &usize| {
            let other = self.contenders.get(*other);
            other.is_some_and(|other| other.job.priority < job.priority)
        };
        let after = placed_in.range(at.saturating_add(1)..).rev();
        after.copied().take_while(is_lower).collect()
    }

    /// Counts what a job has in or out.
    fn count(&mut self, at: usize, counts: bool) {
        let Some(holding) = self
            .contenders
            .get(at)
            .and_then(|contender| contender.holding.as_ref())
        else {
            return;
        };
        self.moved = self.moved.saturating_add(holding.nodes);
        if counts {
            self.fleet.count_in(holding.reservation);
        } else {
            self.fleet.count_out(holding.reservation);
        }
    }

    /// Whether there would be room but for watts.
    fn is_short_of_watts(&self, job: &JobSpec, candidate: &Candidate) -> bool {
        let alternative = job.alternatives.get(candidate.alternative);
        alternative.is_some_and(|alternative| {
            self.fleet
                .lacks_watts(job, alternative, candidate.group, self.now_seconds)
        })
    }
}
