//! Inference replicas: as many as fit, the cheapest first, over any number of clusters and alternatives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gang::FeasiblePlacement;
use super::request::{NodeAllocation, NodeRequest, total};
use crate::arena::{GroupIndex, NodeIndex};
use crate::candidates::{Candidate, cluster_refusal, group_refusal, requirement};
use crate::fleet::Fleet;
use crate::model::{JobSpec, Kind, Level, PlacedReplicas, PlacementDecision, Reservation, Spread};

/// A domain that replicas are spread over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SpreadDomain {
    Cluster(Arc<str>),
    Zone(Arc<str>, Arc<str>),
    Node(Arc<str>, Arc<str>),
}

/// Replicas by the domain that they are spread over.
struct SpreadCounts {
    by: Level,
    max_skew: u64,
    counts: BTreeMap<SpreadDomain, u64>,
}

impl SpreadCounts {
    /// Most replicas that any domain may have now.
    fn ceiling(&self) -> u64 {
        let least = self.counts.values().copied().min().unwrap_or(0);
        least.saturating_add(self.max_skew)
    }
}

/// What became of an inference job.
pub(crate) struct ReplicaOutcome {
    /// One per cluster, price and alternative.
    pub(crate) decisions: Vec<PlacementDecision>,
    /// Replicas without a place.
    pub(crate) shortfall: u32,
}

