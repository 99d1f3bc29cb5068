//! A candidate: an alternative on the pools of one group, with what it would cost.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::quote::Quote;
use crate::arena::{GroupIndex, PoolIndex};
use crate::fleet::Fleet;
use crate::model::{Alternative, JobSpec, Kind, Objective};

/// What decides between candidates; least is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    /// By the job's objective.
    pub(crate) objective: i128,
    /// Dollars, where the objective is something else.
    pub(crate) usd: i64,
    /// Watts.
    pub(crate) watts: i64,
}

/// An alternative on one group, priced.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Position of the alternative.
    pub(crate) alternative: usize,
    /// Group.
    pub(crate) group: GroupIndex,
    /// Admitted pools; `None` admits all of the group.
    pub(crate) pools: Option<Vec<PoolIndex>>,
    /// Rank by price where prices differ.
    pub(crate) ranks: Option<BTreeMap<PoolIndex, u32>>,
    /// What it costs, or at least so much where prices differ.
    pub(crate) score: Score,
    /// Least watts, dollars per hour and the like: the quote behind the score.
    pub(crate) quote: Quote,
}

/// The least objective and dollars that a candidate may have.
pub(crate) type LowerBound = (i128, i64);

impl Candidate {
    /// What it cannot cost less than.
    pub(crate) fn least(&self) -> LowerBound {
        (self.score.objective, self.score.usd)
    }
}

impl Fleet {
    /// Puts the best candidates first. Stable: those that differ in pools only stay in order.
    pub(crate) fn sort_candidates(&self, candidates: &mut [Candidate]) {
        candidates.sort_by(|a, b| self.compare(a, b));
    }

    /// Whether one candidate comes before another.
    pub(crate) fn is_better(&self, a: &Candidate, b: &Candidate) -> bool {
        self.compare(a, b).is_lt()
    }

    fn compare(&self, a: &Candidate, b: &Candidate) -> Ordering {
        let by_name = || self.name_order(a).cmp(&self.name_order(b));
        a.score.cmp(&b.score).then_with(by_name)
    }

    /// What decides between equals: names, never indices, which depend on the order of calls.
    fn name_order<'a>(&'a self, candidate: &Candidate) -> (&'a str, usize, impl Ord + use<'a>) {
        let key = &self.groups[candidate.group].key;
        (
            &*self.clusters[key.cluster].name,
            candidate.alternative,
            (
                key.capacity_type,
                &*key.accelerator_type,
                &*key.resource,
                &key.part,
                key.share,
            ),
        )
    }
}

/// What a quote is worth to a job.
pub(crate) fn score(job: &JobSpec, alternative: &Alternative, quote: &Quote) -> Score {
    let objective = match (&job.kind, job.objective) {
        (Kind::Training { .. }, Objective::Cost) => i128::from(quote.usd_total),
        (Kind::Training { .. }, Objective::Time) => {
            i128::from(quote.duration_seconds.unwrap_or(i64::MAX))
        }
        (Kind::Training { .. }, Objective::Energy) => i128::from(quote.watts)
            .saturating_mul(i128::from(quote.duration_seconds.unwrap_or(i64::MAX))),
        (Kind::Inference { .. }, objective) => {
            // So many replicas are asked for, whatever one of them does: the cheapest are those that cost least an hour. What a
            // replica does counts where the fastest are asked for, and every alternative says it.
            let comparable = job
                .alternatives
                .iter()
                .all(|a| a.throughput_micro.is_some_and(|t| t > 0));
            let rate = alternative.throughput_micro.unwrap_or(0).max(1);
            match objective {
                Objective::Time if comparable => -i128::from(rate),
                Objective::Cost | Objective::Time => i128::from(quote.usd_per_hour),
                Objective::Energy => i128::from(quote.watts),
            }
        }
    };
    Score {
        objective,
        usd: match job.kind {
            Kind::Training { .. } => quote.usd_total,
            Kind::Inference { .. } => quote.usd_per_hour,
        },
        watts: quote.watts,
    }
}
