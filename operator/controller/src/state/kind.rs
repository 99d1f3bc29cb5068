//! What the stages must know of a kind of job where they have no job at hand, as plain data.

use ampacity_api::{JobKind, Placement};
use kube::core::ApiResource;

/// Facts about a kind of job. The crate's `kinds` fills them in.
#[derive(Clone, Debug)]
pub struct KindFacts {
    /// The kind.
    pub kind: JobKind,
    /// The kind in the hub's API.
    pub resource: ApiResource,
    /// Name of the Placement of an attempt, from the job's name. Jobs of all kinds may have one name, their Placements may
    /// not.
    pub placement_name: fn(job: &str, attempt: i32) -> String,
    /// What runs a placement in its member: a Job, a Deployment, …
    pub workload: ApiResource,
    /// Its name, and that of its claim template. No other kind, job or attempt has the same one.
    pub workload_name: fn(&Placement) -> String,
    /// The Service that replicas are reached by.
    pub service: ServiceScope,
    /// Whether the member's scheduler chooses among the placement's nodes, so that replicas count where their pods are bound.
    pub replicas_move: bool,
}

/// Whose the Service is that is made in a member beside the workload.
#[derive(Clone, Copy, Debug)]
pub enum ServiceScope {
    /// The placement's, where it has several replicas; its name, from the workload's.
    Placement(fn(workload: &str) -> String),
    /// All of the job's placements in a cluster share one; its name, from the job's name.
    Job(fn(job: &str) -> String),
}

/// Every kind of job.
#[derive(Clone, Debug, Default)]
pub struct Kinds(Vec<KindFacts>);

impl Kinds {
    /// The kinds with these facts.
    pub fn new(facts: impl IntoIterator<Item = KindFacts>) -> Self {
        Self(facts.into_iter().collect())
    }

    /// Each kind.
    pub fn iter(&self) -> impl Iterator<Item = &KindFacts> {
        self.0.iter()
    }

    /// Facts about a kind; `None` for one that this operator does not serve.
    pub fn get(&self, kind: JobKind) -> Option<&KindFacts> {
        self.0.iter().find(|facts| facts.kind == kind)
    }

    /// The kind of this name.
    pub fn named(&self, name: &str) -> Option<&KindFacts> {
        self.0.iter().find(|facts| facts.kind.as_str() == name)
    }
}
