//! Objects of one kind, as a watch last told of them.

use std::collections::BTreeMap;

use super::change::Change;
use super::key::{HasMeta, ObjectKey};

/// Objects of one kind, as last seen.
#[derive(Debug)]
pub struct Cache<K> {
    items: BTreeMap<ObjectKey, K>,
    synced: bool,
    /// Versions that we wrote ourselves, and that neither a watch nor a list begun since has told of.
    own: BTreeMap<ObjectKey, u64>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            synced: false,
            own: BTreeMap::new(),
        }
    }
}

impl<K: HasMeta> Cache<K> {
    /// Whether a full list has been seen.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The object of this key.
    pub fn get(&self, key: &ObjectKey) -> Option<&K> {
        self.items.get(key)
    }

    /// The cluster-scoped object of this name.
    pub fn named(&self, name: &str) -> Option<&K> {
        self.items.get(&ObjectKey::new("", name))
    }

    /// Every object.
    pub fn values(&self) -> impl Iterator<Item = &K> {
        self.items.values()
    }

    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.items.keys()
    }

    /// Takes a change in; returns the keys that changed. An object older than the one known is ignored: the result of
    /// our own write may arrive before the watch has caught up with it.
    pub fn apply(&mut self, change: Change<K>) -> Vec<ObjectKey> {
        match change {
            Change::Applied(object) => {
                let key = ObjectKey::of(&*object);
                if self.own.get(&key).copied() <= version(&*object) {
                    self.own.remove(&key);
                }
                self.put(key, *object).into_iter().collect()
            }
            Change::Deleted(object) => {
                let key = ObjectKey::of(&*object);
                let same = self
                    .items
                    .get(&key)
                    .is_some_and(|old| old.meta().uid == object.meta().uid);
                if same {
                    self.own.remove(&key);
                    self.items.remove(&key);
                    vec![key]
                } else {
                    Vec::new()
                }
            }
            Change::Forgotten(key) => {
                self.own.remove(&key);
                self.items.remove(&key).map(|_| key).into_iter().collect()
            }
            Change::Listing => {
                self.own.clear();
                Vec::new()
            }
            Change::All(objects) => self.replace_all(objects),
        }
    }

    /// Puts an object in, unless a later version of it is known; returns its key where something changed.
    fn put(&mut self, key: ObjectKey, object: K) -> Option<ObjectKey> {
        let known = self.items.get(&key);
        if known.is_some_and(|known| !is_newer(&object, known)) {
            return None;
        }
        self.items.insert(key.clone(), object);
        Some(key)
    }

    /// Takes a full list in. It may be older than what we wrote since it was begun: that stays, be it in the list or not.
    fn replace_all(&mut self, objects: Vec<K>) -> Vec<ObjectKey> {
        self.synced = true;
        // The list is at least as new as the newest object in it.
        let listed_at = objects.iter().filter_map(version).max();
        let mut old = std::mem::take(&mut self.items);
        let mut changed = Vec::new();
        for object in objects {
            let key = ObjectKey::of(&object);
            if self.own.get(&key).copied() <= version(&object) {
                self.own.remove(&key);
            }
            match old.remove(&key) {
                Some(known) if self.own.contains_key(&key) => {
                    self.items.insert(key, known);
                }
                Some(known) => {
                    if known.meta().resource_version != object.meta().resource_version {
                        changed.push(key.clone());
                    }
                    self.items.insert(key, object);
                }
                None => {
                    changed.push(key.clone());
                    self.items.insert(key, object);
                }
            }
        }
        for (key, known) in old {
            if self.own.get(&key).copied() > listed_at {
                self.items.insert(key, known);
            } else {
                self.own.remove(&key);
                changed.push(key);
            }
        }
        changed
    }

    /// Takes in what we wrote ourselves, which the watch may tell of later.
    pub fn wrote(&mut self, object: K) -> Vec<ObjectKey> {
        let (key, version) = (ObjectKey::of(&object), version(&object));
        let changed = self.put(key, object);
        if let (Some(key), Some(version)) = (&changed, version) {
            self.own.insert(key.clone(), version);
        }
        changed.into_iter().collect()
    }

    /// Takes in the result of our own update, unless the object is gone meanwhile.
    pub fn updated(&mut self, object: K) {
        if self.items.contains_key(&ObjectKey::of(&object)) {
            self.wrote(object);
        }
    }

    /// What is known may be out of date until the next full list.
    pub fn await_list(&mut self) {
        self.synced = false;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.items.clear();
        self.own.clear();
        self.synced = false;
    }
}

