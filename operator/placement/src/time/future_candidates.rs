//! Where a gang could run if nobody else were there, and the least that it would cost.

use crate::arena::{GroupIndex, Key};
use crate::candidates::{
    Score, alternative_refusal, duration_seconds, gang_size, group_refusal, score,
};
use crate::fleet::Fleet;
use crate::model::{Alternative, JobSpec, Level};
use crate::schedule::StartCost;

/// Most groups that are looked at for one gang.
const MOST_GROUPS: usize = 4;
/// Most groups that are looked at for one gang's cheapest start: more, since the cheapest may not give devices back in time.
const MOST_CHEAP_GROUPS: usize = 8;
/// Most of these on which others step back for one gang.
const MOST_CHEAPER_TYPES: usize = 2;

/// A gang's alternative on one group.
#[derive(Clone, Copy)]
pub(crate) struct FutureCandidate<'a> {
    pub(crate) job: &'a JobSpec,
    pub(crate) at: usize,
    pub(crate) alternative: &'a Alternative,
    pub(crate) group: GroupIndex,
    pub(crate) duration: i64,
}

impl FutureCandidate<'_> {
    /// Devices of the whole gang.
    pub(crate) fn devices(&self) -> u64 {
        u64::from(self.alternative.replicas)
            .saturating_mul(u64::from(self.alternative.devices_per_replica))
    }
}

impl Fleet {
    /// The least that any start could be worth to a gang, on a fleet that nobody else is on.
    pub(crate) fn least_start_cost(&self, job: &JobSpec) -> Option<StartCost> {
        self.cheapest(job).first().map(|&(least, _)| least)
    }

    /// Clusters and accelerator types on which a start could be worth more to a gang than this, the best few.
    pub(crate) fn cheaper_types(&self, job: &JobSpec, than: StartCost) -> Vec<(String, String)> {
        self.cheapest(job)
            .into_iter()
            .take_while(|(least, _)| *least < than)
            .take(MOST_CHEAPER_TYPES)
            .map(|(_, future_candidate)| {
                let key = &self.groups[future_candidate.group].key;
                let cluster = self.clusters[key.cluster].name.to_string();
                (cluster, key.accelerator_type.to_string())
            })
            .collect()
    }

