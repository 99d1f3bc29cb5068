//! What breaks around the operator: clusters that are down, slow or mute, nodes that vanish, credentials and objects that
//! are wrong, a second operator. Each is told where a user looks, and everything else goes on.

use std::time::Duration;

use ampacity_api::{MemberCluster, Placement, TrainingJobState};
use ampacity_controlplane::{
    FaultMode, SimulatedNode, create_nodes, wait_for, wait_for_object, wait_until,
};
use ampacity_e2e::World;
use ampacity_e2e::manifest::{Training, h100, inference, l4};
use ampacity_e2e::outcome::{condition, node_of};
use ampacity_e2e::world::{NAMESPACE, PATIENCE, cluster_manifest, secret_manifest};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

#[tokio::test]
async fn a_member_that_is_down_keeps_its_jobs_and_gets_no_new_ones() -> Result<()> {
    let world = World::builder()
        .nodes("east", [h100("e1", "r1")])
        .nodes("west", [h100("w1", "r1")])
        .start()
        .await?;
    let east = Training::new("stays").with("clusterSelector: {matchLabels: {name: east}}");
    world.apply(&east.clone().gang(1, 4).yaml()).await?;
    world
        .training_is("stays", TrainingJobState::Running)
        .await?;
    world.cluster("east")?.plane.stop_apiserver()?;
    let told = world.reachable("east", "False").await?;
    let conditions = told.status.context("no status")?.conditions;
    let reachable = conditions
        .iter()
        .find(|c| c.type_ == "Reachable")
        .context("no condition")?;
    ensure!(
        reachable.reason == "ConnectionFailed" && reachable.message.contains("https://127.0.0.1"),
        "{reachable:?}"
    );

    // What could run in either goes to the one that answers, though the other has room.
    for name in ["new-a", "new-b"] {
        world.apply(&Training::new(name).gang(1, 4).yaml()).await?;
        let job = world.training_is(name, TrainingJobState::Running).await?;
        ensure!(
            job.status
                .and_then(|s| s.placement)
                .is_some_and(|p| p.cluster == "west")
        );
    }
    let kept = world
        .training()
        .get("stays")
        .await?
        .status
        .context("no status")?;
    ensure!(kept.attempts == 1 && kept.restarts == 0, "{kept:?}");

    world.cluster("east")?.plane.start_apiserver().await?;
    world.reachable("east", "True").await?;
    let kept = world
        .training_is("stays", TrainingJobState::Running)
        .await?;
    ensure!(
        kept.status
            .is_some_and(|s| s.attempts == 1 && s.restarts == 0),
        "it ran on all the time"
    );
    world.check_invariants().await?;
    for name in ["stays", "new-a", "new-b"] {
        world.delete_training(name).await?;
    }
    world.nothing_left().await
}

