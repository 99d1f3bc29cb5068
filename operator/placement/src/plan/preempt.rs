//! Preemption: who runs makes way for who comes before.
//!
//! ```text
//!   in order of priority, each job once; its candidates, best first
//!
//!   job ──► room is free ───────────────────────────► takes it (who runs already: only if that is worth a restart)
//!    │
//!    └────► room that later jobs have is better ────► takes that; the fewest of them stop, the last ones first,
//!                                                     and each has its own turn still to come
//! ```
//!
//! First the jobs that wait are [placed](super::round) in what is free, as in any cycle. A job never makes way for one of the
//! same priority, so jobs cannot drive each other out in turn.

use std::collections::{BTreeMap, BTreeSet};

use super::candidate::{Candidate, Score, invalid, score};
use super::class::Classes;
use super::gang::Found;
use super::round::Round;
use super::select::Pick;
use crate::arena::{GroupIndex, ReservationIndex};
use crate::fleet::Fleet;
use crate::model::{
    Effort, JobSpec, Kind, PlacementDecision, Plan, PlanOptions, Replan, RunningJob,
};

/// A place is left for another only if that one is better by this part of what it costs.
const WORTH_MOVING: i128 = 50;
/// A job of the cycle.
pub(super) struct Member<'a> {
    pub(super) job: &'a JobSpec,
    /// Where it runs as the cycle begins.
    running: Option<&'a RunningJob>,
    class: usize,
    pub(super) seat: Option<Seat>,
    /// Whether what it has as the cycle begins cannot be judged, so that it keeps it.
    is_left_alone: bool,
}

/// What a gang has.
pub(super) struct Seat {
    pub(super) reservation: ReservationIndex,
    group: GroupIndex,
    score: Score,
    pub(super) devices: u64,
    pub(super) nodes: u64,
    /// The decision, where it is of this cycle.
    new: Option<PlacementDecision>,
}

/// A cycle in the making.
pub(super) struct Turns<'a, 'f> {
    pub(super) fleet: &'f mut Fleet,
    pub(super) now_seconds: i64,
    /// In order of priority.
    pub(super) members: Vec<Member<'a>>,
    classes: Classes,
    /// Who has a place in a group.
    pub(super) seated: BTreeMap<GroupIndex, BTreeSet<usize>>,
    /// Nodes counted in or out so far.
    pub(super) moved: u64,
}

impl Fleet {
    /// Plans a cycle in which running jobs may be stopped or moved for jobs of higher priority, or moved to where they cost
    /// less by more than a restart.
    ///
    /// What starts is reserved, what stops is released. No promises are made to those that wait: who comes first takes what it
    /// needs when its time has come.
    pub fn replan(
        &mut self,
        jobs: &[JobSpec],
        running: &[RunningJob],
        options: &PlanOptions,
    ) -> Replan {
        let mut members: Vec<Member<'_>> = Vec::with_capacity(jobs.len() + running.len());
        let mut waiting: Vec<&JobSpec> = Vec::new();
        let mut invalid_keys: Vec<String> = Vec::new();
        let mut keys = BTreeSet::new();
        let runs = running.iter().map(|running| (&running.job, Some(running)));
        for (job, running) in runs.chain(jobs.iter().map(|job| (job, None))) {
            let is_new = keys.insert(&job.key);
            if let Some(running) = running
                && self
                    .reservation(&running.decision.reservation.key)
                    .is_none()
            {
                self.reserve(running.decision.reservation.clone());
            }
            let is_gang = matches!(job.kind, Kind::Training { .. });
            if !is_new || invalid(job).is_some() || running.is_some() && !is_gang {
                if running.is_none() {
                    invalid_keys.push(job.key.clone());
                }
                continue;
            }
            if running.is_none() {
                waiting.push(job);
            }
            members.push(Member {
                job,
                running,
                class: 0,
                seat: None,
                is_left_alone: false,
            });
        }
        let order = |job: &JobSpec| {
            (
                -i64::from(job.priority),
                job.submitted_seconds,
                job.key.clone(),
            )
        };
        members.sort_by_cached_key(|member| order(member.job));
        waiting.sort_by_cached_key(|job| order(job));
        let first = self.place_free(&waiting, options);
        let mut turns = Turns::new(self, members, &first, options.now_seconds);
        turns.take();
        turns.finish(first, invalid_keys)
    }

