//! Watts: what is drawn counts whether or not it can be seen, what nobody knows carries nothing, and too much is said.

use std::collections::BTreeSet;

use ampacity_api::{InferenceJob, MemberCluster, PowerDomain, TrainingJob, TrainingJobState};
use ampacity_controlplane::{FaultMode, wait_for, wait_for_object, wait_gone, wait_until};
use ampacity_e2e::World;
use ampacity_e2e::manifest::{Training, h100, inference};
use ampacity_e2e::outcome::node_of;
use ampacity_e2e::world::PATIENCE;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

/// A breaker above all nodes of east and west that carries 22,000 W: two nodes of eight H100 each, and no third.
const HALL: &str = "
apiVersion: ampacity.dev/v1alpha1
kind: PowerDomain
metadata: {name: hall}
spec:
  ratedWatts: 27500
  members: [{cluster: east}, {cluster: west}]
";
/// Watts of two nodes with eight H100 each: 8 × (700 + 575) a node.
const TWO_NODES: i64 = 20_400;

/// Waits until the hall says so.
async fn hall_says(
    world: &World,
    what: &str,
    is_so: impl Fn(&PowerDomain) -> bool,
) -> Result<PowerDomain> {
    let api: Api<PowerDomain> = Api::all(world.hub.admin.clone());
    world.explained(wait_for_object(&api, "hall", what, PATIENCE, is_so).await)
}

fn reserves(watts: i64) -> impl Fn(&PowerDomain) -> bool {
    move |domain| {
        let status = domain.status.as_ref();
        status.and_then(|s| s.reserved_watts) == Some(watts)
    }
}

fn is_short_of(reason: &str) -> impl Fn(&TrainingJob) -> bool {
    move |job| {
        let verdict = job.status.as_ref().and_then(|s| s.verdict.as_ref());
        verdict.is_some_and(|v| v.reasons.iter().any(|r| r.reason == reason))
    }
}

#[tokio::test]
async fn watts_of_a_member_that_cannot_be_seen_stay_charged() -> Result<()> {
    let mut world = World::builder()
        .nodes("east", ["e1", "e2"].map(|n| h100(n, "r1")))
        .nodes("west", ["w1", "w2"].map(|n| h100(n, "r1")))
        .start()
        .await?;
    world.apply(HALL).await?;
    let east = Training::new("stays").with("clusterSelector: {matchLabels: {name: east}}");
    world.apply(&east.gang(2, 8).yaml()).await?;
    world
        .training_is("stays", TrainingJobState::Running)
        .await?;
    hall_says(&world, "two nodes' watts", reserves(TWO_NODES)).await?;

    // East falls silent, and an operator that has never seen it takes over.
    world.cluster("east")?.proxy.set_mode(FaultMode::BlackHole);
    world.cluster("east")?.proxy.cut_connections();
    world.operator.take().context("no operator")?.kill()?;
    world.start_operator(&[])?;
    world.reachable("west", "True").await?;
    world
        .apply(&Training::new("other").gang(2, 8).yaml())
        .await?;
    world
        .training_where(
            "other",
            "no room under the breaker",
            is_short_of("PowerDomainExceeded"),
        )
        .await?;
    hall_says(&world, "two nodes' watts, as before", reserves(TWO_NODES)).await?;

    // It comes back, and what ran there ran on.
    world.cluster("east")?.proxy.set_mode(FaultMode::Pass);
    world.all_reachable().await?;
    let kept = world.training().get("stays").await?;
    let attempts = kept.status.map_or(0, |s| s.attempts);
    ensure!(attempts == 1, "it was placed {attempts} times");
    world.check_invariants().await?;
    world.delete_training("stays").await?;
    world
        .training_is("other", TrainingJobState::Running)
        .await?;
    hall_says(&world, "the other's watts", reserves(TWO_NODES)).await?;
    world.delete_training("other").await?;
    world.nothing_left().await
}

/// Two nodes of one pool behind two breakers: one carries a single replica with its share of the node, the other as many as fit.
const ROWS: &str = "
apiVersion: ampacity.dev/v1alpha1
kind: PowerDomain
metadata: {name: weak}
spec:
  ratedWatts: 1600
  members: [{cluster: east, nodeSelector: {matchLabels: {row: weak}}}]
