//! Asking a member about a placement where its watches do not suffice: before an attempt is ended for something that has merely
//! lasted, since a watch may be out of date without knowing it; and why pods are not made, which no object of ours says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ampacity_api::{Placement, labels};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use super::view::PlacementView;
use crate::ingest::{MemberChange, take_in_change};
use crate::inventory::failing;
use crate::runtime::{Operator, Then, wall_clock};
use crate::state::{
    Change, Confirmation, JobKey, ObjectKey, SlimNode, SlimPod, missing_pods, shorten,
};

/// Most nodes that are read at once for one placement; one is enough to end a gang.
const MOST_NODES: usize = 16;
/// Pods that are missing for less long are about to be made.
const SHORT_SECONDS: i64 = 3;
/// The same while many jobs are being started: controllers are behind then.
const SHORT_SECONDS_IN_BURST: i64 = 20;
/// Why pods are missing is asked this often in a namespace.
const ASK_EVERY_SECONDS: i64 = 5;
/// The same while many jobs are being started.
const ASK_EVERY_SECONDS_IN_BURST: i64 = 30;
/// Events that are read at once to find why pods are missing.
const EVENTS_IN_PAGE: u32 = 500;
/// Most such pages.
const MOST_PAGES: usize = 10;
/// Most characters that are kept of an event.
const MOST_CHARACTERS: usize = 512;

/// What is to be read afresh before anything follows from a view.
#[derive(Clone, Debug)]
pub struct ToConfirm {
    placement: ObjectKey,
    nodes: Vec<String>,
}

impl ToConfirm {
    /// What a view rests on.
    pub fn of(view: &PlacementView<'_>) -> Self {
        Self {
            placement: ObjectKey::of(view.placement),
            nodes: view.lost_nodes.iter().take(MOST_NODES).cloned().collect(),
        }
    }
}

/// Reads nodes and pods of a placement afresh, and has its job reconciled with what they show.
pub fn confirm(operator: &mut Operator, what: ToConfirm) {
    let Some(placement) = operator.state.placement(&what.placement).cloned() else {
        return;
    };
    let Some(client) = operator.member_client(&placement) else {
        return;
    };
    let (cluster, hub_name) = (
        placement.spec.cluster.clone(),
        operator.config.hub_name.clone(),
    );
    let call = format!("confirm/{}", what.placement);
    operator.start(&cluster.clone(), call, async move {
        let read = read_afresh(&client, &hub_name, &placement, &what.nodes).await;
        Box::new(move |operator: &mut Operator| {
            let job = JobKey::of_placement(&placement);
            match read {
                Ok(read) => take_in_read(operator, &cluster, &what.placement, read),
                Err(error) => {
                    tracing::warn!(placement = %what.placement, %cluster, %error, "cannot be confirmed; trying again");
                }
            }
            operator.state.dirty.jobs.insert(job);
        }) as Then
    });
}

struct Read {
    nodes: Vec<(String, Option<SlimNode>)>,
    pods: Vec<SlimPod>,
}

async fn read_afresh(
    client: &Client,
    hub_name: &str,
    placement: &Placement,
    names: &[String],
) -> Result<Read, kube::Error> {
    let api: Api<SlimNode> = Api::all(client.clone());
    let mut nodes = Vec::with_capacity(names.len());
    for name in names {
        nodes.push((name.clone(), api.get_opt(name).await?));
    }
    let api: Api<SlimPod> =
        Api::namespaced(client.clone(), &placement.namespace().unwrap_or_default());
    let ours = format!(
        "{}={hub_name},{}={}",
        labels::HUB,
        labels::PLACEMENT,
        placement.name_any()
    );
    let pods = api.list(&ListParams::default().labels(&ours)).await?.items;
    Ok(Read { nodes, pods })
}

fn take_in_read(operator: &mut Operator, cluster: &str, key: &ObjectKey, read: Read) {
    let now = wall_clock();
    let mut names = BTreeSet::new();
    let mut was_behind = false;
    for (name, node) in read.nodes {
        let change = match node {
            Some(node) => {
                was_behind |= failing(&node).is_none();
                MemberChange::Node(Change::Applied(Box::new(node)))
            }
            None => MemberChange::Node(Change::Forgotten(ObjectKey::new("", &name))),
        };
        take_in_change(operator, cluster, change, now);
        names.insert(name);
    }
    let shown = |operator: &Operator| {
        let member = operator.state.members.get(cluster);
        member.and_then(|member| member.pods.of_placement(key).cloned())
    };
    let before = shown(operator);
    let there: BTreeSet<String> = read.pods.iter().map(|pod| pod.name_any()).collect();
    for pod in read.pods {
        take_in_change(
            operator,
            cluster,
            MemberChange::Pod(Change::Applied(Box::new(pod))),
            now,
        );
    }
    let known = before.iter().flatten().map(|(name, _)| name.clone());
    for name in known
        .filter(|name| !there.contains(name))
        .collect::<Vec<_>>()
    {
        let pod = ObjectKey::new(&key.namespace, &name);
        take_in_change(
            operator,
            cluster,
            MemberChange::Pod(Change::Forgotten(pod)),
            now,
        );
    }
    was_behind |= before != shown(operator);
    if was_behind {
        tracing::warn!(%cluster, placement = %key, "nodes or pods are not as a watch said they are: everything is listed anew");
        let member = operator.state.members.get(cluster);
        if let Some(link) = member.and_then(|member| member.link.as_ref()) {
            link.renew();
        }
    }
    if let Some(inquiry) = operator.state.placements.inquire(key) {
        inquiry.confirmation = Some(Confirmation {
            at: now,
            nodes: names,
            pods: true,
        });
    }
}

