//! Jobs of one equivalence class have the same candidates: what could run them is worked out once.

use std::collections::HashMap;

use super::candidate::Candidate;
use super::class_key::ClassKey;
use super::frontier::Frontier;
use crate::fleet::Fleet;
use crate::model::{JobSpec, Kind};

/// Most candidates that one cycle keeps over all of its classes. Where there would be more, each class keeps
/// [`KEPT_EACH`], so that memory stays bounded however many different jobs there are.
const MOST_KEPT: usize = 200_000;
/// Candidates that a class keeps then.
const KEPT_EACH: usize = 16;

/// What could run the jobs of one class.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassCandidates {
    /// Best first, as the cycle found the fleet. Room has only shrunk since, unless something placed is moved.
    pub(crate) candidates: Vec<Candidate>,
    /// Whether these are all.
    pub(crate) complete: bool,
    /// Those that were not asked for yet, where the cycle has one job only.
    pub(crate) frontier: Option<Frontier>,
    /// Candidates that had no room for a job of the class, by position.
    pub(crate) full: Vec<bool>,
}

/// The classes of one cycle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    by_class: Vec<ClassCandidates>,
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
        let mut seen: HashMap<ClassKey<'_>, usize> = HashMap::new();
        let mut classes = Self::default();
        let mut of = Vec::with_capacity(jobs.len());
        let mut kept = 0;
        for job in jobs {
            let class = *seen.entry(ClassKey(job)).or_insert_with(|| {
                let mut class = ClassCandidates {
                    complete: true,
                    ..ClassCandidates::default()
                };
                // Nothing is placed before the only job, so that its candidates can be made while it is.
                if lazily && matches!(job.kind, Kind::Training { .. }) {
                    class.complete = false;
                    class.frontier = Some(Frontier::new(fleet, job));
                    classes.by_class.push(class);
                    return classes.by_class.len() - 1;
                }
                class.candidates = fleet.candidates(job);
                if kept + class.candidates.len() > MOST_KEPT && class.candidates.len() > KEPT_EACH {
                    class.candidates.truncate(KEPT_EACH);
                    class.candidates.shrink_to_fit();
                    class.complete = false;
                }
                kept += class.candidates.len();
                class.full = vec![false; class.candidates.len()];
                classes.by_class.push(class);
                classes.by_class.len() - 1
            });
            of.push(class);
        }
        (classes, of)
    }

    /// One class.
    pub(crate) fn get(&self, class: usize) -> Option<&ClassCandidates> {
        self.by_class.get(class)
    }

    /// One class.
    pub(crate) fn get_mut(&mut self, class: usize) -> Option<&mut ClassCandidates> {
        self.by_class.get_mut(class)
    }
}
