//! What a job goes through when nothing breaks, from the manifest to the last object that is removed.

use ampacity_api::{InferenceJobState, Placement, TrainingJobState};
use ampacity_e2e::World;
use ampacity_e2e::manifest::{Training, h100, inference, l4};
use ampacity_e2e::outcome::{condition, node_of};
use ampacity_e2e::world::{PATIENCE, cluster_manifest};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

#[tokio::test]
async fn a_job_of_one_device_runs_and_leaves_nothing() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("n1", "r1")])
        .start()
        .await?;
    world
        .apply(&Training::new("one").lasting("2s").yaml())
        .await?;
    let running = world.training_is("one", TrainingJobState::Running).await?;
    let placement = running
        .status
        .and_then(|s| s.placement)
        .context("no placement")?;
    ensure!(placement.cluster == "hub" && placement.devices == 1);
    ensure!(
        placement.watts > 700 && placement.usd_per_hour.micros() > 2_000_000,
        "{placement:?}"
    );
    let pods = world.pods_of("hub", "one").await?;
    ensure!(pods.len() == 1 && node_of(&pods[0])? == "n1");
    ensure!(
        pods[0]
            .spec
            .as_ref()
            .is_some_and(|s| s.scheduling_gates.is_none()),
        "its node is known when it is created: no gate, no second write"
    );

    let done = world
        .training_is("one", TrainingJobState::Succeeded)
        .await?;
    let status = done.status.context("no status")?;
    ensure!(status.attempts == 1 && status.restarts == 0);
    ensure!(
        status.usd_accrued.is_some_and(|usd| usd.micros() > 0),
        "{status:?}"
    );
    ensure!(status.completion_time.is_some() && status.start_time.is_some());
    world.nothing_left().await?;

    let events: Api<Event> = Api::namespaced(world.hub.admin.clone(), "default");
    let said = ampacity_controlplane::wait_for("events of the job", PATIENCE, || async {
        let all = events.list(&ListParams::default()).await?;
        let of_job =
            |e: &&Event| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some("one");
        let reasons: Vec<String> = all
            .iter()
            .filter(of_job)
            .filter_map(|e| e.reason.clone())
            .collect();
        let whole = ["Placed", "Succeeded"]
            .iter()
            .all(|r| reasons.iter().any(|x| x == r));
        Ok::<_, kube::Error>(whole.then_some(reasons))
    })
    .await;
    world.explained(said)?;
    Ok(())
}

#[tokio::test]
async fn a_gang_starts_together_in_one_rack_with_its_ranks_in_order() -> Result<()> {
    let nodes = ["a1", "b1", "a2", "b2"].map(|n| h100(n, &n[..1]));
    let world = World::builder().nodes("hub", nodes).start().await?;
    let gang = Training::new("gang")
        .gang(4, 4)
        .with("topology: {required: Rack}");
    world.apply(&gang.yaml()).await?;
    world.training_is("gang", TrainingJobState::Running).await?;
    let mut pods = world.pods_of("hub", "gang").await?;
    ensure!(pods.len() == 4);
    let rank = |p: &k8s_openapi::api::core::v1::Pod| {
        p.annotations()
            .get("batch.kubernetes.io/job-completion-index")
            .and_then(|i| i.parse::<u32>().ok())
    };
    pods.sort_by_key(|p| rank(p));
    let nodes: Vec<&str> = pods.iter().map(node_of).collect::<Result<_>>()?;
    ensure!(
        nodes[0] == nodes[1] && nodes[2] == nodes[3] && nodes[0] != nodes[2],
        "ranks side by side: {nodes:?}"
    );
    ensure!(
        nodes.iter().all(|n| n[..1] == nodes[0][..1]),
        "one rack: {nodes:?}"
    );
    let services: Api<Service> = Api::namespaced(world.hub.admin.clone(), "default");
    let ours = ListParams::default().labels("ampacity.dev/job-name=gang");
    let headless = services.list(&ours).await?;
    ensure!(
        headless.items.len() == 1
            && headless.items[0]
                .spec
                .as_ref()
                .is_some_and(|s| s.cluster_ip.as_deref() == Some("None"))
    );
    let found = found_by_name(&world, &headless.items[0].name_any(), 4).await;
    let hosts = world.explained(found)?;
    ensure!(
        hosts == ["gang-1-0", "gang-1-1", "gang-1-2", "gang-1-3"],
        "each replica is found by its rank: {hosts:?}"
    );

    // A gang that finds no room as a whole starts no part of itself.
    world
        .apply(&Training::new("late").gang(3, 8).yaml())
        .await?;
    let late = world
        .training_where("late", "a verdict", |j| {
            j.status.as_ref().is_some_and(|s| s.verdict.is_some())
        })
        .await?;
    ensure!(world.pods_of("hub", "late").await?.is_empty());
    let verdict = late.status.and_then(|s| s.verdict).context("no verdict")?;
    ensure!(!verdict.reasons.is_empty(), "{verdict:?}");
    world.delete_training("gang").await?;
    world.training_is("late", TrainingJobState::Running).await?;
    world.check_invariants().await?;
    world.delete_training("late").await?;
    world.nothing_left().await
}

