//! What a placement holds while it runs.

use std::collections::BTreeMap;

use super::{DevicePart, Watts};

/// Replicas on one node, in rank order within the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeShare {
    /// Node name.
    pub name: String,
    /// Replicas on it.
    pub replicas: u32,
}

/// What a placement holds: devices on nodes, watts on every ancestor and in its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Unique key: the job's key, `/`, and the part's number.
    pub key: String,
    /// Queue that is charged.
    pub queue: String,
    /// Cluster.
    pub cluster: String,
    /// Accelerator type.
    pub accelerator_type: String,
    /// What one unit is: a whole device or a part of one; of a slice, the size that was given, not what was asked for.
    pub part: DevicePart,
    /// Units of one replica.
    pub devices_per_replica: u32,
    /// CPU of one replica in millicores.
    pub cpu_milli: u64,
    /// Memory of one replica in MiB.
    pub memory_mib: u64,
    /// Other resources of one replica by name.
    pub other: BTreeMap<String, u64>,
    /// Replicas per node, in rank order.
    pub nodes: Vec<NodeShare>,
    /// Watts of the whole reservation (losses not included).
    pub watts: Watts,
    /// Power domains that feed the nodes, in runs over `nodes` in their order. A node that is not there is charged to these; where
    /// they say nothing of it, to those that fed it when it was last there.
    pub feeds: Vec<NodeFeeds>,
    /// When it is expected to be released, Unix seconds; `None`: unknown, and never assumed to end. A reservation that has
    /// outlived its end is expected to last as long again as it is late.
    pub ends_seconds: Option<i64>,
}

/// So many nodes in a row that hang on the same power domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFeeds {
    /// How many nodes.
    pub nodes: u32,
    /// Names of the power domains that feed them; several are A/B feeds. Empty: none.
    pub domains: Vec<String>,
}

impl Reservation {
    /// The power domains that feed each of its nodes, in their order; `None` where it does not say.
    pub fn feeds_of_nodes(&self) -> impl Iterator<Item = Option<&[String]>> {
        let runs = self.feeds.iter().flat_map(|run| {
            let nodes = usize::try_from(run.nodes).unwrap_or(usize::MAX);
            std::iter::repeat_n(Some(run.domains.as_slice()), nodes.min(self.nodes.len()))
        });
        runs.chain(std::iter::repeat(None)).take(self.nodes.len())
    }
}

impl NodeFeeds {
    /// Puts the power domains of nodes, in their order, into runs. Nothing where no node hangs on any.
    pub fn runs<'a>(nodes: impl IntoIterator<Item = &'a [String]>) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for domains in nodes {
            match runs.last_mut() {
                Some(run) if run.domains == domains => run.nodes = run.nodes.saturating_add(1),
                _ => runs.push(Self {
                    nodes: 1,
                    domains: domains.to_vec(),
                }),
            }
        }
        if runs.iter().all(|run| run.domains.is_empty()) {
            runs.clear();
        }
        runs
    }
}