/// Resource versions of an API server grow; `None` for those that are no numbers, which cannot be compared.
fn version<K: HasMeta>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_ref()?.parse().ok()
}

/// Whether `new` was written after `old`. Where that cannot be told the last one seen counts.
fn is_newer<K: HasMeta>(new: &K, old: &K) -> bool {
    if new.meta().uid != old.meta().uid {
        return true;
    }
    match (version(new), version(old)) {
        (Some(new), Some(old)) => new > old,
        _ => new.meta().resource_version != old.meta().resource_version,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::ResourceExt;

    use super::*;
    use crate::state::SlimNode;

    fn node(name: &str, version: u64) -> SlimNode {
        SlimNode {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                uid: Some(format!("uid-of-{name}")),
                resource_version: Some(version.to_string()),
                ..ObjectMeta::default()
            },
            ..SlimNode::default()
        }
    }

    fn all(nodes: &[(&str, u64)]) -> Change<SlimNode> {
        Change::All(
            nodes
                .iter()
                .map(|(name, version)| node(name, *version))
                .collect(),
        )
    }

    fn shown(cache: &Cache<SlimNode>) -> Vec<(String, u64)> {
        let shown = cache.values();
        shown.map(|n| (n.name_any(), version(n).unwrap())).collect()
    }

    fn expected(nodes: &[(&str, u64)]) -> Vec<(String, u64)> {
        nodes
            .iter()
            .map(|(name, version)| ((*name).to_owned(), *version))
            .collect()
    }

    #[test]
    fn a_list_never_forgets_what_we_wrote_after_it_was_asked_for() {
        type Nodes = &'static [(&'static str, u64)];
        // What was listed before, what we wrote, what is listed then, and what is known after.
        let table: &[(Nodes, Nodes, Nodes, Nodes)] = &[
            // Made by us after the list.
            (&[("a", 5)], &[("b", 9)], &[("a", 5)], &[("a", 5), ("b", 9)]),
            (&[], &[("b", 9)], &[], &[("b", 9)]),
            // The list is newer: what is not in it is gone.
            (&[("a", 5)], &[("b", 9)], &[("a", 10)], &[("a", 10)]),
            // Updated by us after the list.
            (&[("a", 5)], &[("a", 9)], &[("a", 5)], &[("a", 9)]),
            (&[("a", 5)], &[("a", 9)], &[("a", 12)], &[("a", 12)]),
            // What we did not write is as the list says.
            (&[("a", 5), ("c", 4)], &[], &[("a", 5)], &[("a", 5)]),
        ];
        for (before, ours, listed, after) in table {
            let mut cache = Cache::default();
            cache.apply(all(before));
            for (name, version) in *ours {
                cache.wrote(node(name, *version));
            }
            cache.apply(all(listed));
            assert_eq!(
                shown(&cache),
                expected(after),
                "{before:?} {ours:?} {listed:?}"
            );
        }
    }

    #[test]
    fn a_list_that_was_begun_after_a_write_knows_of_it() {
        // What is listed after our write of `b` at 9, which somebody deleted meanwhile, and what is known after.
        for listed in [&[] as &[_], &[("a", 5)], &[("a", 12)]] {
            let mut cache = Cache::default();
            cache.apply(all(&[("a", 5)]));
            cache.wrote(node("b", 9));
            assert_eq!(cache.apply(Change::Listing), []);
            assert_eq!(shown(&cache), expected(&[("a", 5), ("b", 9)]));
            cache.apply(all(listed));
            assert_eq!(shown(&cache), expected(listed));
        }
        let mut cache = Cache::default();
        cache.apply(Change::Listing);
        cache.wrote(node("b", 9));
        cache.apply(all(&[]));
        assert_eq!(shown(&cache), expected(&[("b", 9)]), "begun before");
    }

    #[test]
    fn what_a_watch_has_told_of_is_ours_no_more() {
        let mut cache = Cache::default();
        cache.apply(all(&[]));
        cache.wrote(node("a", 9));
        cache.apply(Change::Applied(Box::new(node("a", 9))));
        cache.apply(all(&[]));
        assert_eq!(shown(&cache), []);
        cache.wrote(node("a", 19));
        cache.apply(Change::Deleted(Box::new(node("a", 20))));
        assert!(cache.own.is_empty(), "nothing is kept of what is gone");
    }
}