/// Host names under which a headless Service finds so many pods, in order.
async fn found_by_name(
    world: &World,
    service: &str,
    count: usize,
) -> ampacity_controlplane::Result<Vec<String>> {
    let slices: Api<EndpointSlice> = Api::namespaced(world.hub.admin.clone(), "default");
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    ampacity_controlplane::wait_for("endpoints of the Service", PATIENCE, || async {
        let found = slices.list(&of_service).await?;
        let endpoints = found
            .items
            .iter()
            .flat_map(|slice| slice.endpoints.iter().flatten());
        let mut hosts: Vec<String> = endpoints.filter_map(|e| e.hostname.clone()).collect();
        hosts.sort();
        Ok::<_, kube::Error>((hosts.len() == count).then_some(hosts))
    })
    .await
}

#[tokio::test]
async fn the_cheapest_cluster_is_taken_and_a_full_one_left_out() -> Result<()> {
    let world = World::builder()
        .nodes("dear", [h100("d1", "r1")])
        .nodes("cheap", [h100("c1", "r1")])
        .start()
        .await?;
    // Electricity in region "cheap" costs a tenth.
    let reference =
        "\n  kubeconfigSecretRef: {namespace: ampacity-system, name: cheap, key: kubeconfig}";
    let moved = cluster_manifest("cheap", reference).replace("region: hall", "region: cheap");
    world.apply(&moved).await?;
    world.explained(
        ampacity_controlplane::wait_for_object(
            &Api::<ampacity_api::MemberCluster>::all(world.hub.admin.clone()),
            "cheap",
            "the change to be seen",
            PATIENCE,
            |c| c.status.as_ref().and_then(|s| s.observed_generation) == c.metadata.generation,
        )
        .await,
    )?;
    let placed = async |name: &str| -> Result<String> {
        let job = world.training_is(name, TrainingJobState::Running).await?;
        Ok(job
            .status
            .and_then(|s| s.placement)
            .context("no placement")?
            .cluster)
    };
    world
        .apply(&Training::new("first").gang(1, 8).yaml())
        .await?;
    ensure!(placed("first").await? == "cheap");
    world
        .apply(&Training::new("second").gang(1, 8).yaml())
        .await?;
    ensure!(placed("second").await? == "dear");

    // A namespace that the member did not have is made there; a job restricted to a cluster stays out of the others.
    world
        .apply("{apiVersion: v1, kind: Namespace, metadata: {name: research}}")
        .await?;
    let picky = Training::new("picky").with("clusterSelector: {matchLabels: {name: cheap}}");
    world.apply(&picky.yaml()).await?;
    world
        .training_where("picky", "a verdict", |j| {
            j.status.as_ref().is_some_and(|s| s.verdict.is_some())
        })
        .await?;
    world.delete_training("first").await?;
    ensure!(placed("picky").await? == "cheap");
    world.delete_training("second").await?;
    world.delete_training("picky").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn suspend_releases_everything_and_resume_goes_on() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("n1", "r1")])
        .start()
        .await?;
    world
        .apply(&Training::new("pausing").gang(2, 4).yaml())
        .await?;
    world
        .training_is("pausing", TrainingJobState::Running)
        .await?;
    suspend(&world, "pausing", true).await?;
    let job = world
        .training_is("pausing", TrainingJobState::Suspended)
        .await?;
    ensure!(
        job.status.is_some_and(|s| s.restarts == 0),
        "a pause is no failure"
    );
    world.nothing_left().await?;
    suspend(&world, "pausing", false).await?;
    let job = world
        .training_is("pausing", TrainingJobState::Running)
        .await?;
    let status = job.status.context("no status")?;
    ensure!(status.attempts == 2 && status.restarts == 0, "{status:?}");

    // A job that is suspended when it is created does not start.
    world
        .apply(&Training::new("asleep").with("suspend: true").yaml())
        .await?;
    world
        .training_is("asleep", TrainingJobState::Suspended)
        .await?;
    ensure!(world.pods_of("hub", "asleep").await?.is_empty());
    world.delete_training("asleep").await?;
    world.delete_training("pausing").await?;
    world.nothing_left().await
}

