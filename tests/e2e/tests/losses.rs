//! What is lost: nodes that fall silent or go, clusters that are taken out, room that somebody else took. What was lost runs
//! again, nothing runs twice, and nothing waits for ever.

use ampacity_api::{MemberCluster, TrainingJob, TrainingJobState};
use ampacity_controlplane::{FaultMode, apply_yaml, wait_for_object, wait_gone};
use ampacity_e2e::World;
use ampacity_e2e::manifest::{Training, h100, l4};
use ampacity_e2e::outcome::node_of;
use ampacity_e2e::world::PATIENCE;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

fn runs_in_attempt(attempt: i32) -> impl Fn(&TrainingJob) -> bool {
    move |job| {
        job.status
            .as_ref()
            .is_some_and(|s| s.attempts == attempt && s.state == Some(TrainingJobState::Running))
    }
}

#[tokio::test]
async fn a_gang_leaves_a_node_that_falls_silent_though_its_pod_there_never_ends() -> Result<()> {
    let world = World::builder()
        .nodes("hub", ["n1", "n2", "n3"].map(|n| h100(n, "r1")))
        .argument("--node-grace-seconds=1")
        .start()
        .await?;
    let gang = Training::new("gang").gang(2, 8).with("maxRestarts: 1");
    world.apply(&gang.yaml()).await?;
    world.training_is("gang", TrainingJobState::Running).await?;
    let pods = world.pods_of("hub", "gang").await?;
    let (victim, node) = (pods[0].name_any(), node_of(&pods[0])?.to_owned());
    let api: Api<Pod> = Api::namespaced(world.hub.admin.clone(), "default");
    let nodes: Api<Node> = Api::all(world.hub.admin.clone());
    // No kubelet ends this pod, and somebody cordons the node before it is found dead.
    let annotate =
        |key: &str, value: &str| Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
    let never = annotate("ampacity.dev/sim-grace", "1h");
    api.patch(&victim, &PatchParams::default(), &never).await?;
    nodes.cordon(&node).await?;
    let silent = annotate("ampacity.dev/sim-not-ready", "true");
    nodes.patch(&node, &PatchParams::default(), &silent).await?;

    let job = world
        .training_where("gang", "a second attempt to run", runs_in_attempt(2))
        .await?;
    ensure!(job.status.is_some_and(|s| s.restarts == 0));
    world.explained(wait_gone(&api, &victim, "the stuck pod to be gone", PATIENCE).await)?;
    for pod in world.pods_of("hub", "gang").await? {
        ensure!(node_of(&pod)? != node);
    }
    world.check_invariants().await?;
    world.delete_training("gang").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_node_that_goes_while_no_operator_looks_is_lost_all_the_same() -> Result<()> {
    let mut world = World::builder()
        .nodes("hub", [h100("n1", "r1"), h100("n2", "r1")])
        .argument("--node-grace-seconds=1")
        .start()
        .await?;
    world.apply(&Training::new("one").yaml()).await?;
    world.training_is("one", TrainingJobState::Running).await?;
    let pods = world.pods_of("hub", "one").await?;
    let node = node_of(&pods[0])?.to_owned();
    world.operator.take().context("no operator")?.kill()?;
    let nodes: Api<Node> = Api::all(world.hub.admin.clone());
    nodes.delete(&node, &DeleteParams::default()).await?;
    world.start_operator(&[])?;
    world
        .training_where("one", "a second attempt to run", runs_in_attempt(2))
        .await?;
    world.check_invariants().await?;
    world.delete_training("one").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn what_ran_on_in_a_cluster_that_was_taken_out_ends_when_it_is_back() -> Result<()> {
    let mut world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [l4("w1")])
        .start()
        .await?;
    let job = Training::new("moves")
        .on("nvidia-l4")
        .with("maxRestarts: 1");
    world.apply(&job.yaml()).await?;
    let running = world
        .training_is("moves", TrainingJobState::Running)
        .await?;
    let placed = running.status.and_then(|s| s.placement);
    let first = placed.context("no placement")?.cluster;
    // Taken out, and given up by taking the finalizer off, while nobody could tell it to stop.
    world.operator.take().context("no operator")?.kill()?;
    let clusters: Api<ampacity_api::MemberCluster> = Api::all(world.hub.admin.clone());
    clusters.delete(&first, &DeleteParams::default()).await?;
    let given_up = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    clusters
        .patch(&first, &PatchParams::default(), &given_up)
        .await?;
    world.start_operator(&[])?;
    world
        .training_where("moves", "to run elsewhere", runs_in_attempt(2))
        .await?;
    ensure!(
        world.pods_of(&first, "moves").await?.len() == 1,
        "nobody could tell it to stop"
    );
    world.register(&first).await?;
    world.nothing_left_in(&first).await?;
    // Its device is free again, and the job's name with it.
    let seen = wait_for_object(&clusters, &first, "a free device", PATIENCE, |c| {
        c.status
            .iter()
            .flat_map(|s| &s.accelerators)
            .any(|a| a.free == 1)
    });
    world.explained(seen.await)?;
    let status = world.training().get("moves").await?.status;
    ensure!(status.is_some_and(|s| s.attempts == 2));
    world.delete_training("moves").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_cluster_that_is_taken_out_unreached_stays_until_nothing_is_left_in_it() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [l4("w1")])
        .start()
        .await?;
    let job = Training::new("moves").on("nvidia-l4");
    world.apply(&job.yaml()).await?;
    let running = world
        .training_is("moves", TrainingJobState::Running)
        .await?;
    let placed = running.status.and_then(|s| s.placement);
    let first = placed.context("no placement")?.cluster;
    world.cluster(&first)?.proxy.set_mode(FaultMode::BlackHole);
    world.cluster(&first)?.proxy.cut_connections();
    world.reachable(&first, "False").await?;
    let clusters: Api<MemberCluster> = Api::all(world.hub.admin.clone());
    clusters.delete(&first, &DeleteParams::default()).await?;
    let told = wait_for_object(&clusters, &first, "what keeps it", PATIENCE, |c| {
        let conditions = c.status.iter().flat_map(|s| &s.conditions);
        conditions
            .filter(|c| c.type_ == "Terminating" && c.reason == "ClusterUnreachable")
            .any(|c| c.message.starts_with("1 Placements"))
    });
    world.explained(told.await)?;
    let there = world.pods_of(&first, "moves").await?.len();
    ensure!(there == 1, "it runs there, and nowhere else");

    world.cluster(&first)?.proxy.set_mode(FaultMode::Pass);
    world
        .training_where("moves", "to run elsewhere", runs_in_attempt(2))
        .await?;
    let gone = wait_gone(&clusters, &first, "the MemberCluster", PATIENCE);
    world.explained(gone.await)?;
    world.nothing_left_in(&first).await?;
    let status = world.training().get("moves").await?.status;
    ensure!(
        status.is_some_and(|s| s.restarts == 0),
        "no fault of the job"
    );
    Ok(())
}

