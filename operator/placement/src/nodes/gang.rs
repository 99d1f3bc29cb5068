//! One gang: the best candidate that has room, whole or not at all.

use std::cmp::Ordering;

use super::request::NodeAllocation;
use crate::arena::{GroupIndex, NodeIndex};
use crate::candidates::{Candidate, Quote, Score, gang_size, is_within_limits, score};
use crate::fleet::Fleet;
use crate::model::{AcceleratorRequirement, Alternative, JobSpec, Level};

/// Most counts of devices and levels of a type that are remembered as prepared; the rest are looked up group by group.
const MOST_PREPARED: usize = 64;

/// A gang's nodes with what they cost.
#[derive(Clone, Debug)]
pub(crate) struct FeasiblePlacement {
    /// Of the job.
    pub(crate) alternative: usize,
    /// Group.
    pub(crate) group: GroupIndex,
    /// Nodes.
    pub(crate) allocations: Vec<NodeAllocation>,
    /// Level of the domain that holds it.
    pub(crate) level: Level,
    /// Cost.
    pub(crate) quote: Quote,
    /// What it is worth.
    pub(crate) score: Score,
}

impl FeasiblePlacement {
    /// The nodes, in the order of allocations.
    pub(crate) fn nodes(&self) -> Box<[Option<NodeIndex>]> {
        self.allocations
            .iter()
            .map(|allocation| Some(allocation.node))
            .collect()
    }
}

/// The best that was found while candidates are gone through, best first.
#[derive(Default)]
pub(crate) struct Incumbent(pub(crate) Option<FeasiblePlacement>);

impl Incumbent {
    /// Whether neither a candidate nor any after it can be better.
    pub(crate) fn is_settled_by(&self, job: &JobSpec, candidate: &Candidate) -> bool {
        let Some(found) = &self.0 else {
            return false;
        };
        match candidate.score.cmp(&found.score) {
            Ordering::Greater => true,
            // Among equals the one that meets the preferred topology is better.
            Ordering::Equal => {
                Some(found.level) <= job.topology.preferred || job.topology.preferred.is_none()
            }
            Ordering::Less => false,
        }
    }

    /// Whether nothing that has at least this objective and these dollars can be better.
    pub(crate) fn is_settled(&self, least: Option<(i128, i64)>) -> bool {
        let Some(found) = &self.0 else {
            return false;
        };
        least.is_none_or(|least| least > (found.score.objective, found.score.usd))
    }

    /// Takes what a candidate gives, if that is better.
    pub(crate) fn offer(&mut self, found: Option<FeasiblePlacement>) {
        let Some(found) = found else {
            return;
        };
        let is_better =
            |old: &FeasiblePlacement| (found.score, found.level) < (old.score, old.level);
        if self.0.as_ref().is_none_or(is_better) {
            self.0 = Some(found);
        }
    }
}

/// Levels to try, best first: the preferred one, then wider, up to the required one.
fn levels(job: &JobSpec) -> impl Iterator<Item = Level> {
    let required = job.topology.required;
    let tightest = job.topology.preferred.unwrap_or(required).min(required);
    Level::ALL
        .into_iter()
        .filter(move |&level| level >= tightest && level <= required)
}

impl Fleet {
    /// Orders that the choice for this job reads.
    pub(crate) fn prepare(&mut self, job: &JobSpec) {
        let levels: Vec<Level> = levels(job)
            .filter(|level| !matches!(level, Level::Node | Level::Cluster))
            .collect();
        if levels.is_empty() {
            return;
        }
        for alternative in &job.alternatives {
            for &level in &levels {
                self.prepare_level(alternative, level);
            }
        }
    }

    /// Keeps the domains of a level in order for an alternative, in all groups of its type.
    fn prepare_level(&mut self, alternative: &Alternative, level: Level) {
        let devices = alternative.devices_per_replica;
        if devices == 0 {
            return;
        }
        let name = match &alternative.accelerator {
            AcceleratorRequirement::Named(name) => Some(name.as_str()),
            AcceleratorRequirement::Selected { .. } => None,
        };
        // Asked at every decision: a type whose groups all have the order is known by their number.
        let groups = name.and_then(|name| self.groups_by_type.get_key_value(name));
        let (type_name, count) = match groups {
            Some((name, groups)) => (Some(name.clone()), groups.len()),
            None => (None, 0),
        };
        let done = type_name.as_ref().and_then(|name| self.prepared.get(name));
        if done.is_some_and(|done| done.contains(&(level, devices, count))) {
            return;
        }
        for group in self.groups_of_type(&alternative.accelerator) {
            let root = self.groups[group].root;
            self.cells.keep_order(root, level, devices);
        }
        if let Some(name) = type_name {
            let done = self.prepared.entry(name).or_default();
            done.retain(|&(of, each, _)| (of, each) != (level, devices));
            if done.len() < MOST_PREPARED {
                done.push((level, devices, count));
            }
        }
    }

    /// The best way to run a gang now. Each candidate, best first, comes with a mark that is set when it has no room.
    pub(crate) fn best_gang<'a>(
        &self,
        job: &JobSpec,
        candidates: impl Iterator<Item = (&'a Candidate, Option<&'a mut bool>)>,
        now_seconds: i64,
    ) -> Option<FeasiblePlacement> {
        let mut best = Incumbent::default();
        for (candidate, full) in candidates {
            if best.is_settled_by(job, candidate) {
                break;
            }
            let found = self.try_candidate(job, candidate, now_seconds);
            if let Some(full) = full {
                *full |= found.is_none();
            }
            best.offer(found);
        }
        best.0
    }

    /// Nodes for one candidate within every limit.
    pub(crate) fn try_candidate(
        &self,
        job: &JobSpec,
        candidate: &Candidate,
        now_seconds: i64,
    ) -> Option<FeasiblePlacement> {
        let alternative = job.alternatives.get(candidate.alternative)?;
        // The estimate is exact where prices do not differ.
        if candidate.ranks.is_none() && !is_within_limits(job, &candidate.quote, now_seconds) {
            return None;
        }
        if self
            .power
            .queue_shortage(&job.queue, candidate.quote.watts)
            .is_some()
        {
            return None;
        }
        let mut request = self.node_request(
            alternative,
            candidate.group,
            gang_size(job, alternative),
            candidate.pools.clone(),
        );
        request.ranks.clone_from(&candidate.ranks);
        let (level, allocations) =
            levels(job).find_map(|level| Some((level, self.choose(&request, level)?)))?;
        let cluster = &self.clusters[self.cluster_of(candidate.group)].name;
        let uses = self.uses(&allocations, request.devices);
        let quote = self.quote(
            job,
            cluster,
            &uses,
            request.watts_each,
            candidate.quote.duration_seconds,
        );
        is_within_limits(job, &quote, now_seconds).then(|| FeasiblePlacement {
            alternative: candidate.alternative,
            group: candidate.group,
            score: score(job, alternative, &quote),
            allocations,
            level,
            quote,
        })
    }
}
