//! What is measured of the whole state for those on call: devices, queues, clusters, power. Taken every few seconds, in one walk
//! over jobs, reservations and clusters.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::conditions::ConditionStatus;
use ampacity_api::{MemberCluster, Placement};
use ampacity_placement::DevicePart;
use jiff::Timestamp;
use kube::ResourceExt;

use super::reachability::reachability;
use crate::runtime::{
    BudgetLabel, ClusterDevices, ClusterLabel, ClusterReason, DomainLabel, Measures, Operator,
    QueueDevices, QueueLabel, WaitingDevices,
};
use crate::state::{Demand, Job, State};

/// Most queues that are told apart. Anybody who may create a job can name a queue, and every name would cost a time series.
const MAX_QUEUES: usize = 200;
/// The queue under which all beyond [`MAX_QUEUES`] are shown; no queue can have this name.
const OTHER_QUEUES: &str = "(other)";
/// The device type of alternatives that choose theirs by a selector; no type can have this name.
const SELECTED: &str = "(selector)";
/// The device type of alternatives that name one that nobody knows: names from jobs are without bound.
const UNKNOWN: &str = "(unknown)";

/// Shows what can be measured.
pub fn measure(operator: &Operator, now: Timestamp) {
    operator.metrics.show(measures(&operator.state, now));
}

fn measures(state: &State, now: Timestamp) -> Measures {
    let mut measures = Measures::default();
    held(state, &mut measures);
    let waiting: Vec<Waiting<'_>> = waiting(state).collect();
    let queues = Queues::of(state, &waiting);
    queued(state, &waiting, &queues, now, &mut measures);
    used(state, &queues, &mut measures);
    for cluster in state.hub.clusters.values() {
        of_cluster(state, cluster, now, &mut measures);
    }
    power(state, &mut measures);
    measures
}

fn held(state: &State, measures: &mut Measures) {
    let placements = state.hub.placements.values();
    let held = placements.filter(|p| p.metadata.deletion_timestamp.is_none());
    for placement in held {
        let spec = &placement.spec;
        measures.reserved_watts = measures.reserved_watts.saturating_add(spec.watts);
        measures.usd_micro_per_hour = measures
            .usd_micro_per_hour
            .saturating_add(spec.usd_per_hour.micros());
    }
}

/// A job that wants a place.
struct Waiting<'a> {
    job: &'a dyn Job,
    demand: Demand,
}

fn waiting(state: &State) -> impl Iterator<Item = Waiting<'_>> {
    state.jobs.eligible().filter_map(|key| {
        let job = state.hub.job(key)?;
        let placements: Vec<&Placement> = state.placements_of(key).collect();
        let demand = job.demand(&placements);
        Some(Waiting { job, demand })
    })
}

/// The queues that are told apart: the first by name of those that wait for something or hold it.
struct Queues<'a> {
    names: BTreeSet<&'a str>,
}

