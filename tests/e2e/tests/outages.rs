//! Members that are away, refuse us, or show what is no longer so: what runs there runs on, and nothing is concluded from an old
//! picture.

use ampacity_api::{MemberCluster, TrainingJobState};
use ampacity_controlplane::{FaultMode, wait_for_object, wait_until};
use ampacity_e2e::World;
use ampacity_e2e::manifest::{Training, h100, l4};
use ampacity_e2e::outcome::node_of;
use ampacity_e2e::world::{NAMESPACE, PATIENCE, cluster_manifest, secret_manifest};
use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

/// Waits until something is so of a MemberCluster.
async fn cluster_where(
    world: &World,
    name: &str,
    what: &str,
    is_so: impl Fn(&MemberCluster) -> bool,
) -> Result<MemberCluster> {
    let clusters: Api<MemberCluster> = Api::all(world.hub.admin.clone());
    world.explained(wait_for_object(&clusters, name, what, PATIENCE, is_so).await)
}

fn ready_nodes(count: i32) -> impl Fn(&MemberCluster) -> bool {
    move |cluster| {
        cluster
            .status
            .as_ref()
            .is_some_and(|s| s.nodes_ready == count)
    }
}

fn unreachable_for(reason: &'static str) -> impl Fn(&MemberCluster) -> bool {
    move |cluster| {
        let conditions = cluster.status.iter().flat_map(|s| &s.conditions);
        conditions
            .filter(|c| c.type_ == "Reachable" && c.status == "False")
            .any(|c| c.reason == reason)
    }
}

async fn attempts(world: &World, job: &str) -> Result<i32> {
    let status = world.training().get(job).await?.status;
    Ok(status.map_or(0, |s| s.attempts))
}

