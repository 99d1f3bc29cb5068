//! What one member cluster shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use ampacity_api::{JobKind, Placement, labels};
use ampacity_placement::NodeSpec;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::cache::Cache;
use super::key::ObjectKey;
use super::kind::Kinds;
use super::outage::Outage;
use super::pod_signs::PodSigns;
use super::pods::PodIndex;
use super::reach::Reach;
use super::slim::{SlimNode, SlimResourceClaim, SlimResourceSlice};
use super::taint_rule::SlimDeviceTaintRule;
use super::watch_health::WatchHealth;
use super::workload::Workload;

/// How long others wait for a member that is being read, before they are planned without it.
const FIRST_LOOK_SECONDS: i64 = 10;
/// How long a member may take to be listed whole, after it was linked or came back, before it counts as one that cannot be read.
const LISTED_WITHIN_SECONDS: i64 = 60;

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
        /// Whether the member need not prove who it is.
        insecure_skip_tls_verify: bool,
    },
}

/// The task that keeps the picture of a member up to date. Dropping the link ends it.
pub struct Link {
    source: LinkSource,
    task: JoinHandle<()>,
    renew: Arc<Notify>,
}

impl Link {
    /// A link whose task is running, and makes its connections anew when it is told to.
    pub fn new(source: LinkSource, task: JoinHandle<()>, renew: Arc<Notify>) -> Self {
        Self {
            source,
            task,
            renew,
        }
    }

    /// What it delivered turned out to be out of date: has its connections made and everything listed anew.
    pub fn renew(&self) {
        self.renew.notify_one();
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
    /// When the link was made, or the member last came back: since then it is being listed.
    pub linked_at: Option<Timestamp>,
    /// Client, once connected.
    pub client: Option<Client>,
    /// Version of its API server.
    pub version: Option<String>,
    /// UID of its `kube-system` namespace, where it may be read.
    pub uid: Option<String>,
    /// Whether it answers.
    pub reach: Reach,
    /// When it last answered.
    pub last_seen: Option<Timestamp>,
    /// Which of its watches fail.
    pub watches: WatchHealth,
    /// Whether a watch fails for so long that what is known may be out of date.
    pub is_stale: bool,
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
    /// When its controllers' warnings were last read, by namespace.
    pub events_asked: BTreeMap<String, Timestamp>,
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

    /// Whether it was linked a moment ago and has yet to show everything: others wait for it.
    pub fn is_being_read(&self, now: Timestamp) -> bool {
        self.is_being_listed_within(FIRST_LOOK_SECONDS, now)
    }

    /// Whether it has yet to show everything since it was linked or came back: nothing is concluded from what is missing, nor from
    /// what was seen before.
    pub fn is_being_listed(&self, now: Timestamp) -> bool {
        self.is_being_listed_within(LISTED_WITHIN_SECONDS, now)
    }

    fn is_being_listed_within(&self, seconds: i64, now: Timestamp) -> bool {
        !self.is_synced()
            && !self.is_stale
            && !matches!(self.reach, Reach::Unreachable { .. })
            && self
                .linked_at
                .is_none_or(|at| now.as_second() - at.as_second() < seconds)
    }

    /// It was away, or is connected for the first time: what was seen before counts no longer until all of it has been listed again,
    /// and how long anything lasts is counted from then on.
    pub fn list_anew(&mut self, now: Timestamp) {
        self.linked_at = Some(now);
        self.watches = WatchHealth::default();
        self.is_stale = false;
        self.nodes.await_list();
        self.slices.await_list();
        self.claims.await_list();
        self.taint_rules.await_list();
        self.pods.await_list();
        for workloads in self.workloads.values_mut() {
            workloads.await_list();
        }
        self.count_anew(now);
    }

    /// What is wrong in it has been wrong since now, as far as anybody can tell.
    pub fn count_anew(&mut self, now: Timestamp) {
        self.outages.clear();
        self.pods.count_anew(now);
    }

    /// Whether what it shows is how it is now.
    pub fn is_current(&self) -> bool {
        self.is_synced() && !self.is_stale
    }

    /// Whether new work may go there.
    pub fn is_usable(&self) -> bool {
        self.reach == Reach::Connected && self.is_current()
    }
}
