//! What this process knows of placements beside their objects: whose they are, and how far they have come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ampacity_api::{Placement, PlacementPhase};
use jiff::Timestamp;

use super::inquiry::Inquiry;
use super::key::{JobKey, ObjectKey};
use super::our_pod::OurPod;

/// How far a placement has come in its member, by its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pods: i32,
    bound: i32,
    ready: i32,
}

impl Progress {
    /// Of a placement's pods.
    pub fn of(pods: Option<&BTreeMap<String, OurPod>>) -> Self {
        let count = |which: &dyn Fn(&OurPod) -> bool| {
            let found = pods.map_or(0, |p| p.values().filter(|p| which(p)).count());
            i32::try_from(found).unwrap_or(i32::MAX)
        };
        Self {
            pods: count(&|_| true),
            bound: count(&|p| p.node.is_some()),
            ready: count(&|p| p.ready),
        }
    }

    /// Replicas that run and are ready.
    pub fn ready(self) -> i32 {
        self.ready
    }

    /// The phase of a placement of so many replicas.
    pub fn phase(self, replicas: i32) -> PlacementPhase {
        if self.ready >= replicas {
            PlacementPhase::Running
        } else if self.bound >= replicas {
            PlacementPhase::Bound
        } else {
            PlacementPhase::Dispatched
        }
    }
}

/// The life of a placement, as far as this process has seen it. After a restart everything begins as `Committed` again: what
/// the member shows says the rest.
///
/// ```text
///   Committed ──► Dispatched ──┬──────────────► Removed
///       │                      │                   ▲
///       └───────► Refused ─────┴──► Removing ──────┘
///                               pods forced off silent nodes
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacementState {
    /// It is written in the hub. This process has made nothing from it; an earlier one may have.
    Committed {
        /// How far its workload had come when it was last seen in the member.
        seen: Option<Progress>,
    },
    /// This process has made its objects in the member.
    Dispatched {
        /// How far its workload had come when it was last seen in the member.
        seen: Option<Progress>,
    },
    /// The member will not have its objects.
    Refused {
        /// Why, and what to do.
        why: String,
    },
    /// Its pods were forced away from silent nodes; its objects are still to be removed.
    Removing {
        /// UIDs of pods that were forced away from silent nodes, or could not be.
        forced: BTreeSet<String>,
    },
    /// Its objects have been told to go; its pods may take their time.
    Removed {
        /// UIDs of pods that were forced away from silent nodes, or could not be.
        forced: BTreeSet<String>,
    },
}

impl Default for PlacementState {
    fn default() -> Self {
        Self::Committed { seen: None }
    }
}

/// What this process knows of one placement.
#[derive(Debug, Default)]
struct Record {
    state: PlacementState,
    /// What its member was asked about it.
    inquiry: Option<Inquiry>,
    /// When how far it has come was last written.
    phase_told: Option<Timestamp>,
    /// When its workload's deadline for want of word was last seen put off.
    fence_renewed: Option<Instant>,
}

/// Every placement of the hub.
#[derive(Debug, Default)]
pub struct Placements {
    of_job: BTreeMap<JobKey, BTreeSet<ObjectKey>>,
    records: BTreeMap<ObjectKey, Record>,
}

impl Placements {
    /// A placement is there.
    pub fn add(&mut self, placement: &Placement) {
        let key = ObjectKey::of(placement);
        let of_job = self.of_job.entry(JobKey::of_placement(placement));
        of_job.or_default().insert(key.clone());
        self.records.entry(key).or_default();
    }

    /// A placement of a job is gone.
    pub fn remove(&mut self, job: &JobKey, placement: &ObjectKey) {
        if let Some(keys) = self.of_job.get_mut(job) {
            keys.remove(placement);
            if keys.is_empty() {
                self.of_job.remove(job);
            }
        }
        self.records.remove(placement);
    }

    /// When this process last wrote how far a placement has come.
    pub fn phase_told(&self, placement: &ObjectKey) -> Option<Timestamp> {
        self.records.get(placement)?.phase_told
    }

    /// How far a placement has come is being written now.
    pub fn tell_phase(&mut self, placement: &ObjectKey, now: Timestamp) {
        if let Some(record) = self.records.get_mut(placement) {
            record.phase_told = Some(now);
        }
    }

    /// Since when the deadline that a placement's workload has for want of word was not put off, as far as this process knows.
    pub fn fence_renewed(&mut self, placement: &ObjectKey, now: Instant) -> Option<Instant> {
        let record = self.records.get_mut(placement)?;
        Some(*record.fence_renewed.get_or_insert(now))
    }

