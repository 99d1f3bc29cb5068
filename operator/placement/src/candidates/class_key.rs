//! Which jobs are equal: those that differ in nothing but key, priority and time of submission.

use std::hash::{Hash, Hasher};

use crate::model::JobSpec;

/// A job as its equivalence class sees it.
pub(super) struct ClassKey<'a>(pub(super) &'a JobSpec);

impl<'a> ClassKey<'a> {
    /// All that candidates, their cost and the verdict depend on. Every field of a job is named here, and what is in them
    /// compares itself by derived `Eq`: a field that is added is part of the class, or left out on purpose.
    fn fields(&self) -> impl PartialEq + use<'a> {
        let JobSpec {
            key: _,
            namespace,
            queue,
            priority: _,
            submitted_seconds: _,
            kind,
            objective,
            budget,
            capacity_types,
            clusters,
            excluded_clusters,
            topology,
            egress,
            alternatives,
        } = self.0;
        (
            (alternatives, kind, topology, objective, budget),
            (namespace, queue, capacity_types, clusters),
            (excluded_clusters, egress),
        )
    }
}

impl PartialEq for ClassKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.fields() == other.fields()
    }
}

impl Eq for ClassKey<'_> {}

impl Hash for ClassKey<'_> {
    /// What usually tells classes apart: equal jobs have equal hashes, and `Eq` decides.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let job = self.0;
        job.alternatives.hash(state);
        job.kind.hash(state);
        job.queue.hash(state);
        job.topology.hash(state);
    }
}