async fn suspend(world: &World, name: &str, suspend: bool) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
    world
        .training()
        .patch(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_suspended_inference_job_holds_nothing_and_comes_back() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [l4("h1"), l4("h2")])
        .start()
        .await?;
    world.apply(&inference("chat", 2, &["nvidia-l4"])).await?;
    let serving = async |count: i32, state: InferenceJobState| {
        let what = format!("{state:?} with {count} replicas");
        world
            .inference_where("chat", &what, |j| {
                j.status.as_ref().is_some_and(|s| {
                    s.state == Some(state)
                        && (s.placed_replicas, s.ready_replicas) == (count, count)
                })
            })
            .await
    };
    serving(2, InferenceJobState::Running).await?;
    let suspend = async |suspend: bool| {
        let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        world
            .inference()
            .patch("chat", &PatchParams::default(), &patch)
            .await
    };
    suspend(true).await?;
    serving(0, InferenceJobState::Suspended).await?;
    world.nothing_left().await?;
    suspend(false).await?;
    serving(2, InferenceJobState::Running).await?;
    world
        .inference()
        .delete("chat", &DeleteParams::default())
        .await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_job_that_is_deleted_while_it_starts_or_runs_leaves_nothing_and_its_name_is_free_again()
-> Result<()> {
    let world = World::builder()
        .nodes("member", [h100("n1", "r1"), h100("n2", "r1")])
        .start()
        .await?;
    for round in 0..5 {
        world
            .apply(&Training::new("again").gang(2, 8).yaml())
            .await?;
        if round % 2 == 0 {
            world
                .training_is("again", TrainingJobState::Running)
                .await?;
        }
        world.delete_training("again").await?;
        world.check_invariants().await?;
    }
    world.nothing_left().await
}

#[tokio::test]
async fn finished_jobs_go_after_their_time_to_live() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("n1", "r1")])
        .start()
        .await?;
    let brief = Training::new("brief")
        .lasting("100ms")
        .with("ttlSecondsAfterFinished: 2");
    world.apply(&brief.yaml()).await?;
    world
        .training_is("brief", TrainingJobState::Succeeded)
        .await?;
    let gone = ampacity_controlplane::wait_gone(
        &world.training(),
        "brief",
        "the job to be gone",
        PATIENCE,
    )
    .await;
    world.explained(gone)?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_job_that_runs_too_long_or_fails_too_often_is_given_up() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("n1", "r1")])
        .start()
        .await?;
    world
        .apply(&Training::new("long").with("maxRuntimeSeconds: 2").yaml())
        .await?;
    world
        .apply(
            &Training::new("broken")
                .failing("200ms")
                .with("maxRestarts: 2")
                .yaml(),
        )
        .await?;
    let broken = world
        .training_is("broken", TrainingJobState::Failed)
        .await?;
    let status = broken.status.as_ref().context("no status")?;
    ensure!(status.attempts == 3 && status.restarts == 2, "{status:?}");
    let (_, reason, message) = condition(&broken, "Finished").context("no Finished condition")?;
    ensure!(
        reason == "MaxRestartsExceeded" && message.contains("maxRestarts is 2"),
        "{reason}: {message}"
    );
    let long = world.training_is("long", TrainingJobState::Failed).await?;
    let (_, reason, _) = condition(&long, "Finished").context("no Finished condition")?;
    ensure!(reason == "MaxRuntimeExceeded", "{reason}");
    world.nothing_left().await
}