    /// The candidates that could hold the gang if nobody else were there, those that could cost the least first.
    pub(crate) fn cheapest<'a>(&self, job: &'a JobSpec) -> Vec<(StartCost, FutureCandidate<'a>)> {
        let mut future_candidates: Vec<(StartCost, FutureCandidate<'a>)> = self
            .future_candidates(job)
            .filter_map(|future_candidate| {
                Some((
                    StartCost::of(job, self.least_score(&future_candidate)?, 0),
                    future_candidate,
                ))
            })
            .collect();
        future_candidates.sort_by(|(least, a), (other, b)| {
            least.cmp(other).then_with(|| {
                self.future_candidate_name(a)
                    .cmp(&self.future_candidate_name(b))
            })
        });
        future_candidates
            .into_iter()
            .filter(|(_, future_candidate)| self.could_hold(future_candidate))
            .take(MOST_CHEAP_GROUPS)
            .collect()
    }

    /// The least that a candidate could cost: all at the lowest price of its group.
    fn least_score(&self, future_candidate: &FutureCandidate<'_>) -> Option<Score> {
        let FutureCandidate {
            job,
            alternative,
            group,
            duration,
            ..
        } = *future_candidate;
        let watts_each = self.watts_each(group);
        let pools = self.admitted(job, alternative, group);
        let pool = pools
            .into_iter()
            .min_by_key(|&pool| (self.rate(pool, watts_each), pool))?;
        let uses = [self.part_of(
            pool,
            gang_size(job, alternative),
            alternative.devices_per_replica,
        )];
        let cluster = &self.clusters[self.cluster_of(group)].name;
        let quote = self.quote(job, cluster, &uses, watts_each, Some(duration));
        Some(score(job, alternative, &quote))
    }

    /// What decides between candidates that are equal otherwise: names, never indices, which depend on the order of calls.
    fn future_candidate_name<'a>(
        &'a self,
        future_candidate: &FutureCandidate<'_>,
    ) -> impl Ord + use<'a> {
        let key = &self.groups[future_candidate.group].key;
        (
            &*self.clusters[key.cluster].name,
            future_candidate.at,
            key.capacity_type,
            &*key.accelerator_type,
            &*key.resource,
        )
    }

    /// The candidates that could hold the gang if nobody else were there, those that lack the fewest devices now first.
    pub(crate) fn nearest<'a>(&self, job: &'a JobSpec) -> Vec<FutureCandidate<'a>> {
        let mut future_candidates: Vec<(i128, FutureCandidate<'_>)> = self
            .future_candidates(job)
            .map(|future_candidate| {
                let free = self
                    .cells
                    .get(self.groups[future_candidate.group].root)
                    .free_devices;
                (
                    i128::from(future_candidate.devices()) - i128::from(free),
                    future_candidate,
                )
            })
            .collect();
        future_candidates.sort_by(|(lack, a), (other, b)| {
            lack.cmp(other).then_with(|| {
                self.future_candidate_name(a)
                    .cmp(&self.future_candidate_name(b))
            })
        });
        future_candidates
            .into_iter()
            .map(|(_, future_candidate)| future_candidate)
            .filter(|future_candidate| self.could_hold(future_candidate))
            .take(MOST_GROUPS)
            .collect()
    }

    /// The candidates in which the gang's devices are there, whoever holds them.
    fn future_candidates<'a>(&self, job: &'a JobSpec) -> impl Iterator<Item = FutureCandidate<'a>> {
        let open = self.open_clusters(job);
        let mut future_candidates: Vec<FutureCandidate<'a>> = Vec::new();
        for (at, alternative) in job.alternatives.iter().enumerate() {
            let duration = duration_seconds(&job.kind, alternative);
            let is_refused = alternative_refusal(job, alternative, duration).is_some();
            let Some(duration) = duration.filter(|&seconds| seconds > 0 && !is_refused) else {
                continue;
            };
            for group in self.groups_for(alternative) {
                let key = &self.groups[group].key;
                if open.get(key.cluster.position()) != Some(&true)
                    || group_refusal(job, key).is_some()
                    || self.most_replicas(group, alternative) < gang_size(job, alternative)
                {
                    continue;
                }
                future_candidates.push(FutureCandidate {
                    job,
                    at,
                    alternative,
                    group,
                    duration,
                });
            }
        }
        future_candidates.into_iter()
    }

    /// Replicas that a group's nodes hold when nobody else does.
    fn most_replicas(&self, group: GroupIndex, alternative: &Alternative) -> u64 {
        self.groups[group]
            .pools
            .iter()
            .map(|&pool| &self.pools[pool])
            .map(|pool| {
                let each = pool
                    .key
                    .devices
                    .checked_div(alternative.devices_per_replica);
                pool.nodes().saturating_sub(pool.faulty()) * u64::from(each.unwrap_or(0))
            })
            .fold(0, u64::saturating_add)
    }

    /// Whether the admitted nodes of a group, and those of one domain of the required level, are enough in number.
    fn could_hold(&self, future_candidate: &FutureCandidate<'_>) -> bool {
        let pools = self.admitted(
            future_candidate.job,
            future_candidate.alternative,
            future_candidate.group,
        );
        let each = |pool| {
            u64::from(
                self.pools[pool].key.devices / future_candidate.alternative.devices_per_replica,
            )
        };
        let (mut all, mut largest) = (0_u64, 0_u64);
        for pool in pools {
            largest = largest.max(each(pool));
            all = all.saturating_add(self.pools[pool].nodes().saturating_mul(each(pool)));
        }
        let needed = gang_size(future_candidate.job, future_candidate.alternative);
        let level = future_candidate.job.topology.required;
        all >= needed
            && match level {
                Level::Cluster => true,
                Level::Node => largest >= needed,
                _ => {
                    let root = self.groups[future_candidate.group].root;
                    let nodes = self
                        .cells
                        .at_level(root, level)
                        .into_iter()
                        .map(|cell| u64::from(self.cells.get(cell).nodes))
                        .max();
                    nodes.unwrap_or(0).saturating_mul(largest) >= needed
                }
            }
    }
}
