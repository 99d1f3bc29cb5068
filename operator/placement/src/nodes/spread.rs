//! Domains that replicas are spread over, and how many each has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::request::{NodeAllocation, NodeRequest, total};
use crate::arena::{GroupIndex, NodeIndex};
use crate::candidates::{cluster_refusal, group_refusal, requirement};
use crate::fleet::Fleet;
use crate::model::{JobSpec, Level, PlacedReplicas, Spread};

/// A domain that replicas are spread over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SpreadDomain {
    Cluster(Arc<str>),
    Zone(Arc<str>, Arc<str>),
    Node(Arc<str>, Arc<str>),
}

/// Replicas by the domain that they are spread over.
#[derive(Clone)]
pub(super) struct SpreadCounts {
    pub(super) by: Level,
    max_skew: u64,
    /// Most replicas that a domain may have now.
    pub(super) ceiling: u64,
    pub(super) counts: BTreeMap<SpreadDomain, u64>,
}

impl SpreadCounts {
    /// Replicas of the emptiest domain.
    pub(super) fn least(&self) -> u64 {
        self.counts.values().copied().min().unwrap_or(0)
    }

    /// Most replicas that a domain may have where each has at least `floor`. A single domain is never fuller than others.
    pub(super) fn ceiling_above(&self, floor: u64) -> u64 {
        if self.counts.len() == 1 {
            return u64::MAX;
        }
        floor.saturating_add(self.max_skew)
    }

    /// The highest floor to which `replicas` more could raise every domain.
    pub(super) fn highest_floor(&self, replicas: u64) -> u64 {
        let (mut low, mut high) = (self.least(), self.least().saturating_add(replicas));
        if self.counts.len() < 2 {
            return low;
        }
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let missing = self
                .counts
                .values()
                .map(|count| middle.saturating_sub(*count));
            if missing.fold(0, u64::saturating_add) <= replicas {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }
}

impl Fleet {
    pub(super) fn domain_of_node(&self, node: NodeIndex) -> Option<SpreadDomain> {
        let node = &self.nodes[node];
        Some(SpreadDomain::Node(
            self.clusters[node.cluster].name.clone(),
            node.name.clone(),
        ))
    }

    /// Fills the emptiest of the candidate's domains that is below the ceiling.
    pub(super) fn spread_over_domains(
        &self,
        request: &NodeRequest<'_>,
        spread_counts: &mut SpreadCounts,
    ) -> Vec<NodeAllocation> {
        let ceiling = spread_counts.ceiling;
        let mut domains: Vec<(u64, SpreadDomain)> = self
            .domains(request.group, spread_counts.by, request)
            .into_iter()
            .filter_map(|domain| Some((*spread_counts.counts.get(&domain)?, domain)))
            .collect();
        domains.sort();
        for (count, domain) in domains {
            let pools = self.groups[request.group]
                .pools
                .iter()
                .copied()
                .filter(|&pool| match &domain {
                    SpreadDomain::Zone(_, zone) => self.pools[pool].key.zone == *zone,
                    _ => true,
                })
                .filter(|&pool| request.admits(pool));
            let mut pools: Vec<_> = pools.collect();
            pools.sort_unstable();
            let here = NodeRequest {
                pools: Some(pools),
                replicas: request.replicas.min(ceiling.saturating_sub(count)),
                ..request.clone()
            };
            let allocations = self.fill(&here);
            let placed = total(&allocations);
            if placed > 0 {
                if let Some(count) = spread_counts.counts.get_mut(&domain) {
                    *count += placed;
                }
                return allocations;
            }
        }
        Vec::new()
    }

    /// Domains in which a group has usable nodes that are admitted.
    fn domains(
        &self,
        group: GroupIndex,
        by: Level,
        request: &NodeRequest<'_>,
    ) -> BTreeSet<SpreadDomain> {
        let cluster = self.cluster_of(group);
        let name = &self.clusters[cluster].name;
        let pools = self.groups[group]
            .pools
            .iter()
            .copied()
            .filter(|&pool| request.admits(pool))
            .map(|pool| &self.pools[pool])
            .filter(|pool| pool.nodes() > pool.faulty());
        match (by, request.requirement) {
            (Level::Cluster, None) => pools.map(|_| SpreadDomain::Cluster(name.clone())).collect(),
            (Level::Zone, None) => pools
                .filter(|pool| !pool.key.zone.is_empty())
                .map(|pool| SpreadDomain::Zone(name.clone(), pool.key.zone.clone()))
                .collect(),
            _ => self
                .nodes_of(cluster)
                .filter(|&node| self.nodes[node].fault.is_none())
                .filter_map(|node| {
                    let (slot, _) = self.usable(request, node)?;
                    let zone = &self.pools[slot.pool].key.zone;
                    match by {
                        Level::Cluster => Some(SpreadDomain::Cluster(name.clone())),
                        Level::Zone if zone.is_empty() => None,
                        Level::Zone => Some(SpreadDomain::Zone(name.clone(), zone.clone())),
                        _ => self.domain_of_node(node),
                    }
                })
                .collect(),
        }
    }

    /// Eligible domains with the replicas that they have already.
    pub(super) fn spread_counts(
        &self,
        job: &JobSpec,
        spread: Spread,
        placed: &[PlacedReplicas],
    ) -> SpreadCounts {
        let mut counts: BTreeMap<SpreadDomain, u64> = BTreeMap::new();
        for alternative in &job.alternatives {
            for group in self.groups_for(alternative) {
                let key = &self.groups[group].key;
                if alternative.devices_per_replica == 0
                    || cluster_refusal(job, &self.clusters[key.cluster]).is_some()
                    || group_refusal(job, key).is_some()
                {
                    continue;
                }
                let mut pools = self.admitted(job, alternative, group);
                pools.sort_unstable();
                let mut request = self.node_request(alternative, group, 1, Some(pools));
                request.requirement = requirement(&alternative.pod);
                for domain in self.domains(group, spread.by, &request) {
                    counts.entry(domain).or_default();
                }
            }
        }
        for part in placed {
            let domain = match spread.by {
                Level::Cluster => Some(SpreadDomain::Cluster(part.cluster.as_str().into())),
                Level::Zone => self
                    .find_node(&part.cluster, &part.node)
                    .and_then(|node| self.nodes[node].slots.first())
                    .map(|slot| {
                        SpreadDomain::Zone(
                            part.cluster.as_str().into(),
                            self.pools[slot.pool].key.zone.clone(),
                        )
                    }),
                _ => Some(SpreadDomain::Node(
                    part.cluster.as_str().into(),
                    part.node.as_str().into(),
                )),
            };
            // Replicas in domains that may no longer be used do not hold the others back.
            if let Some(count) = domain.and_then(|domain| counts.get_mut(&domain)) {
                *count += u64::from(part.replicas);
            }
        }
        SpreadCounts {
            by: spread.by,
            max_skew: u64::from(spread.max_skew.max(1)),
            ceiling: 0,
            counts,
        }
    }
}