/// Notes since when a placement has had too few pods, and asks its member why where no object says so.
pub fn ask_for_missing_pods(operator: &mut Operator, key: &ObjectKey, now: Timestamp) {
    let Some(placement) = operator.state.placement(key) else {
        return;
    };
    let Some(member) = operator.state.usable_member(placement) else {
        return;
    };
    let workload = member.workload_of(placement);
    let is_over = workload.is_some_and(|workload| {
        ["Complete", "SuccessCriteriaMet", "Failed", "FailureTarget"]
            .iter()
            .any(|type_| workload.condition(type_).is_some())
    });
    let Some(workload) = workload.filter(|_| !is_over) else {
        operator.state.placements.forget_inquiry(key);
        return;
    };
    let is_short = missing_pods(placement, member.pods.of_placement(key)) > 0;
    let says_why = workload.condition("ReplicaFailure").is_some();
    let cluster = placement.spec.cluster.clone();
    if !is_short && operator.state.placements.inquiry(key).is_none() {
        return;
    }
    let in_burst = operator.state.burst.is_on(Instant::now());
    let Some(inquiry) = operator.state.placements.inquire(key) else {
        return;
    };
    inquiry.is_short(is_short, now);
    let patience = if in_burst {
        SHORT_SECONDS_IN_BURST
    } else {
        SHORT_SECONDS
    };
    let lasted = inquiry
        .short_since
        .map(|since| now.as_second() - since.as_second());
    if !says_why && lasted.is_some_and(|lasted| lasted >= patience) {
        ask_events(operator, &cluster, &key.namespace, now);
    }
}

/// Asks a member what its controllers warned of in a namespace, for all placements there at once: an API server looks through all
/// events of the namespace to answer.
fn ask_events(operator: &mut Operator, cluster: &str, namespace: &str, now: Timestamp) {
    let every = if operator.state.burst.is_on(Instant::now()) {
        ASK_EVERY_SECONDS_IN_BURST
    } else {
        ASK_EVERY_SECONDS
    };
    let Some(member) = operator.state.members.get_mut(cluster) else {
        return;
    };
    let asked = member.events_asked.get(namespace);
    let lately = asked.is_some_and(|at| now.as_second() - at.as_second() < every);
    let Some(client) = member.client.clone().filter(|_| !lately) else {
        return;
    };
    // Namespaces in which nothing is amiss any more are not kept.
    member
        .events_asked
        .retain(|_, at| now.as_second() - at.as_second() < ASK_EVERY_SECONDS_IN_BURST);
    member.events_asked.insert(namespace.to_owned(), now);
    let (cluster, namespace) = (cluster.to_owned(), namespace.to_owned());
    let call = format!("ask/{cluster}/{namespace}");
    operator.start(&cluster.clone(), call, async move {
        let said = warnings(&client, &namespace).await;
        Box::new(move |operator: &mut Operator| match said {
            Ok(said) => take_in_warnings(operator, &cluster, &namespace, &said),
            // A member whose role is of an older chart, perhaps. The deadline without words holds.
            Err(error) => {
                tracing::info!(%namespace, %cluster, %error, "cannot ask why pods are missing");
            }
        }) as Then
    });
}

/// Tells placements of a namespace, of those that have too few pods, what was said of their workloads.
fn take_in_warnings(
    operator: &mut Operator,
    cluster: &str,
    namespace: &str,
    said: &BTreeMap<String, String>,
) {
    let state = &mut operator.state;
    let Some(member) = state.members.get(cluster) else {
        return;
    };
    let mut told = Vec::new();
    for placement in state.hub.placements.values() {
        let is_here = placement.spec.cluster == cluster
            && placement.metadata.namespace.as_deref() == Some(namespace);
        if !is_here {
            continue;
        }
        let workload = member.workload_of(placement);
        let uid = workload.and_then(|workload| workload.metadata.uid.as_ref());
        if let Some(words) = uid.and_then(|uid| said.get(uid)) {
            told.push((
                ObjectKey::of(placement),
                JobKey::of_placement(placement),
                words,
            ));
        }
    }
    for (key, job, words) in told {
        let known = state.placements.inquiry(&key);
        if known
            .is_none_or(|known| known.short_since.is_none() || known.words.as_ref() == Some(words))
        {
            continue;
        }
        if let Some(inquiry) = state.placements.inquire(&key) {
            inquiry.words = Some(words.clone());
            state.dirty.jobs.insert(job);
        }
    }
}

/// What a member's controllers last warned of in a namespace, by the UID of the object that it is about.
async fn warnings(
    client: &Client,
    namespace: &str,
) -> Result<BTreeMap<String, String>, kube::Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let mut params = ListParams::default()
        .fields("type=Warning")
        .limit(EVENTS_IN_PAGE);
    let mut last: BTreeMap<String, (Option<Timestamp>, String)> = BTreeMap::new();
    for _ in 0..MOST_PAGES {
        let page = api.list(&params).await?;
        for event in page.items {
            let at = event.last_timestamp.as_ref().map(|t| t.0);
            let at = at.or_else(|| event.event_time.as_ref().map(|t| t.0));
            let (Some(uid), Some(words)) = (event.involved_object.uid, event.message) else {
                continue;
            };
            let known = last.get(&uid);
            if known.is_none_or(|(known, _)| *known <= at) {
                last.insert(uid, (at, shorten(&words, MOST_CHARACTERS)));
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    Ok(last
        .into_iter()
        .map(|(uid, (_, words))| (uid, words))
        .collect())
}
