//! Pods of a member, reduced to who holds what on which node, and what our own pods do.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::labels;
use kube::Resource;

use crate::bind::rank_of;
use crate::dispatch::HUB;
use crate::inventory::{PodUsage, SlimPod, pod_usage};
use crate::watch::Change;
use crate::world::ObjectKey;

/// A pod of one of our placements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurPod {
    /// UID.
    pub uid: String,
    /// Rank in a gang.
    pub rank: Option<u32>,
    /// Node it is bound to.
    pub node: Option<String>,
    /// Whether our scheduling gate is still on it.
    pub gated: bool,
    /// Whether it runs and is ready.
    pub ready: bool,
    /// Whether it ended well.
    pub succeeded: bool,
    /// Whether it ended badly.
    pub failed: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it was disrupted (node lost, evicted, preempted) rather than failing by itself.
    pub disrupted: bool,
    /// Why the member cannot place or start it, if it says so.
    pub trouble: Option<String>,
}

impl OurPod {
    /// Whether it still holds its devices.
    pub fn holds_devices(&self) -> bool {
        !self.succeeded && !self.failed
    }
}

/// What a change of pods touched.
#[derive(Debug, Default)]
pub struct Touched {
    /// Nodes whose free capacity may have changed.
    pub nodes: BTreeSet<String>,
    /// Placements whose pods changed.
    pub placements: BTreeSet<ObjectKey>,
}

/// All pods of a member.
#[derive(Debug, Default)]
pub struct PodIndex {
    hub_name: String,
    synced: bool,
    foreign: BTreeMap<ObjectKey, PodUsage>,
    by_node: BTreeMap<String, BTreeSet<ObjectKey>>,
    ours: BTreeMap<ObjectKey, BTreeMap<String, OurPod>>,
    owner: BTreeMap<ObjectKey, ObjectKey>,
}

impl PodIndex {
    /// An empty index that takes pods labelled with this hub's name for ours.
    pub fn new(hub_name: &str) -> Self {
        Self {
            hub_name: hub_name.to_owned(),
            ..Self::default()
        }
    }

    /// Whether a full list has been seen.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Pods that hold no reservation of ours, on a node.
    pub fn foreign_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a PodUsage> {
        self.by_node
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|key| self.foreign.get(key))
    }

    /// Pods of a placement, by name.
    pub fn of_placement(&self, placement: &ObjectKey) -> Option<&BTreeMap<String, OurPod>> {
        self.ours.get(placement)
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: Change<SlimPod>) -> Touched {
        let mut touched = Touched::default();
        match change {
            Change::Applied(pod) => self.insert(&pod, &mut touched),
            Change::Deleted(pod) => self.remove(&ObjectKey::of(&*pod), &mut touched),
            Change::Forgotten(key) => self.remove(&key, &mut touched),
            Change::All(pods) => {
                self.synced = true;
                let mut gone: BTreeSet<ObjectKey> = self
                    .foreign
                    .keys()
                    .chain(self.owner.keys())
                    .cloned()
                    .collect();
                for pod in pods {
                    gone.remove(&ObjectKey::of(&pod));
                    self.insert(&pod, &mut touched);
                }
                for key in gone {
                    self.remove(&key, &mut touched);
                }
            }
        }
        touched
    }

    fn insert(&mut self, pod: &SlimPod, touched: &mut Touched) {
        let key = ObjectKey::of(pod);
        if let Some(placement) = self.placement_of(pod) {
            let seen = our_pod(pod);
            touched.placements.insert(placement.clone());
            self.owner.insert(key.clone(), placement.clone());
            self.ours
                .entry(placement)
                .or_default()
                .insert(key.name, seen);
            return;
        }
        // A pod of another hub's placement holds what it holds, like anybody's.
        let usage = pod_usage(pod).map(|usage| PodUsage {
            placement: None,
            ..usage
        });
        if usage.as_ref() == self.foreign.get(&key) {
            return;
        }
        self.remove(&key, touched);
        if let Some(usage) = usage {
            touched.nodes.insert(usage.node.clone());
            self.by_node
                .entry(usage.node.clone())
                .or_default()
                .insert(key.clone());
            self.foreign.insert(key, usage);
        }
    }

    fn placement_of(&self, pod: &SlimPod) -> Option<ObjectKey> {
        let meta = pod.meta();
        let all = meta.labels.as_ref()?;
        let name = all.get(labels::PLACEMENT)?;
        (all.get(HUB) == Some(&self.hub_name))
            .then(|| ObjectKey::new(meta.namespace.as_deref().unwrap_or_default(), name))
    }

    fn remove(&mut self, key: &ObjectKey, touched: &mut Touched) {
        if let Some(placement) = self.owner.remove(key) {
            if let Some(pods) = self.ours.get_mut(&placement) {
                pods.remove(&key.name);
                if pods.is_empty() {
                    self.ours.remove(&placement);
                }
            }
            touched.placements.insert(placement);
        }
        if let Some(usage) = self.foreign.remove(key) {
            if let Some(pods) = self.by_node.get_mut(&usage.node) {
                pods.remove(key);
                if pods.is_empty() {
                    self.by_node.remove(&usage.node);
                }
            }
            touched.nodes.insert(usage.node);
        }
    }
}

fn our_pod(pod: &SlimPod) -> OurPod {
    let condition = |type_: &str, status: &str| {
        pod.status
            .conditions
            .iter()
            .find(|c| c.type_ == type_ && c.status == status)
    };
    let phase = pod.status.phase.as_str();
    OurPod {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        rank: rank_of(
            pod.metadata.labels.as_ref(),
            pod.metadata.annotations.as_ref(),
        ),
        node: pod.spec.node_name.clone().filter(|n| !n.is_empty()),
        gated: pod
            .spec
            .scheduling_gates
            .iter()
            .any(|g| g.name == labels::SCHEDULING_GATE),
        ready: phase == "Running" && condition("Ready", "True").is_some(),
        succeeded: phase == "Succeeded",
        failed: phase == "Failed",
        terminating: pod.metadata.deletion_timestamp.is_some(),
        disrupted: condition("DisruptionTarget", "True").is_some(),
        trouble: condition("PodScheduled", "False")
            .filter(|c| c.reason.as_deref() == Some("Unschedulable"))
            .and_then(|c| c.message.clone()),
    }
}