impl Fleet {
    /// Places what fits of an inference job and reserves it.
    pub(crate) fn place_replicas(&mut self, job: &JobSpec) -> ReplicaOutcome {
        let Kind::Inference {
            replicas,
            placed,
            spread,
        } = &job.kind
        else {
            return ReplicaOutcome {
                decisions: Vec::new(),
                shortfall: 0,
            };
        };
        let candidates = self.candidates(job);
        let mut spread_counts = spread.map(|spread| self.spread_counts(job, spread, placed));
        let mut left = u64::from(*replicas);
        // Reserved under keys that cannot be a job's, until it is known how many go where.
        let mut parts: Vec<(Candidate, Vec<NodeAllocation>)> =
            candidates.into_iter().map(|c| (c, Vec::new())).collect();
        let mut usd_per_hour = job.kind.placed_usd_per_hour().0;
        let mut steps = 0_usize;
        let mut held: Vec<String> = Vec::new();
        loop {
            let mut placed_now = 0;
            for (candidate, allocations) in &mut parts {
                if left == 0 {
                    break;
                }
                let most = left.min(self.affordable_replicas(job, candidate, usd_per_hour));
                if most == 0 {
                    continue;
                }
                let found = self.some_replicas(job, candidate, most, spread_counts.as_mut());
                let count = total(&found);
                if count == 0 {
                    continue;
                }
                let key = format!("\u{0}{}\u{0}{steps}", job.key);
                steps += 1;
                self.hold(job, candidate, &found, &key);
                held.push(key);
                usd_per_hour = usd_per_hour.saturating_add(
                    candidate
                        .quote
                        .usd_per_hour
                        .saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)),
                );
                left -= count;
                placed_now += count;
                allocations.extend(found);
            }
            // Without spread one pass takes all that fits; with it, a pass may have raised the emptiest domain.
            if placed_now == 0 || left == 0 || spread_counts.is_none() {
                break;
            }
        }
        for key in &held {
            self.release(key);
        }
        let mut decisions = Vec::new();
        for (candidate, allocations) in parts {
            if allocations.is_empty() {
                continue;
            }
            if let Some(decision) = self.part(job, &candidate, allocations) {
                self.reserve(decision.reservation.clone());
                decisions.push(decision);
            }
        }
        ReplicaOutcome {
            decisions,
            shortfall: u32::try_from(left).unwrap_or(u32::MAX),
        }
    }

    fn part(
        &self,
        job: &JobSpec,
        candidate: &Candidate,
        allocations: Vec<NodeAllocation>,
    ) -> Option<PlacementDecision> {
        let alternative = job.alternatives.get(candidate.alternative)?;
        let mut by_node: BTreeMap<NodeIndex, NodeAllocation> = BTreeMap::new();
        for allocation in allocations {
            by_node
                .entry(allocation.node)
                .and_modify(|sum| sum.replicas = sum.replicas.saturating_add(allocation.replicas))
                .or_insert(allocation);
        }
        let allocations: Vec<NodeAllocation> = by_node.into_values().collect();
        let watts_each = self.watts_each(candidate.group);
        let cluster = &self.clusters[self.cluster_of(candidate.group)].name;
        let uses = self.uses(&allocations, alternative.devices_per_replica);
        let quote = self.quote(job, cluster, &uses, watts_each, None);
        let mut found = FeasiblePlacement {
            alternative: candidate.alternative,
            group: candidate.group,
            allocations,
            level: Level::Cluster,
            score: candidate.score,
            quote,
        };
        self.decision(job, &mut found)
    }

    fn hold(
        &mut self,
        job: &JobSpec,
        candidate: &Candidate,
        allocations: &[NodeAllocation],
        key: &str,
    ) {
        if let Some(decision) = self.part(job, candidate, allocations.to_vec()) {
            self.reserve(Reservation {
                key: key.to_owned(),
                ..decision.reservation
            });
        }
    }

    /// Replicas that the job's hourly limit and the queue's watts leave room for.
    fn affordable_replicas(&self, job: &JobSpec, candidate: &Candidate, spent: i64) -> u64 {
        let by_usd = job.budget.max_usd_per_hour.map_or(u64::MAX, |most| {
            let left = u64::try_from(most.0.saturating_sub(spent)).unwrap_or(0);
            let each = u64::try_from(candidate.quote.usd_per_hour).unwrap_or(0);
            left.checked_div(each).unwrap_or(u64::MAX)
        });
        let by_watts = self
            .power
            .queue_headroom(&job.queue)
            .map_or(u64::MAX, |left| {
                let left = u64::try_from(left).unwrap_or(0);
                let each = u64::try_from(candidate.quote.watts).unwrap_or(0);
                left.checked_div(each).unwrap_or(u64::MAX)
            });
        by_usd.min(by_watts)
    }

    /// Up to `most` replicas on a candidate, as spread allows.
    fn some_replicas(
        &self,
        job: &JobSpec,
        candidate: &Candidate,
        most: u64,
        spread_counts: Option<&mut SpreadCounts>,
    ) -> Vec<NodeAllocation> {
        let Some(alternative) = job.alternatives.get(candidate.alternative) else {
            return Vec::new();
        };
        let request =
            self.node_request(alternative, candidate.group, most, candidate.pools.clone());
        let Some(spread_counts) = spread_counts else {
            return self.fill(&request);
        };
        if spread_counts.by == Level::Node {
            let ceiling = spread_counts.ceiling();
            let allocations = self.fill_capped(&request, &|node| {
                self.domain_of_node(node)
                    .and_then(|domain| spread_counts.counts.get(&domain))
                    .map_or(0, |count| ceiling.saturating_sub(*count))
            });
            for allocation in &allocations {
                if let Some(count) = self
                    .domain_of_node(allocation.node)
                    .and_then(|domain| spread_counts.counts.get_mut(&domain))
                {
                    *count += u64::from(allocation.replicas);
                }
            }
            return allocations;
        }
        self.spread_over_domains(&request, spread_counts)
    }

    fn domain_of_node(&self, node: NodeIndex) -> Option<SpreadDomain> {
        let node = &self.nodes[node];
        Some(SpreadDomain::Node(
            self.clusters[node.cluster].name.clone(),
            node.name.clone(),
        ))
    }

    /// Fills the emptiest of the candidate's domains. One domain a time: the next pass sees what it changed.
    fn spread_over_domains(
        &self,
        request: &NodeRequest<'_>,
        spread_counts: &mut SpreadCounts,
    ) -> Vec<NodeAllocation> {
        let ceiling = spread_counts.ceiling();
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
    fn spread_counts(
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
            counts,
        }
    }
}