#[tokio::test]
async fn watts_are_held_under_a_budget_until_it_is_raised() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("n1", "r1"), h100("n2", "r1")])
        .start()
        .await?;
    world
        .apply(
            "apiVersion: ampacity.dev/v1alpha1
kind: PowerDomain
metadata: {name: hall}
spec: {ratedWatts: 40000, continuousPercent: 80, members: [{cluster: hub}]}
---
apiVersion: ampacity.dev/v1alpha1
kind: PowerBudget
metadata: {name: tight}
spec: {powerDomainRef: {name: hall}, limitWatts: 12000}
",
        )
        .await?;
    let budgets: Api<ampacity_api::PowerBudget> = Api::all(world.hub.admin.clone());
    let in_force = ampacity_controlplane::wait_for_object(
        &budgets,
        "tight",
        "the budget in force",
        PATIENCE,
        |b| {
            b.status
                .as_ref()
                .is_some_and(|s| s.headroom_watts == Some(12000))
        },
    );
    world.explained(in_force.await)?;
    world
        .apply(&Training::new("first").gang(1, 8).yaml())
        .await?;
    let first = world
        .training_is("first", TrainingJobState::Running)
        .await?;
    let watts = first
        .status
        .and_then(|s| s.placement)
        .context("no placement")?
        .watts;
    ensure!(watts > 6000 && watts <= 12000, "{watts}");
    world
        .apply(&Training::new("second").gang(1, 8).yaml())
        .await?;
    let second = world
        .training_where("second", "a verdict", |j| {
            j.status.as_ref().is_some_and(|s| s.verdict.is_some())
        })
        .await?;
    let verdict = second
        .status
        .and_then(|s| s.verdict)
        .context("no verdict")?;
    let reason = verdict.reasons.first().context("no reason")?;
    ensure!(
        reason.reason == "PowerBudgetExceeded"
            && reason.message.as_ref().is_some_and(|m| m.contains("tight")),
        "{verdict:?}"
    );
    let fix = verdict.fix.context("no fix")?;
    ensure!(
        fix.message.as_ref().is_some_and(|m| m.contains("tight")),
        "{fix:?}"
    );

    // What the fix asks for is enough.
    let raise = json!({"spec": {"limitWatts": 12000 + watts}});
    budgets
        .patch("tight", &PatchParams::default(), &Patch::Merge(raise))
        .await?;
    world
        .training_is("second", TrainingJobState::Running)
        .await?;
    let usage =
        ampacity_controlplane::wait_for_object(&budgets, "tight", "both counted", PATIENCE, |b| {
            b.status
                .as_ref()
                .is_some_and(|s| s.reserved_watts == Some(2 * watts))
        });
    world.explained(usage.await)?;
    world.delete_training("first").await?;
    world.delete_training("second").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn an_inference_job_spans_kinds_and_clusters_and_follows_its_scale() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1"), l4("e2")])
        .nodes("hub", [h100("h1", "r1")])
        .start()
        .await?;
    let kinds = ["nvidia-l4", "nvidia-h100-sxm5-80gb"];
    world.apply(&inference("chat", 4, &kinds)).await?;
    let ready = async |count: i32| {
        world
            .inference_where("chat", &format!("{count} ready replicas"), |j| {
                j.status.as_ref().is_some_and(|s| {
                    s.ready_replicas == count
                        && s.placed_replicas == count
                        && s.state == Some(InferenceJobState::Running)
                })
            })
            .await
    };
    let job = ready(4).await?;
    let placements = job.status.context("no status")?.placements;
    ensure!(
        placements.iter().any(|p| p.cluster == "east")
            && placements.iter().any(|p| p.cluster == "hub"),
        "{placements:?}"
    );
    let services: Api<Service> = Api::namespaced(world.cluster("east")?.admin.clone(), "default");
    ensure!(
        !services
            .list(&ListParams::default().labels("ampacity.dev/job-name=chat"))
            .await?
            .items
            .is_empty()
    );

    // `kubectl scale`, as an autoscaler would: down, the dearest first; then up again.
    world.scale("chat", 2).await?;
    let job = ready(2).await?;
    let placements = job.status.context("no status")?.placements;
    ensure!(
        placements.iter().all(|p| p.cluster == "east"),
        "the dear ones go first: {placements:?}"
    );
    world.scale("chat", 5).await?;
    ready(5).await?;

    // A pod that is lost comes back by the member's own controllers.
    let pods = world.pods_of("east", "chat").await?;
    let pod_api: Api<k8s_openapi::api::core::v1::Pod> =
        Api::namespaced(world.cluster("east")?.admin.clone(), "default");
    pod_api
        .delete(&pods[0].name_any(), &DeleteParams::default())
        .await?;
    let back =
        ampacity_controlplane::wait_until("the lost pod to be replaced", PATIENCE, || async {
            world.pods_of("east", "chat").await.is_ok_and(|now| {
                now.len() == pods.len()
                    && now
                        .iter()
                        .all(|p| p.uid() != pods[0].uid() && node_of(p).is_ok())
            })
        });
    world.explained(back.await)?;
    ready(5).await?;
    world
        .inference()
        .delete("chat", &DeleteParams::default())
        .await?;
    world.nothing_left().await?;
    let deployments: Api<Deployment> = Api::all(world.cluster("east")?.admin.clone());
    ensure!(
        deployments
            .list(&ListParams::default())
            .await?
            .items
            .is_empty()
    );
    Ok(())
}

