//! What was found, written down as a decision under a key of its own.

use super::gang::FeasiblePlacement;
use super::request::NodeAllocation;
use crate::fleet::Fleet;
use crate::model::{
    JobSpec, MicroUsd, NodeFeeds, NodeShare, PlacementDecision, Reservation, Watts,
};

impl Fleet {
    /// A key that no reservation has.
    pub(crate) fn free_key(&self, job: &str) -> String {
        let mut part = 0_u64;
        loop {
            let key = format!("{job}/{part}");
            if !self.ledger.has(&key) {
                return key;
            }
            part += 1;
        }
    }

    /// The decision that `found` means, under a key of its own. Not yet reserved. Puts the nodes in the order of ranks.
    pub(crate) fn decision(
        &self,
        job: &JobSpec,
        found: &mut FeasiblePlacement,
    ) -> Option<PlacementDecision> {
        let alternative = job.alternatives.get(found.alternative)?;
        let group = &self.groups[found.group].key;
        // Ranks follow the topology: by domain, then by name.
        let allocations = &mut found.allocations;
        allocations.sort_by(|a, b| self.rank_order(a).cmp(&self.rank_order(b)));
        let facts = self.facts.get(&*group.accelerator_type);
        Some(PlacementDecision {
            job: job.key.clone(),
            reservation: Reservation {
                key: self.free_key(&job.key),
                queue: job.queue.clone(),
                cluster: self.clusters[group.cluster].name.to_string(),
                accelerator_type: group.accelerator_type.to_string(),
                part: group.part.clone(),
                devices_per_replica: alternative.devices_per_replica,
                cpu_milli: alternative.pod.cpu_milli,
                memory_mib: alternative.pod.memory_mib,
                other: alternative.pod.other.clone(),
                nodes: allocations
                    .iter()
                    .map(|allocation| NodeShare {
                        name: self.nodes[allocation.node].name.to_string(),
                        replicas: allocation.replicas,
                    })
                    .collect(),
                watts: Watts(found.quote.watts),
                feeds: NodeFeeds::runs(
                    allocations
                        .iter()
                        .map(|allocation| self.power.feed_names(self.nodes[allocation.node].feed)),
                ),
                ends_seconds: None,
            },
            alternative: alternative.name.clone(),
            resource: group.resource.to_string(),
            capacity_type: group.capacity_type,
            power_cap_watts: facts.map_or(Watts::ZERO, |facts| facts.default_watts),
            usd_per_hour: found.quote.per_hour(),
            usd_total: found.quote.total(),
            usd_egress: MicroUsd(found.quote.usd_egress),
            start_seconds: 0,
            duration_seconds: found.quote.duration_seconds,
            price_sheet: self.sheet(&found.quote),
            unpriced: found.quote.unpriced,
        })
    }

    fn rank_order(&self, allocation: &NodeAllocation) -> (&str, &str) {
        let node = &self.nodes[allocation.node];
        let path = node
            .slots
            .iter()
            .find(|slot| slot.pool == allocation.pool)
            .map_or("", |slot| &self.cells.get(slot.cell).path);
        (path, &node.name)
    }
}