#[tokio::test]
async fn a_job_deleted_while_its_member_is_down_is_cleaned_up_when_it_is_back() -> Result<()> {
    let world = World::builder()
        .nodes("east", [h100("e1", "r1")])
        .start()
        .await?;
    world
        .apply(&Training::new("orphan").gang(2, 4).yaml())
        .await?;
    world
        .training_is("orphan", TrainingJobState::Running)
        .await?;
    world.cluster("east")?.plane.stop_apiserver()?;
    world.reachable("east", "False").await?;
    world.delete_training("orphan").await?;
    // Its devices stay held: nobody knows that they are free.
    let held = world.placements().list(&ListParams::default()).await?;
    ensure!(
        held.items.len() == 1,
        "the Placement goes only when the member has let go"
    );
    world.cluster("east")?.plane.start_apiserver().await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_mute_or_slow_member_holds_nobody_up() -> Result<()> {
    let world = World::builder()
        .nodes("mute", [h100("m1", "r1")])
        .nodes("hub", [h100("h1", "r1")])
        .start()
        .await?;
    // Accepted connections that are never answered are the hardest to notice.
    world.cluster("mute")?.proxy.set_mode(FaultMode::BlackHole);
    world.reachable("mute", "False").await?;
    world
        .apply(&Training::new("other").gang(1, 8).lasting("500ms").yaml())
        .await?;
    world
        .training_is("other", TrainingJobState::Succeeded)
        .await?;
    world.cluster("mute")?.proxy.set_mode(FaultMode::Pass);
    world.reachable("mute", "True").await?;

    // A slow one is used all the same.
    world
        .cluster("mute")?
        .proxy
        .set_mode(FaultMode::Delay(Duration::from_millis(300)));
    let there = Training::new("slow")
        .gang(2, 4)
        .lasting("1s")
        .with("clusterSelector: {matchLabels: {name: mute}}");
    world.apply(&there.yaml()).await?;
    world
        .training_is("slow", TrainingJobState::Succeeded)
        .await?;
    world.nothing_left().await?;

    // Connections that end again and again cost nothing but time.
    world.cluster("mute")?.proxy.set_mode(FaultMode::Pass);
    world
        .apply(
            &Training::new("cut")
                .gang(2, 4)
                .lasting("2s")
                .with("clusterSelector: {matchLabels: {name: mute}}")
                .yaml(),
        )
        .await?;
    let finished = wait_until("the job to finish between cuts", PATIENCE, || async {
        if let Ok(member) = world.cluster("mute") {
            member.proxy.cut_connections();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let job = world.training().get("cut").await;
        job.is_ok_and(|j| j.status.and_then(|s| s.state) == Some(TrainingJobState::Succeeded))
    });
    world.explained(finished.await)?;
    let job = world.training().get("cut").await?;
    ensure!(
        job.status
            .is_some_and(|s| s.attempts == 1 && s.restarts == 0)
    );
    world.nothing_left().await
}

#[tokio::test]
async fn wrong_credentials_are_told_and_can_be_put_right() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("h1", "r1")])
        .nodes("east", [h100("e1", "r1")])
        .start()
        .await?;
    let member = world.cluster("east")?;
    let url = member.proxy.url();
    let good = member
        .plane
        .kubeconfig_at(&url, "hub", member.plane.admin_token()?);
    let wrong_token = member.plane.kubeconfig_at(&url, "hub", "no-such-token");
    let program = good.replace(
        "token:",
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh}\n    token:",
    );
    let insecure = good.replace(
        "    server:",
        "    insecure-skip-tls-verify: true\n    server:",
    );
    let cases = [
        ("absent", None, "SecretMissing", "absent"),
        (
            "nonsense",
            Some("not a kubeconfig".to_owned()),
            "KubeconfigInvalid",
            "kubectl config view",
        ),
        ("wrong-token", Some(wrong_token), "Unauthorized", "token"),
        ("program", Some(program), "KubeconfigInvalid", "exec"),
        (
            "insecure",
            Some(insecure),
            "KubeconfigInvalid",
            "spec.insecureSkipTLSVerify: true",
        ),
    ];
    for (name, kubeconfig, _, _) in &cases {
        if let Some(kubeconfig) = kubeconfig {
            world.apply(&secret_manifest(name, kubeconfig)).await?;
        }
        let reference = format!(
            "\n  kubeconfigSecretRef: {{namespace: {NAMESPACE}, name: {name}, key: kubeconfig}}"
        );
        world.apply(&cluster_manifest(name, &reference)).await?;
    }
    for (name, _, reason, says) in &cases {
        let told = world.reachable(name, "False").await?;
        let conditions = told.status.context("no status")?.conditions;
        let reachable = conditions
            .iter()
            .find(|c| c.type_ == "Reachable")
            .context("no condition")?;
        ensure!(
            &reachable.reason == reason && reachable.message.contains(says),
            "{name}: {reachable:?}"
        );
        ensure!(
            !reachable.message.contains("no-such-token"),
            "a secret is told: {reachable:?}"
        );
    }
    // The others go on.
    world
        .apply(&Training::new("fine").lasting("200ms").yaml())
        .await?;
    world
        .training_is("fine", TrainingJobState::Succeeded)
        .await?;
    let log = std::fs::read_to_string(&world.log)?;
    ensure!(
        !log.contains("no-such-token") && !log.contains(member.plane.admin_token()?),
        "a secret is logged"
    );

    // Each is used once its Secret is right, without a restart. They lead to one cluster, which is used under one name at a time.
    let clusters: Api<MemberCluster> = Api::all(world.hub.admin.clone());
    let mut used = "east";
    for (name, ..) in &cases {
        clusters.delete(used, &DeleteParams::default()).await?;
        world.apply(&secret_manifest(name, &good)).await?;
        world.reachable(name, "True").await?;
        used = name;
    }
    let secrets: Api<Secret> = Api::namespaced(world.hub.admin.clone(), NAMESPACE);
    ensure!(secrets.get("absent").await?.data.is_some());
    Ok(())
}