#[tokio::test]
async fn what_others_hold_and_cordoned_nodes_are_left_alone() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("n1", "r1"), h100("n2", "r1")])
        .start()
        .await?;
    // Six devices of n1 are taken by a pod that is not ours; n2 is cordoned.
    world
        .apply(
            "apiVersion: v1
kind: Pod
metadata: {name: theirs, namespace: default}
spec:
  nodeName: n1
  containers: [{name: a, image: a, resources: {limits: {nvidia.com/gpu: 6}}}]
",
        )
        .await?;
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(world.hub.admin.clone());
    nodes.cordon("n2").await?;
    let clusters: Api<ampacity_api::MemberCluster> = Api::all(world.hub.admin.clone());
    let seen = ampacity_controlplane::wait_for_object(
        &clusters,
        "hub",
        "two free devices",
        PATIENCE,
        |c| {
            c.status
                .iter()
                .flat_map(|s| &s.accelerators)
                .map(|a| a.free)
                .sum::<i64>()
                == 2
        },
    );
    world.explained(seen.await)?;
    world.apply(&Training::new("big").gang(1, 4).yaml()).await?;
    world
        .apply(&Training::new("small").gang(1, 2).yaml())
        .await?;
    world
        .training_is("small", TrainingJobState::Running)
        .await?;
    ensure!(node_of(&world.pods_of("hub", "small").await?[0])? == "n1");
    world
        .training_where("big", "a verdict", |j| {
            j.status.as_ref().is_some_and(|s| s.verdict.is_some())
        })
        .await?;
    nodes.uncordon("n2").await?;
    world.training_is("big", TrainingJobState::Running).await?;
    ensure!(node_of(&world.pods_of("hub", "big").await?[0])? == "n2");
    world.check_invariants().await
}

#[tokio::test]
async fn a_job_of_higher_priority_goes_first() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("n1", "r1")])
        .start()
        .await?;
    world
        .apply("{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: urgent}, value: 1000}")
        .await?;
    world
        .apply(&Training::new("now").gang(1, 8).lasting("3s").yaml())
        .await?;
    world.training_is("now", TrainingJobState::Running).await?;
    world
        .apply(&Training::new("aaa-usual").gang(1, 8).lasting("1s").yaml())
        .await?;
    world
        .apply(
            &Training::new("zzz-urgent")
                .gang(1, 8)
                .lasting("1s")
                .with("priorityClassName: urgent")
                .yaml(),
        )
        .await?;
    let usual = world
        .training_is("aaa-usual", TrainingJobState::Succeeded)
        .await?;
    let urgent = world
        .training_is("zzz-urgent", TrainingJobState::Succeeded)
        .await?;
    let start = |job: ampacity_api::TrainingJob| job.status.and_then(|s| s.start_time).map(|t| t.0);
    ensure!(start(urgent) < start(usual), "the urgent one starts first");
    world.nothing_left().await
}

#[tokio::test]
async fn a_placement_deleted_by_hand_is_decided_again() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("n1", "r1")])
        .start()
        .await?;
    world.apply(&Training::new("moved").yaml()).await?;
    world
        .training_is("moved", TrainingJobState::Running)
        .await?;
    let all = world.placements().list(&ListParams::default()).await?;
    let first: &Placement = all.items.first().context("no placement")?;
    world
        .placements()
        .delete(&first.name_any(), &DeleteParams::default())
        .await?;
    let job = world
        .training_where("moved", "a second attempt to run", |j| {
            j.status
                .as_ref()
                .is_some_and(|s| s.attempts == 2 && s.state == Some(TrainingJobState::Running))
        })
        .await?;
    ensure!(
        job.status.is_some_and(|s| s.restarts == 0),
        "no failure of the job"
    );

    // The same for its Job in the member: it is made again or the attempt ends, and the work goes on.
    let jobs: Api<Job> = Api::namespaced(world.hub.admin.clone(), "default");
    let ours = jobs
        .list(&ListParams::default().labels("ampacity.dev/job-name=moved"))
        .await?;
    let old = ours
        .items
        .iter()
        .find(|j| j.metadata.deletion_timestamp.is_none())
        .context("no Job")?;
    jobs.delete(&old.name_any(), &DeleteParams::background())
        .await?;
    let again = ampacity_controlplane::wait_until("another Job to run", PATIENCE, || async {
        let Ok(now) = jobs
            .list(&ListParams::default().labels("ampacity.dev/job-name=moved"))
            .await
        else {
            return false;
        };
        now.items
            .iter()
            .any(|j| j.uid() != old.uid() && j.status.as_ref().is_some_and(|s| s.ready == Some(1)))
    });
    world.explained(again.await)?;
    world.check_invariants().await
}
