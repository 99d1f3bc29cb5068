//! Reservations are recorded and released, and counted in and out for a trial.

use std::collections::BTreeMap;

use super::index::Fleet;
use super::ledger::Record;
use super::node::{AbsentHolder, Holder, ReplicaNeed};
use super::power::chargeable;
use crate::arena::{FeedIndex, NodeIndex, ReservationIndex};
use crate::model::Reservation;

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
    /// yet are remembered, and their devices count when they appear; their watts are charged at once to the power domains that
    /// the reservation names.
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
            known_feeds: BTreeMap::new(),
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
        let shares = shares.zip(reservation.feeds_of_nodes());
        for (at, (((share, watts), domains), node)) in shares.zip(&record.nodes).enumerate() {
            let holder = Holder {
                reservation: index,
                replicas: share.replicas,
                watts,
            };
            let Some(node) = *node else {
                let feed = domains.map(|domains| self.power.feed(domains));
                let feed = feed.or_else(|| record.known_feeds.get(&at).copied());
                if let Some(feed) = feed {
                    self.power.charge(feed, holder.watts);
                }
                let absent = [AbsentHolder { holder, feed }];
                self.ledger
                    .put_absent(&reservation.cluster, &share.name, absent);
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
        let Some(mut record) = self.take_record(index) else {
            return;
        };
        let reservation = &record.reservation;
        let mut known_feeds = BTreeMap::new();
        self.power
            .charge_queue(&reservation.queue, -chargeable(reservation.watts.0));
        for (at, (share, node)) in reservation.nodes.iter().zip(&record.nodes).enumerate() {
            let Some(node) = *node else {
                let absent = self
                    .ledger
                    .forget_absent(&reservation.cluster, &share.name, index);
                self.power.discharge_absent(&absent);
                known_feeds.extend(absent.iter().filter_map(|a| Some((at, a.feed?))));
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
        record.known_feeds = known_feeds;
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
            let need = ReplicaNeed {
                devices: reservation.devices_per_replica,
                cpu_milli: reservation.cpu_milli,
                memory_mib: reservation.memory_mib,
                other: &reservation.other,
            };
            let room = of_type.map_or(0, |slot| node.room(slot.offered, &need, &self.symbols));
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
