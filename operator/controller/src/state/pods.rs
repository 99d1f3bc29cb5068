//! Pods of a member, reduced to who holds what on which node, and what our own pods do.
//!
//! Anybody who may make pods in a member can put our labels on one. A pod counts as ours, and what it holds as reserved, only
//! while the Placement that it names is there with the UID that it names; any other holds what it holds, like anybody's.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{Placement, labels};
use jiff::Timestamp;
use kube::Resource;

use super::change::Change;
use super::key::ObjectKey;
use super::pod_wait::{PodWait, rejection};
use super::slim::SlimPod;
use super::usage::{PodUsage, pod_usage};

/// Annotation and, since Kubernetes 1.28, label of an indexed Job's pods: their rank.
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The rank that the Job controller gave a pod, from its labels or its annotations; `None` for pods of no indexed Job.
fn rank_of(
    labels: Option<&BTreeMap<String, String>>,
    annotations: Option<&BTreeMap<String, String>>,
) -> Option<u32> {
    [annotations, labels]
        .into_iter()
        .flatten()
        .find_map(|map| map.get(COMPLETION_INDEX)?.parse().ok())
}

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
    /// What keeps it from running, if anything.
    pub waits: Option<PodWait>,
    /// Since when this process has seen it wait so. By this process's clock: the member's may be another.
    pub waits_since: Option<Timestamp>,
    /// Whether it has been ready, as far as this process has seen.
    pub was_ready: bool,
    /// Why the kubelet of its node would not run it, if it said so.
    pub rejected: Option<String>,
}

impl OurPod {
    /// Whether it is bound to a node and has not ended badly.
    pub fn is_bound(&self) -> bool {
        self.node.is_some() && !self.failed && !self.terminating
    }

    /// Whether it still holds its devices.
    pub fn holds_devices(&self) -> bool {
        !self.succeeded && !self.failed
    }
}

/// Pods that a placement's workload has yet to make, beside those that are on their way out.
pub fn missing_pods(placement: &Placement, pods: Option<&BTreeMap<String, OurPod>>) -> i32 {
    let there = pods.map_or(0, |pods| {
        pods.values()
            .filter(|pod| !pod.terminating && !pod.failed)
            .count()
    });
    let there = i32::try_from(there).unwrap_or(i32::MAX);
    placement.spec.replicas.saturating_sub(there).max(0)
}

/// What a change of pods touched.
#[derive(Debug, Default)]
pub struct Touched {
    /// Nodes whose free capacity may have changed.
    pub nodes: BTreeSet<String>,
    /// Placements whose pods changed.
    pub placements: BTreeSet<ObjectKey>,
}

/// A pod that says it is of a placement of this hub.
#[derive(Debug)]
struct Claim {
    placement: ObjectKey,
    /// UID of the placement.
    uid: String,
    usage: Option<PodUsage>,
    /// The pod, while its placement is not there and what it holds counts as anybody's.
    aside: Option<OurPod>,
}

/// All pods of a member.
#[derive(Debug, Default)]
pub struct PodIndex {
    /// The hub whose pods are ours; `None`: any.
    hub_name: Option<String>,
    synced: bool,
    /// When the last change was heard of.
    now: Timestamp,
    foreign: BTreeMap<ObjectKey, PodUsage>,
    by_node: BTreeMap<String, BTreeSet<ObjectKey>>,
    ours: BTreeMap<ObjectKey, BTreeMap<String, OurPod>>,
    claims: BTreeMap<ObjectKey, Claim>,
    /// Names of the pods of `claims`, by placement.
    claimed: BTreeMap<ObjectKey, BTreeSet<String>>,
    /// UIDs of the placements in this member.
    live: BTreeMap<ObjectKey, String>,
}

impl PodIndex {
    /// An empty index that takes pods labelled with this hub's name for ours, once it knows their placements.
    pub fn new(hub_name: &str) -> Self {
        Self {
            hub_name: Some(hub_name.to_owned()),
            ..Self::default()
        }
    }

    /// Whether objects with this label are of this hub. An index that was given no name takes any hub's for ours, as files need
    /// it: they do not say whose they are.
    pub fn is_of_hub(&self, label: Option<&String>) -> bool {
        self.hub_name.is_none() || label == self.hub_name.as_ref()
    }

    /// Whether a full list has been seen.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// What is known may be out of date until the next full list.
    pub fn await_list(&mut self) {
        self.synced = false;
    }

