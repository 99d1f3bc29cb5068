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

use super::bounds::{least_start_costs, start_cost};
use super::lookahead::Lookahead;
use super::promises::Promises;
use crate::nodes::{FeasiblePlacement, Shortfall};
use crate::schedule::{Assignment, Entry, FutureStart, StartCost};

/// Most times that all jobs are gone through.
const MOST_PASSES: usize = 4;
/// Most choices of a start in one plan.
const MOST_CHOICES: u32 = 10_000;
/// Most jobs that choose anew after one.
const MOST_OTHERS: usize = 12;

/// What a job has: assignments now, or a start later.
struct JobSnapshot {
    at: usize,
    assignments: Vec<Assignment>,
    shortfall: Option<Shortfall>,
    future_start: Option<FutureStart>,
}

/// A start that was found.
enum Start {
    Now(FeasiblePlacement),
    Later(Box<FutureStart>),
}

/// How good what some jobs have is, least is best: those that do not start within the horizon, by priority, highest first; the
/// dollars of those that do.
type PlanValue = (Vec<(Reverse<i32>, usize)>, i128);

/// Jobs in the order in which they choose, with how good what they got by it is, and for how long they wait.
struct ChoiceOrder {
    jobs: Vec<usize>,
    value: PlanValue,
    waits: i128,
}

/// A schedule whose gangs may start within a horizon.
struct Deferral<'l, 's, 'a, 'f> {
    lookahead: &'l mut Lookahead<'s, 'a, 'f>,
    /// The least that a start could cost, by class.
    least: BTreeMap<usize, Option<StartCost>>,
    choices: u32,
}