#[tokio::test]
async fn bad_objects_are_told_and_the_others_go_on() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("h1", "r1")])
        .start()
        .await?;
    // Nodes that make no sense.
    let nonsense = [
        SimulatedNode::new("huge")
            .label("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3")
            .resource("nvidia.com/gpu", "1000000000000001")
            .resource("cpu", "1")
            .resource("memory", "1Gi")
            .resource("pods", "10"),
        SimulatedNode::new("unheard-of")
            .label("nvidia.com/gpu.product", "NVIDIA-Z9000")
            .resource("nvidia.com/gpu", "8")
            .resource("cpu", "192")
            .resource("memory", "2000Gi")
            .resource("pods", "110"),
        SimulatedNode::new("unlabelled")
            .resource("nvidia.com/gpu", "8")
            .resource("cpu", "192")
            .resource("memory", "2000Gi")
            .resource("pods", "110"),
    ];
    create_nodes(&world.hub.admin, nonsense).await?;
    // A template that the schema leaves open and that is no PodTemplateSpec.
    let misformed = Training::new("misformed").yaml().replace(
        "restartPolicy: Never",
        "restartPolicy: Never\n      hostPID: perhaps",
    );
    let unheard_of = Training::new("unheard-of")
        .on("nvidia-h100-sxm5-80bg")
        .yaml();
    let sound = Training::new("sound").lasting("200ms").yaml();
    world.apply(&unheard_of).await?;
    let accepted = world.apply(&misformed).await;
    world.apply(&sound).await?;
    world
        .training_is("sound", TrainingJobState::Succeeded)
        .await?;
    let told = world
        .training_where("unheard-of", "Valid=False", |j| {
            condition(j, "Valid").is_some_and(|(status, ..)| status == "False")
        })
        .await?;
    let (_, reason, message) = condition(&told, "Valid").context("no condition")?;
    ensure!(
        message.contains("nvidia-h100-sxm5-80bg") && message.contains("nvidia-h100-sxm5-80gb"),
        "{reason}: {message}"
    );
    if accepted.is_ok() {
        let dynamic: Api<kube::api::DynamicObject> = Api::namespaced_with(
            world.hub.admin.clone(),
            "default",
            &kube::api::ApiResource::erase::<ampacity_api::TrainingJob>(&()),
        );
        let says = |object: &kube::api::DynamicObject| {
            object
                .data
                .pointer("/status/conditions/0/message")
                .and_then(|m| m.as_str())
                .map(str::to_owned)
        };
        let told = wait_for_object(&dynamic, "misformed", "a condition on it", PATIENCE, |o| {
            says(o).is_some()
        })
        .await;
        let message = says(&world.explained(told)?).context("no message")?;
        ensure!(message.contains("hostPID"), "{message}");
        // Put right the way the message says, it runs.
        for spec in [
            json!({"suspend": true}),
            json!({"template": {"spec": {"hostPID": null}}, "suspend": false}),
        ] {
            let right = Patch::Merge(json!({"spec": spec}));
            dynamic
                .patch("misformed", &PatchParams::default(), &right)
                .await?;
        }
        world
            .training_is("misformed", TrainingJobState::Running)
            .await?;
    }

    // A budget on a domain that does not exist limits nothing and says so.
    world
        .apply("{apiVersion: ampacity.dev/v1alpha1, kind: PowerBudget, metadata: {name: lost}, spec: {powerDomainRef: {name: nowhere}, limitWatts: 1}}")
        .await?;
    let budgets: Api<ampacity_api::PowerBudget> = Api::all(world.hub.admin.clone());
    let told = wait_for_object(&budgets, "lost", "Ready=False", PATIENCE, |b| {
        b.status
            .iter()
            .flat_map(|s| &s.conditions)
            .any(|c| c.type_ == "Ready" && c.status == "False" && c.message.contains("nowhere"))
    });
    world.explained(told.await)?;
    // What has no status is told by an event on it.
    world
        .apply("{apiVersion: ampacity.dev/v1alpha1, kind: AcceleratorType, metadata: {name: acme-x1}, spec: {vendor: acme, memoryGib: 16, bf16Tflops: 10, power: {defaultWatts: 100}}}")
        .await?;
    world
        .apply("{apiVersion: ampacity.dev/v1alpha1, kind: PriceSheet, metadata: {name: odd}, spec: {provider: onprem, source: test, effectiveFrom: '2026-01-01T00:00:00Z', owned: [{acceleratorType: nvidia-t4, usdPerDeviceHour: '99999'}]}}")
        .await?;
    for (object, words) in [("acme-x1", "add spec.match"), ("odd", "cannot be right")] {
        let note = world.explained(warning_on(&world, object).await)?;
        ensure!(note.contains(words), "{object}: {note}");
    }
    // The cluster says which of its nodes were left out.
    let hub = world.reachable("hub", "True").await?;
    let conditions = hub.status.context("no status")?.conditions;
    let valid = conditions
        .iter()
        .find(|c| c.type_ == "Valid")
        .context("no condition")?;
    ensure!(valid.message.contains("unheard-of"), "{valid:?}");
    Ok(())
}

