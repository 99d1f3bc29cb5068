//! Who has what while jobs take their turns.

use std::collections::{BTreeMap, BTreeSet};

use crate::arena::{GroupIndex, ReservationIndex};
use crate::candidates::{Classes, Score, score};
use crate::fleet::Fleet;
use crate::model::{JobSpec, Kind, PlacementDecision, Plan, RunningJob};
use crate::nodes::NodeAllocation;

/// A job of the cycle.
pub(super) struct Contender<'a> {
    pub(super) job: &'a JobSpec,
    /// Where it runs as the cycle begins.
    pub(super) running: Option<&'a RunningJob>,
    pub(super) class: usize,
    pub(super) holding: Option<Holding>,
    /// Whether what it has as the cycle begins cannot be judged, so that it keeps it.
    pub(super) is_left_alone: bool,
}

/// What a gang has.
pub(super) struct Holding {
    pub(super) reservation: ReservationIndex,
    pub(super) group: GroupIndex,
    pub(super) score: Score,
    pub(super) devices: u64,
    pub(super) nodes: u64,
    /// The decision, where it is of this cycle.
    pub(super) new: Option<PlacementDecision>,
}

/// A cycle in the making.
pub(super) struct PreemptionCycle<'a, 'f> {
    pub(super) fleet: &'f mut Fleet,
    pub(super) now_seconds: i64,
    /// In order of priority.
    pub(super) contenders: Vec<Contender<'a>>,
    pub(super) classes: Classes,
    /// Who has a place in a group.
    pub(super) placed_in: BTreeMap<GroupIndex, BTreeSet<usize>>,
    /// Nodes counted in or out so far.
    pub(super) moved: u64,
}

impl<'a, 'f> PreemptionCycle<'a, 'f> {
    /// With the jobs where they run, and where they were placed in what was free.
    pub(super) fn new(
        fleet: &'f mut Fleet,
        contenders: Vec<Contender<'a>>,
        first: &Plan,
        now_seconds: i64,
    ) -> Self {
        let mut cycle = Self {
            fleet,
            now_seconds,
            contenders,
            classes: Classes::default(),
            placed_in: BTreeMap::new(),
            moved: 0,
        };
        let decided: BTreeMap<&str, &PlacementDecision> = first
            .placements
            .iter()
            .map(|decision| (decision.job.as_str(), decision))
            .collect();
        for at in 0..cycle.contenders.len() {
            let Some(contender) = cycle.contenders.get(at) else {
                continue;
            };
            let holding = match (contender.running, decided.get(contender.job.key.as_str())) {
                (Some(running), _) => {
                    let left = Some(running.left_seconds.max(0));
                    cycle.holding_of(contender.job, &running.decision, left, false)
                }
                (None, Some(decision)) => {
                    cycle.holding_of(contender.job, decision, decision.duration_seconds, true)
                }
                (None, None) => None,
            };
            if let Some(contender) = cycle.contenders.get_mut(at) {
                contender.is_left_alone = contender.running.is_some() && holding.is_none();
            }
            cycle.record(at, holding);
        }
        cycle.sort_classes();
        cycle
    }

    /// What could run each job if none of them ran.
    pub(super) fn sort_classes(&mut self) {
        let all: Vec<ReservationIndex> = self
            .contenders
            .iter()
            .filter_map(|contender| Some(contender.holding.as_ref()?.reservation))
            .collect();
        for &reservation in &all {
            self.fleet.count_out(reservation);
        }
        let jobs: Vec<&JobSpec> = self
            .contenders
            .iter()
            .map(|contender| contender.job)
            .collect();
        for job in &jobs {
            if matches!(job.kind, Kind::Training { .. }) {
                self.fleet.prepare(job);
            }
        }
        let (classes, of) = Classes::sort_complete(self.fleet, &jobs);
        for (contender, class) in self.contenders.iter_mut().zip(of) {
            contender.class = class;
        }
        self.classes = classes;
        for &reservation in &all {
            self.fleet.count_in(reservation);
        }
    }

    /// What a gang holds by its decision; `None` where it is not one that can be judged, and is left alone.
    pub(super) fn holding_of(
        &self,
        job: &JobSpec,
        decision: &PlacementDecision,
        seconds: Option<i64>,
        new: bool,
    ) -> Option<Holding> {
        if !matches!(job.kind, Kind::Training { .. }) {
            return None;
        }
        let held = &decision.reservation;
        let alternative = job
            .alternatives
            .iter()
            .find(|alternative| alternative.name == decision.alternative)?;
        let mut group = None;
        let mut allocations = Vec::with_capacity(held.nodes.len());
        for share in &held.nodes {
            let node = self.fleet.find_node(&held.cluster, &share.name)?;
            let slot = self.fleet.nodes[node].slots.iter().find(|slot| {
                let key = &self.fleet.groups[slot.group].key;
                (&*key.accelerator_type, &key.part) == (held.accelerator_type.as_str(), &held.part)
            })?;
            group = Some(slot.group);
            allocations.push(NodeAllocation {
                node,
                pool: slot.pool,
                replicas: share.replicas,
            });
        }
        let group = group?;
        let uses = self.fleet.uses(&allocations, held.devices_per_replica);
        let watts_each = self.fleet.watts_each(group);
        let quote = self
            .fleet
            .quote(job, &held.cluster, &uses, watts_each, seconds);
        Some(Holding {
            reservation: self.fleet.ledger.find(&held.key)?,
            group,
            score: score(job, alternative, &quote),
            devices: uses.iter().map(|part| part.devices).sum(),
            nodes: u64::try_from(allocations.len()).unwrap_or(u64::MAX),
            new: new.then(|| decision.clone()),
        })
    }

    pub(super) fn record(&mut self, at: usize, holding: Option<Holding>) {
        if let Some(holding) = &holding {
            self.placed_in.entry(holding.group).or_default().insert(at);
        }
        if let Some(contender) = self.contenders.get_mut(at) {
            contender.holding = holding;
        }
    }

    /// Stops a job: what it holds is released.
    pub(super) fn stop(&mut self, at: usize) {
        let Some(holding) = self
            .contenders
            .get_mut(at)
            .and_then(|contender| contender.holding.take())
        else {
            return;
        };
        if let Some(placed_in) = self.placed_in.get_mut(&holding.group) {
            placed_in.remove(&at);
        }
        let key = self
            .fleet
            .ledger
            .get(holding.reservation)
            .map(|held| held.key.clone());
        if let Some(key) = key {
            self.fleet.release(&key);
        }
    }
}
