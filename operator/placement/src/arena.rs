//! Typed indices into vectors that never shrink.
//!
//! An index is only made by the arena that owns the item, and an arena never drops an item: a freed place is reused, so
//! an index always points at something. That is what makes `arena[index]` safe to write.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// A typed index.
pub(crate) trait Key: Copy {
    /// From a position.
    fn from_position(position: u32) -> Self;
    /// To a position.
    fn position(self) -> usize;
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(u32);

        impl Key for $name {
            fn from_position(position: u32) -> Self {
                Self(position)
            }
            fn position(self) -> usize {
                self.0 as usize
            }
        }
    };
}

key!(
    /// A node.
    NodeIndex
);
key!(
    /// A cluster.
    ClusterIndex
);
key!(
    /// Nodes of one cluster, accelerator type, resource and capacity type: what one gang may span.
    GroupIndex
);
key!(
    /// Nodes that are interchangeable.
    PoolIndex
);
key!(
    /// One topology domain as far as one group has nodes in it.
    CellIndex
);
key!(
    /// A recorded reservation.
    ReservationIndex
);
key!(
    /// A set of power domains that feed nodes directly.
    FeedIndex
);

impl CellIndex {
    /// The least index, for the start of a range.
    pub(crate) const FIRST: Self = Self(0);
}

impl ReservationIndex {
    /// The least index, for the start of a range.
    pub(crate) const FIRST: Self = Self(0);
}

impl NodeIndex {
    /// The least index, for the start of a range.
    pub(crate) const FIRST: Self = Self(0);
}

/// A vector with typed indices and reuse of freed places.
#[derive(Clone, Debug)]
pub(crate) struct Arena<K, T> {
    items: Vec<T>,
    free: Vec<u32>,
    keys: PhantomData<K>,
}

impl<K, T> Default for Arena<K, T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            free: Vec::new(),
            keys: PhantomData,
        }
    }
}

impl<K: Key, T> Arena<K, T> {
    /// Stores an item.
    pub(crate) fn add(&mut self, item: T) -> K {
        if let Some(position) = self.free.pop()
            && let Some(place) = self.items.get_mut(position as usize)
        {
            *place = item;
            return K::from_position(position);
        }
        let position = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        self.items.push(item);
        K::from_position(position)
    }

    /// The index that the next item will get.
    pub(crate) fn next_key(&self) -> K {
        let next = self
            .free
            .last()
            .copied()
            .unwrap_or_else(|| u32::try_from(self.items.len()).unwrap_or(u32::MAX));
        K::from_position(next)
    }

    /// Marks a place as reusable. What lies there stays readable until it is reused.
    pub(crate) fn retire(&mut self, key: K) {
        self.free
            .push(u32::try_from(key.position()).unwrap_or(u32::MAX));
    }

    /// Everything, retired items included, in index order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.items.iter().enumerate().map(|(at, item)| {
            (
                K::from_position(u32::try_from(at).unwrap_or(u32::MAX)),
                item,
            )
        })
    }

    /// How many places there are, retired ones included.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

impl<K: Key, T> Index<K> for Arena<K, T> {
    type Output = T;
    fn index(&self, key: K) -> &T {
        &self.items[key.position()]
    }
}

impl<K: Key, T> IndexMut<K> for Arena<K, T> {
    fn index_mut(&mut self, key: K) -> &mut T {
        &mut self.items[key.position()]
    }
}