#[tokio::test]
async fn a_node_that_was_well_all_along_is_not_lost_by_a_connection_that_died() -> Result<()> {
    let world = World::builder()
        .nodes("east", ["e1", "e2", "e3"].map(|n| h100(n, "r1")))
        .argument("--node-grace-seconds=8")
        .start()
        .await?;
    world
        .apply(&Training::new("gang").gang(2, 8).yaml())
        .await?;
    world.training_is("gang", TrainingJobState::Running).await?;
    let pods = world.pods_of("east", "gang").await?;
    let node = node_of(&pods[0])?.to_owned();
    let nodes: Api<Node> = Api::all(world.cluster("east")?.admin.clone());
    let silent = |yes: &str| {
        Patch::Merge(json!({"metadata": {"annotations": {"ampacity.dev/sim-not-ready": yes}}}))
    };
    // The node is not ready for a moment, and just then the connections die without a word; new ones work.
    nodes
        .patch(&node, &PatchParams::default(), &silent("true"))
        .await?;
    cluster_where(&world, "east", "a node that is not ready", ready_nodes(2)).await?;
    world.cluster("east")?.proxy.strand_connections();
    nodes
        .patch(&node, &PatchParams::default(), &silent("false"))
        .await?;
    // Only a picture made anew shows that it is well again. The old one says for longer than the grace that it is not.
    cluster_where(&world, "east", "all nodes ready again", ready_nodes(3)).await?;
    world.reachable("east", "True").await?;
    // Whoever is placed after that was placed by a cycle that would have judged the gang.
    world
        .apply(&Training::new("later").gang(1, 8).yaml())
        .await?;
    world
        .training_is("later", TrainingJobState::Running)
        .await?;
    let attempts = attempts(&world, "gang").await?;
    ensure!(attempts == 1, "healthy work was ended: attempt {attempts}");
    world.check_invariants().await?;
    world.delete_training("gang").await?;
    world.delete_training("later").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_node_that_falls_silent_during_an_outage_is_lost_only_after_it() -> Result<()> {
    let world = World::builder()
        .nodes("east", ["e1", "e2", "e3"].map(|n| h100(n, "r1")))
        .argument("--node-grace-seconds=3")
        .start()
        .await?;
    world
        .apply(&Training::new("gang").gang(2, 8).yaml())
        .await?;
    world.training_is("gang", TrainingJobState::Running).await?;
    let pods = world.pods_of("east", "gang").await?;
    let node = node_of(&pods[0])?.to_owned();
    let east = world.cluster("east")?;
    east.proxy.set_mode(FaultMode::BlackHole);
    east.proxy.cut_connections();
    world.reachable("east", "False").await?;
    let nodes: Api<Node> = Api::all(east.admin.clone());
    let silent =
        Patch::Merge(json!({"metadata": {"annotations": {"ampacity.dev/sim-not-ready": "true"}}}));
    nodes.patch(&node, &PatchParams::default(), &silent).await?;
    east.proxy.set_mode(FaultMode::Pass);
    world
        .training_where("gang", "a second attempt to run", |job| {
            job.status.as_ref().is_some_and(|s| {
                s.attempts == 2 && s.state == Some(TrainingJobState::Running) && s.restarts == 0
            })
        })
        .await?;
    world.check_invariants().await?;
    world.delete_training("gang").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_member_whose_watches_are_refused_is_not_planned_on_as_if_current() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [h100("w1", "r1")])
        .start()
        .await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(world.cluster("east")?.admin.clone());
    let mut removed = Vec::new();
    for binding in bindings.list(&ListParams::default()).await? {
        let of_operator = binding.subjects.iter().flatten().any(|subject| {
            subject.namespace.as_deref() == Some(NAMESPACE) && subject.name == "ampacity"
        });
        if of_operator {
            let name = binding.metadata.name.clone().unwrap_or_default();
            bindings.delete(&name, &DeleteParams::default()).await?;
            removed.push(binding);
        }
    }
    ensure!(!removed.is_empty(), "no binding of the operator");
    world.cluster("east")?.proxy.cut_connections();
    cluster_where(
        &world,
        "east",
        "to be refused",
        unreachable_for("Forbidden"),
    )
    .await?;
    // The cheaper device is there, and nobody can say that it still is.
    let cheap = "  - {name: cheap, acceleratorType: nvidia-l4, devicesPerReplica: 1, replicas: 1, image: registry.example/train:1}\n";
    let job = Training::new("either").yaml();
    world
        .apply(&job.replace("  alternatives:\n", &format!("  alternatives:\n{cheap}")))
        .await?;
    let running = world
        .training_is("either", TrainingJobState::Running)
        .await?;
    let placement = running.status.and_then(|s| s.placement);
    ensure!(placement.context("no placement")?.cluster == "west");
    for mut binding in removed {
        binding.metadata.resource_version = None;
        binding.metadata.uid = None;
        bindings.create(&Default::default(), &binding).await?;
    }
    world.reachable("east", "True").await?;
    world.delete_training("either").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_gang_that_was_replaced_ends_by_itself_in_the_silent_cluster() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [h100("w1", "r1")])
        .start()
        .await?;
    let clusters: Api<MemberCluster> = Api::all(world.hub.admin.clone());
    let replace = Patch::Merge(
        json!({"spec": {"unreachable": {"afterSeconds": 10, "action": "Replace", "fenceSeconds": 20}}}),
    );
    clusters
        .patch("east", &PatchParams::default(), &replace)
        .await?;
    let either = Training::new("moves").with("maxRestarts: 0").yaml().replace(
        "  alternatives:\n",
        "  alternatives:\n  - {name: cheap, acceleratorType: nvidia-l4, devicesPerReplica: 1, replicas: 1, image: registry.example/train:1}\n",
    );
    world.apply(&either).await?;
    world
        .training_is("moves", TrainingJobState::Running)
        .await?;
    let east = world.cluster("east")?;
    let jobs: Api<Job> = Api::namespaced(east.admin.clone(), "default");
    let deadline = |job: &Job| job.spec.as_ref().and_then(|s| s.active_deadline_seconds);
    ensure!(deadline(&jobs.get("moves-1").await?).is_some(), "no fence");
    // The hub gives it word in time, for as long as it can.
    let renewed = wait_for_object(&jobs, "moves-1", "word from the hub", PATIENCE, |job| {
        deadline(job).is_some_and(|seconds| seconds > 30)
    });
    world.explained(renewed.await)?;
    east.proxy.set_mode(FaultMode::BlackHole);
    east.proxy.cut_connections();
    world
        .training_where("moves", "to run elsewhere", |job| {
            job.status.as_ref().is_some_and(|s| {
                s.attempts == 2 && s.state == Some(TrainingJobState::Running) && s.restarts == 0
            })
        })
        .await?;
    let ended = wait_for_object(&jobs, "moves-1", "the first one to end", PATIENCE, |job| {
        let conditions = job
            .status
            .iter()
            .flat_map(|s| s.conditions.iter().flatten());
        conditions
            .filter(|c| c.type_ == "Failed" && c.status == "True")
            .any(|c| c.reason.as_deref() == Some("DeadlineExceeded"))
    });
    world.explained(ended.await)?;
    east.proxy.set_mode(FaultMode::Pass);
    world.nothing_left_in("east").await?;
    ensure!(attempts(&world, "moves").await? == 2);
    world.delete_training("moves").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn credentials_of_another_cluster_are_refused_and_what_runs_runs_on() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [l4("w1")])
        .start()
        .await?;
    let east = Training::new("stays")
        .on("nvidia-l4")
        .with("clusterSelector: {matchLabels: {name: east}}");
    world.apply(&east.yaml()).await?;
    world
        .training_is("stays", TrainingJobState::Running)
        .await?;
    let secrets: Api<Secret> = Api::namespaced(world.hub.admin.clone(), NAMESPACE);
    let kubeconfig = |secret: Secret| -> Result<String> {
        let data = secret.data.and_then(|mut d| d.remove("kubeconfig"));
        Ok(String::from_utf8(data.context("no kubeconfig")?.0)?)
    };
    let right = kubeconfig(secrets.get("east").await?)?;
    let wrong = kubeconfig(secrets.get("west").await?)?;
    for round in 0..2 {
        world.apply(&secret_manifest("east", &wrong)).await?;
        cluster_where(
            &world,
            "east",
            "to be refused",
            unreachable_for("OtherCluster"),
        )
        .await?;
        world.apply(&secret_manifest("east", &right)).await?;
        world.reachable("east", "True").await?;
        world
            .training_is("stays", TrainingJobState::Running)
            .await?;
        let attempts = attempts(&world, "stays").await?;
        ensure!(attempts == 1, "round {round}: attempt {attempts}");
    }
    world.check_invariants().await?;
    world.delete_training("stays").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn credentials_that_expired_are_not_a_dead_cluster() -> Result<()> {
    let mut world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [h100("w1", "r1")])
        .start()
        .await?;
    let clusters: Api<MemberCluster> = Api::all(world.hub.admin.clone());
    let replace =
        Patch::Merge(json!({"spec": {"unreachable": {"afterSeconds": 10, "action": "Replace"}}}));
    clusters
        .patch("east", &PatchParams::default(), &replace)
        .await?;
    let either = Training::new("stays").yaml().replace(
        "  alternatives:\n",
        "  alternatives:\n  - {name: cheap, acceleratorType: nvidia-l4, devicesPerReplica: 1, replicas: 1, image: registry.example/train:1}\n",
    );
    world.apply(&either).await?;
    let running = world
        .training_is("stays", TrainingJobState::Running)
        .await?;
    let placement = running.status.and_then(|s| s.placement);
    ensure!(placement.context("no placement")?.cluster == "east");

    let secrets: Api<Secret> = Api::namespaced(world.hub.admin.clone(), NAMESPACE);
    let good = secrets.get("east").await?;
    let east = world.cluster("east")?;
    let expired = east
        .plane
        .kubeconfig_at(&east.proxy.url(), "hub", "an.expired.token");
    world.apply(&secret_manifest("east", &expired)).await?;
    cluster_where(
        &world,
        "east",
        "to be refused",
        unreachable_for("Unauthorized"),
    )
    .await?;
    for restart in [false, true] {
        if restart {
            world.operator.take().context("no operator")?.kill()?;
            world.start_operator(&[])?;
        }
        // For longer than the policy waits; then another job is placed, by a cycle that could have replaced the first one.
        let long = wait_until("east to be refused for long", PATIENCE, || async {
            let Ok(east) = clusters.get("east").await else {
                return false;
            };
            let conditions = east.status.iter().flat_map(|s| &s.conditions);
            let mut since = conditions.filter(|c| c.type_ == "Reachable" && c.status == "False");
            let passed = |at: Timestamp| Timestamp::now().as_second() - at.as_second();
            since.any(|c| passed(c.last_transition_time.0) > 12)
        });
        world.explained(long.await)?;
        let name = format!("other-{restart}");
        world.apply(&Training::new(&name).yaml()).await?;
        world.training_is(&name, TrainingJobState::Running).await?;
        cluster_where(
            &world,
            "east",
            "to be refused",
            unreachable_for("Unauthorized"),
        )
        .await?;
        let attempts = attempts(&world, "stays").await?;
        ensure!(attempts == 1, "it runs twice: attempt {attempts}");
    }
    let kubeconfig = good.data.and_then(|mut d| d.remove("kubeconfig"));
    let kubeconfig = String::from_utf8(kubeconfig.context("no kubeconfig")?.0)?;
    world.apply(&secret_manifest("east", &kubeconfig)).await?;
    world.reachable("east", "True").await?;
    world
        .training_is("stays", TrainingJobState::Running)
        .await?;
    ensure!(attempts(&world, "stays").await? == 1);
    world.check_invariants().await?;
    for name in ["stays", "other-false", "other-true"] {
        world.delete_training(name).await?;
    }
    world.nothing_left().await
}

