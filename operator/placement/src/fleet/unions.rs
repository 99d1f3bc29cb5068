//! Domains whose nodes disagree about what is around them.
//!
//! The tree of a group follows the labels of each node from wide to tight. Where two nodes name the same rack but another
//! block, or one names none, the tree has the rack twice. It is one rack all the same: a union counts the nodes of all its
//! parts and stands for them wherever domains of its level are asked for.
//!
//! ```text
//!   cluster ── block b1 ── rack r1 ┐
//!          └── rack r1 ────────────┴ union r1
//! ```

use std::collections::BTreeMap;

use super::cells::{Cells, Count};
use crate::arena::CellIndex;

impl Cells {
    /// Takes a new cell in: alone, or as one more part of a domain.
    pub(super) fn add_part(&mut self, part: CellIndex, root: CellIndex) {
        let key = self.part_key(part);
        let known = self.parts.entry(key).or_default();
        known.push(part);
        match known.as_slice() {
            [_] => self.list(part, root),
            &[first, second] => self.unite(first, second, root),
            &[first, ..] => {
                if let Some(union) = self.get(first).union {
                    self.unlist(union);
                    self.join(part, union);
                    self.list(union, root);
                }
            }
            [] => {}
        }
    }

    /// Takes a part without nodes out. A union of one part is none.
    pub(super) fn remove_part(&mut self, part: CellIndex) {
        let key = self.part_key(part);
        let Some(known) = self.parts.get_mut(&key) else {
            return;
        };
        known.retain(|other| *other != part);
        let left = known.clone();
        if left.is_empty() {
            self.parts.remove(&key);
        }
        let Some(union) = self.get(part).union else {
            return;
        };
        self.unlist(union);
        let root = self.root_of(part);
        if let &[last] = left.as_slice() {
            self.cell_mut(last).union = None;
            self.retire(union);
            self.list(last, root);
        } else {
            let place = self.child_key(part);
            self.cell_mut(union).children.remove(&place);
            self.name_after_first(union);
            self.list(union, root);
        }
    }

    fn unite(&mut self, first: CellIndex, second: CellIndex, root: CellIndex) {
        self.unlist(first);
        let union = self.alike(first);
        self.join(first, union);
        self.join(second, union);
        self.list(union, root);
    }

    /// Counts a part in.
    fn join(&mut self, part: CellIndex, union: CellIndex) {
        let place = self.child_key(part);
        let cell = self.cell_mut(part);
        cell.union = Some(union);
        let (nodes, free, counts) = (cell.nodes, cell.free_devices, cell.counts.clone());
        let whole = self.cell_mut(union);
        whole.nodes += nodes;
        whole.free_devices += free;
        let mut sums: BTreeMap<_, u32> = BTreeMap::new();
        for count in whole.counts.iter().chain(&counts) {
            *sums.entry((count.pool, count.free)).or_default() += count.nodes;
        }
        whole.counts = sums
            .into_iter()
            .map(|((pool, free), nodes)| Count { pool, free, nodes })
            .collect();
        whole.children.insert(place, part);
        self.name_after_first(union);
    }

    /// Among equals a union comes where its first part does, in whatever order they came.
    fn name_after_first(&mut self, union: CellIndex) {
        let parts = self.get(union).children.values();
        let first = parts.map(|&part| self.get(part).path.clone()).min();
        if let Some(path) = first {
            self.cell_mut(union).path = path;
        }
    }
}
