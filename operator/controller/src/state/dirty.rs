//! What changed since the last cycle, so that it looks at nothing else.

use std::collections::BTreeSet;

use super::key::{JobKey, ObjectKey};

/// What is to be brought up to date.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Jobs to reconcile.
    pub jobs: BTreeSet<JobKey>,
    /// Nodes to read anew, by cluster.
    pub nodes: BTreeSet<(String, String)>,
    /// Placements whose part of the ledger is to be worked out again.
    pub placements: BTreeSet<ObjectKey>,
    /// Clusters in which something may run whose Placement is gone.
    pub orphans: BTreeSet<String>,
    /// Clusters to read anew as a whole.
    pub clusters: BTreeSet<String>,
    /// Catalogue, prices or power changed.
    pub facts: bool,
}
