//! Namespaces of the hub and of its members: what is made, how it is confined, what is not placed, and how much each may have.

use ampacity_api::{MemberCluster, TrainingJob, TrainingJobState};
use ampacity_controlplane::{wait_for, wait_for_object};
use ampacity_e2e::World;
use ampacity_e2e::manifest::{Training, h100, inference};
use ampacity_e2e::world::PATIENCE;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

/// A TrainingJob of another namespace than `default`.
fn in_namespace(job: &Training, namespace: &str) -> String {
    job.yaml()
        .replace("namespace: default", &format!("namespace: {namespace}"))
}

async fn is_so(
    world: &World,
    namespace: &str,
    job: &str,
    what: &str,
    is_so: impl Fn(&TrainingJob) -> bool,
) -> Result<TrainingJob> {
    let jobs: Api<TrainingJob> = Api::namespaced(world.hub.admin.clone(), namespace);
    world.explained(wait_for_object(&jobs, job, what, PATIENCE, is_so).await)
}

fn runs(job: &TrainingJob) -> bool {
    job.status.as_ref().and_then(|s| s.state) == Some(TrainingJobState::Running)
}

/// Whether a condition has this reason, and its message these words.
fn says(
    condition: &'static str,
    reason: &'static str,
    words: &'static str,
) -> impl Fn(&TrainingJob) -> bool {
    move |job| {
        let conditions = job.status.iter().flat_map(|s| &s.conditions);
        conditions
            .filter(|c| c.type_ == condition && c.reason == reason)
            .any(|c| c.message.contains(words))
    }
}

#[tokio::test]
async fn a_members_namespaces_are_made_confined_as_in_the_hub_or_not_at_all() -> Result<()> {
    let world = World::builder()
        .nodes("east", [h100("e1", "r1")])
        .start()
        .await?;
    world
        .apply(
            "apiVersion: v1
kind: Namespace
metadata: {name: strict, labels: {pod-security.kubernetes.io/enforce: privileged, pod-security.kubernetes.io/audit: restricted}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: plain}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: unknown}}
",
        )
        .await?;
    let there: Api<Namespace> = Api::all(world.cluster("east")?.admin.clone());
    for (namespace, expected) in [
        (
            "strict",
            &[("enforce", "privileged"), ("audit", "restricted")][..],
        ),
        ("plain", &[("enforce", "baseline")]),
    ] {
        world
            .apply(&in_namespace(&Training::new("job"), namespace))
            .await?;
        is_so(&world, namespace, "job", "to run", runs).await?;
        let made = there.get(namespace).await?;
        let security = made.labels().iter();
        let security = security
            .filter(|(key, _)| key.starts_with("pod-security.kubernetes.io/"))
            .count();
        ensure!(security == expected.len(), "{:?}", made.labels());
        for (mode, level) in expected {
            let label = made
                .labels()
                .get(&format!("pod-security.kubernetes.io/{mode}"));
            ensure!(label.map(String::as_str) == Some(*level), "{label:?}");
        }
    }

    let clusters: Api<MemberCluster> = Api::all(world.hub.admin.clone());
    let none = Patch::Merge(json!({"spec": {"namespaces": {"create": false}}}));
    clusters
        .patch("east", &PatchParams::default(), &none)
        .await?;
    let job = Training::new("job");
    world.apply(&in_namespace(&job, "unknown")).await?;
    // The condition may have moved on, the Event stays.
    told(&world, "unknown", "kubectl create namespace unknown").await?;
    ensure!(there.get_opt("unknown").await?.is_none(), "it was made");
    Ok(())
}

/// Waits until an Event in a namespace says something.
async fn told(world: &World, namespace: &str, words: &str) -> Result<()> {
    use k8s_openapi::api::events::v1::Event;
    let events: Api<Event> = Api::namespaced(world.hub.admin.clone(), namespace);
    let said = wait_for(
        format!("an Event that says {words:?}"),
        PATIENCE,
        || async {
            let events = events.list(&Default::default()).await?;
            let found = events.items.into_iter().find(|event| {
                let note = event.note.as_deref();
                note.is_some_and(|note| note.contains(words))
            });
            Ok::<_, kube::Error>(found)
        },
    );
    world.explained(said.await).map(drop)
}

#[tokio::test]
async fn jobs_that_would_act_as_part_of_the_cluster_are_not_placed() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("h1", "r1")])
        .start()
        .await?;
    for namespace in ["kube-system", "ampacity-system"] {
        world
            .apply(&in_namespace(&Training::new("job"), namespace))
            .await?;
        let says = says("Valid", "ReservedNamespace", "apply the job in a namespace");
        is_so(&world, namespace, "job", "to be refused", says).await?;
    }
    let critical = Training::new("critical").with("priorityClassName: system-node-critical");
    world.apply(&critical.yaml()).await?;
    let says = says("Valid", "ReservedPriorityClass", "spec.priorityClassName");
    world
        .training_where("critical", "to be refused", says)
        .await?;
    for job in ["job", "critical"] {
        ensure!(world.pods_of("hub", job).await?.is_empty(), "{job} runs");
    }
    Ok(())
}

