//! Nodes come, go and change: what is free on a node is derived from what others hold and what reservations hold, and the
//! difference moves along the node's own path of the index.

use std::sync::Arc;

use super::counts::count_down;
use super::index::Fleet;
use super::node::{AbsentHolder, Holder, Node, Other, Slot};
use super::pool::{GroupKey, PoolKey};
use super::power::chargeable;
use crate::arena::NodeIndex;
use crate::model::{AcceleratorFacts, ClusterSpec, Level, NodeSpec};

impl Fleet {
    /// Sets the facts of an accelerator type. A type without facts draws no watts and matches no selector.
    pub fn set_accelerator(&mut self, facts: AcceleratorFacts) {
        let name = facts.name.clone();
        if self.facts.insert(name.clone(), facts.clone()).as_ref() == Some(&facts) {
            return;
        }
        for group in self.groups_of_name(&name) {
            self.groups[group].watts_each = self.unit_watts(&self.groups[group].key);
            self.order_by_rate(group);
        }
        // Watts of devices that others hold were charged by the old facts.
        let holding: Vec<NodeIndex> = self
            .all_nodes()
            .filter(|&node| {
                self.nodes[node].slots.iter().any(|slot| {
                    slot.held > 0 && *self.groups[slot.group].key.accelerator_type == *name
                })
            })
            .collect();
        for node in holding {
            self.charge_held(node);
        }
    }

    /// Sets a cluster.
    pub fn set_cluster(&mut self, spec: ClusterSpec) {
        let cluster = self.cluster_index(&spec.name);
        self.clusters[cluster].spec = Some(spec);
    }

    /// Removes a cluster and its nodes. Reservations there stay recorded.
    pub fn remove_cluster(&mut self, name: &str) {
        let Some(&cluster) = self.cluster_by_name.get(name) else {
            return;
        };
        self.clusters[cluster].spec = None;
        let mut nodes: Vec<NodeIndex> = self
            .node_by_name
            .get(&cluster)
            .map(|nodes| nodes.values().copied().collect())
            .unwrap_or_default();
        nodes.sort_unstable();
        let mut left = Vec::new();
        for node in nodes {
            left.extend(self.pools_of(node));
            self.take_out(node);
        }
        self.forget_empty(left);
        self.settle();
    }

    /// Sets a node. What reservations hold on it is kept.
    pub fn set_node(&mut self, spec: NodeSpec) {
        let old = self.find_node(&spec.cluster, &spec.name);
        let left = old.map_or_else(Vec::new, |old| self.pools_of(old));
        self.put_in(spec);
        self.forget_empty(left);
        self.settle();
    }

    /// Removes a node. What reservations hold on it is remembered: their watts stay charged, their devices count again when the
    /// node comes back.
    pub fn remove_node(&mut self, cluster: &str, name: &str) {
        if let Some(node) = self.find_node(cluster, name) {
            let left = self.pools_of(node);
            self.take_out(node);
            self.forget_empty(left);
            self.settle();
        }
    }

