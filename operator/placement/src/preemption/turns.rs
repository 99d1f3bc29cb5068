//! Each job has its turn: better room, free or taken from those after it.

use std::collections::BTreeMap;

use super::state::{Contender, PreemptionCycle};
use crate::candidates::{Candidate, Score};
use crate::model::{JobSpec, Kind, PlacementDecision, Plan, Replan};
use crate::nodes::FeasiblePlacement;

/// A place is left for another only if that one is better by this part of what it costs.
const MIGRATION_MARGIN: i128 = 50;

impl PreemptionCycle<'_, '_> {
    /// Gives every job its turn.
    pub(super) fn take(&mut self) {
        let classes = std::mem::take(&mut self.classes);
        for at in 0..self.contenders.len() {
            let Some(Contender {
                job,
                class,
                holding,
                is_left_alone,
                ..
            }) = self.contenders.get(at)
            else {
                continue;
            };
            if matches!(job.kind, Kind::Inference { .. }) || *is_left_alone {
                continue;
            }
            let (job, class) = (*job, *class);
            let own = holding
                .as_ref()
                .map(|holding| (holding.reservation, holding.score));
            let stays = own.map(|(_, score)| score);
            let candidates = classes
                .get(class)
                .map_or(&[][..], |class| &class.candidates);
            let better = |candidate: &Candidate| {
                stays.is_none_or(|stays| is_worth_moving(candidate.score, stays))
            };
            let hopeful = candidates.partition_point(better);
            let hopeful = candidates.get(..hopeful).unwrap_or_default();
            if hopeful.is_empty() {
                continue;
            }
            if let Some((reservation, _)) = own {
                self.fleet.count_out(reservation);
            }
            let choice = self.choose(at, job, hopeful, stays);
            if let Some((reservation, _)) = own {
                self.fleet.count_in(reservation);
            }
            if let Some((found, stopped)) = choice {
                for other in stopped {
                    self.stop(other);
                }
                self.stop(at);
                self.start(at, job, found);
            }
        }
    }

    /// A better place than the one it has, and the victims.
    fn choose(
        &mut self,
        at: usize,
        job: &JobSpec,
        hopeful: &[Candidate],
        stays: Option<Score>,
    ) -> Option<(FeasiblePlacement, Vec<usize>)> {
        let free = self
            .fleet
            .best_gang(job, hopeful.iter().map(|c| (c, None)), self.now_seconds)
            .filter(|found| stays.is_none_or(|stays| is_worth_moving(found.score, stays)));
        let limit = free.as_ref().map(|found| found.score).or(stays);
        for candidate in hopeful {
            if limit.is_some_and(|limit| !is_worth_moving(candidate.score, limit)) {
                break;
            }
            let choice = self.find_victims(at, job, candidate);
            if let Some((found, _)) = &choice
                && limit.is_none_or(|limit| is_worth_moving(found.score, limit))
            {
                return choice;
            }
        }
        free.map(|found| (found, Vec::new()))
    }

    /// Reserves what was found.
    fn start(&mut self, at: usize, job: &JobSpec, mut found: FeasiblePlacement) {
        let duration = found.quote.duration_seconds;
        let Some(mut decision) = self.fleet.decision(job, &mut found) else {
            return;
        };
        decision.reservation.ends_seconds =
            duration.map(|seconds| self.now_seconds.saturating_add(seconds));
        self.fleet
            .reserve_on(decision.reservation.clone(), found.nodes());
        let holding = self.holding_of(job, &decision, duration, true);
        self.record(at, holding);
    }

    /// Hands over what was decided.
    pub(super) fn finish(self, first: Plan, invalid: Vec<String>) -> Replan {
        let mut replan = Replan::default();
        // Inference jobs were placed before and keep what they got.
        let mut whole: BTreeMap<String, Vec<PlacementDecision>> = BTreeMap::new();
        for decision in first.placements {
            whole
                .entry(decision.job.clone())
                .or_default()
                .push(decision);
        }
        for contender in self.contenders {
            let key = &contender.job.key;
            if let Kind::Inference { replicas, .. } = contender.job.kind {
                let decisions = whole.remove(key).unwrap_or_default();
                let placed: u64 = decisions.iter().map(|d| u64::from(d.replicas())).sum();
                if placed < u64::from(replicas) {
                    replan.waiting.push(key.clone());
                }
                replan.placements.extend(decisions);
                continue;
            }
            let runs_on = contender.is_left_alone
                || contender
                    .holding
                    .as_ref()
                    .is_some_and(|holding| holding.new.is_none());
            if runs_on {
                continue;
            }
            if contender.running.is_some() {
                replan.stopped.push(key.clone());
            }
            match contender.holding.and_then(|holding| holding.new) {
                Some(decision) => replan.placements.push(decision),
                None => replan.waiting.push(key.clone()),
            }
        }
        replan.waiting.extend(invalid);
        replan
    }
}

/// Whether one place is so much better than another that a job may be moved, or others stopped, for it.
fn is_worth_moving(better: Score, than: Score) -> bool {
    let margin = than.objective.saturating_abs() / MIGRATION_MARGIN;
    better.objective < than.objective.saturating_sub(margin)
}