#[tokio::test]
async fn a_cluster_with_two_names_is_used_under_the_older_one() -> Result<()> {
    let world = World::builder()
        .nodes("east", [h100("e1", "r1")])
        .start()
        .await?;
    world
        .apply(&Training::new("first").gang(1, 8).yaml())
        .await?;
    world
        .training_is("first", TrainingJobState::Running)
        .await?;
    let secrets: Api<Secret> = Api::namespaced(world.hub.admin.clone(), NAMESPACE);
    let kubeconfig = secrets.get("east").await?.data.unwrap_or_default();
    let kubeconfig = kubeconfig.get("kubeconfig").context("no kubeconfig")?;
    let kubeconfig = String::from_utf8(kubeconfig.0.clone())?;
    world.apply(&secret_manifest("twin", &kubeconfig)).await?;
    world
        .apply(&cluster_manifest(
            "twin",
            &format!(
                "\n  kubeconfigSecretRef: {{namespace: {NAMESPACE}, name: twin, key: kubeconfig}}"
            ),
        ))
        .await?;
    cluster_where(&world, "twin", "to be told", unreachable_for("SameCluster")).await?;
    world
        .apply(&Training::new("second").gang(1, 8).yaml())
        .await?;
    let waits = world
        .training_where("second", "a verdict", |job| {
            job.status.as_ref().is_some_and(|s| s.verdict.is_some())
        })
        .await?;
    ensure!(
        waits.status.is_some_and(|s| s.attempts == 0),
        "the devices were given away twice"
    );
    world.check_invariants().await?;
    for name in ["first", "second"] {
        world.delete_training(name).await?;
    }
    world.nothing_left().await?;
    // The name that is left is used.
    let clusters: Api<MemberCluster> = Api::all(world.hub.admin.clone());
    clusters.delete("east", &DeleteParams::default()).await?;
    cluster_where(&world, "twin", "to be used", |cluster| {
        cluster.status.as_ref().is_some_and(|s| s.nodes_ready == 1)
            && cluster
                .status
                .iter()
                .flat_map(|s| &s.conditions)
                .any(|c| c.type_ == "Reachable" && c.status == "True")
    })
    .await?;
    world
        .apply(&Training::new("third").gang(1, 8).yaml())
        .await?;
    let third = world
        .training_is("third", TrainingJobState::Running)
        .await?;
    let place = third.status.and_then(|s| s.placement);
    ensure!(place.is_some_and(|p| p.cluster == "twin"));
    world.delete_training("third").await?;
    Ok(())
}