    /// Adds or replaces a node. Call [`Self::settle`] afterwards.
    pub(crate) fn put_in(&mut self, spec: NodeSpec) -> NodeIndex {
        let cluster = self.cluster_index(&spec.cluster);
        if let Some(old) = self.node_in(cluster, &spec.name) {
            self.take_out(old);
        }
        let feed = self.power.feed(&spec.feeds);
        let zone: Arc<str> = match spec.domains.get(&Level::Zone) {
            // Empty: the label that tells it is missing, and nothing else is guessed.
            Some(zone) => zone.as_str().into(),
            None => spec.zone.as_str().into(),
        };
        let mut path: Vec<(Level, &str)> = Vec::new();
        if !zone.is_empty() {
            path.push((Level::Zone, &zone));
        }
        for level in [Level::Block, Level::Rack, Level::NvlinkDomain] {
            if let Some(name) = spec.domains.get(&level)
                && !name.is_empty()
            {
                path.push((level, name));
            }
        }
        let mut slots: Vec<Slot> = Vec::new();
        for devices in &spec.devices {
            let group = self.group_index(GroupKey::of(cluster, &spec, devices));
            let is_nothing = devices.devices == 0 && devices.unusable == 0;
            if is_nothing || slots.iter().any(|slot| slot.group == group) {
                continue;
            }
            let pool = self.pool_index(PoolKey::of(group, &spec, devices, &zone, feed));
            let root = self.groups[group].root;
            let cell = self.cells.descend(root, &path);
            self.cells.attach(cell);
            slots.push(Slot {
                group,
                pool,
                cell,
                devices: devices.devices,
                held: devices.held,
                free: 0,
                offered: 0,
                unusable: (devices.unusable > 0)
                    .then(|| (devices.unusable_why.as_str().into(), devices.unusable)),
            });
            let pool = &mut self.pools[pool];
            *pool.by_free.entry(0).or_default() += 1;
            if let Some((why, units)) = slots.last().and_then(|slot| slot.unusable.clone()) {
                let unusable = pool.unusable.entry(why).or_default();
                unusable.nodes += 1;
                unusable.units = unusable.units.saturating_add(u64::from(units));
            }
            if let Some(fault) = &spec.fault {
                *pool.faults.entry(fault.clone()).or_default() += 1;
            }
        }
        let mut labels: Vec<_> = spec
            .labels
            .iter()
            .map(|(key, value)| (self.symbols.acquire(key), self.symbols.acquire(value)))
            .collect();
        labels.sort_unstable();
        let other: Vec<Other> = spec
            .other
            .iter()
            .filter(|(_, amount)| amount.total > 0)
            .map(|(name, amount)| Other {
                resource: self.symbols.acquire(name),
                amount: *amount,
                free: 0,
            })
            .collect();
        let name: Arc<str> = spec.name.as_str().into();
        let absent = self.ledger.take_absent(&spec.cluster, &spec.name);
        self.power.discharge_absent(&absent);
        let holders: Vec<Holder> = absent.into_iter().map(|absent| absent.holder).collect();
        for holder in &holders {
            self.power.charge(feed, holder.watts);
        }
        let node = self.nodes.add(Node {
            cluster,
            name: name.clone(),
            labels: labels.into(),
            fault: spec.fault.map(Box::new),
            cpu: spec.cpu_milli,
            memory: spec.memory_mib,
            pods: spec.pod_slots,
            cpu_free: 0,
            memory_free: 0,
            pods_free: 0,
            other: other.into(),
            slots: slots.into(),
            holders,
            feed,
            held_watts: 0,
        });
        for slot in &self.nodes[node].slots {
            let members = &mut self.pools[slot.pool].members;
            members.insert((name.clone(), node));
        }
        self.node_by_name
            .entry(cluster)
            .or_default()
            .insert(name, node);
        self.membership = self.membership.wrapping_add(1);
        self.charge_held(node);
        self.refresh(node);
        node
    }

    /// Takes a node out; its holders become absent.
    pub(crate) fn take_out(&mut self, node: NodeIndex) {
        let (cluster, name) = (self.nodes[node].cluster, self.nodes[node].name.clone());
        let slots = std::mem::take(&mut self.nodes[node].slots);
        for slot in &slots {
            self.cells
                .shift(slot.cell, slot.pool, (node, &name), slot.offered, 0);
        }
        // Cells that become empty are retired, so orders must not hear of them later.
        self.settle();
        for slot in &slots {
            self.cells.detach(slot.cell);
            let pool = &mut self.pools[slot.pool];
            pool.members.remove(&(name.clone(), node));
            count_down(&mut pool.by_free, &slot.free);
            if let Some(fault) = &self.nodes[node].fault {
                count_down(&mut pool.faults, fault);
            }
            if let Some((why, units)) = &slot.unusable
                && let Some(unusable) = pool.unusable.get_mut(why)
            {
                unusable.nodes = unusable.nodes.saturating_sub(1);
                unusable.units = unusable.units.saturating_sub(u64::from(*units));
                if unusable.nodes == 0 {
                    pool.unusable.remove(why);
                }
            }
        }
        let feed = self.nodes[node].feed;
        self.power.charge(feed, -self.nodes[node].held_watts);
        // What reservations draw here stays charged to where it was: that it cannot be seen does not mean that it ended.
        let holders = std::mem::take(&mut self.nodes[node].holders);
        let absent = holders.into_iter().map(|holder| AbsentHolder {
            holder,
            feed: Some(feed),
        });
        let cluster_name = self.clusters[cluster].name.clone();
        self.ledger.put_absent(&cluster_name, &name, absent);
        for &(key, value) in &std::mem::take(&mut self.nodes[node].labels) {
            self.symbols.release(key);
            self.symbols.release(value);
        }
        for other in &std::mem::take(&mut self.nodes[node].other) {
            self.symbols.release(other.resource);
        }
        if let Some(nodes) = self.node_by_name.get_mut(&cluster) {
            nodes.remove(&name);
        }
        self.nodes.retire(node);
        self.membership = self.membership.wrapping_add(1);
    }

