//! Who holds what: reservations, recorded as they are and never refused.

use std::collections::{BTreeMap, HashMap};

use super::ends::Ends;
use super::mix::Mix;
use super::{Fleet, chargeable};
use crate::arena::{Arena, FeedIndex, NodeIndex, ReservationIndex};
use crate::fleet::node::Holder;
use crate::model::Reservation;

/// A recorded reservation.
#[derive(Clone, Debug)]
struct Record {
    reservation: Reservation,
    /// Its nodes, in order, as of a membership of the fleet; `None` for one that is not there.
    nodes: Box<[Option<NodeIndex>]>,
    membership: u64,
}

/// Recorded reservations, and their parts on nodes that are not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    records: Arena<ReservationIndex, Option<Record>>,
    by_key: BTreeMap<String, ReservationIndex>,
    absent: HashMap<String, HashMap<String, Vec<Holder>>>,
    ends: Ends,
    mix: Mix,
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
    pub(crate) fn take_absent(&mut self, cluster: &str, node: &str) -> Vec<Holder> {
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
        holders: impl IntoIterator<Item = Holder>,
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

    fn forget_absent(&mut self, cluster: &str, node: &str, index: ReservationIndex) {
        let rest: Vec<Holder> = self
            .take_absent(cluster, node)
            .into_iter()
            .filter(|holder| holder.reservation != index)
            .collect();
        self.put_absent(cluster, node, rest);
    }
}

/// The watts of each share of a reservation: in proportion to replicas, in whole watts that sum to the whole.
fn shares(reservation: &Reservation) -> impl Iterator<Item = i64> + '_ {
    let watts = i128::from(chargeable(reservation.watts.0));
    let all: i128 = reservation
        .nodes
        .iter()
        .map(|share| i128::from(share.replicas))
        .sum();
    let mut before = 0_i128;
    let mut charged = 0_i128;
    reservation.nodes.iter().map(move |share| {
        before += i128::from(share.replicas);
        let until = (watts * before).checked_div(all).unwrap_or(0);
        let part = until - charged;
        charged = until;
        i64::try_from(part).unwrap_or(i64::MAX)
    })
}

impl Fleet {
    /// Records what is: never refused, replaces what has the same key, may exceed what there is. Nodes that are not known
    /// yet are remembered and charged when they appear.
    pub fn reserve(&mut self, reservation: Reservation) {
        let nodes = self.resolve(&reservation);
        self.reserve_on(reservation, nodes);
    }

    /// As [`Self::reserve`], where the nodes are known already.
    pub(crate) fn reserve_on(&mut self, reservation: Reservation, nodes: Box<[Option<NodeIndex>]>) {
        self.release(&reservation.key);
        let key = reservation.key.clone();
        let index = self.ledger.records.next_key();
        self.ledger.ends.add(&reservation, index);
        self.ledger.mix.add(&reservation);
        self.ledger.records.add(Some(Record {
            reservation,
            nodes,
            membership: self.membership,
        }));
        self.ledger.by_key.insert(key, index);
        self.count_in(index);
    }

    /// The nodes of a reservation.
    fn resolve(&self, reservation: &Reservation) -> Box<[Option<NodeIndex>]> {
        let cluster = self.cluster_by_name.get(reservation.cluster.as_str());
        let nodes = reservation.nodes.iter();
        nodes
            .map(|share| self.node_in(*cluster?, &share.name))
            .collect()
    }

    /// A record, taken out of the ledger for a while, with its nodes as they are now.
    fn take_record(&mut self, index: ReservationIndex) -> Option<Record> {
        let mut record = self.ledger.records[index].take()?;
        if record.membership != self.membership {
            record.nodes = self.resolve(&record.reservation);
            record.membership = self.membership;
        }
        Some(record)
    }

    /// Gives back what a reservation holds; `false` when there is none of this key.
    pub fn release(&mut self, key: &str) -> bool {
        self.take_back(key).is_some()
    }

    /// Releases a reservation and returns it.
    pub(crate) fn take_back(&mut self, key: &str) -> Option<Reservation> {
        let index = self.ledger.find(key)?;
        self.count_out(index);
        self.ledger.by_key.remove(key);
        let reservation = self.ledger.records[index].take()?.reservation;
        self.ledger.ends.remove(&reservation, index);
        self.ledger.mix.remove(&reservation);
        self.ledger.records.retire(index);
        Some(reservation)
    }