impl Lookahead<'_, '_, '_> {
    /// Lets gangs start within the horizon when it is worth most to them.
    pub(crate) fn defer(&mut self) {
        if self.schedule.horizon_seconds <= 0 {
            return;
        }
        self.promises.moved = 0;
        let least = least_start_costs(self.schedule);
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
            if let Some(future_start) = entry
                .future_start
                .as_ref()
                .filter(|future_start| Promises::is_kept(future_start))
            {
                self.promises
                    .hold(self.schedule.fleet, &entry.job.key, future_start);
            }
        }
    }

    /// Takes back what a job has.
    fn step_back(&mut self, at: usize) -> JobSnapshot {
        let shortfall = self
            .schedule
            .entries
            .get(at)
            .and_then(|entry| entry.shortfall);
        let assignments = self.schedule.unassign(at);
        let mut future_start = None;
        if let Some(entry) = self.schedule.entries.get_mut(at) {
            future_start = entry.future_start.take();
            entry.shortfall = Some(Shortfall::default());
            self.promises.give_back(self.schedule.fleet, &entry.job.key);
        }
        JobSnapshot {
            at,
            assignments,
            shortfall,
            future_start,
        }
    }

    /// Gives a job what it had.
    fn restore(&mut self, has: JobSnapshot) {
        self.step_back(has.at);
        self.schedule
            .reassign(has.at, has.assignments, has.shortfall);
        if let Some(future_start) = has.future_start {
            self.look_forward(has.at, future_start);
        }
    }

    /// Lets a gang have a start ahead of it, and keeps it that start.
    fn look_forward(&mut self, at: usize, future_start: FutureStart) {
        let Some(entry) = self.schedule.entries.get_mut(at) else {
            return;
        };
        if Promises::is_kept(&future_start) {
            self.promises
                .hold(self.schedule.fleet, &entry.job.key, &future_start);
        }
        entry.future_start = Some(future_start);
    }

    /// Places missing replicas in what is free now, if that places more of them.
    fn fill_up(&mut self, at: usize) {
        let Some(entry) = self.schedule.entries.get(at) else {
            return;
        };
        let Some(before) = entry.shortfall.filter(|_| !entry.is_gang()) else {
            return;
        };
        let assignments = self.schedule.unassign(at);
        self.schedule.fill_in(at);
        let shortfall = self
            .schedule
            .entries
            .get(at)
            .and_then(|entry| entry.shortfall);
        if shortfall.is_some_and(|shortfall| shortfall.replicas >= before.replicas) {
            self.schedule.reassign(at, assignments, Some(before));
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
                match start_cost(self.lookahead.schedule, entry) {
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
            .and_then(|entry| start_cost(self.lookahead.schedule, entry));
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
    fn best_start(&mut self, at: usize, than: Option<StartCost>) -> Option<Start> {
        if self.is_spent() {
            return None;
        }
        self.choices += 1;
        let job = self.lookahead.schedule.entries.get(at)?.job;
        let start_cost_now = |found: &FeasiblePlacement| StartCost::of(job, found.score, 0);
        let now = self.lookahead.best_beside(at);
        let now = now.filter(|found| than.is_none_or(|than| start_cost_now(found) < than));
        let than = now
            .as_ref()
            .map(start_cost_now)
            .or(than)
            .unwrap_or(StartCost::WORST);
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
            .map(|future_start| Start::Later(Box::new(future_start)))
            .or(now.map(Start::Now))
    }

    fn take(&mut self, at: usize, start: Start) {
        match start {
            Start::Now(found) => {
                self.lookahead.schedule.assign(at, Some(found));
            }
            Start::Later(future_start) => self.lookahead.look_forward(at, *future_start),
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
        let than = start_cost(self.lookahead.schedule, first).unwrap_or(StartCost::WORST);
        let wanted = self.lookahead.schedule.fleet.cheaper_types(first.job, than);
        let is_there = |other: &Entry<'_>| {
            let now = other
                .assignments
                .first()
                .map(|assignment| &assignment.decision);
            let decision = now.or(other
                .future_start
                .as_ref()
                .map(|future_start| &future_start.decision));
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
        let value = best.value.clone();
        if let Some(better) = self.choose_in_order(jobs, &best) {
            best = better;
        }
        // Each pair changes places, as long as that helps. Who waits less for the same dollars is on the way to fewer.
        while let Some(better) = self.swap_one(&best) {
            best = better;
        }
        if best.value < value {
            return true;
        }
        self.put_back(before);
        false
    }

    /// The first order that differs in one pair and is better; carried out.
    fn swap_one(&mut self, best: &ChoiceOrder) -> Option<ChoiceOrder> {
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
    fn choose_in_order(&mut self, jobs: Vec<usize>, best: &ChoiceOrder) -> Option<ChoiceOrder> {
        let had: Vec<JobSnapshot> = jobs
            .iter()
            .map(|&at| self.lookahead.step_back(at))
            .collect();
        for &at in &jobs {
            if let Some(start) = self.best_start(at, None) {
                self.take(at, start);
            }
        }
        let order = self.judged(jobs);
        if (&order.value, order.waits) < (&best.value, best.waits) {
            return Some(order);
        }
        self.put_back(had);
        None
    }

    fn snapshot(&self, jobs: &[usize]) -> Vec<JobSnapshot> {
        let entries = jobs
            .iter()
            .filter_map(|&at| Some((at, self.lookahead.schedule.entries.get(at)?)));
        entries
            .map(|(at, entry)| JobSnapshot {
                at,
                assignments: entry.assignments.clone(),
                shortfall: entry.shortfall,
                future_start: entry.future_start.clone(),
            })
            .collect()
    }

    /// Gives jobs what they had.
    fn put_back(&mut self, had: Vec<JobSnapshot>) {
        for has in &had {
            self.lookahead.step_back(has.at);
        }
        for has in had {
            self.lookahead.restore(has);
        }
    }

    fn judged(&self, jobs: Vec<usize>) -> ChoiceOrder {
        let mut without: BTreeMap<Reverse<i32>, usize> = BTreeMap::new();
        let (mut usd, mut waits) = (0, 0);
        for entry in jobs
            .iter()
            .filter_map(|&at| self.lookahead.schedule.entries.get(at))
        {
            let has = start_cost(self.lookahead.schedule, entry);
            *without.entry(Reverse(entry.job.priority)).or_default() += usize::from(has.is_none());
            usd += has.map_or(0, |has| has.usd());
            waits += has.map_or(0, |has| has.waits());
        }
        ChoiceOrder {
            jobs,
            value: (without.into_iter().collect(), usd),
            waits,
        }
    }
}

/// Whether it is a gang of which it is known what its place is worth to it.
fn is_judged(entry: &Entry<'_>) -> bool {
    entry.is_gang()
        && entry
            .assignments
            .iter()
            .all(|assignment| assignment.placement.is_some())
}
