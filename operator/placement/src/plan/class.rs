//! Jobs that differ in nothing but name, priority and age are one class: what could run them is worked out once.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use super::candidate::Candidate;
use super::frontier::Frontier;
use super::gang::{Best, Found};
use crate::fleet::Fleet;
use crate::model::{JobSpec, Kind};

/// Most candidates that one cycle keeps over all of its classes. Where there would be more, each class keeps
/// [`KEPT_EACH`], so that memory stays bounded however many different jobs there are.
const MOST_KEPT: usize = 200_000;
/// Candidates that a class keeps then.
const KEPT_EACH: usize = 16;

/// A job as its class sees it.
struct Shape<'a>(&'a JobSpec);

impl PartialEq for Shape<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0, other.0);
        a.alternatives == b.alternatives
            && a.kind == b.kind
            && a.namespace == b.namespace
            && a.queue == b.queue
            && a.objective == b.objective
            && a.budget == b.budget
            && a.topology == b.topology
            && a.capacity_types == b.capacity_types
            && a.clusters == b.clusters
            && a.excluded_clusters == b.excluded_clusters
            && a.egress == b.egress
    }
}

impl Eq for Shape<'_> {}

impl Hash for Shape<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.alternatives.hash(state);
        self.0.kind.hash(state);
        self.0.queue.hash(state);
        self.0.topology.hash(state);
    }
}

/// What could run the jobs of one class.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slate {
    /// Best first, as the cycle found the fleet. Room has only shrunk since, unless something placed is moved.
    pub(crate) candidates: Vec<Candidate>,
    /// Whether these are all.
    pub(crate) complete: bool,
    /// Those that were not asked for yet, where the cycle has one job only.
    ahead: Option<Frontier>,
    /// Candidates that had no room for a job of the class, by position.
    full: Vec<bool>,
}

/// The classes of one cycle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    slates: Vec<Slate>,
}

impl Classes {
    /// Sorts jobs into classes; returns each job's. The candidates of an only job are made while it is placed.
    pub(crate) fn sort(fleet: &Fleet, jobs: &[&JobSpec]) -> (Self, Vec<usize>) {
        Self::sort_with(fleet, jobs, jobs.len() == 1)
    }

    /// As [`Self::sort`], with all candidates made at once.
    pub(crate) fn sort_complete(fleet: &Fleet, jobs: &[&JobSpec]) -> (Self, Vec<usize>) {
        Self::sort_with(fleet, jobs, false)
    }

    fn sort_with(fleet: &Fleet, jobs: &[&JobSpec], lazily: bool) -> (Self, Vec<usize>) {
        let mut seen: HashMap<Shape<'_>, usize> = HashMap::new();
        let mut classes = Self::default();
        let mut of = Vec::with_capacity(jobs.len());
        let mut kept = 0;
        for job in jobs {
            let class = *seen.entry(Shape(job)).or_insert_with(|| {
                let mut slate = Slate {
                    complete: true,
                    ..Slate::default()
                };
                // Nothing is placed before the only job, so that its candidates can be made while it is.
                if lazily && matches!(job.kind, Kind::Training { .. }) {
                    slate.complete = false;
                    slate.ahead = Some(Frontier::new(fleet, job));
                    classes.slates.push(slate);
                    return classes.slates.len() - 1;
                }
                slate.candidates = fleet.candidates(job);
                if kept + slate.candidates.len() > MOST_KEPT && slate.candidates.len() > KEPT_EACH {
                    slate.candidates.truncate(KEPT_EACH);
                    slate.candidates.shrink_to_fit();
                    slate.complete = false;
                }
                kept += slate.candidates.len();
                slate.full = vec![false; slate.candidates.len()];
                classes.slates.push(slate);
                classes.slates.len() - 1
            });
            of.push(class);
        }
        (classes, of)
    }

    /// One class.
    pub(crate) fn get(&self, class: usize) -> Option<&Slate> {
        self.slates.get(class)
    }

    /// One class.
    pub(crate) fn get_mut(&mut self, class: usize) -> Option<&mut Slate> {
        self.slates.get_mut(class)
    }
}

impl Slate {
    /// Adds the best candidate of those that were not asked for yet.
    fn extend(&mut self, fleet: &Fleet, job: &JobSpec) -> Option<&Candidate> {
        let Some(candidate) = self.ahead.as_mut()?.next(fleet, job) else {
            (self.ahead, self.complete) = (None, true);
            return None;
        };
        self.full.push(false);
        self.candidates.push(candidate);
        self.candidates.last()
    }
}

impl Fleet {
    /// The best way to run a gang now, when nothing was given back since its class was made.
    pub(crate) fn best_of_class(
        &self,
        job: &JobSpec,
        slate: &mut Slate,
        now_seconds: i64,
    ) -> Option<Found> {
        if slate.ahead.is_some() {
            return self.best_of_one(job, slate, now_seconds);
        }
        // What had no room for an equal job has none now.
        let candidates = slate
            .candidates
            .iter()
            .zip(&mut slate.full)
            .filter(|(_, full)| !**full)
            .map(|(candidate, full)| (candidate, Some(full)));
        let found = self.best_gang(job, candidates, now_seconds);
        if found.is_some() || slate.candidates.is_empty() {
            return found;
        }
        // Choosing nodes under uneven power is no exact science: asked again before a job is refused.
        let all = self.candidates(job);
        self.best_gang(job, all.iter().map(|c| (c, None)), now_seconds)
    }

    /// The best way to run the cycle's only job, making no more candidates than it takes.
    fn best_of_one(&self, job: &JobSpec, slate: &mut Slate, now_seconds: i64) -> Option<Found> {
        let mut best = Best::default();
        while !slate
            .ahead
            .as_ref()
            .is_some_and(|a| best.is_settled(a.least()))
        {
            let Some(candidate) = slate.extend(self, job) else {
                break;
            };
            if best.is_settled_by(job, candidate) {
                break;
            }
            let found = self.try_candidate(job, candidate, now_seconds);
            best.offer(found);
        }
        best.0
    }
}
