//! Pods of a member, reduced to who holds what on which node, and what our own pods do.
//!
//! Anybody who may make pods in a member can put our labels on one. A pod counts as ours only while the Placement that it names is
//! there with the UID that it names, and what it holds as reserved only as far as that Placement's [`Cover`] goes; the rest is held
//! like anybody's.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::labels;
use jiff::Timestamp;
use kube::Resource;

use super::change::Change;
use super::cover::Cover;
use super::key::ObjectKey;
use super::our_pod::OurPod;
use super::slim::{SlimPod, SlimResourceClaim};
use super::usage::{PodUsage, pod_usage};

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
    /// What the placements in this member have reserved.
    live: BTreeMap<ObjectKey, Cover>,
    /// Names of the pods of live placements that hold something of a node, by placement and node.
    placed: BTreeMap<(ObjectKey, String), BTreeSet<String>>,
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
        self.live
            .get(placement)
            .is_some_and(|cover| cover.is_of(uid))
    }

    /// Whether a placement's reservation covers what a claim with its labels holds: it is no larger than one replica's, and none of
    /// the pods that use it is beyond the reservation. Pods that are not known yet say nothing.
    pub fn covers_claim(
        &self,
        placement: &ObjectKey,
        uid: &str,
        claim: &SlimResourceClaim,
    ) -> bool {
        let Some(cover) = self.live.get(placement).filter(|cover| cover.is_of(uid)) else {
            return false;
        };
        let results = claim.status.allocation.devices.results.iter();
        let users = claim.status.reserved_for.iter();
        let mut users = users.filter(|user| user.resource == "pods");
        results.filter(|result| !result.admin_access).count() <= cover.devices()
            && users.all(|user| {
                let pod = ObjectKey::new(&placement.namespace, &user.name);
                self.foreign
                    .get(&pod)
                    .is_none_or(|held| held.beyond.as_ref().is_some_and(|beyond| beyond.is_counted))
            })
    }

    /// The placement whose pod's extended resources this claim serves, and the UID that the pod names: the scheduler made the claim,
    /// without our labels.
    pub fn served_by(&self, claim: &SlimResourceClaim) -> Option<(&ObjectKey, &str)> {
        let key = ObjectKey::of(claim);
        let pod = claim.status.reserved_for.first()?;
        let pod = self
            .claims
            .get(&ObjectKey::new(&key.namespace, &pod.name))?;
        let usage = pod.usage.as_ref()?;
        (usage.extended_claim.as_ref() == Some(&key)).then_some((&pod.placement, pod.uid.as_str()))
    }

    /// A placement is there and has this reserved, or is not there any more.
    pub fn recognise(&mut self, placement: &ObjectKey, cover: Option<Cover>) -> Touched {
        let mut touched = Touched::default();
        if self.live.get(placement) == cover.as_ref() {
            return touched;
        }
        match cover {
            Some(cover) => self.live.insert(placement.clone(), cover),
            None => self.live.remove(placement),
        };
        let names = self.claimed.get(placement).cloned().unwrap_or_default();
        let mut nodes = BTreeSet::new();
        for name in names {
            let key = ObjectKey::new(&placement.namespace, &name);
            let cover = self.live.get(placement);
            let Some(claim) = self.claims.get_mut(&key) else {
                continue;
            };
            let node = claim.usage.as_ref().map(|usage| usage.node.clone());
            if cover.is_some_and(|cover| cover.is_of(&claim.uid)) {
                if let Some(pod) = claim.aside.take() {
                    touched.placements.insert(placement.clone());
                    self.ours
                        .entry(placement.clone())
                        .or_default()
                        .insert(name.clone(), pod);
                }
                if let Some(node) = node {
                    self.place(placement, &node, name);
                    nodes.insert(node);
                }
            } else if claim.aside.is_none() {
                touched.placements.insert(placement.clone());
                claim.aside = take_pod(&mut self.ours, placement, &name);
                let usage = claim.usage.clone();
                self.unplace(placement, node.as_deref(), &name);
                self.count(&key, usage, &mut touched);
            }
        }
        for node in nodes {
            self.settle(placement, &node, &mut touched);
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
        let node = usage.as_ref().map(|usage| usage.node.clone());
        if let Some(old) = self.claims.get(&key) {
            let old_node = old.usage.as_ref().map(|usage| usage.node.clone());
            if old.placement != placement {
                self.forget_claim(&key, touched);
            } else if old_node != node {
                self.leave(&placement, old_node.as_deref(), &key.name, touched);
            }
        }
        let known = self.ours.get(&placement);
        let known = known.and_then(|pods| pods.get(&key.name));
        let seen = OurPod::seen(pod, known, self.now);
        touched.placements.insert(placement.clone());
        self.claimed
            .entry(placement.clone())
            .or_default()
            .insert(key.name.clone());
        let is_live = self.is_live(&placement, &uid);
        let mut claim = Claim {
            placement: placement.clone(),
            uid,
            usage: usage.clone(),
            aside: None,
        };
        if is_live {
            self.ours
                .entry(placement.clone())
                .or_default()
                .insert(key.name.clone(), seen);
            self.claims.insert(key.clone(), claim);
            match node {
                Some(node) => {
                    self.place(&placement, &node, key.name);
                    self.settle(&placement, &node, touched);
                }
                None => self.count(&key, None, touched),
            }
        } else {
            take_pod(&mut self.ours, &placement, &key.name);
            self.leave(&placement, node.as_deref(), &key.name, touched);
            claim.aside = Some(seen);
            self.claims.insert(key.clone(), claim);
            self.count(&key, usage, touched);
        }
    }

    fn place(&mut self, placement: &ObjectKey, node: &str, pod: String) {
        self.placed
            .entry((placement.clone(), node.to_owned()))
            .or_default()
            .insert(pod);
    }

    fn unplace(&mut self, placement: &ObjectKey, node: Option<&str>, pod: &str) {
        let Some(node) = node else { return };
        let at = (placement.clone(), node.to_owned());
        if let Some(pods) = self.placed.get_mut(&at) {
            pods.remove(pod);
            if pods.is_empty() {
                self.placed.remove(&at);
            }
        }
    }

    /// A pod holds nothing of a node any more: another may have its place in the reservation.
    fn leave(
        &mut self,
        placement: &ObjectKey,
        node: Option<&str>,
        pod: &str,
        touched: &mut Touched,
    ) {
        self.unplace(placement, node, pod);
        if let Some(node) = node {
            self.settle(placement, node, touched);
        }
    }

    /// Has the pods of a placement on a node share what it has reserved there, and counts what goes beyond as anybody's.
    fn settle(&mut self, placement: &ObjectKey, node: &str, touched: &mut Touched) {
        let names = self.placed.get(&(placement.clone(), node.to_owned()));
        let Some(cover) = self.live.get(placement) else {
            return;
        };
        let mut left = cover.on(node);
        let mut counted = Vec::new();
        for name in names.into_iter().flatten() {
            let key = ObjectKey::new(&placement.namespace, name);
            let usage = self.claims.get(&key).and_then(|claim| claim.usage.as_ref());
            let beyond = usage.and_then(|usage| left.take(usage, &placement.to_string()));
            counted.push((key, beyond));
        }
        for (key, beyond) in counted {
            self.count(&key, beyond, touched);
        }
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
        let node = claim.usage.as_ref().map(|usage| usage.node.as_str());
        self.leave(&claim.placement, node, &key.name, touched);
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

#[cfg(test)]
mod tests;