#[tokio::test]
async fn a_pod_that_the_scheduler_finds_no_node_for_is_placed_again_and_costs_no_restart()
-> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [l4("w1")])
        .argument("--start-deadline-seconds=2")
        .start()
        .await?;
    // Somebody has the port that the job wants, which no engine sees.
    for (cluster, node) in [("east", "e1"), ("west", "w1")] {
        let blocker = format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: blocker, namespace: default}}
spec:
  nodeName: {node}
  containers: [{{name: a, image: a, ports: [{{containerPort: 5000, hostPort: 5000}}]}}]
"
        );
        apply_yaml(&world.cluster(cluster)?.admin, &blocker).await?;
    }
    let job = Training::new("wants-port")
        .on("nvidia-l4")
        .with("maxRestarts: 0")
        .yaml()
        .replace(
            "image: registry.example/train:1,",
            "image: registry.example/train:1, ports: [{containerPort: 5000, hostPort: 5000}],",
        );
    world.apply(&job).await?;
    let tried = world
        .training_where("wants-port", "a second attempt", |j| {
            j.status.as_ref().is_some_and(|s| s.attempts >= 2)
        })
        .await?;
    ensure!(tried.status.is_some_and(|s| s.restarts == 0));
    for cluster in ["east", "west"] {
        let pods: Api<Pod> = Api::namespaced(world.cluster(cluster)?.admin.clone(), "default");
        pods.delete("blocker", &DeleteParams::default()).await?;
    }
    let job = world
        .training_is("wants-port", TrainingJobState::Running)
        .await?;
    ensure!(job.status.is_some_and(|s| s.restarts == 0));
    world.told("wants-port", "finds no node for pod").await?;
    world.delete_training("wants-port").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_quota_in_a_member_sends_a_job_elsewhere_and_costs_no_restart() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [l4("w1")])
        .start()
        .await?;
    // East is the cheaper one, and takes no Jobs.
    let quota = "apiVersion: v1
kind: ResourceQuota
metadata: {name: none, namespace: default}
spec: {hard: {count/jobs.batch: \"0\"}}
";
    let east = &world.cluster("east")?.admin;
    apply_yaml(east, quota).await?;
    let quotas: Api<k8s_openapi::api::core::v1::ResourceQuota> =
        Api::namespaced(east.clone(), "default");
    let in_force = wait_for_object(&quotas, "none", "the quota in force", PATIENCE, |q| {
        q.status.as_ref().is_some_and(|s| s.hard.is_some())
    });
    world.explained(in_force.await)?;
    let clusters: Api<ampacity_api::MemberCluster> = Api::all(world.hub.admin.clone());
    let cheap = Patch::Merge(json!({"spec": {"region": "cheap"}}));
    let patched = clusters
        .patch("east", &PatchParams::default(), &cheap)
        .await?;
    let seen = wait_for_object(&clusters, "east", "to be read again", PATIENCE, |c| {
        c.status.as_ref().and_then(|s| s.observed_generation) == patched.metadata.generation
    });
    world.explained(seen.await)?;
    let job = Training::new("refused")
        .on("nvidia-l4")
        .with("maxRestarts: 0");
    world.apply(&job.yaml()).await?;
    let job = world
        .training_is("refused", TrainingJobState::Running)
        .await?;
    let status = job.status.context("no status")?;
    ensure!(status.restarts == 0 && status.attempts == 2, "{status:?}");
    ensure!(status.placement.is_some_and(|p| p.cluster == "west"));
    world.told("refused", "exceeded quota").await?;
    world.delete_training("refused").await?;
    world.nothing_left().await
}