#[tokio::test]
async fn a_quota_of_the_hub_holds_over_all_clusters() -> Result<()> {
    let world = World::builder()
        .nodes("east", [h100("e1", "r1")])
        .nodes("west", [h100("w1", "r1")])
        .start()
        .await?;
    let quota = |devices: u32| {
        format!(
            "apiVersion: v1
kind: ResourceQuota
metadata: {{name: devices, namespace: default}}
spec: {{hard: {{requests.nvidia.com/gpu: \"{devices}\"}}}}
"
        )
    };
    world.apply(&quota(8)).await?;
    world.apply(&Training::new("one").gang(1, 8).yaml()).await?;
    world.training_is("one", TrainingJobState::Running).await?;
    world.apply(&Training::new("two").gang(1, 4).yaml()).await?;
    let waits = world
        .training_where("two", "a verdict", |job| {
            job.status.as_ref().is_some_and(|s| s.verdict.is_some())
        })
        .await?;
    let verdict = waits.status.and_then(|s| s.verdict).context("no verdict")?;
    let reason = verdict.reasons.first().context("no reason")?;
    ensure!(
        reason.reason == "ResourceQuotaExceeded"
            && (reason.needed, reason.available) == (Some(4), Some(0)),
        "{reason:?}"
    );
    world.apply(&quota(12)).await?;
    world.training_is("two", TrainingJobState::Running).await?;
    world.delete_training("one").await?;
    world.delete_training("two").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_gang_and_an_inference_job_called_as_its_attempt_run_side_by_side() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("h1", "r1"), h100("h2", "r1")])
        .start()
        .await?;
    world
        .apply(&Training::new("llama").gang(2, 2).yaml())
        .await?;
    world
        .training_is("llama", TrainingJobState::Running)
        .await?;
    world
        .apply(&inference("llama-1", 1, &["nvidia-h100-sxm5-80gb"]))
        .await?;
    world
        .inference_where("llama-1", "a ready replica", |job| {
            job.status.as_ref().is_some_and(|s| s.ready_replicas == 1)
        })
        .await?;
    let services: Api<Service> = Api::namespaced(world.hub.admin.clone(), "default");
    let kind = async |name: &str| -> Result<Option<String>> {
        let labels = services.get(name).await?.metadata.labels;
        Ok(labels.and_then(|mut l| l.remove("ampacity.dev/job-kind")))
    };
    ensure!(kind("llama-1").await?.as_deref() == Some("InferenceJob"));
    ensure!(kind("llama-1-gang").await?.as_deref() == Some("TrainingJob"));
    Ok(())
}

#[tokio::test]
async fn a_copied_pod_of_ours_holds_what_it_holds() -> Result<()> {
    let world = World::builder()
        .nodes("east", [h100("e1", "r1"), h100("e2", "r1")])
        .start()
        .await?;
    world.apply(&Training::new("one").gang(1, 8).yaml()).await?;
    world.training_is("one", TrainingJobState::Running).await?;
    let pods: Api<Pod> = Api::namespaced(world.cluster("east")?.admin.clone(), "default");
    let all = pods.list(&ListParams::default()).await?;
    let mut copy = all.items.into_iter().next().context("no pod runs")?;
    let spec = copy.spec.as_mut().context("the pod has no spec")?;
    let other = if spec.node_name.as_deref() == Some("e1") {
        "e2"
    } else {
        "e1"
    };
    spec.node_name = Some(other.to_owned());
    spec.affinity = None;
    copy.status = None;
    copy.metadata = ObjectMeta {
        name: Some("copy".to_owned()),
        labels: copy.metadata.labels,
        annotations: copy.metadata.annotations,
        ..ObjectMeta::default()
    };
    pods.create(&PostParams::default(), &copy).await?;
    let clusters: Api<MemberCluster> = Api::all(world.hub.admin.clone());
    let told = |cluster: &MemberCluster| {
        let conditions = cluster.status.iter().flat_map(|s| &s.conditions);
        conditions.into_iter().any(|c| {
            c.message
                .contains("pods with the labels of Placement default/one-1 hold more here")
        })
    };
    let noted = wait_for_object(&clusters, "east", "a note on the copy", PATIENCE, told).await;
    world.explained(noted)?;
    // Its node is not given away a second time.
    world.apply(&Training::new("two").gang(1, 8).yaml()).await?;
    let waits = |job: &TrainingJob| job.status.as_ref().is_some_and(|s| s.verdict.is_some());
    world.training_where("two", "a verdict", waits).await?;
    pods.delete("copy", &DeleteParams::default().grace_period(0))
        .await?;
    world.training_is("two", TrainingJobState::Running).await?;
    world.delete_training("one").await?;
    world.delete_training("two").await?;
    world.nothing_left().await
}
