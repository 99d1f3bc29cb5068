//! Who holds what: reservations, recorded as they are and never refused.

use std::collections::{BTreeMap, HashMap};

use super::ends::Ends;
use super::mix::Mix;
use super::node::AbsentHolder;
use crate::arena::{Arena, FeedIndex, NodeIndex, ReservationIndex};
use crate::model::Reservation;

/// A recorded reservation.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) reservation: Reservation,
    /// Its nodes, in order, as of a membership of the fleet; `None` for one that is not there.
    pub(super) nodes: Box<[Option<NodeIndex>]>,
    pub(super) membership: u64,
    /// Power domains of nodes that are not there, by their place among the nodes, where the reservation does not say: as they
    /// were when it was counted out.
    pub(super) known_feeds: BTreeMap<usize, FeedIndex>,
}

/// Recorded reservations, and their parts on nodes that are not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(super) records: Arena<ReservationIndex, Option<Record>>,
    pub(super) by_key: BTreeMap<String, ReservationIndex>,
    absent: HashMap<String, HashMap<String, Vec<AbsentHolder>>>,
    pub(super) ends: Ends,
    pub(super) mix: Mix,
}

impl Ledger {
    /// A reservation.
    pub(crate) fn get(&self, index: ReservationIndex) -> Option<&Reservation> {
        self.records[index]
            .as_ref()
            .map(|record| &record.reservation)
    }

    /// The index of a key's reservation.
    pub(crate) fn find(&self, key: &str) -> Option<ReservationIndex> {
        self.by_key.get(key).copied()
    }

    /// When reservations end.
    pub(crate) fn ends(&self) -> &Ends {
        &self.ends
    }

    /// What is reserved, by size.
    pub(crate) fn mix(&self) -> &Mix {
        &self.mix
    }

    /// Whether a key is taken.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// Parts that reservations hold on a node that comes back.
    pub(crate) fn take_absent(&mut self, cluster: &str, node: &str) -> Vec<AbsentHolder> {
        let Some(nodes) = self.absent.get_mut(cluster) else {
            return Vec::new();
        };
        let holders = nodes.remove(node).unwrap_or_default();
        if nodes.is_empty() {
            self.absent.remove(cluster);
        }
        holders
    }

    /// Remembers parts on a node that is not there.
    pub(crate) fn put_absent(
        &mut self,
        cluster: &str,
        node: &str,
        holders: impl IntoIterator<Item = AbsentHolder>,
    ) {
        let mut holders = holders.into_iter().peekable();
        if holders.peek().is_some() {
            self.absent
                .entry(cluster.to_owned())
                .or_default()
                .entry(node.to_owned())
                .or_default()
                .extend(holders);
        }
    }

    /// Forgets a reservation's parts on a node that is not there, and returns them.
    pub(super) fn forget_absent(
        &mut self,
        cluster: &str,
        node: &str,
        index: ReservationIndex,
    ) -> Vec<AbsentHolder> {
        let (ours, rest) = self
            .take_absent(cluster, node)
            .into_iter()
            .partition(|absent| absent.holder.reservation == index);
        let rest: Vec<AbsentHolder> = rest;
        self.put_absent(cluster, node, rest);
        ours
    }
}