    /// The deadline that a placement's workload has for want of word was put off.
    pub fn renew_fence(&mut self, placement: &ObjectKey, now: Instant) {
        if let Some(record) = self.records.get_mut(placement) {
            record.fence_renewed = Some(now);
        }
    }

    /// What a placement's member was asked about it.
    pub fn inquiry(&self, placement: &ObjectKey) -> Option<&Inquiry> {
        self.records.get(placement)?.inquiry.as_ref()
    }

    /// What a placement's member was asked about it, to be changed; `None` where there is no such placement.
    pub fn inquire(&mut self, placement: &ObjectKey) -> Option<&mut Inquiry> {
        let record = self.records.get_mut(placement)?;
        Some(record.inquiry.get_or_insert_default())
    }

    /// Forgets what was asked, where there is nothing to ask about any more.
    pub fn forget_inquiry(&mut self, placement: &ObjectKey) {
        if let Some(record) = self.records.get_mut(placement) {
            record.inquiry = None;
        }
    }

    /// Keys of a job's placements.
    pub fn of_job(&self, job: &JobKey) -> impl Iterator<Item = &ObjectKey> {
        self.of_job.get(job).into_iter().flatten()
    }

    /// How far a placement has come.
    pub fn state(&self, placement: &ObjectKey) -> Option<&PlacementState> {
        self.records.get(placement).map(|record| &record.state)
    }

    fn state_mut(&mut self, placement: &ObjectKey) -> Option<&mut PlacementState> {
        let record = self.records.get_mut(placement)?;
        Some(&mut record.state)
    }

    /// Whether this process has made a placement's objects.
    pub fn is_dispatched(&self, placement: &ObjectKey) -> bool {
        matches!(
            self.state(placement),
            Some(PlacementState::Dispatched { .. })
        )
    }

    /// Why a placement's member refuses its objects.
    pub fn refusal(&self, placement: &ObjectKey) -> Option<&str> {
        match self.state(placement)? {
            PlacementState::Refused { why } => Some(why),
            _ => None,
        }
    }

    /// Whether a placement's objects have been told to go.
    pub fn is_removed(&self, placement: &ObjectKey) -> bool {
        matches!(self.state(placement), Some(PlacementState::Removed { .. }))
    }

    /// Whether a placement's objects were made by this process and seen in the member since.
    pub fn was_seen(&self, placement: &ObjectKey) -> bool {
        matches!(
            self.state(placement),
            Some(PlacementState::Dispatched { seen: Some(_) })
        )
    }

    /// Whether a pod of a placement was forced away from a silent node, or could not be.
    pub fn is_forced(&self, placement: &ObjectKey, pod_uid: &str) -> bool {
        match self.state(placement) {
            Some(PlacementState::Removing { forced } | PlacementState::Removed { forced }) => {
                forced.contains(pod_uid)
            }
            _ => false,
        }
    }

    /// A placement's objects were made.
    pub fn dispatched(&mut self, placement: &ObjectKey) {
        if let Some(state) = self.state_mut(placement)
            && let PlacementState::Committed { seen } = *state
        {
            *state = PlacementState::Dispatched { seen };
        }
    }

    /// A placement's member will not have its objects.
    pub fn refused(&mut self, placement: &ObjectKey, why: String) {
        if let Some(
            state @ (PlacementState::Committed { .. } | PlacementState::Dispatched { .. }),
        ) = self.state_mut(placement)
        {
            *state = PlacementState::Refused { why };
        }
    }

    /// A placement's workload was seen in its member. Returns whether it has come further, or fallen back, since.
    pub fn observed(&mut self, placement: &ObjectKey, progress: Progress) -> bool {
        match self.state_mut(placement) {
            Some(PlacementState::Committed { seen } | PlacementState::Dispatched { seen }) => {
                seen.replace(progress) != Some(progress)
            }
            _ => false,
        }
    }

    /// Pods of a placement that is given up were forced away, or could not be.
    pub fn forced(&mut self, placement: &ObjectKey, pod_uids: impl IntoIterator<Item = String>) {
        if let Some(state) = self.state_mut(placement) {
            let (PlacementState::Removing { forced } | PlacementState::Removed { forced }) = state
            else {
                *state = PlacementState::Removing {
                    forced: pod_uids.into_iter().collect(),
                };
                return;
            };
            forced.extend(pod_uids);
        }
    }

    /// A placement's objects have been told to go.
    pub fn removed(&mut self, placement: &ObjectKey) {
        if let Some(state) = self.state_mut(placement) {
            let forced = match state {
                PlacementState::Removing { forced } | PlacementState::Removed { forced } => {
                    std::mem::take(forced)
                }
                _ => BTreeSet::new(),
            };
            *state = PlacementState::Removed { forced };
        }
    }
}
