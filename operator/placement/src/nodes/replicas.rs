//! Inference replicas: as many as fit, the cheapest first, over any number of clusters and alternatives.

use std::collections::BTreeMap;

use super::gang::FeasiblePlacement;
use super::request::{NodeAllocation, total};
use super::spread::SpreadCounts;
use crate::arena::NodeIndex;
use crate::candidates::Candidate;
use crate::fleet::Fleet;
use crate::model::{JobSpec, Kind, Level, PlacementDecision, Reservation};

/// Replicas without a place, then what the others are worth to the job, then dollars; least is best.
type SpreadValue = (u64, i128, i128);

/// Replicas put on candidates on trial.
struct Attempt {
    /// By candidate.
    parts: Vec<Vec<NodeAllocation>>,
    /// Replicas without a place.
    left: u64,
    /// Of all of the job's replicas, those that it has already too.
    usd_per_hour: i64,
    value: SpreadValue,
    /// Keys under which they are reserved.
    held: Vec<String>,
}

impl Attempt {
    fn new(job: &JobSpec, candidates: &[Candidate], replicas: u64) -> Self {
        Self {
            parts: vec![Vec::new(); candidates.len()],
            left: replicas,
            usd_per_hour: job.kind.placed_usd_per_hour().0,
            value: (replicas, 0, 0),
            held: Vec::new(),
        }
    }

    fn add(&mut self, at: usize, candidate: &Candidate, found: Vec<NodeAllocation>, count: u64) {
        let each = candidate.quote.usd_per_hour;
        let usd = each.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX));
        self.usd_per_hour = self.usd_per_hour.saturating_add(usd);
        self.left = self.left.saturating_sub(count);
        self.value.0 = self.left;
        let worth = candidate.score.objective.saturating_mul(i128::from(count));
        self.value.1 = self.value.1.saturating_add(worth);
        self.value.2 = self.value.2.saturating_add(i128::from(usd));
        if let Some(part) = self.parts.get_mut(at) {
            part.extend(found);
        }
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
        let replicas = u64::from(*replicas);
        let filled = match spread {
            None => {
                let mut attempt = Attempt::new(job, &candidates, replicas);
                self.take(job, &candidates, None, &mut attempt);
                self.release_all(&mut attempt);
                attempt
            }
            Some(spread) => {
                let counts = self.spread_counts(job, *spread, placed);
                self.cheapest_spread(job, &candidates, replicas, counts)
            }
        };
        let mut decisions = Vec::new();
        for (candidate, allocations) in candidates.iter().zip(filled.parts) {
            if allocations.is_empty() {
                continue;
            }
            if let Some(decision) = self.part(job, candidate, allocations) {
                self.reserve(decision.reservation.clone());
                decisions.push(decision);
            }
        }
        ReplicaOutcome {
            decisions,
            shortfall: u32::try_from(filled.left).unwrap_or(u32::MAX),
        }
    }

    /// Places the cheapest spread. Every final spread has a floor, the replicas of its emptiest domain, and no domain with more
    /// than `maxSkew` above it. For a given floor the cheapest way is to raise every domain to it and then to take the cheapest
    /// that is left. What that costs is convex in the floor, so the best floor is found by halving; the most even among equals.
    fn cheapest_spread(
        &mut self,
        job: &JobSpec,
        candidates: &[Candidate],
        replicas: u64,
        counts: SpreadCounts,
    ) -> Attempt {
        let (mut low, mut high) = (counts.least(), counts.highest_floor(replicas));
        let mut tried: BTreeMap<u64, Option<Attempt>> = BTreeMap::new();
        let mut try_floor = |fleet: &mut Self, floor: u64| {
            let known = tried.entry(floor).or_insert_with(|| {
                fleet.with_floor(job, candidates, replicas, counts.clone(), floor)
            });
            known.as_ref().map(|attempt| attempt.value)
        };
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let at = try_floor(self, middle);
            let below = try_floor(self, middle - 1);
            match at {
                Some(at) if below.is_none_or(|below| at <= below) => low = middle,
                _ => high = middle - 1,
            }
        }
        try_floor(self, low);
        tried
            .remove(&low)
            .flatten()
            .unwrap_or_else(|| Attempt::new(job, candidates, replicas))
    }

    /// The cheapest spread with at least `floor` replicas in every domain; `None` where not every domain can have so many.
    fn with_floor(
        &mut self,
        job: &JobSpec,
        candidates: &[Candidate],
        replicas: u64,
        mut counts: SpreadCounts,
        floor: u64,
    ) -> Option<Attempt> {
        let mut attempt = Attempt::new(job, candidates, replicas);
        let mut is_reached = floor == counts.least();
        if !is_reached {
            counts.ceiling = floor;
            self.take(job, candidates, Some(&mut counts), &mut attempt);
            is_reached = counts.least() >= floor;
        }
        if is_reached {
            counts.ceiling = counts.ceiling_above(floor);
            self.take(job, candidates, Some(&mut counts), &mut attempt);
        }
        self.release_all(&mut attempt);
        is_reached.then_some(attempt)
    }

    /// Holds what fits of the rest, the cheapest first.
    fn take(
        &mut self,
        job: &JobSpec,
        candidates: &[Candidate],
        mut counts: Option<&mut SpreadCounts>,
        attempt: &mut Attempt,
    ) {
        for (at, candidate) in candidates.iter().enumerate() {
            // Domain by domain: what one took, of watts say, the next one finds taken.
            loop {
                let affordable = self.affordable_replicas(job, candidate, attempt.usd_per_hour);
                let most = attempt.left.min(affordable);
                if most == 0 {
                    break;
                }
                let found = self.some_replicas(job, candidate, most, counts.as_deref_mut());
                let count = total(&found);
                if count == 0 {
                    break;
                }
                // Reserved under keys that cannot be a job's, until it is known how many go where.
                let key = format!("\u{0}{}\u{0}{}", job.key, attempt.held.len());
                self.hold(job, candidate, &found, &key);
                attempt.held.push(key);
                attempt.add(at, candidate, found, count);
                if counts.is_none() {
                    break;
                }
            }
            if attempt.left == 0 {
                break;
            }
        }
    }

    fn release_all(&mut self, attempt: &mut Attempt) {
        for key in std::mem::take(&mut attempt.held) {
            self.release(&key);
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
            let ceiling = spread_counts.ceiling;
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
}