    /// Charges the watts of devices that others hold.
    pub(crate) fn charge_held(&mut self, node: NodeIndex) {
        let watts: i64 = self.nodes[node]
            .slots
            .iter()
            .map(|slot| {
                let each = self.watts_each(slot.group);
                // What runs on units that no new pod can be given draws power all the same.
                let unusable = slot.unusable.as_ref().map_or(0, |(_, units)| *units);
                let there = slot.devices.saturating_add(unusable);
                each.saturating_mul(i64::from(slot.held.min(there)))
            })
            .fold(0, i64::saturating_add);
        let watts = chargeable(watts);
        let node = &mut self.nodes[node];
        self.power.charge(node.feed, watts - node.held_watts);
        node.held_watts = watts;
    }

    /// Derives what is free on a node and moves it in the index. Call [`Self::settle`] afterwards.
    pub(crate) fn refresh(&mut self, index: NodeIndex) {
        let Self {
            nodes,
            ledger,
            groups,
            pools,
            cells,
            symbols,
            ..
        } = self;
        let node = &mut nodes[index];
        for other in &mut node.other {
            other.free = other.amount.total.saturating_sub(other.amount.held);
        }
        let (mut cpu, mut memory, mut pods) = (node.cpu.held, node.memory.held, node.pods.held);
        let mut free: Vec<u32> = node
            .slots
            .iter()
            .map(|slot| slot.devices.saturating_sub(slot.held))
            .collect();
        for holder in &node.holders {
            let Some(reservation) = ledger.get(holder.reservation) else {
                continue;
            };
            let replicas = u64::from(holder.replicas);
            cpu = cpu.saturating_add(reservation.cpu_milli.saturating_mul(replicas));
            memory = memory.saturating_add(reservation.memory_mib.saturating_mul(replicas));
            pods = pods.saturating_add(replicas);
            for (name, each) in &reservation.other {
                let resource = symbols.find(name);
                let other = node.other.iter_mut();
                for other in other.filter(|other| Some(other.resource) == resource) {
                    other.free = other.free.saturating_sub(each.saturating_mul(replicas));
                }
            }
            let devices = u64::from(reservation.devices_per_replica).saturating_mul(replicas);
            let devices = u32::try_from(devices).unwrap_or(u32::MAX);
            let fit = |slot: &Slot| groups[slot.group].key.fit(reservation);
            let held = node
                .slots
                .iter()
                .zip(&mut free)
                .filter_map(|(slot, left)| Some((fit(slot)?, left)))
                .min_by_key(|(fit, _)| *fit);
            if let Some((_, left)) = held {
                *left = left.saturating_sub(devices);
            }
        }
        node.cpu_free = node.cpu.total.saturating_sub(cpu);
        node.memory_free = node.memory.total.saturating_sub(memory);
        node.pods_free = node.pods.total.saturating_sub(pods);
        let usable = node.fault.is_none();
        for (slot, free) in node.slots.iter_mut().zip(free) {
            // What one tenant holds of such a node nobody else can use the rest of.
            let is_taken = pools[slot.pool].key.whole_node && free < slot.devices;
            let free = if is_taken { 0 } else { free };
            let offered = if usable { free } else { 0 };
            cells.shift(
                slot.cell,
                slot.pool,
                (index, &node.name),
                slot.offered,
                offered,
            );
            slot.offered = offered;
            if slot.free != free {
                let by_free = &mut pools[slot.pool].by_free;
                count_down(by_free, &slot.free);
                *by_free.entry(free).or_default() += 1;
                slot.free = free;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Amount, DeviceGroup, MicroUsd, NodePrice};

    #[test]
    fn prices_may_change_for_ever() {
        let mut fleet = Fleet::new();
        for usd in 0..1000 {
            for name in ["a", "b"] {
                fleet.set_node(NodeSpec {
                    cluster: "c".into(),
                    name: name.into(),
                    devices: vec![DeviceGroup {
                        accelerator_type: "t".into(),
                        devices: 8,
                        ..DeviceGroup::default()
                    }],
                    pod_slots: Amount { total: 9, held: 0 },
                    price: NodePrice {
                        usd_per_node_hour: Some(MicroUsd(usd)),
                        ..NodePrice::default()
                    },
                    ..NodeSpec::default()
                });
            }
        }
        assert_eq!(fleet.pools.len(), 2, "one is let go once the next is there");
        assert_eq!(fleet.pool_by_key.len(), 1);
        let of_type = &fleet.groups_by_type["t"];
        assert_eq!(of_type.by_rate[0].rate, 999 * 1_000_000 / 8);
        fleet.remove_node("c", "a");
        fleet.remove_node("c", "b");
        assert!(fleet.pool_by_key.is_empty());
    }
}
