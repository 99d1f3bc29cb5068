//! Candidates of a job, best first, made as they are asked for.
//!
//! Groups of a type are kept in order of price. A job that finds room in one of the cheapest has looked at no other: a
//! decision costs by the groups that are full before it, not by all that there are. What is handed out is the same, in
//! the same order, as if all candidates were made and sorted.

use std::sync::Arc;

use super::candidate::{Candidate, LowerBound};
use super::constraints::{alternative_refusal, cluster_refusal, group_refusal};
use super::demand::{duration_seconds, gang_size};
use crate::arena::{GroupIndex, Key};
use crate::fleet::{Fleet, GroupsOfType};
use crate::model::{Alternative, JobSpec, Objective, saturated};

/// The groups of one type for one alternative, those of least price first.
#[derive(Clone, Debug)]
struct TypeCursor {
    alternative: usize,
    accelerator_type: Arc<str>,
    duration_seconds: Option<i64>,
    /// Position of the first group that was not looked at.
    next: usize,
    /// What no group from there on goes below; `None` where there is none.
    least: Option<LowerBound>,
}

/// What is left to be handed out.
#[derive(Clone, Debug)]
pub(crate) struct Frontier {
    cursors: Vec<TypeCursor>,
    /// Candidates of the groups that were looked at, best last.
    ready: Vec<Candidate>,
    /// By position of the cluster: whether it may take the job, where that was asked.
    open: Vec<Option<bool>>,
}

impl Frontier {
    /// All candidates of a job on the fleet as it is. Nothing may be placed while they are handed out.
    pub(crate) fn new(fleet: &Fleet, job: &JobSpec) -> Self {
        let mut cursors = Vec::new();
        for (at, alternative) in job.alternatives.iter().enumerate() {
            let duration = duration_seconds(&job.kind, alternative);
            if alternative_refusal(job, alternative, duration).is_some() {
                continue;
            }
            for (name, groups) in fleet.types_for(&alternative.accelerator) {
                let mut cursor = TypeCursor {
                    alternative: at,
                    accelerator_type: name.clone(),
                    duration_seconds: duration,
                    next: 0,
                    least: None,
                };
                cursor.least = cursor.least_from(job, alternative, groups);
                cursors.push(cursor);
            }
        }
        Self {
            cursors,
            ready: Vec::new(),
            open: vec![None; fleet.clusters.len()],
        }
    }

    /// What no candidate that is left goes below; `None` where none is left.
    pub(crate) fn least(&self) -> Option<LowerBound> {
        let ready = self.ready.last().map(Candidate::least);
        ready.into_iter().chain(self.least_ahead()).min()
    }

    fn least_ahead(&self) -> Option<LowerBound> {
        self.cursors.iter().filter_map(|cursor| cursor.least).min()
    }

    /// The best candidate that is left.
    pub(crate) fn next(&mut self, fleet: &Fleet, job: &JobSpec) -> Option<Candidate> {
        loop {
            let ahead = self.least_ahead();
            let best = self.ready.last().map(Candidate::least);
            let Some(ahead) = ahead.filter(|ahead| best.is_none_or(|best| best >= *ahead)) else {
                return self.ready.pop();
            };
            let at = self.cursors.iter().position(|r| r.least == Some(ahead))?;
            let mut found = Vec::new();
            while found.is_empty() && self.advance(at, fleet, job, &mut found) {}
            let cursor = self.cursors.get_mut(at)?;
            let alternative = job.alternatives.get(cursor.alternative)?;
            let groups = fleet.groups_by_type.get(&cursor.accelerator_type);
            cursor.least = groups.and_then(|groups| cursor.least_from(job, alternative, groups));
            for candidate in found {
                let place = self
                    .ready
                    .partition_point(|other| fleet.is_better(&candidate, other));
                self.ready.insert(place, candidate);
            }
        }
    }

    /// All that is left, best first.
    pub(crate) fn rest(mut self, fleet: &Fleet, job: &JobSpec) -> Vec<Candidate> {
        let mut all = std::mem::take(&mut self.ready);
        all.reverse();
        for at in 0..self.cursors.len() {
            while self.advance(at, fleet, job, &mut all) {}
        }
        fleet.sort_candidates(&mut all);
        all
    }