    /// Pods that wait have been waiting since now.
    pub fn count_anew(&mut self, now: Timestamp) {
        for pod in self.ours.values_mut().flat_map(BTreeMap::values_mut) {
            pod.waits_since = pod.waits.is_some().then_some(now);
        }
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

    /// Whether pods say that they are of this placement, be it there or not.
    pub fn is_claimed(&self, placement: &ObjectKey) -> bool {
        self.claimed.contains_key(placement)
    }

    /// Whether a placement is there with this UID. One that has none itself, in a file, is known by its name alone.
    pub fn is_live(&self, placement: &ObjectKey, uid: &str) -> bool {
        let live = self.live.get(placement);
        live.is_some_and(|live| live.is_empty() || live == uid)
    }

    /// A placement is there, with this UID, or is not any more.
    pub fn recognise(&mut self, placement: &ObjectKey, uid: Option<&str>) -> Touched {
        let mut touched = Touched::default();
        if self.live.get(placement).map(String::as_str) == uid {
            return touched;
        }
        match uid {
            Some(uid) => self.live.insert(placement.clone(), uid.to_owned()),
            None => self.live.remove(placement),
        };
        let names = self.claimed.get(placement).cloned().unwrap_or_default();
        for name in names {
            let key = ObjectKey::new(&placement.namespace, &name);
            let Some(claim) = self.claims.get_mut(&key) else {
                continue;
            };
            touched.placements.insert(placement.clone());
            if uid.is_some_and(|uid| uid.is_empty() || uid == claim.uid) {
                if let Some(pod) = claim.aside.take() {
                    self.ours
                        .entry(placement.clone())
                        .or_default()
                        .insert(name, pod);
                }
                self.count(&key, None, &mut touched);
            } else if claim.aside.is_none() {
                claim.aside = take_pod(&mut self.ours, placement, &name);
                let usage = claim.usage.clone();
                self.count(&key, usage, &mut touched);
            }
        }
        touched
    }

    /// Takes a change in that is heard of now.
    pub fn apply(&mut self, change: Change<SlimPod>, now: Timestamp) -> Touched {
        self.now = now;
        let mut touched = Touched::default();
        match change {
            Change::Listing => {}
            Change::Applied(pod) => self.insert(&pod, &mut touched),
            Change::Deleted(pod) => self.remove(&ObjectKey::of(&*pod), &mut touched),
            Change::Forgotten(key) => self.remove(&key, &mut touched),
            Change::All(pods) => {
                self.synced = true;
                let mut gone: BTreeSet<ObjectKey> = self
                    .foreign
                    .keys()
                    .chain(self.claims.keys())
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
        // A pod of another hub's placement holds what it holds, like anybody's.
        let usage = pod_usage(pod).map(|usage| PodUsage {
            placement: None,
            ..usage
        });
        let Some((placement, uid)) = self.claim_of(pod) else {
            self.forget_claim(&key, touched);
            self.count(&key, usage, touched);
            return;
        };
        if self
            .claims
            .get(&key)
            .is_some_and(|old| old.placement != placement)
        {
            self.forget_claim(&key, touched);
        }
        let mut seen = our_pod(pod);
        let known = self.ours.get(&placement);
        let known = known.and_then(|pods| pods.get(&key.name));
        let known = known.filter(|known| known.uid == seen.uid);
        seen.waits_since = waits_since(known, &seen, self.now);
        seen.was_ready = seen.ready || known.is_some_and(|known| known.was_ready);
        touched.placements.insert(placement.clone());
        let aside = if self.is_live(&placement, &uid) {
            self.count(&key, None, touched);
            self.ours
                .entry(placement.clone())
                .or_default()
                .insert(key.name.clone(), seen);
            None
        } else {
            take_pod(&mut self.ours, &placement, &key.name);
            self.count(&key, usage.clone(), touched);
            Some(seen)
        };
        self.claimed
            .entry(placement.clone())
            .or_default()
            .insert(key.name.clone());
        let claim = Claim {
            placement,
            uid,
            usage,
            aside,
        };
        self.claims.insert(key, claim);
    }

    /// The placement that a pod says it is of, and that placement's UID.
    fn claim_of(&self, pod: &SlimPod) -> Option<(ObjectKey, String)> {
        let meta = pod.meta();
        let all = meta.labels.as_ref()?;
        let name = all.get(labels::PLACEMENT)?;
        let annotations = meta.annotations.as_ref();
        let uid = annotations.and_then(|a| a.get(labels::PLACEMENT_UID));
        let placement = ObjectKey::new(meta.namespace.as_deref().unwrap_or_default(), name);
        let is_ours = self.is_of_hub(all.get(labels::HUB));
        is_ours.then(|| (placement, uid.cloned().unwrap_or_default()))
    }

    fn remove(&mut self, key: &ObjectKey, touched: &mut Touched) {
        self.forget_claim(key, touched);
        self.count(key, None, touched);
    }

    fn forget_claim(&mut self, key: &ObjectKey, touched: &mut Touched) {
        let Some(claim) = self.claims.remove(key) else {
            return;
        };
        take_pod(&mut self.ours, &claim.placement, &key.name);
        if let Some(names) = self.claimed.get_mut(&claim.placement) {
            names.remove(&key.name);
            if names.is_empty() {
                self.claimed.remove(&claim.placement);
            }
        }
        touched.placements.insert(claim.placement);
    }

    /// Counts what a pod holds as anybody's, or no more.
    fn count(&mut self, key: &ObjectKey, usage: Option<PodUsage>, touched: &mut Touched) {
        if self.foreign.get(key) == usage.as_ref() {
            return;
        }
        if let Some(old) = self.foreign.remove(key) {
            if let Some(pods) = self.by_node.get_mut(&old.node) {
                pods.remove(key);
                if pods.is_empty() {
                    self.by_node.remove(&old.node);
                }
            }
            touched.nodes.insert(old.node);
        }
        if let Some(usage) = usage {
            touched.nodes.insert(usage.node.clone());
            self.by_node
                .entry(usage.node.clone())
                .or_default()
                .insert(key.clone());
            self.foreign.insert(key.clone(), usage);
        }
    }
}

fn take_pod(
    ours: &mut BTreeMap<ObjectKey, BTreeMap<String, OurPod>>,
    placement: &ObjectKey,
    name: &str,
) -> Option<OurPod> {
    let pods = ours.get_mut(placement)?;
    let pod = pods.remove(name);
    if pods.is_empty() {
        ours.remove(placement);
    }
    pod
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
        waits: PodWait::of(pod),
        waits_since: None,
        was_ready: false,
        rejected: rejection(pod),
    }
}

/// Since when a pod has been waiting for what it waits for. One whose container keeps ending runs for a moment now and then: that
/// it was ready between is what begins its time anew.
fn waits_since(known: Option<&OurPod>, seen: &OurPod, now: Timestamp) -> Option<Timestamp> {
    let before = known.and_then(|known| Some((known.waits.as_ref(), known.waits_since?)));
    match (&seen.waits, before) {
        (None, Some((None | Some(PodWait::Failing(_)), since))) if !seen.ready => Some(since),
        (None, _) => None,
        (Some(_), None) => Some(now),
        (Some(PodWait::Failing(_)), Some((None | Some(PodWait::Failing(_)), since))) => Some(since),
        (Some(now_waits), Some((Some(waited), since))) => {
            let same = std::mem::discriminant(now_waits) == std::mem::discriminant(waited);
            Some(if same { since } else { now })
        }
        (Some(_), Some((None, _))) => Some(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, object};
    use serde_json::json;

    #[test]
    fn a_rank_is_read_from_annotation_or_label() {
        let map = |value: &str| BTreeMap::from([(COMPLETION_INDEX.to_owned(), value.to_owned())]);
        assert_eq!(rank_of(None, Some(&map("7"))), Some(7));
        assert_eq!(rank_of(Some(&map("8")), None), Some(8));
        assert_eq!(rank_of(Some(&map("8")), Some(&map("x"))), Some(8));
        assert_eq!(rank_of(Some(&map("-1")), Some(&BTreeMap::new())), None);
    }

    /// A pod on node `a` with eight devices that says it is of a placement.
    fn pod(hub: &str, placement: &str, uid: &str) -> SlimPod {
        object(json!({
            "metadata": {"name": "p", "namespace": "research",
                "labels": {labels::PLACEMENT: placement, labels::HUB: hub},
                "annotations": {labels::PLACEMENT_UID: uid}},
            "spec": {"nodeName": "a", "containers": [{"resources": {"limits": {"nvidia.com/gpu": 8}}}]},
            "status": {"phase": "Running"},
        }))
    }

    #[test]
    fn a_pod_is_ours_only_while_its_placement_is_there() {
        let llama = ObjectKey::new("research", "llama-1");
        let foreign = |index: &PodIndex| index.foreign_on("a").count();
        let ours = |index: &PodIndex| index.of_placement(&llama).map_or(0, BTreeMap::len);
        for (what, hub, placement, uid, is_ours) in [
            ("of the placement", "hub-1", "llama-1", "uid-1", true),
            (
                "of an earlier one of the name",
                "hub-1",
                "llama-1",
                "uid-0",
                false,
            ),
            ("of none that is there", "hub-1", "llama-9", "uid-1", false),
            ("of another hub", "hub-2", "llama-1", "uid-1", false),
        ] {
            let expected = if is_ours { (1, 0) } else { (0, 1) };
            // Whichever is heard of first.
            for pod_first in [true, false] {
                let mut index = PodIndex::new("hub-1");
                let apply = |index: &mut PodIndex| {
                    index.apply(Change::Applied(Box::new(pod(hub, placement, uid))), NOW)
                };
                if pod_first {
                    apply(&mut index);
                    assert_eq!((ours(&index), foreign(&index)), (0, 1), "{what}");
                }
                index.recognise(&llama, Some("uid-1"));
                if !pod_first {
                    apply(&mut index);
                }
                assert_eq!((ours(&index), foreign(&index)), expected, "{what}");
                let touched = index.recognise(&llama, None);
                assert_eq!((ours(&index), foreign(&index)), (0, 1), "{what}: gone");
                assert_eq!(touched.nodes.contains("a"), is_ours, "{what}");
                index.apply(Change::All(Vec::new()), NOW);
                assert_eq!((ours(&index), foreign(&index)), (0, 0), "{what}");
                assert!(index.claims.is_empty() && index.claimed.is_empty());
            }
        }
    }

    #[test]
    fn a_pod_counts_once_whatever_its_labels_become() {
        let mut index = PodIndex::new("hub-1");
        let llama = ObjectKey::new("research", "llama-1");
        let chat = ObjectKey::new("research", "chat-1");
        index.recognise(&llama, Some("uid-1"));
        index.recognise(&chat, Some("uid-2"));
        for (placement, uid, counts) in [
            ("llama-1", "uid-1", (1, 0, 0)),
            ("chat-1", "uid-2", (0, 1, 0)),
            ("chat-1", "uid-1", (0, 0, 1)),
            ("llama-1", "uid-1", (1, 0, 0)),
        ] {
            index.apply(Change::Applied(Box::new(pod("hub-1", placement, uid))), NOW);
            let of = |key| index.of_placement(key).map_or(0, BTreeMap::len);
            let found = (of(&llama), of(&chat), index.foreign_on("a").count());
            assert_eq!(found, counts, "{placement} {uid}");
        }
    }

    #[test]
    fn a_pod_waits_since_it_was_first_seen_to_wait_for_the_same() {
        let at = |second: i64| Timestamp::from_second(1_000_000 + second).unwrap();
        let waiting = |reason: &str| {
            json!({"phase": "Running", "containerStatuses": [{"name": "main",
                "state": {"waiting": {"reason": reason}}}]})
        };
        let running = |ready: &str| {
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [{"name": "main"}]})
        };
        let creating = || json!({"phase": "Pending"});
        let (pulls, backs_off, crashes) = (
            || waiting("ErrImagePull"),
            || waiting("ImagePullBackOff"),
            || waiting("CrashLoopBackOff"),
        );
        // What is seen second by second, and since when the pod then waits.
        let table = [
            (vec![creating(), creating()], Some(0)),
            (vec![creating(), pulls(), backs_off(), pulls()], Some(1)),
            (vec![creating(), running("False")], None),
            (vec![creating(), running("True")], None),
            (vec![creating(), running("False"), crashes()], Some(2)),
            (vec![crashes(), running("False"), crashes()], Some(0)),
            (vec![crashes(), running("True"), crashes()], Some(2)),
        ];
        let llama = ObjectKey::new("research", "llama-1");
        for (seen, expected) in table {
            let mut index = PodIndex::new("hub-1");
            index.recognise(&llama, Some("uid-1"));
            for (second, status) in (0..).zip(&seen) {
                let mut pod = pod("hub-1", "llama-1", "uid-1");
                pod.status = serde_json::from_value(status.clone()).unwrap();
                index.apply(Change::Applied(Box::new(pod)), at(second));
            }
            let since = index.of_placement(&llama).unwrap()["p"].waits_since;
            assert_eq!(since, expected.map(at), "{seen:?}");
        }
        let mut index = PodIndex::new("hub-1");
        index.recognise(&llama, Some("uid-1"));
        let mut pod = pod("hub-1", "llama-1", "uid-1");
        pod.status = serde_json::from_value(crashes()).unwrap();
        index.apply(Change::Applied(Box::new(pod)), at(0));
        index.count_anew(at(60));
        let since = index.of_placement(&llama).unwrap()["p"].waits_since;
        assert_eq!(since, Some(at(60)), "the member was away meanwhile");
    }
}