/// The note of a warning about an object of the cluster.
async fn warning_on(world: &World, name: &str) -> ampacity_controlplane::Result<String> {
    let events: Api<Event> = Api::namespaced(world.hub.admin.clone(), "default");
    wait_for("a warning on the object", PATIENCE, || async {
        let all = events.list(&ListParams::default()).await?;
        let warning = all.items.into_iter().find(|event| {
            let about = event.regarding.as_ref().and_then(|r| r.name.as_deref());
            about == Some(name) && event.type_.as_deref() == Some("Warning")
        });
        Ok::<_, kube::Error>(warning.and_then(|event| event.note))
    })
    .await
}

#[tokio::test]
async fn a_gang_that_loses_a_node_or_a_pod_is_placed_again_as_a_whole() -> Result<()> {
    let world = World::builder()
        .nodes("hub", ["n1", "n2", "n3"].map(|n| h100(n, "r1")))
        .argument("--node-grace-seconds=1")
        .start()
        .await?;
    let gang = Training::new("gang")
        .gang(2, 8)
        .with("maxRestarts: 3")
        .with("checkpoint: {intervalSeconds: 1}");
    world.apply(&gang.yaml()).await?;
    world.training_is("gang", TrainingJobState::Running).await?;
    let pods = world.pods_of("hub", "gang").await?;
    let lost = node_of(&pods[0])?.to_owned();
    let nodes: Api<Node> = Api::all(world.hub.admin.clone());
    nodes.delete(&lost, &DeleteParams::default()).await?;
    let again = |attempt: i32| {
        move |j: &ampacity_api::TrainingJob| {
            j.status.as_ref().is_some_and(|s| {
                s.attempts == attempt && s.state == Some(TrainingJobState::Running)
            })
        }
    };
    let job = world
        .training_where("gang", "a second attempt to run", again(2))
        .await?;
    ensure!(job.status.is_some_and(|s| s.restarts == 0));
    let pods = world.pods_of("hub", "gang").await?;
    for pod in pods
        .iter()
        .filter(|p| p.metadata.deletion_timestamp.is_none())
    {
        ensure!(node_of(pod)? != lost);
    }
    world.check_invariants().await?;

    // One pod of it is deleted by somebody: the rest cannot go on without it.
    let api: Api<Pod> = Api::namespaced(world.hub.admin.clone(), "default");
    let victim = pods
        .iter()
        .find(|p| p.metadata.deletion_timestamp.is_none())
        .context("no pod")?;
    api.delete(&victim.name_any(), &DeleteParams::default())
        .await?;
    let whole = wait_until("the gang to be whole again", PATIENCE, || async {
        let Ok(pods) = world.pods_of("hub", "gang").await else {
            return false;
        };
        let ready = |p: &&Pod| {
            p.metadata.deletion_timestamp.is_none()
                && p.uid() != victim.uid()
                && p.status
                    .iter()
                    .flat_map(|s| s.conditions.iter().flatten())
                    .any(|c| c.type_ == "Ready" && c.status == "True")
        };
        pods.iter().filter(ready).count() == 2
    });
    world.explained(whole.await)?;
    world.check_invariants().await?;
    world.delete_training("gang").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_cluster_that_is_taken_out_gives_its_jobs_to_others() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1"), l4("e2")])
        .nodes("west", [l4("w1"), l4("w2")])
        .start()
        .await?;
    let job = Training::new("moves")
        .on("nvidia-l4")
        .with("maxRestarts: 1");
    world.apply(&job.yaml()).await?;
    let running = world
        .training_is("moves", TrainingJobState::Running)
        .await?;
    let first = running
        .status
        .and_then(|s| s.placement)
        .context("no placement")?
        .cluster;
    let clusters: Api<ampacity_api::MemberCluster> = Api::all(world.hub.admin.clone());
    clusters.delete(&first, &DeleteParams::default()).await?;
    let moved = world
        .training_where("moves", "to run elsewhere", |j| {
            j.status.as_ref().is_some_and(|s| {
                s.state == Some(TrainingJobState::Running)
                    && s.placement.as_ref().is_some_and(|p| p.cluster != first)
            })
        })
        .await?;
    ensure!(moved.status.is_some_and(|s| s.attempts == 2));
    // It was told to stop there, as long as the operator still had the credentials.
    world.nothing_left_in(&first).await
}