---
apiVersion: ampacity.dev/v1alpha1
kind: PowerDomain
metadata: {name: strong}
spec:
  ratedWatts: 20000
  members: [{cluster: east, nodeSelector: {matchLabels: {row: strong}}}]
";

#[tokio::test]
async fn replicas_run_only_where_their_watts_were_charged() -> Result<()> {
    let world = World::builder()
        .nodes(
            "east",
            [
                h100("e1", "r1").label("row", "weak"),
                h100("e2", "r1").label("row", "strong"),
            ],
        )
        .start()
        .await?;
    world.apply(ROWS).await?;
    world
        .apply(&inference("chat", 9, &["nvidia-h100-sxm5-80gb"]))
        .await?;
    let all_ready = |job: &InferenceJob| job.status.as_ref().is_some_and(|s| s.ready_replicas == 9);
    world
        .inference_where("chat", "all replicas to serve", all_ready)
        .await?;
    let pods: Api<Pod> = Api::namespaced(world.cluster("east")?.admin.clone(), "default");
    for round in 0..4 {
        let there = world.pods_of("east", "chat").await?;
        let running = there
            .iter()
            .filter(|p| p.metadata.deletion_timestamp.is_none());
        let behind_weak = running
            .filter(|pod| node_of(pod).is_ok_and(|node| node == "e1"))
            .count();
        ensure!(
            behind_weak <= 1,
            "round {round}: {behind_weak} replicas behind a breaker for one"
        );
        world.check_invariants().await?;
        // All of them are lost at once, and the member's scheduler places them anew.
        for pod in &there {
            pods.delete(&pod.name_any(), &DeleteParams::default())
                .await?;
        }
        let gone: BTreeSet<Option<String>> = there.iter().map(|p| p.metadata.uid.clone()).collect();
        let anew = wait_until("the replicas to be made anew", PATIENCE, || async {
            world.pods_of("east", "chat").await.is_ok_and(|pods| {
                pods.len() == 9
                    && pods
                        .iter()
                        .all(|p| !gone.contains(&p.metadata.uid) && node_of(p).is_ok())
            })
        });
        world.explained(anew.await)?;
    }
    world
        .inference()
        .delete("chat", &DeleteParams::default())
        .await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_breaker_that_is_not_there_carries_nothing_and_one_with_too_much_says_so() -> Result<()> {
    let world = World::builder()
        .nodes("east", ["e1", "e2"].map(|n| h100(n, "r1")))
        .start()
        .await?;
    let clusters: Api<MemberCluster> = Api::all(world.hub.admin.clone());
    let refer = Patch::Merge(json!({"spec": {"powerDomainRef": {"name": "hall"}}}));
    clusters
        .patch("east", &PatchParams::default(), &refer)
        .await?;
    let invalid = |cluster: &MemberCluster| {
        let status = cluster.status.iter();
        status
            .flat_map(|s| &s.conditions)
            .any(|c| c.type_ == "Valid" && c.status == "False" && c.reason == "UnknownPowerDomain")
    };
    let told = wait_for_object(&clusters, "east", "an unknown domain", PATIENCE, invalid).await;
    world.explained(told)?;
    let gang = Training::new("gang").with("clusterSelector: {matchLabels: {name: east}}");
    world.apply(&gang.gang(2, 8).yaml()).await?;
    let waits = world
        .training_where("gang", "no breaker", is_short_of("UnknownPowerDomain"))
        .await?;
    let fix = waits.status.and_then(|s| s.verdict).and_then(|v| v.fix);
    ensure!(
        fix.as_ref()
            .is_some_and(|fix| fix.action == "CreatePowerDomain"),
        "{fix:?}"
    );

    // The fix places it.
    world.apply(&HALL.replace(", {cluster: west}", "")).await?;
    world.training_is("gang", TrainingJobState::Running).await?;
    hall_says(&world, "two nodes' watts", reserves(TWO_NODES)).await?;

    // The limit is lowered under what runs: told by a condition and an event, at once.
    let lower = Patch::Merge(json!({"spec": {"ratedWatts": 12_500}}));
    let domains: Api<PowerDomain> = Api::all(world.hub.admin.clone());
    domains
        .patch("hall", &PatchParams::default(), &lower)
        .await?;
    let overloaded = hall_says(&world, "an overload", |domain| {
        let status = domain.status.iter();
        status
            .flat_map(|s| &s.conditions)
            .any(|c| c.type_ == "Overloaded" && c.status == "True" && c.reason == "OverLimit")
    })
    .await?;
    let headroom = overloaded.status.and_then(|s| s.headroom_watts);
    ensure!(headroom == Some(10_000 - TWO_NODES), "{headroom:?}");
    let events: Api<Event> = Api::namespaced(world.hub.admin.clone(), "default");
    let told = wait_for("an event of the overload", PATIENCE, || async {
        let all = events.list(&ListParams::default()).await?;
        let told = all.items.iter().any(|event| {
            let regarding = event.regarding.as_ref().and_then(|r| r.name.as_deref());
            event.reason.as_deref() == Some("OverLimit") && regarding == Some("hall")
        });
        Ok::<_, kube::Error>(told.then_some(()))
    });
    world.explained(told.await)?;
    world.check_invariants().await?;
    world.delete_training("gang").await?;
    world.nothing_left().await
}

/// A row behind the hall that feeds all of east; west hangs on the hall itself.
const ROW: &str = "
apiVersion: ampacity.dev/v1alpha1
kind: PowerDomain
metadata: {name: row}
spec:
  ratedWatts: 100000
  parents: [{name: hall}]
  members: [{cluster: east}]
";

#[tokio::test]
async fn a_breaker_that_is_deleted_while_in_use_stays_until_it_is_not() -> Result<()> {
    let world = World::builder()
        .nodes("east", ["e1", "e2"].map(|n| h100(n, "r1")))
        .nodes("west", ["w1", "w2"].map(|n| h100(n, "r1")))
        .start()
        .await?;
    let hall = HALL.replace("{cluster: east}, ", "");
    world.apply(&format!("{hall}---{ROW}")).await?;
    hall_says(&world, "no watts", reserves(0)).await?;
    let in_east = |name: &str, replicas: u32| {
        let job = Training::new(name).with("clusterSelector: {matchLabels: {name: east}}");
        job.gang(replicas, 8).yaml()
    };
    world.apply(&in_east("runs", 1)).await?;
    world.training_is("runs", TrainingJobState::Running).await?;
    hall_says(&world, "a node's watts", reserves(TWO_NODES / 2)).await?;

    let domains: Api<PowerDomain> = Api::all(world.hub.admin.clone());
    domains.delete("row", &DeleteParams::default()).await?;
    let in_use = |domain: &PowerDomain| {
        let mut conditions = domain.status.iter().flat_map(|s| &s.conditions);
        conditions.any(|c| {
            c.type_ == "Terminating" && c.reason == "InUse" && c.message.starts_with("10200 W")
        })
    };
    let kept = wait_for_object(&domains, "row", "that it is in use", PATIENCE, in_use).await;
    world.explained(kept)?;
    // What runs under it stays charged above it, and nothing more comes under it.
    let in_west = Training::new("west").with("clusterSelector: {matchLabels: {name: west}}");
    world.apply(&in_west.gang(2, 8).yaml()).await?;
    let short = is_short_of("PowerDomainExceeded");
    world
        .training_where("west", "no room in the hall", short)
        .await?;
    world.apply(&in_east("east", 1)).await?;
    let closed = is_short_of("PowerDomainTerminating");
    world
        .training_where("east", "no room in the row", closed)
        .await?;
    hall_says(&world, "a node's watts", reserves(TWO_NODES / 2)).await?;

    world.delete_training("east").await?;
    world.delete_training("runs").await?;
    world.explained(wait_gone(&domains, "row", "the end of its use", PATIENCE).await)?;
    world.training_is("west", TrainingJobState::Running).await?;
    world.delete_training("west").await?;
    world.nothing_left().await
}