    /// Charges a recorded reservation to its nodes, its power domains and its queue.
    pub(crate) fn count_in(&mut self, index: ReservationIndex) {
        let Some(record) = self.take_record(index) else {
            return;
        };
        let reservation = &record.reservation;
        // A cluster that holds something is one that there is, also before it is described.
        self.cluster_index(&reservation.cluster);
        self.power
            .charge_queue(&reservation.queue, chargeable(reservation.watts.0));
        let mut there: Vec<NodeIndex> = Vec::with_capacity(record.nodes.len());
        let shares = reservation.nodes.iter().zip(shares(reservation));
        for ((share, watts), node) in shares.zip(&record.nodes) {
            let holder = Holder {
                reservation: index,
                replicas: share.replicas,
                watts,
            };
            let Some(node) = *node else {
                self.ledger
                    .put_absent(&reservation.cluster, &share.name, [holder]);
                continue;
            };
            self.nodes[node].holders.push(holder);
            self.power.charge(self.nodes[node].feed, holder.watts);
            there.push(node);
        }
        // What a node has left is worked out from the records of those who hold it.
        self.ledger.records[index] = Some(record);
        for node in there {
            self.refresh(node);
        }
        self.settle();
    }

    /// The reverse of [`Self::count_in`]: the reservation stays recorded and holds nothing.
    pub(crate) fn count_out(&mut self, index: ReservationIndex) {
        let Some(record) = self.take_record(index) else {
            return;
        };
        let reservation = &record.reservation;
        self.power
            .charge_queue(&reservation.queue, -chargeable(reservation.watts.0));
        for (share, node) in reservation.nodes.iter().zip(&record.nodes) {
            let Some(node) = *node else {
                self.ledger
                    .forget_absent(&reservation.cluster, &share.name, index);
                continue;
            };
            let holders = &mut self.nodes[node].holders;
            let mut watts = 0;
            holders.retain(|holder| {
                let ours = holder.reservation == index;
                if ours {
                    watts += holder.watts;
                }
                !ours
            });
            self.power.charge(self.nodes[node].feed, -watts);
            self.refresh(node);
        }
        self.settle();
        self.ledger.records[index] = Some(record);
    }

    /// Whether everything that a reservation would hold is free: devices, CPU, memory and pod slots of its nodes, watts.
    pub(crate) fn has_room(&self, reservation: &Reservation) -> bool {
        let watts = chargeable(reservation.watts.0);
        if self
            .power
            .queue_shortage(&reservation.queue, watts)
            .is_some()
        {
            return false;
        }
        let mut loads: BTreeMap<FeedIndex, i64> = BTreeMap::new();
        for (share, watts) in reservation.nodes.iter().zip(shares(reservation)) {
            let Some(index) = self.find_node(&reservation.cluster, &share.name) else {
                return false;
            };
            let node = &self.nodes[index];
            let of_type = node.slots.iter().find(|slot| {
                *self.groups[slot.group].key.accelerator_type == *reservation.accelerator_type
            });
            let room = of_type.map_or(0, |slot| {
                node.room(
                    slot.offered,
                    reservation.devices_per_replica,
                    reservation.cpu_milli,
                    reservation.memory_mib,
                )
            });
            if room < u64::from(share.replicas) {
                return false;
            }
            let load = loads.entry(node.feed).or_default();
            *load = load.saturating_add(watts);
        }
        let loads: Vec<(FeedIndex, i64)> = loads.into_iter().collect();
        self.power.shortage(&loads).is_none()
    }

    /// The reservation of a key.
    pub fn reservation(&self, key: &str) -> Option<&Reservation> {
        self.ledger
            .by_key
            .get(key)
            .and_then(|&index| self.ledger.get(index))
    }

    /// Every reservation, by key.
    pub fn reservations(&self) -> impl Iterator<Item = &Reservation> {
        self.ledger
            .by_key
            .values()
            .filter_map(|&index| self.ledger.get(index))
    }
}
