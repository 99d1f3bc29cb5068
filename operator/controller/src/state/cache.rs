//! Objects of one kind, as a watch last told of them.

use std::collections::BTreeMap;

use super::change::Change;
use super::key::{HasMeta, ObjectKey};

/// Objects of one kind, as last seen.
#[derive(Debug)]
pub struct Cache<K> {
    items: BTreeMap<ObjectKey, K>,
    synced: bool,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            synced: false,
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
                if self
                    .items
                    .get(&key)
                    .is_some_and(|old| !is_newer(&*object, old))
                {
                    return Vec::new();
                }
                self.items.insert(key.clone(), *object);
                vec![key]
            }
            Change::Deleted(object) => {
                let key = ObjectKey::of(&*object);
                let same = self
                    .items
                    .get(&key)
                    .is_some_and(|old| old.meta().uid == object.meta().uid);
                if same {
                    self.items.remove(&key);
                    vec![key]
                } else {
                    Vec::new()
                }
            }
            Change::Forgotten(key) => self.items.remove(&key).map(|_| key).into_iter().collect(),
            Change::All(objects) => {
                self.synced = true;
                let mut old = std::mem::take(&mut self.items);
                let mut changed = Vec::new();
                for object in objects {
                    let key = ObjectKey::of(&object);
                    let before = old.remove(&key);
                    if before
                        .is_none_or(|b| b.meta().resource_version != object.meta().resource_version)
                    {
                        changed.push(key.clone());
                    }
                    self.items.insert(key, object);
                }
                changed.extend(old.into_keys());
                changed
            }
        }
    }

    /// Takes in the result of our own update, unless the object is gone meanwhile.
    pub fn updated(&mut self, object: K) {
        if self.items.contains_key(&ObjectKey::of(&object)) {
            self.apply(Change::Applied(Box::new(object)));
        }
    }

    /// What is known may be out of date until the next full list.
    pub fn await_list(&mut self) {
        self.synced = false;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.items.clear();
        self.synced = false;
    }
}

/// Whether `new` was written after `old`. Resource versions of one object grow; those that are no numbers cannot be
/// compared, and then the last one seen counts.
fn is_newer<K: HasMeta>(new: &K, old: &K) -> bool {
    if new.meta().uid != old.meta().uid {
        return true;
    }
    let version = |object: &K| {
        object
            .meta()
            .resource_version
            .as_ref()
            .and_then(|v| v.parse::<u64>().ok())
    };
    match (version(new), version(old)) {
        (Some(new), Some(old)) => new > old,
        _ => new.meta().resource_version != old.meta().resource_version,
    }
}