    /// Looks at the next group of a road. Whether there was one.
    fn advance(
        &mut self,
        at: usize,
        fleet: &Fleet,
        job: &JobSpec,
        found: &mut Vec<Candidate>,
    ) -> bool {
        let Some(cursor) = self.cursors.get_mut(at) else {
            return false;
        };
        let (alternative_at, duration) = (cursor.alternative, cursor.duration_seconds);
        let groups = fleet.groups_by_type.get(&cursor.accelerator_type);
        let (Some(groups), Some(alternative)) = (groups, job.alternatives.get(alternative_at))
        else {
            return false;
        };
        let replicas = gang_size(job, alternative);
        let left = groups.by_rate.get(cursor.next..).unwrap_or_default();
        let next = left
            .iter()
            .position(|ranked| ranked.may_hold(replicas, alternative.devices_per_replica));
        let Some(group) = next.and_then(|at| left.get(at)).map(|ranked| ranked.group) else {
            cursor.next = groups.len();
            return false;
        };
        cursor.next += next.unwrap_or(0) + 1;
        if self.may_take(fleet, job, alternative, group) {
            fleet.on_group(job, alternative_at, alternative, group, duration, found);
        }
        true
    }

    fn may_take(
        &mut self,
        fleet: &Fleet,
        job: &JobSpec,
        alternative: &Alternative,
        group: GroupIndex,
    ) -> bool {
        let key = &fleet.groups[group].key;
        if group_refusal(job, key).is_some() || !alternative.part.is_served_by(&key.part) {
            return false;
        }
        let Some(open) = self.open.get_mut(key.cluster.position()) else {
            return false;
        };
        *open.get_or_insert_with(|| cluster_refusal(job, &fleet.clusters[key.cluster]).is_none())
    }
}

impl TypeCursor {
    /// What no group from the next one on goes below: all replicas at the least rate, without interruptions and egress.
    fn least_from(
        &self,
        job: &JobSpec,
        alternative: &Alternative,
        groups: &GroupsOfType,
    ) -> Option<LowerBound> {
        let rate = groups.by_rate.get(self.next)?.rate;
        let Some(duration) = self.duration_seconds else {
            return Some((i128::MIN, i64::MIN));
        };
        let replicas = gang_size(job, alternative);
        let units = u128::from(replicas) * u128::from(alternative.devices_per_replica);
        let units = i128::try_from(units).unwrap_or(i128::MAX);
        // The hourly dollars of each pool's part are rounded twice, to the nearest micro-dollar.
        let parts = u64::try_from(groups.most_pools).unwrap_or(u64::MAX);
        let rounding = 2 * i128::from(parts.min(replicas));
        let hour = (rate.saturating_mul(units) / 1_000_000 - rounding).max(0);
        let usd = hour.saturating_mul(i128::from(duration.max(0))) / 3600 - 1;
        let usd = saturated(usd);
        match job.objective {
            Objective::Cost => Some((i128::from(usd), usd)),
            Objective::Time => Some((i128::from(duration), usd)),
            Objective::Energy => Some((i128::MIN, i64::MIN)),
        }
    }
}