    /// Places what has room without anyone making way.
    fn place_free(&mut self, jobs: &[&JobSpec], options: &PlanOptions) -> Plan {
        let mut plan = Plan::default();
        let mut round = Round::new(self, jobs, options);
        round.place_all();
        round.improve(Effort::default().trials);
        round.finish(&mut plan);
        plan
    }
}

impl<'a, 'f> Turns<'a, 'f> {
    fn new(fleet: &'f mut Fleet, members: Vec<Member<'a>>, first: &Plan, now_seconds: i64) -> Self {
        let mut turns = Self {
            fleet,
            now_seconds,
            members,
            classes: Classes::default(),
            seated: BTreeMap::new(),
            moved: 0,
        };
        let decided: BTreeMap<&str, &PlacementDecision> = first
            .placements
            .iter()
            .map(|decision| (decision.job.as_str(), decision))
            .collect();
        for at in 0..turns.members.len() {
            let Some(member) = turns.members.get(at) else {
                continue;
            };
            let seat = match (member.running, decided.get(member.job.key.as_str())) {
                (Some(running), _) => {
                    let left = Some(running.left_seconds.max(0));
                    turns.seat_of(member.job, &running.decision, left, false)
                }
                (None, Some(decision)) => {
                    turns.seat_of(member.job, decision, decision.duration_seconds, true)
                }
                (None, None) => None,
            };
            if let Some(member) = turns.members.get_mut(at) {
                member.is_left_alone = member.running.is_some() && seat.is_none();
            }
            turns.sit(at, seat);
        }
        turns.sort_classes();
        turns
    }

    /// What could run each job if none of them ran.
    fn sort_classes(&mut self) {
        let all: Vec<ReservationIndex> = self
            .members
            .iter()
            .filter_map(|member| Some(member.seat.as_ref()?.reservation))
            .collect();
        for &reservation in &all {
            self.fleet.count_out(reservation);
        }
        let jobs: Vec<&JobSpec> = self.members.iter().map(|member| member.job).collect();
        for job in &jobs {
            if matches!(job.kind, Kind::Training { .. }) {
                self.fleet.prepare(job);
            }
        }
        let (classes, of) = Classes::sort_complete(self.fleet, &jobs);
        for (member, class) in self.members.iter_mut().zip(of) {
            member.class = class;
        }
        self.classes = classes;
        for &reservation in &all {
            self.fleet.count_in(reservation);
        }
    }

    /// The seat of a gang by its decision; `None` where it is not one that can be judged, and is left alone.
    fn seat_of(
        &self,
        job: &JobSpec,
        decision: &PlacementDecision,
        seconds: Option<i64>,
        new: bool,
    ) -> Option<Seat> {
        if !matches!(job.kind, Kind::Training { .. }) {
            return None;
        }
        let held = &decision.reservation;
        let alternative = job
            .alternatives
            .iter()
            .find(|alternative| alternative.name == decision.alternative)?;
        let mut group = None;
        let mut picks = Vec::with_capacity(held.nodes.len());
        for share in &held.nodes {
            let node = self.fleet.find_node(&held.cluster, &share.name)?;
            let slot = self.fleet.nodes[node].slots.iter().find(|slot| {
                let key = &self.fleet.groups[slot.group].key;
                (&*key.accelerator_type, &key.part) == (held.accelerator_type.as_str(), &held.part)
            })?;
            group = Some(slot.group);
            picks.push(Pick {
                node,
                pool: slot.pool,
                replicas: share.replicas,
            });
        }
        let group = group?;
        let uses = self.fleet.uses(&picks, held.devices_per_replica);
        let watts_each = self.fleet.watts_each(group);
        let quote = self
            .fleet
            .quote(job, &held.cluster, &uses, watts_each, seconds);
        Some(Seat {
            reservation: self.fleet.ledger.find(&held.key)?,
            group,
            score: score(job, alternative, &quote),
            devices: uses.iter().map(|part| part.devices).sum(),
            nodes: u64::try_from(picks.len()).unwrap_or(u64::MAX),
            new: new.then(|| decision.clone()),
        })
    }

    fn sit(&mut self, at: usize, seat: Option<Seat>) {
        if let Some(seat) = &seat {
            self.seated.entry(seat.group).or_default().insert(at);
        }
        if let Some(member) = self.members.get_mut(at) {
            member.seat = seat;
        }
    }

