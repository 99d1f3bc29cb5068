//! Watches of what the hub wants, taken into the state: what changed is marked for the cycle.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{
    AcceleratorType, GROUP, JobKind, MemberCluster, Placement, PowerBudget, PowerDomain,
    PriceSheet, VERSION,
};
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::runtime::watcher;
use kube::{Api, Resource};
use tokio::task::JoinSet;

use super::decode::Lenient;
use super::watch::watch;
use crate::runtime::{HUB_CLUSTER, HUB_STATUS, Message, Operator, Then};
use crate::state::{
    ApiObject, Cache, Change, Job, JobKey, ObjectKey, State, StoredJob, Unreadable, WatchFailure,
};

/// Watches the jobs of a kind until the set is dropped.
pub fn watch_jobs<K: ApiObject + Job>(set: &mut JoinSet<()>, operator: &Operator, kind: JobKind) {
    watch_kind(set, operator, move |state, change: Change<K>| {
        let changed = state.hub.apply_jobs(kind, change.map(StoredJob::new));
        jobs_changed(state, changed);
    });
}

/// Watches everything but jobs until the set is dropped.
pub fn watch_hub(set: &mut JoinSet<()>, operator: &Operator) {
    watch_kind(set, operator, placements_changed);
    watch_kind(set, operator, |state, change: Change<MemberCluster>| {
        let fact = |cluster: &MemberCluster| {
            let meta = &cluster.metadata;
            (
                meta.generation,
                meta.labels.clone(),
                meta.deletion_timestamp.clone(),
            )
        };
        let changed = changed_facts(&mut state.hub.clusters, change, fact);
        let names = changed.into_iter().map(|key| key.name);
        state.dirty.clusters.extend(names);
    });
    watch_kind(set, operator, |state, change: Change<AcceleratorType>| {
        state.dirty.facts |= !state.hub.accelerator_types.apply(change).is_empty();
    });
    watch_kind(set, operator, |state, change: Change<PriceSheet>| {
        state.dirty.facts |= !state.hub.price_sheets.apply(change).is_empty();
    });
    watch_kind(set, operator, |state, change: Change<PowerDomain>| {
        let changed = changed_facts(&mut state.hub.power_domains, change, generation);
        state.dirty.facts |= !changed.is_empty();
    });
    watch_kind(set, operator, |state, change: Change<PowerBudget>| {
        let changed = changed_facts(&mut state.hub.power_budgets, change, generation);
        state.dirty.facts |= !changed.is_empty();
    });
    watch_kind(set, operator, |state, change: Change<PriorityClass>| {
        if !state.hub.priority_classes.apply(change).is_empty() {
            state.capacity_version += 1;
        }
    });
    watch_kind(set, operator, |state, change: Change<ResourceQuota>| {
        // Its status counts the hub's own pods with every one that comes or goes, and says nothing of Placements.
        let hard = |quota: &ResourceQuota| quota.spec.clone();
        if !changed_facts(&mut state.hub.resource_quotas, change, hard).is_empty() {
            state.capacity_version += 1;
        }
    });
}

fn watch_kind<K: ApiObject>(
    set: &mut JoinSet<()>,
    operator: &Operator,
    take_in: impl Fn(&mut State, Change<K>) + Clone + Send + 'static,
) {
    let kind = K::kind(&()).into_owned();
    let failed_kind = kind.clone();
    set.spawn(watch(
        Api::<Lenient<K>>::all(operator.hub_clients.watches.clone()),
        watcher::Config::default(),
        operator.inbox.clone(),
        move |event| {
            let mut unreadable = Vec::new();
            let readable = readable(event, &mut unreadable);
            let (kind, take_in) = (kind.clone(), take_in.clone());
            Some(Message::event(move |operator: &mut Operator| {
                for (key, error) in unreadable {
                    set_aside(&mut operator.state, &kind, key, error);
                }
                if let Some(change) = readable {
                    take_in(&mut operator.state, change);
                }
            }))
        },
        move |failure| {
            let kind = failed_kind.clone();
            Some(Message::event(move |operator: &mut Operator| {
                watch_failed(operator, kind, &failure);
            }))
        },
    ));
}

