//! Watches of what the hub wants.

use ampacity_api::{
    AcceleratorType, InferenceJob, MemberCluster, Placement, PowerBudget, PowerDomain, PriceSheet,
    TrainingJob,
};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use crate::guarded::Guarded;
use crate::operator::Message;
use crate::watch::{Change, watch};
use crate::world::ObjectKey;

/// A change of one of the watched kinds.
pub(crate) enum HubChange {
    Training(Change<TrainingJob>),
    Inference(Change<InferenceJob>),
    Placement(Change<Placement>),
    Cluster(Change<MemberCluster>),
    AcceleratorType(Change<AcceleratorType>),
    PriceSheet(Change<PriceSheet>),
    PowerDomain(Change<PowerDomain>),
    PowerBudget(Change<PowerBudget>),
    PriorityClass(Change<PriorityClass>),
}

/// Watches every kind until the set is dropped.
pub(crate) fn watch_hub(hub: &Client, inbox: &Sender<Message>) -> JoinSet<()> {
    let mut set = JoinSet::new();
    watch_kind(&mut set, hub, inbox, HubChange::Training);
    watch_kind(&mut set, hub, inbox, HubChange::Inference);
    watch_kind(&mut set, hub, inbox, HubChange::Placement);
    watch_kind(&mut set, hub, inbox, HubChange::Cluster);
    watch_kind(&mut set, hub, inbox, HubChange::AcceleratorType);
    watch_kind(&mut set, hub, inbox, HubChange::PriceSheet);
    watch_kind(&mut set, hub, inbox, HubChange::PowerDomain);
    watch_kind(&mut set, hub, inbox, HubChange::PowerBudget);
    watch_kind(&mut set, hub, inbox, HubChange::PriorityClass);
    set
}

/// An object that exists but is not of its kind's form; the schema leaves pod templates open, so this happens.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Kind.
    pub(crate) kind: String,
    /// Namespace and name.
    pub(crate) key: ObjectKey,
    /// What is wrong.
    pub(crate) error: String,
}

fn watch_kind<K>(
    set: &mut JoinSet<()>,
    hub: &Client,
    inbox: &Sender<Message>,
    change: fn(Change<K>) -> HubChange,
) where
    K: Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let kind = K::kind(&()).into_owned();
    let failed_kind = kind.clone();
    set.spawn(watch(
        Api::<Guarded<K>>::all(hub.clone()),
        watcher::Config::default(),
        inbox.clone(),
        move |event| {
            let mut unreadable = Vec::new();
            let readable = readable(&kind, event, &mut unreadable);
            Message::Hub {
                change: readable.map(change),
                unreadable,
            }
        },
        move |failure| {
            Some(Message::HubWatchFailed {
                kind: failed_kind.clone(),
                failure,
            })
        },
    ));
}

/// Sets aside what cannot be read, so that one bad object stops no other.
fn readable<K: Resource>(
    kind: &str,
    change: Change<Guarded<K>>,
    aside: &mut Vec<Unreadable>,
) -> Option<Change<K>> {
    let mut sound = |guard: Guarded<K>| {
        let key = ObjectKey::new(
            guard.meta().namespace.as_deref().unwrap_or_default(),
            guard.meta().name.as_deref().unwrap_or_default(),
        );
        match guard {
            Guarded::Sound(object) => Some(*object),
            Guarded::Misformed { error, .. } => {
                aside.push(Unreadable {
                    kind: kind.to_owned(),
                    key,
                    error,
                });
                None
            }
        }
    };
    match change {
        Change::All(objects) => Some(Change::All(objects.into_iter().filter_map(sound).collect())),
        Change::Applied(object) => sound(*object).map(|o| Change::Applied(Box::new(o))),
        Change::Deleted(guard) => {
            let meta = guard.meta();
            let key = ObjectKey::new(
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref().unwrap_or_default(),
            );
            Some(match *guard {
                Guarded::Sound(object) => Change::Deleted(object),
                Guarded::Misformed { .. } => Change::Forgotten(key),
            })
        }
        Change::Forgotten(key) => Some(Change::Forgotten(key)),
    }
}