impl Fleet {
    /// Candidates of a job that could have room, best first.
    pub(crate) fn candidates(&self, job: &JobSpec) -> Vec<Candidate> {
        Frontier::new(self, job).rest(self, job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        AcceleratorFacts, AcceleratorRequirement, CapacityType, ClusterSpec, DeviceGroup,
        EgressCost, Kind, MicroUsd, NodePrice, NodeSpec, PodShape, Watts, Work,
    };
    use proptest::prelude::*;

    prop_compose! {
        /// A node of one of three types; prices are few and close together, so that rounding and ties matter.
        fn nodes()(
            cluster in 0..4_u8, of in 0..3_u8, spot in any::<bool>(), devices in 1..5_u32, held in 0..3_u32,
            node_usd in prop::option::of(0..4_i64), device_usd in prop::option::of(0..4_i64),
            usd_per_kwh in 0..3_i64, interruptions_per_hour_micro in prop::sample::select(vec![0, 1, 90_000]),
            scale in prop::sample::select(vec![1, 1_000_000, i64::MAX / 4]),
        ) -> NodeSpec {
            let usd = |some: Option<i64>| some.map(|usd| MicroUsd(usd * scale));
            NodeSpec {
                cluster: format!("c{cluster}"),
                capacity_type: Some(if spot { CapacityType::Spot } else { CapacityType::OnDemand }),
                devices: vec![DeviceGroup {
                    accelerator_type: format!("t{of}"),
                    devices,
                    held,
                    ..DeviceGroup::default()
                }],
                pod_slots: crate::model::Amount { total: 9, held: 0 },
                price: NodePrice {
                    usd_per_node_hour: usd(node_usd),
                    usd_per_device_hour: usd(device_usd),
                    usd_per_kwh: MicroUsd(usd_per_kwh),
                    pue_micro: 1_300_000,
                    interruptions_per_hour_micro,
                    ..NodePrice::default()
                },
                ..NodeSpec::default()
            }
        }
    }

    prop_compose! {
        fn alternatives()(
            named in prop::option::of(0..3_u8), devices_per_replica in 0..4_u32, replicas in 0..5_u32,
            throughput_micro in prop::option::of(1..9_i64), at in any::<u32>(),
        ) -> Alternative {
            Alternative {
                name: format!("a{at}"),
                accelerator: match named {
                    Some(of) => AcceleratorRequirement::Named(format!("t{of}")),
                    None => AcceleratorRequirement::Selected {
                        vendor: None, min_memory_gib: 1, min_bf16_tflops: 0, names: Vec::new(),
                    },
                },
                part: crate::model::DevicePart::Whole,
                devices_per_replica,
                replicas,
                throughput_micro,
                pod: PodShape::default(),
            }
        }
    }

    prop_compose! {
        fn jobs()(
            alternatives in prop::collection::vec(alternatives(), 1..4),
            objective in prop::sample::select(vec![Objective::Cost, Objective::Time, Objective::Energy]),
            gang in prop::bool::weighted(0.9), timed in any::<bool>(), amount in 1..20_000_i64,
            capacity_types in prop::sample::subsequence(vec![CapacityType::OnDemand, CapacityType::Spot], 1..3),
            excluded in prop::option::of(0..4_u8), egress in prop::option::of(0..4_u8),
        ) -> JobSpec {
            let work = if timed { Work::DurationSeconds(amount) } else { Work::UnitsMicro(amount) };
            JobSpec {
                key: "job".into(),
                namespace: String::new(),
                queue: String::new(),
                priority: 0,
                submitted_seconds: 0,
                kind: if gang {
                    Kind::Training {
                        work,
                        deadline_seconds: None,
                        checkpoint_interval_seconds: 60,
                        checkpoint_restore_seconds: 5,
                        restores: false,
                    }
                } else {
                    Kind::Inference { replicas: 2, placed: Vec::new(), spread: None }
                },
                objective,
                budget: Default::default(),
                capacity_types,
                clusters: Default::default(),
                excluded_clusters: excluded.map(|at| format!("c{at}")).into_iter().collect(),
                topology: Default::default(),
                egress: egress
                    .map(|at| EgressCost { cluster: format!("c{at}"), usd: MicroUsd(2) })
                    .into_iter()
                    .collect(),
                alternatives,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn one_by_one_is_all_at_once(nodes in prop::collection::vec(nodes(), 0..24), job in jobs(), kept in 0..8_usize) {
            let mut fleet = Fleet::new();
            for of in 0..3 {
                fleet.set_accelerator(AcceleratorFacts {
                    name: format!("t{of}"),
                    memory_gib: 1,
                    default_watts: Watts(100 * of),
                    ..AcceleratorFacts::default()
                });
            }
            for at in 0..4 {
                fleet.set_cluster(ClusterSpec { name: format!("c{at}"), reachable: true, ..ClusterSpec::default() });
            }
            for (at, node) in nodes.into_iter().enumerate() {
                fleet.set_node(NodeSpec { name: format!("n{at}"), ..node });
            }
            let shown = |c: &Candidate| format!("{} {:?} {:?} {:?}", c.alternative, c.group, c.pools, c.score);
            let all: Vec<String> = fleet.candidates(&job).iter().map(shown).collect();

            let mut frontier = Frontier::new(&fleet, &job);
            let mut one_by_one = Vec::new();
            while one_by_one.len() < kept {
                let least = frontier.least();
                let Some(next) = frontier.next(&fleet, &job) else { break };
                prop_assert!(least.is_some_and(|least| least <= next.least()));
                one_by_one.push(shown(&next));
            }
            one_by_one.extend(frontier.rest(&fleet, &job).iter().map(shown));
            prop_assert_eq!(one_by_one, all);
        }
    }
}