/// A watch of the hub failed. A kind that the API server does not know at all has no objects, and must not keep the
/// operator from the others.
fn watch_failed(operator: &mut Operator, kind: String, failure: &WatchFailure) {
    operator.metrics.watch_failed(HUB_CLUSTER);
    if failure.code != Some(404) {
        tracing::warn!(cluster = HUB_CLUSTER, %kind, error = %failure.message, "watching the hub failed; trying again");
        return;
    }
    let hub = operator.hub.clone();
    // An API server that starts may not serve a kind yet; one that lists its neighbours and not this kind does not know it.
    operator.start(HUB_STATUS, format!("discover/{kind}"), async move {
        let version = format!("{GROUP}/{VERSION}");
        let known = hub.list_api_group_resources(&version).await;
        Box::new(move |operator: &mut Operator| {
            let is_absent = known.is_ok_and(|known| {
                let kinds: BTreeSet<&String> = known.resources.iter().map(|r| &r.kind).collect();
                !kinds.is_empty() && !kinds.contains(&kind)
            });
            if is_absent && operator.state.hub.absent.insert(kind.clone()) {
                tracing::error!(cluster = HUB_CLUSTER, %kind, "the hub has no CRD of this kind: install it with `ampacity crds | kubectl apply --server-side -f -`; the other kinds are served meanwhile");
            }
        }) as Then
    });
}

/// Jobs are new, changed or gone. What a replica holds beside devices stands in the job, which may be read after its
/// placements.
fn jobs_changed(state: &mut State, jobs: Vec<JobKey>) {
    for job in &jobs {
        let placements = state.placements.of_job(job).cloned();
        state.dirty.placements.extend(placements);
    }
    state.dirty.jobs.extend(jobs);
}

fn placements_changed(state: &mut State, change: Change<Placement>) {
    let placements = &mut state.hub.placements;
    let before: BTreeMap<ObjectKey, JobKey> = match &change {
        Change::All(_) | Change::Forgotten(_) => placements
            .values()
            .map(|p| (ObjectKey::of(p), JobKey::of_placement(p)))
            .collect(),
        Change::Listing => BTreeMap::new(),
        Change::Applied(p) | Change::Deleted(p) => {
            [(ObjectKey::of(&**p), JobKey::of_placement(p))].into()
        }
    };
    for key in placements.apply(change) {
        state.placement_changed(&key, before.get(&key));
    }
}

/// A job that exists but is not of its kind's form: what it holds stays. A schema leaves pod templates open, so this happens.
fn set_aside(state: &mut State, kind: &str, key: ObjectKey, error: String) {
    tracing::warn!(cluster = HUB_CLUSTER, %kind, %key, %error, "object cannot be read");
    let Some(facts) = state.kinds.named(kind) else {
        return;
    };
    let job = JobKey {
        kind: facts.kind,
        object: key,
    };
    let known = state.hub.unreadable.get(&job);
    if known.is_none_or(|known| known.error != error) {
        let unreadable = Unreadable {
            error,
            is_told: false,
        };
        state.hub.unreadable.insert(job.clone(), unreadable);
        state.dirty.jobs.insert(job);
    }
}

/// Sets aside what cannot be read, so that one bad object stops no other.
fn readable<K: Resource>(
    change: Change<Lenient<K>>,
    aside: &mut Vec<(ObjectKey, String)>,
) -> Option<Change<K>> {
    let mut sound = |guard: Lenient<K>| {
        let key = ObjectKey::new(
            guard.meta().namespace.as_deref().unwrap_or_default(),
            guard.meta().name.as_deref().unwrap_or_default(),
        );
        match guard {
            Lenient::Sound(object) => Some(*object),
            Lenient::Misformed { error, .. } => {
                aside.push((key, error));
                None
            }
        }
    };
    match change {
        Change::Listing => Some(Change::Listing),
        Change::All(objects) => Some(Change::All(objects.into_iter().filter_map(sound).collect())),
        Change::Applied(object) => sound(*object).map(|o| Change::Applied(Box::new(o))),
        Change::Deleted(guard) => {
            let meta = guard.meta();
            let key = ObjectKey::new(
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref().unwrap_or_default(),
            );
            Some(match *guard {
                Lenient::Sound(object) => Change::Deleted(object),
                Lenient::Misformed { .. } => Change::Forgotten(key),
            })
        }
        Change::Forgotten(key) => Some(Change::Forgotten(key)),
    }
}

/// Takes a change in; returns the keys whose fact changed. Our own status writes must not count as news.
fn changed_facts<K: Resource, F: PartialEq>(
    cache: &mut Cache<K>,
    change: Change<K>,
    fact: impl Fn(&K) -> F,
) -> Vec<ObjectKey> {
    // A change says which keys it may touch, or that it may touch all.
    let touched: Vec<ObjectKey> = match &change {
        Change::Listing => Vec::new(),
        Change::All(_) => cache.keys().cloned().collect(),
        Change::Forgotten(key) => vec![key.clone()],
        _ => change.objects().iter().map(ObjectKey::of).collect(),
    };
    let before: BTreeMap<ObjectKey, F> = touched
        .into_iter()
        .filter_map(|key| Some((key.clone(), fact(cache.get(&key)?))))
        .collect();
    let mut changed = cache.apply(change);
    changed.retain(|key| before.get(key) != cache.get(key).map(&fact).as_ref());
    changed
}

fn generation<K: Resource>(object: &K) -> Option<i64> {
    object.meta().generation
}
