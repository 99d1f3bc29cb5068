//! Inference replicas: as many as fit, the cheapest first, over any number of clusters and alternatives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gang::Found;
use super::request::{Pick, Want, total};
use crate::arena::{GroupIndex, NodeIndex};
use crate::candidates::{Candidate, cluster_refusal, group_refusal, requirement};
use crate::fleet::Fleet;
use crate::model::{JobSpec, Kind, Level, PlacedReplicas, PlacementDecision, Reservation, Spread};

/// A domain that replicas are spread over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    Cluster(Arc<str>),
    Zone(Arc<str>, Arc<str>),
    Node(Arc<str>, Arc<str>),
}

/// Replicas by the domain that they are spread over.
struct Spreading {
    by: Level,
    max_skew: u64,
    counts: BTreeMap<Spot, u64>,
}

impl Spreading {
    /// Most replicas that any domain may have now.
    fn ceiling(&self) -> u64 {
        let least = self.counts.values().copied().min().unwrap_or(0);
        least.saturating_add(self.max_skew)
    }
}

/// What became of an inference job.
pub(crate) struct Filled {
    /// One per cluster, price and alternative.
    pub(crate) decisions: Vec<PlacementDecision>,
    /// Replicas without a place.
    pub(crate) missing: u32,
}

impl Fleet {
    /// Places what fits of an inference job and reserves it.
    pub(crate) fn place_replicas(&mut self, job: &JobSpec) -> Filled {
        let Kind::Inference {
            replicas,
            placed,
            spread,
        } = &job.kind
        else {
            return Filled {
                decisions: Vec::new(),
                missing: 0,
            };
        };
        let candidates = self.candidates(job);
        let mut spreading = spread.map(|spread| self.spreading(job, spread, placed));
        let mut left = u64::from(*replicas);
        // Reserved under keys that cannot be a job's, until it is known how many go where.
        let mut parts: Vec<(Candidate, Vec<Pick>)> =
            candidates.into_iter().map(|c| (c, Vec::new())).collect();
        let mut usd_per_hour = job.kind.placed_usd_per_hour().0;
        let mut steps = 0_usize;
        let mut held: Vec<String> = Vec::new();
        loop {
            let mut placed_now = 0;
            for (candidate, picks) in &mut parts {
                if left == 0 {
                    break;
                }
                let most = left.min(self.affordable_replicas(job, candidate, usd_per_hour));
                if most == 0 {
                    continue;
                }
                let found = self.some_replicas(job, candidate, most, spreading.as_mut());
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
                picks.extend(found);
            }
            // Without spread one pass takes all that fits; with it, a pass may have raised the emptiest domain.
            if placed_now == 0 || left == 0 || spreading.is_none() {
                break;
            }
        }
        for key in &held {
            self.release(key);
        }
        let mut decisions = Vec::new();
        for (candidate, picks) in parts {
            if picks.is_empty() {
                continue;
            }
            if let Some(decision) = self.part(job, &candidate, picks) {
                self.reserve(decision.reservation.clone());
                decisions.push(decision);
            }
        }
        Filled {
            decisions,
            missing: u32::try_from(left).unwrap_or(u32::MAX),
        }
    }

    fn part(
        &self,
        job: &JobSpec,
        candidate: &Candidate,
        picks: Vec<Pick>,
    ) -> Option<PlacementDecision> {
        let alternative = job.alternatives.get(candidate.alternative)?;
        let mut by_node: BTreeMap<NodeIndex, Pick> = BTreeMap::new();
        for pick in picks {
            by_node
                .entry(pick.node)
                .and_modify(|sum| sum.replicas = sum.replicas.saturating_add(pick.replicas))
                .or_insert(pick);
        }
        let picks: Vec<Pick> = by_node.into_values().collect();
        let watts_each = self.watts_each(candidate.group);
        let cluster = &self.clusters[self.cluster_of(candidate.group)].name;
        let uses = self.uses(&picks, alternative.devices_per_replica);
        let quote = self.quote(job, cluster, &uses, watts_each, None);
        let mut found = Found {
            alternative: candidate.alternative,
            group: candidate.group,
            picks,
            level: Level::Cluster,
            score: candidate.score,
            quote,
        };
        self.decision(job, &mut found)
    }

