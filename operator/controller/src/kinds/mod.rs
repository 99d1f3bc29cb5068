//! Kinds of jobs. One file each says all that is particular to it, behind one trait: its engine job, its objects in a member and
//! their names, what it is charged, its status and its events. The stages know none of them.
//!
//! ```text
//!  reconcile (of any kind): placements ──► views ──► Kind::assess ──► status, what to release, shrink, advance
//! ```
//!
//! To add a kind: its CRD, a file here that implements [`Job`] and [`Kind`], its `mod` line and a line in [`REGISTERED`], and the RBAC rules.

mod inference;
mod reconcile;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod training;

use std::collections::BTreeSet;

use ampacity_api::{ConditionReason, InferenceJob, JobKind, Placement, TrainingJob, Verdict};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodSpec;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::dispatch::{DispatchError, Objects, Target};
use crate::ingest::watch_jobs;
use crate::observe::{News, PlacementView};
use crate::runtime::{Happening, Operator};
use crate::state::{
    ClockSteps, Job, JobKey, KindFacts, Kinds, NamespacedObject, ObjectKey, StoredJob, Workload,
};

/// What the Service of a gang ends in, and no other Service of ours: names of jobs are free, and so are those of their attempts.
const GANG: &str = "-gang";

/// A kind of job.
pub trait Kind: NamespacedObject + Job {
    /// Its status.
    type Status: Clone + Default + PartialEq + Serialize;
    /// What runs a placement of it in a member.
    type Workload: NamespacedObject;

    /// The kind.
    const KIND: JobKind;

    /// Whether no more than one placement may be there at a time: another attempt begins only when the last is gone.
    const ONE_AT_A_TIME: bool;

    /// What the stages must know of it.
    fn facts() -> KindFacts;

    /// What was last written of it.
    fn status(&self) -> Option<&Self::Status>;

    /// Whether a status explains with numbers why there is no place.
    fn has_verdict(status: &Self::Status) -> bool;

    /// Whether it is over for good.
    fn is_finished(&self) -> bool {
        false
    }

    /// Seconds until it is to be deleted; `None`: it stays.
    fn seconds_to_live(&self, _now: Timestamp) -> Option<i64> {
        None
    }

    /// Whether a placement that was made for it still counts. Of several that do, a kind that has one at a time keeps the newest.
    fn is_live(&self, placement: &Placement) -> bool;

    /// What follows from what is known of it.
    fn assess(&self, facts: Facts<'_>) -> Assessment<Self::Status>;

    /// What happened between two of its statuses, for people.
    fn happenings(&self, before: Option<&Self::Status>, after: &Self::Status) -> Vec<Happening>;

    /// What a placement is made of in its member.
    ///
    /// # Errors
    /// When job and placement do not belong together, or the template cannot be placed.
    fn objects(
        &self,
        placement: &Placement,
        target: &Target,
    ) -> Result<Objects<Self::Workload>, DispatchError>;

    /// The pods that a workload makes.
    fn pod_spec(workload: &Self::Workload) -> Option<&PodSpec>;

    /// Whether a workload has the replicas that its placement holds.
    fn is_scaled(_workload: &Workload, _placement: &Placement) -> bool {
        true
    }
}

/// What an assessment is made from, beside the job itself.
pub struct Facts<'a> {
    /// Live placements, by name, with what their members show.
    pub placements: Vec<PlacementView<'a>>,
    /// What is wrong with the job, if anything.
    pub issue: Option<(ConditionReason, String)>,
    /// Why it waits, if the engine has said so.
    pub waiting: Option<(Verdict, String)>,
    /// Jumps of the clock until now.
    pub steps: &'a ClockSteps,
    /// Now.
    pub now: Timestamp,
}

/// What follows from what is known of a job.
#[derive(Debug)]
pub struct Assessment<S> {
    /// The status that follows.
    pub status: S,
    /// What is new in it.
    pub news: News,
    /// Whether its attempt is over, so that its placement is led no further.
    pub ended: bool,
    /// Whether it wants a place, or more of them.
    pub wants_place: bool,
    /// Clusters that refused what is made of it.
    pub refused_by: BTreeSet<String>,
    /// Clusters whose schedulers found no node for it in time.
    pub no_node_in: BTreeSet<String>,
    /// Placements to make smaller, and to how many replicas; 0 releases one.
    pub resize: Vec<(ObjectKey, i32)>,
    /// Nodes whose replicas go first then.
    pub lost_nodes: BTreeSet<String>,
    /// Seconds until it is to be looked at again, whatever happens.
    pub check_after_seconds: Option<i64>,
}

/// A kind that the operator serves.
pub struct Registered {
    /// The kind.
    kind: JobKind,
    facts: fn() -> KindFacts,
    read: fn(Value) -> Result<StoredJob, ReadError>,
    watch: fn(&mut JoinSet<()>, &Operator, JobKind),
    reconcile: fn(&mut Operator, &JobKey, Timestamp),
}

impl Registered {
    const fn new<K: Kind>() -> Self {
        Self {
            kind: K::KIND,
            facts: K::facts,
            read: read_as::<K>,
            watch: watch_jobs::<K>,
            reconcile: reconcile::reconcile::<K>,
        }
    }
}

/// Every kind that the operator serves.
static REGISTERED: &[Registered] = &[
    Registered::new::<TrainingJob>(),
    Registered::new::<InferenceJob>(),
];

/// Why an object is no job of its kind: the path of the field, and what is wrong with it.
pub type ReadError = serde_path_to_error::Error<serde_json::Error>;

fn read_as<K: Kind>(object: Value) -> Result<StoredJob, ReadError> {
    Ok(StoredJob::new(serde_path_to_error::deserialize::<_, K>(
        object,
    )?))
}

/// Reads an object of a kind of job from JSON; `None`: this operator serves no such kind.
///
/// # Errors
/// When the object is not of its kind's form.
pub fn read(kind: &str, object: Value) -> Option<Result<(JobKey, StoredJob), ReadError>> {
    let registered = REGISTERED.iter().find(|r| r.kind.as_str() == kind)?;
    let with_key = |job: StoredJob| {
        let object = ObjectKey::of(&job);
        let kind = registered.kind;
        (JobKey { kind, object }, job)
    };
    Some((registered.read)(object).map(with_key))
}

/// Facts about every kind.
pub fn kinds() -> Kinds {
    Kinds::new(REGISTERED.iter().map(|registered| (registered.facts)()))
}

/// Watches the jobs of every kind until the set is dropped.
pub fn watch(set: &mut JoinSet<()>, operator: &Operator) {
    for registered in REGISTERED {
        (registered.watch)(set, operator, registered.kind);
    }
}

/// Brings everything about one job up to date: its placements, its status, and whether it wants a place.
pub fn reconcile(operator: &mut Operator, job: &JobKey, now: Timestamp) {
    if let Some(registered) = REGISTERED.iter().find(|r| r.kind == job.kind) {
        (registered.reconcile)(operator, job, now);
    }
}