#[tokio::test]
async fn the_hubs_api_server_may_restart() -> Result<()> {
    let world = World::builder()
        .nodes("east", [h100("e1", "r1")])
        .start()
        .await?;
    world
        .apply(&Training::new("before").gang(2, 4).lasting("4s").yaml())
        .await?;
    world
        .training_is("before", TrainingJobState::Running)
        .await?;
    world.hub.plane.stop_apiserver()?;
    world.hub.plane.start_apiserver().await?;
    world
        .training_is("before", TrainingJobState::Succeeded)
        .await?;
    world
        .apply(&Training::new("after").lasting("200ms").yaml())
        .await?;
    let after = world
        .training_is("after", TrainingJobState::Succeeded)
        .await?;
    ensure!(after.status.is_some_and(|s| s.attempts == 1));
    world.nothing_left().await
}

#[tokio::test]
async fn a_second_operator_takes_over_and_a_stalled_first_one_does_no_harm() -> Result<()> {
    let world = World::builder()
        .nodes("hub", [h100("h1", "r1"), h100("h2", "r1")])
        .without_operator()
        .start()
        .await?;
    let lease = "--lease-seconds=3";
    let mut first = world.another_operator("first", &[lease], &[])?;
    world.all_reachable().await?;
    let second = world.another_operator("second", &[lease], &[])?;
    world.apply(&Training::new("one").gang(1, 4).yaml()).await?;
    world.training_is("one", TrainingJobState::Running).await?;
    let epoch = async |job: &str| -> Result<i64> {
        let all = world.placements().list(&ListParams::default()).await?;
        let placement: &Placement = all
            .items
            .iter()
            .find(|p| p.spec.job_ref.name == job)
            .context("no placement")?;
        Ok(placement.spec.epoch)
    };
    let before = epoch("one").await?;
    // The first one stalls, as on a machine out of memory, and comes back long after its lease is over.
    first.pause()?;
    world.apply(&Training::new("two").gang(1, 4).yaml()).await?;
    world.training_is("two", TrainingJobState::Running).await?;
    ensure!(
        epoch("two").await? > before,
        "a new leader has a higher epoch"
    );
    ensure!(epoch("one").await? == before);
    first.resume()?;
    world
        .apply(&Training::new("three").gang(1, 8).yaml())
        .await?;
    let ended = wait_until("the stalled operator to end", PATIENCE, || {
        let ended = first.ended().is_ok_and(|e| e.is_some_and(|s| !s.success()));
        async move { ended }
    });
    world.explained(ended.await)?;
    world
        .training_is("three", TrainingJobState::Running)
        .await?;
    world.check_invariants().await?;
    for name in ["one", "two", "three"] {
        let status = world
            .training()
            .get(name)
            .await?
            .status
            .context("no status")?;
        ensure!(
            status.attempts == 1 && status.restarts == 0,
            "{name}: {status:?}"
        );
        world.delete_training(name).await?;
    }
    world.nothing_left().await?;

    // Asked to stop, an operator gives its lease back: the next one need not wait for it.
    ensure!(second.stop(Duration::from_secs(10)).await?.success());
    let _third = world.another_operator("third", &["--lease-seconds=600"], &[])?;
    world
        .apply(&Training::new("four").lasting("100ms").yaml())
        .await?;
    world
        .training_is("four", TrainingJobState::Succeeded)
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_inference_replica_that_has_no_room_waits_while_the_others_serve() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1"), l4("e2")])
        .start()
        .await?;
    world.apply(&inference("chat", 3, &["nvidia-l4"])).await?;
    let job = world
        .inference_where("chat", "two of three serving, and why not the third", |j| {
            j.status
                .as_ref()
                .is_some_and(|s| s.ready_replicas == 2 && s.verdict.is_some())
        })
        .await?;
    ensure!(job.status.is_some_and(|s| s.placed_replicas == 2));
    create_nodes(&world.cluster("east")?.admin, [l4("e3")]).await?;
    world
        .inference_where("chat", "all three serving", |j| {
            j.status
                .as_ref()
                .is_some_and(|s| s.ready_replicas == 3 && s.verdict.is_none())
        })
        .await?;
    world
        .inference()
        .delete("chat", &DeleteParams::default())
        .await?;
    world.nothing_left().await
}