    fn hold(&mut self, job: &JobSpec, candidate: &Candidate, picks: &[Pick], key: &str) {
        if let Some(decision) = self.part(job, candidate, picks.to_vec()) {
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
        spreading: Option<&mut Spreading>,
    ) -> Vec<Pick> {
        let Some(alternative) = job.alternatives.get(candidate.alternative) else {
            return Vec::new();
        };
        let want = self.want(alternative, candidate.group, most, candidate.pools.clone());
        let Some(spreading) = spreading else {
            return self.fill(&want);
        };
        if spreading.by == Level::Node {
            let ceiling = spreading.ceiling();
            let picks = self.fill_capped(&want, &|node| {
                self.spot_of_node(node)
                    .and_then(|spot| spreading.counts.get(&spot))
                    .map_or(0, |count| ceiling.saturating_sub(*count))
            });
            for pick in &picks {
                if let Some(count) = self
                    .spot_of_node(pick.node)
                    .and_then(|spot| spreading.counts.get_mut(&spot))
                {
                    *count += u64::from(pick.replicas);
                }
            }
            return picks;
        }
        self.spread_over_spots(&want, spreading)
    }

    fn spot_of_node(&self, node: NodeIndex) -> Option<Spot> {
        let node = &self.nodes[node];
        Some(Spot::Node(
            self.clusters[node.cluster].name.clone(),
            node.name.clone(),
        ))
    }

    /// Fills the emptiest of the candidate's domains. One domain a time: the next pass sees what it changed.
    fn spread_over_spots(&self, want: &Want<'_>, spreading: &mut Spreading) -> Vec<Pick> {
        let ceiling = spreading.ceiling();
        let mut spots: Vec<(u64, Spot)> = self
            .spots(want.group, spreading.by, want)
            .into_iter()
            .filter_map(|spot| Some((*spreading.counts.get(&spot)?, spot)))
            .collect();
        spots.sort();
        for (count, spot) in spots {
            let pools = self.groups[want.group]
                .pools
                .iter()
                .copied()
                .filter(|&pool| match &spot {
                    Spot::Zone(_, zone) => self.pools[pool].key.zone == *zone,
                    _ => true,
                })
                .filter(|&pool| want.admits(pool));
            let mut pools: Vec<_> = pools.collect();
            pools.sort_unstable();
            let here = Want {
                pools: Some(pools),
                replicas: want.replicas.min(ceiling.saturating_sub(count)),
                ..want.clone()
            };
            let picks = self.fill(&here);
            let placed = total(&picks);
            if placed > 0 {
                if let Some(count) = spreading.counts.get_mut(&spot) {
                    *count += placed;
                }
                return picks;
            }
        }
        Vec::new()
    }

    /// Domains in which a group has usable nodes that are admitted.
    fn spots(&self, group: GroupIndex, by: Level, want: &Want<'_>) -> BTreeSet<Spot> {
        let cluster = self.cluster_of(group);
        let name = &self.clusters[cluster].name;
        let pools = self.groups[group]
            .pools
            .iter()
            .copied()
            .filter(|&pool| want.admits(pool))
            .map(|pool| &self.pools[pool])
            .filter(|pool| pool.nodes() > pool.faulty());
        match (by, want.requirement) {
            (Level::Cluster, None) => pools.map(|_| Spot::Cluster(name.clone())).collect(),
            (Level::Zone, None) => pools
                .filter(|pool| !pool.key.zone.is_empty())
                .map(|pool| Spot::Zone(name.clone(), pool.key.zone.clone()))
                .collect(),
            _ => self
                .nodes_of(cluster)
                .filter(|&node| self.nodes[node].fault.is_none())
                .filter_map(|node| {
                    let (slot, _) = self.usable(want, node)?;
                    let zone = &self.pools[slot.pool].key.zone;
                    match by {
                        Level::Cluster => Some(Spot::Cluster(name.clone())),
                        Level::Zone if zone.is_empty() => None,
                        Level::Zone => Some(Spot::Zone(name.clone(), zone.clone())),
                        _ => self.spot_of_node(node),
                    }
                })
                .collect(),
        }
    }

    /// Eligible domains with the replicas that they have already.
    fn spreading(&self, job: &JobSpec, spread: Spread, placed: &[PlacedReplicas]) -> Spreading {
        let mut counts: BTreeMap<Spot, u64> = BTreeMap::new();
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
                let mut want = self.want(alternative, group, 1, Some(pools));
                want.requirement = requirement(&alternative.pod);
                for spot in self.spots(group, spread.by, &want) {
                    counts.entry(spot).or_default();
                }
            }
        }
        for part in placed {
            let spot = match spread.by {
                Level::Cluster => Some(Spot::Cluster(part.cluster.as_str().into())),
                Level::Zone => self
                    .find_node(&part.cluster, &part.node)
                    .and_then(|node| self.nodes[node].slots.first())
                    .map(|slot| {
                        Spot::Zone(
                            part.cluster.as_str().into(),
                            self.pools[slot.pool].key.zone.clone(),
                        )
                    }),
                _ => Some(Spot::Node(
                    part.cluster.as_str().into(),
                    part.node.as_str().into(),
                )),
            };
            // Replicas in domains that may no longer be used do not hold the others back.
            if let Some(count) = spot.and_then(|spot| counts.get_mut(&spot)) {
                *count += u64::from(part.replicas);
            }
        }
        Spreading {
            by: spread.by,
            max_skew: u64::from(spread.max_skew.max(1)),
            counts,
        }
    }
}