    /// Takes a job's seat away for good.
    fn stand_up(&mut self, at: usize) {
        let Some(seat) = self
            .members
            .get_mut(at)
            .and_then(|member| member.seat.take())
        else {
            return;
        };
        if let Some(seated) = self.seated.get_mut(&seat.group) {
            seated.remove(&at);
        }
        let key = self
            .fleet
            .ledger
            .get(seat.reservation)
            .map(|held| held.key.clone());
        if let Some(key) = key {
            self.fleet.release(&key);
        }
    }

    /// Gives every job its turn.
    fn take(&mut self) {
        let classes = std::mem::take(&mut self.classes);
        for at in 0..self.members.len() {
            let Some(Member {
                job,
                class,
                seat,
                is_left_alone,
                ..
            }) = self.members.get(at)
            else {
                continue;
            };
            if matches!(job.kind, Kind::Inference { .. }) || *is_left_alone {
                continue;
            }
            let (job, class) = (*job, *class);
            let own = seat.as_ref().map(|seat| (seat.reservation, seat.score));
            let stays = own.map(|(_, score)| score);
            let candidates = classes
                .get(class)
                .map_or(&[][..], |slate| &slate.candidates);
            let better =
                |candidate: &Candidate| stays.is_none_or(|stays| is_worth(candidate.score, stays));
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
                    self.stand_up(other);
                }
                self.stand_up(at);
                self.start(at, job, found);
            }
        }
    }

    /// A better place than the one it has, and who has to make way for it.
    fn choose(
        &mut self,
        at: usize,
        job: &JobSpec,
        hopeful: &[Candidate],
        stays: Option<Score>,
    ) -> Option<(Found, Vec<usize>)> {
        let free = self
            .fleet
            .best_gang(job, hopeful.iter().map(|c| (c, None)), self.now_seconds)
            .filter(|found| stays.is_none_or(|stays| is_worth(found.score, stays)));
        let limit = free.as_ref().map(|found| found.score).or(stays);
        for candidate in hopeful {
            if limit.is_some_and(|limit| !is_worth(candidate.score, limit)) {
                break;
            }
            let choice = self.make_room(at, job, candidate);
            if let Some((found, _)) = &choice
                && limit.is_none_or(|limit| is_worth(found.score, limit))
            {
                return choice;
            }
        }
        free.map(|found| (found, Vec::new()))
    }

    /// Reserves what was found.
    fn start(&mut self, at: usize, job: &JobSpec, mut found: Found) {
        let duration = found.quote.duration_seconds;
        let Some(mut decision) = self.fleet.decision(job, &mut found) else {
            return;
        };
        decision.reservation.ends_seconds =
            duration.map(|seconds| self.now_seconds.saturating_add(seconds));
        self.fleet
            .reserve_on(decision.reservation.clone(), found.nodes());
        let seat = self.seat_of(job, &decision, duration, true);
        self.sit(at, seat);
    }

    /// Hands over what was decided.
    fn finish(self, first: Plan, invalid: Vec<String>) -> Replan {
        let mut replan = Replan::default();
        // Inference jobs were placed before and keep what they got.
        let mut whole: BTreeMap<String, Vec<PlacementDecision>> = BTreeMap::new();
        for decision in first.placements {
            whole
                .entry(decision.job.clone())
                .or_default()
                .push(decision);
        }
        for member in self.members {
            let key = &member.job.key;
            if let Kind::Inference { replicas, .. } = member.job.kind {
                let decisions = whole.remove(key).unwrap_or_default();
                let placed: u64 = decisions.iter().map(|d| u64::from(d.replicas())).sum();
                if placed < u64::from(replicas) {
                    replan.waiting.push(key.clone());
                }
                replan.placements.extend(decisions);
                continue;
            }
            let runs_on =
                member.is_left_alone || member.seat.as_ref().is_some_and(|seat| seat.new.is_none());
            if runs_on {
                continue;
            }
            if member.running.is_some() {
                replan.stopped.push(key.clone());
            }
            match member.seat.and_then(|seat| seat.new) {
                Some(decision) => replan.placements.push(decision),
                None => replan.waiting.push(key.clone()),
            }
        }
        replan.waiting.extend(invalid);
        replan
    }
}

/// Whether one place is so much better than another that a job may be moved, or others stopped, for it.
fn is_worth(better: Score, than: Score) -> bool {
    let margin = than.objective.saturating_abs() / WORTH_MOVING;
    better.objective < than.objective.saturating_sub(margin)
}
