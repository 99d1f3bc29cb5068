//! What one member cluster shows.

use std::collections::BTreeMap;

use ampacity_api::{JobKind, Placement, labels};
use ampacity_placement::NodeSpec;
use jiff::Timestamp;
use kube::Client;
use tokio::task::JoinHandle;

use super::cache::Cache;
use super::change::WatchFailure;
use super::key::ObjectKey;
use super::kind::Kinds;
use super::outage::Outage;
use super::pod_signs::PodSigns;
use super::pods::PodIndex;
use super::slim::{SlimNode, SlimResourceClaim, SlimResourceSlice};
use super::taint_rule::SlimDeviceTaintRule;
use super::workload::Workload;

/// Whether a member answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// No attempt has ended yet.
    #[default]
    Connecting,
    /// It answers.
    Connected,
    /// It does not, or may not be used.
    Unreachable {
        /// Since when.
        since: Timestamp,
        /// Machine-readable reason.
        reason: &'static str,
        /// What happened and what to do.
        message: String,
    },
}

/// How long a new member may take to be read before it counts as one that cannot be.
const FIRST_LOOK_SECONDS: i64 = 10;

/// Where a member's credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkSource {
    /// The hub itself.
    Hub,
    /// A kubeconfig in a Secret of the hub.
    Secret {
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the Secret.
        name: String,
        /// Key in it.
        key: String,
    },
}

/// The task that keeps the picture of a member up to date. Dropping the link ends it.
pub struct Link {
    source: LinkSource,
    task: JoinHandle<()>,
}

impl Link {
    /// A link whose task is running.
    pub fn new(source: LinkSource, task: JoinHandle<()>) -> Self {
        Self { source, task }
    }

    /// Where the credentials come from.
    pub fn source(&self) -> &LinkSource {
        &self.source
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What one member shows.
#[derive(Default)]
pub struct Member {
    /// The kinds of jobs that may run there.
    pub kinds: Kinds,
    /// The running link.
    pub link: Option<Link>,
    /// Number of the link: events of an earlier one are ignored.
    pub link_number: u64,
    /// When the link was made.
    pub linked_at: Option<Timestamp>,
    /// Client, once connected.
    pub client: Option<Client>,
    /// Version of its API server.
    pub version: Option<String>,
    /// Whether it answers.
    pub reach: Reach,
    /// When it last answered.
    pub last_seen: Option<Timestamp>,
    /// What was wrong with a watch last, and when. It is tried every few seconds.
    pub watch_failed: Option<(WatchFailure, Timestamp)>,
    /// Nodes.
    pub nodes: Cache<SlimNode>,
    /// DRA devices.
    pub slices: Cache<SlimResourceSlice>,
    /// DRA allocations.
    pub claims: Cache<SlimResourceClaim>,
    /// Devices that are taken out of service.
    pub taint_rules: Cache<SlimDeviceTaintRule>,
    /// Whether nobody said what claims hold: only files may leave them out.
    pub claims_unknown: bool,
    /// Pods.
    pub pods: PodIndex,
    /// What pods tell of their nodes beside what they hold.
    pub signs: PodSigns,
    /// What runs our placements, by the kind of their job.
    pub workloads: BTreeMap<JobKind, Cache<Workload>>,
    /// Nodes that are out of order, and those that are gone while a placement names them.
    pub outages: BTreeMap<String, Outage>,
    /// Taints that pods tolerate because they ask for a device, by how the device is asked for.
    pub taint_keys: BTreeMap<String, Vec<String>>,
    /// What the engine was told of each node: heartbeats change objects, but not this.
    pub specs: BTreeMap<String, NodeSpec>,
    /// What the inventory found odd, by node.
    pub notes: BTreeMap<String, Vec<String>>,
}

impl Member {
    /// A member of which nothing has been seen. Pods labelled with this hub's name are ours once their placements are known.
    pub fn new(hub_name: &str, kinds: &Kinds) -> Self {
        Self {
            workloads: kinds.iter().map(|k| (k.kind, Cache::default())).collect(),
            kinds: kinds.clone(),
            pods: PodIndex::new(hub_name),
            ..Self::default()
        }
    }

    /// Whether everything needed has been listed, so that absence means absence. Kinds that the member does not serve count
    /// as listed.
    pub fn is_synced(&self) -> bool {
        self.nodes.is_synced()
            && self.pods.is_synced()
            && self.workloads.values().all(Cache::is_synced)
            && self.slices.is_synced()
            && self.claims.is_synced()
            && self.taint_rules.is_synced()
    }

    /// The workload that was made from this very placement. An object of its name may be of an earlier one, or of anybody.
    pub fn workload_of(&self, placement: &Placement) -> Option<&Workload> {
        let facts = self.kinds.get(placement.spec.job_ref.kind)?;
        let namespace = placement.metadata.namespace.as_deref().unwrap_or_default();
        let key = ObjectKey::new(namespace, &(facts.workload_name)(placement));
        let workload = self.workloads.get(&facts.kind)?.get(&key)?;
        let annotations = workload.metadata.annotations.as_ref();
        let made_from = annotations.and_then(|a| a.get(labels::PLACEMENT_UID));
        (made_from == placement.metadata.uid.as_ref()).then_some(workload)
    }

    /// Whether it was linked a moment ago and has yet to show everything: nothing is concluded from what is missing.
    pub fn is_being_read(&self, now: Timestamp) -> bool {
        !self.is_synced()
            && !matches!(self.reach, Reach::Unreachable { .. })
            && self
                .linked_at
                .is_none_or(|at| now.as_second() - at.as_second() < FIRST_LOOK_SECONDS)
    }

    /// Whether new work may go there.
    pub fn is_usable(&self) -> bool {
        self.reach == Reach::Connected && self.is_synced()
    }
}