impl<'a> Queues<'a> {
    fn of(state: &'a State, waiting: &'a [Waiting<'a>]) -> Self {
        let holding = state.fleet.reservations().map(|r| r.queue.as_str());
        let names: BTreeSet<&str> = waiting
            .iter()
            .map(|waits| waits.demand.queue.as_str())
            .chain(holding)
            .collect();
        Self {
            names: names.into_iter().take(MAX_QUEUES).collect(),
        }
    }

    fn label(&self, queue: &str) -> String {
        let known = self.names.contains(queue);
        if known { queue } else { OTHER_QUEUES }.to_owned()
    }
}

/// Jobs that want a place, and what they ask for.
fn queued(
    state: &State,
    waiting: &[Waiting<'_>],
    queues: &Queues<'_>,
    now: Timestamp,
    measures: &mut Measures,
) {
    for waits in waiting {
        let queue = queues.label(&waits.demand.queue);
        let label = QueueLabel {
            queue: queue.clone(),
        };
        add(&mut measures.waiting, label.clone(), 1);
        let created = waits.job.metadata().creation_timestamp.as_ref();
        let age = created.map_or(0, |t| (now.as_second() - t.0.as_second()).max(0));
        let longest = measures.longest_wait_seconds.entry(label).or_default();
        *longest = age.max(*longest);
        let mut asked: BTreeMap<&str, i64> = BTreeMap::new();
        for demand in &waits.demand.alternatives {
            let accelerator_type = match &demand.accelerator_type {
                None => SELECTED,
                Some(name) if state.catalog.get(name).is_some() => name,
                Some(_) => UNKNOWN,
            };
            // Alternatives are equals: the job takes one of them.
            let most = asked.entry(accelerator_type).or_default();
            *most = integer(demand.devices).max(*most);
        }
        for (accelerator_type, devices) in asked {
            let labels = WaitingDevices {
                accelerator_type: accelerator_type.to_owned(),
                queue: queue.clone(),
            };
            add(&mut measures.devices_waiting, labels, devices);
        }
    }
}

/// What placements hold of whole devices.
fn used(state: &State, queues: &Queues<'_>, measures: &mut Measures) {
    let whole = state
        .fleet
        .reservations()
        .filter(|r| r.part == DevicePart::Whole);
    for reservation in whole {
        let replicas = reservation.nodes.iter().map(|n| u64::from(n.replicas));
        let replicas = replicas.fold(0_u64, u64::saturating_add);
        let devices = replicas.saturating_mul(u64::from(reservation.devices_per_replica));
        let labels = QueueDevices {
            cluster: reservation.cluster.clone(),
            accelerator_type: reservation.accelerator_type.clone(),
            queue: queues.label(&reservation.queue),
        };
        add(&mut measures.devices_used, labels, integer(devices));
    }
}

fn of_cluster(state: &State, cluster: &MemberCluster, now: Timestamp, measures: &mut Measures) {
    let name = cluster.name_any();
    for (accelerator_type, devices) in state.fleet.devices(&name) {
        let labels = ClusterDevices {
            cluster: name.clone(),
            accelerator_type,
        };
        measures
            .devices_free
            .insert(labels.clone(), integer(devices.free));
        measures.devices.insert(labels, integer(devices.total));
    }
    let Some(member) = state.members.get(&name) else {
        return;
    };
    let label = ClusterLabel {
        cluster: name.clone(),
    };
    let seen = member.last_seen.map(|at| at.as_second());
    if let Some(seen) = seen {
        measures.cluster_last_seen.insert(label.clone(), seen);
    }
    let (answer, reason, _) = reachability(member, now);
    let reachable = answer == ConditionStatus::True;
    measures
        .cluster_reachable
        .insert(label, i64::from(reachable));
    if !reachable {
        let labels = ClusterReason {
            cluster: name,
            reason: reason.as_str().to_owned(),
        };
        measures.cluster_unreachable.insert(labels, 1);
    }
}

fn power(state: &State, measures: &mut Measures) {
    for usage in state.fleet.domain_usage() {
        let headroom = usage.headroom_watts().0;
        let label = DomainLabel { domain: usage.name };
        measures
            .domain_usable_watts
            .insert(label.clone(), usage.limit_watts.0);
        measures
            .domain_reserved_watts
            .insert(label.clone(), usage.reserved_watts.0);
        measures.domain_headroom_watts.insert(label, headroom);
    }
    for usage in state.fleet.budget_usage() {
        let headroom = usage.headroom_watts().0;
        let label = BudgetLabel { budget: usage.name };
        measures.budget_headroom_watts.insert(label, headroom);
    }
}

fn add<L: Ord>(sums: &mut BTreeMap<L, i64>, labels: L, more: i64) {
    let sum = sums.entry(labels).or_default();
    *sum = sum.saturating_add(more);
}

fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use ampacity_api::{JobKind, TrainingJob};
    use serde_json::json;

    use super::*;
    use crate::state::{Cause, Change, JobKey, ObjectKey};
    use crate::testing::{NOW, hub_has, job_changed, object, placement, state};

    fn job(name: &str, queue: &str, alternatives: serde_json::Value) -> TrainingJob {
        object(json!({
            "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob",
            "metadata": {"name": name, "namespace": "research", "uid": "job-uid",
                "creationTimestamp": "2025-06-15T15:00:00Z"},
            "spec": {"queue": queue, "estimatedDurationSeconds": 60, "alternatives": alternatives},
        }))
    }

    fn waits(state: &mut State, name: &str) {
        let key = JobKey {
            kind: JobKind::TrainingJob,
            object: ObjectKey::new("research", name),
        };
        state.jobs.set_eligible(&key, true);
    }

    const H100: &str = "nvidia-h100-sxm5-80gb";

    #[test]
    fn devices_are_free_used_and_waited_for() {
        let mut state = state();
        let ways = json!([
            {"name": "two", "acceleratorType": H100, "devicesPerReplica": 8, "replicas": 2, "image": "i"},
            {"name": "one", "acceleratorType": H100, "devicesPerReplica": 8, "image": "i"},
            {"name": "any", "selector": {"vendor": "nvidia"}, "devicesPerReplica": 4, "image": "i"},
            {"name": "odd", "acceleratorType": "acme-9000", "devicesPerReplica": 1, "image": "i"},
            {"name": "mig", "acceleratorType": H100, "devicesPerReplica": 7, "migProfile": "1g.10gb", "image": "i"},
        ]);
        let jobs = vec![
            job("llama", "research", ways.clone()),
            job("opt", "serving", ways),
        ];
        job_changed(&mut state, JobKind::TrainingJob, Change::All(jobs));
        hub_has(
            &mut state,
            vec![placement("TrainingJob", 1, &[("a", 1), ("b", 1)])],
        );
        waits(&mut state, "opt");
        let found = measures(&state, NOW);
        let here = ClusterDevices {
            cluster: "oslo".to_owned(),
            accelerator_type: H100.to_owned(),
        };
        assert_eq!(found.devices, [(here.clone(), 24)].into());
        assert_eq!(found.devices_free, [(here, 8)].into());
        let used = QueueDevices {
            cluster: "oslo".to_owned(),
            accelerator_type: H100.to_owned(),
            queue: "research".to_owned(),
        };
        assert_eq!(found.devices_used, [(used, 16)].into());
        let waiting = |accelerator_type: &str| WaitingDevices {
            accelerator_type: accelerator_type.to_owned(),
            queue: "serving".to_owned(),
        };
        assert_eq!(
            found.devices_waiting,
            [
                (waiting(H100), 16),
                (waiting(SELECTED), 4),
                (waiting(UNKNOWN), 1)
            ]
            .into()
        );
        let queue = QueueLabel {
            queue: "serving".to_owned(),
        };
        assert_eq!(found.waiting, [(queue.clone(), 1)].into());
        // From 15:00:00 to 15:06:40.
        assert_eq!(found.longest_wait_seconds, [(queue, 400)].into());
        assert_eq!(found.reserved_watts, 18_000);
        assert_eq!(found.usd_micro_per_hour, 40_200_000);
        let label = ClusterLabel {
            cluster: "oslo".to_owned(),
        };
        assert_eq!(found.cluster_reachable, [(label, 1)].into());
        assert!(found.cluster_unreachable.is_empty());
    }

    #[test]
    fn a_cluster_that_is_lost_says_why() {
        let mut state = state();
        let member = state.members.get_mut("oslo").unwrap();
        member.reach = crate::state::Reach::Unreachable {
            since: NOW,
            cause: Cause::Unauthorized,
            message: String::new(),
        };
        let found = measures(&state, NOW);
        assert_eq!(found.cluster_reachable.values().collect::<Vec<_>>(), [&0]);
        let why = ClusterReason {
            cluster: "oslo".to_owned(),
            reason: "Unauthorized".to_owned(),
        };
        assert_eq!(found.cluster_unreachable, [(why, 1)].into());
    }

    #[test]
    fn many_queues_cost_no_more_than_some() {
        let mut state = state();
        let ways =
            json!([{"name": "one", "acceleratorType": H100, "devicesPerReplica": 1, "image": "i"}]);
        let names: Vec<String> = (0..2 * MAX_QUEUES).map(|n| format!("q{n:04}")).collect();
        let jobs = names.iter().map(|name| job(name, name, ways.clone()));
        job_changed(
            &mut state,
            JobKind::TrainingJob,
            Change::All(jobs.collect()),
        );
        for name in &names {
            waits(&mut state, name);
        }
        let found = measures(&state, NOW);
        assert_eq!(found.waiting.len(), MAX_QUEUES + 1);
        assert_eq!(
            found.waiting.values().sum::<i64>(),
            integer(names.len() as u64)
        );
        assert_eq!(found.devices_waiting.len(), MAX_QUEUES + 1);
    }
}
