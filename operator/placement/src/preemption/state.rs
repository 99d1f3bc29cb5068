//! Who has what while jobs take their turns.

use std::collections::{BTreeMap, BTreeSet};

use crate::arena::{GroupIndex, ReservationIndex};
use crate::candidates::{Classes, Score, score};
use crate::fleet::Fleet;
use crate::model::{JobSpec, Kind, PlacementDecision, Plan, RunningJob};
use crate::nodes::Pick;

/// A job of the cycle.
pub(super) struct Member<'a> {
    pub(super) job: &'a JobSpec,
    /// Where it runs as the cycle begins.
    pub(super) running: Option<&'a RunningJob>,
    pub(super) class: usize,
    pub(super) seat: Option<Seat>,
    /// Whether what it has as the cycle begins cannot be judged, so that it keeps it.
    pub(super) is_left_alone: bool,
}

/// What a gang has.
pub(super) struct Seat {
    pub(super) reservation: ReservationIndex,
    pub(super) group: GroupIndex,
    pub(super) score: Score,
    pub(super) devices: u64,
    pub(super) nodes: u64,
    /// The decision, where it is of this cycle.
    pub(super) new: Option<PlacementDecision>,
}

/// A cycle in the making.
pub(super) struct Turns<'a, 'f> {
    pub(super) fleet: &'f mut Fleet,
    pub(super) now_seconds: i64,
    /// In order of priority.
    pub(super) members: Vec<Member<'a>>,
    pub(super) classes: Classes,
    /// Who has a place in a group.
    pub(super) seated: BTreeMap<GroupIndex, BTreeSet<usize>>,
    /// Nodes counted in or out so far.
    pub(super) moved: u64,
}

impl<'a, 'f> Turns<'a, 'f> {
    /// With the jobs where they run, and where they were placed in what was free.
    pub(super) fn new(
        fleet: &'f mut Fleet,
        members: Vec<Member<'a>>,
        first: &Plan,
        now_seconds: i64,
    ) -> Self {
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
    pub(super) fn sort_classes(&mut self) {
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
    pub(super) fn seat_of(
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

    pub(super) fn sit(&mut self, at: usize, seat: Option<Seat>) {
        if let Some(seat) = &seat {
            self.seated.entry(seat.group).or_default().insert(at);
        }
        if let Some(member) = self.members.get_mut(at) {
            member.seat = seat;
        }
    }

    /// Takes a job's seat away for good.
    pub(super) fn stand_up(&mut self, at: usize) {
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
}
