//! From a decision to a gang that runs: whatever keeps it from running is told in the words of who does, ends after a time, and the
//! job goes elsewhere.

use ampacity_api::{InferenceJob, TrainingJob, TrainingJobState};
use ampacity_controlplane::{apply_yaml, wait_for_object, wait_until};
use ampacity_e2e::World;
use ampacity_e2e::manifest::{Training, h100, l4};
use ampacity_e2e::outcome::condition;
use ampacity_e2e::world::PATIENCE;
use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

/// Two alternatives: the cheap device's image cannot be pulled, the dear one's can.
fn broken_on_l4(job: &str) -> String {
    job.replace(
        "  alternatives:\n",
        "  alternatives:\n  - {name: cheap, acceleratorType: nvidia-l4, devicesPerReplica: 1, replicas: 1, image: registry.example/missing:1}\n",
    )
}

fn says(what: &'static str) -> impl Fn(&TrainingJob) -> bool {
    move |job| condition(job, "Running").is_some_and(|(_, _, message)| message.contains(what))
}

/// Runs in its second attempt, in this cluster, and no restart was counted.
async fn goes_to(world: &World, job: &str, cluster: &str) -> Result<()> {
    let running = world.training_is(job, TrainingJobState::Running).await?;
    let status = running.status.context("no status")?;
    ensure!((status.attempts, status.restarts) == (2, 0), "{status:?}");
    ensure!(status.placement.is_some_and(|p| p.cluster == cluster));
    Ok(())
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_told_and_the_job_goes_elsewhere() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [h100("w1", "r1")])
        .argument("--start-deadline-seconds=6")
        .start()
        .await?;
    let job = Training::new("pulls").with("maxRestarts: 0").yaml();
    world.apply(&broken_on_l4(&job)).await?;
    world
        .training_where(
            "pulls",
            "the words of the container",
            says("ImagePullBackOff"),
        )
        .await?;
    world.told("pulls", "ImagePullBackOff").await?;
    goes_to(&world, "pulls", "west").await?;
    world.nothing_left_in("east").await?;
    world.check_invariants().await?;
    world.delete_training("pulls").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn an_inference_replica_whose_image_cannot_be_pulled_is_placed_elsewhere() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [h100("w1", "r1")])
        .argument("--start-deadline-seconds=6")
        .start()
        .await?;
    world
        .apply(
            "
apiVersion: ampacity.dev/v1alpha1
kind: InferenceJob
metadata: {name: chat, namespace: default}
spec:
  replicas: 1
  alternatives:
  - {name: cheap, acceleratorType: nvidia-l4, devicesPerReplica: 1, image: registry.example/missing:1}
  - {name: dear, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 1, image: registry.example/serve:1}
",
        )
        .await?;
    let running = |job: &InferenceJob| {
        let conditions = job.status.iter().flat_map(|s| &s.conditions);
        conditions
            .filter(|c| c.type_ == "Running")
            .map(|c| (c.status.clone(), c.message.clone()))
            .next()
    };
    world
        .inference_where("chat", "the words of the container", |job| {
            running(job).is_some_and(|(_, message)| message.contains("ImagePullBackOff"))
        })
        .await?;
    world.told("chat", "ImagePullBackOff").await?;
    let job = world
        .inference_where("chat", "to run", |job| {
            running(job).is_some_and(|(status, _)| status == "True")
        })
        .await?;
    let placements = job.status.context("no status")?.placements;
    ensure!(placements.len() == 1 && placements[0].cluster == "west");
    world.nothing_left_in("east").await?;
    world
        .inference()
        .delete("chat", &DeleteParams::default())
        .await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_scheduler_that_nobody_runs_is_told_and_the_attempt_ends() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1")])
        .argument("--start-deadline-seconds=8")
        .start()
        .await?;
    let job = Training::new("unserved")
        .on("nvidia-l4")
        .with("maxRestarts: 0")
        .yaml();
    let job = job.replace("    spec:\n", "    spec:\n      schedulerName: nobody\n");
    ensure!(job.contains("nobody"), "{job}");
    world.apply(&job).await?;
    world
        .training_where("unserved", "what it waits for", says("no scheduler"))
        .await?;
    world.told("unserved", "no scheduler").await?;
    let ended = world
        .training_where("unserved", "the attempt to end", |job| {
            job.status.as_ref().is_some_and(|s| s.ended_attempts == 1)
        })
        .await?;
    let status = ended.status.context("no status")?;
    ensure!(
        status.restarts == 0 && status.placement.is_none(),
        "{status:?}"
    );
    world.delete_training("unserved").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_gang_of_which_a_quota_lets_only_some_be_made_does_not_start_in_part() -> Result<()> {
    let world = World::builder()
        .nodes("east", ["e1", "e2", "e3", "e4"].map(l4))
        .nodes("west", [h100("w1", "r1")])
        .argument("--start-deadline-seconds=6")
        .start()
        .await?;
    let quota = "apiVersion: v1
kind: ResourceQuota
metadata: {name: three, namespace: default}
spec: {hard: {pods: \"3\"}}
";
    let east = &world.cluster("east")?.admin;
    apply_yaml(east, quota).await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(east.clone(), "default");
    let in_force = wait_for_object(&quotas, "three", "the quota in force", PATIENCE, |q| {
        q.status.as_ref().is_some_and(|s| s.hard.is_some())
    });
    world.explained(in_force.await)?;
    let gang = "
apiVersion: ampacity.dev/v1alpha1
kind: TrainingJob
metadata: {name: gang, namespace: default}
spec:
  estimatedDurationSeconds: 3600
  maxRestarts: 0
  alternatives:
  - {name: cheap, acceleratorType: nvidia-l4, devicesPerReplica: 1, replicas: 4, image: registry.example/train:1}
  - {name: dear, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 2, replicas: 4, image: registry.example/train:1}
";
    world.apply(gang).await?;
    world
        .training_where("gang", "the words of the quota", says("exceeded quota"))
        .await?;
    for pod in world.pods_of("east", "gang").await? {
        let gates = pod.spec.as_ref().and_then(|s| s.scheduling_gates.as_ref());
        ensure!(gates.is_some_and(|g| !g.is_empty()), "a pod runs: {pod:?}");
    }
    world.told("gang", "exceeded quota").await?;
    goes_to(&world, "gang", "west").await?;
    world.nothing_left_in("east").await?;
    world.check_invariants().await?;
    world.delete_training("gang").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_member_that_fails_to_take_objects_is_not_called_in_a_loop() -> Result<()> {
    let world = World::builder()
        .nodes("east", [l4("e1")])
        .nodes("west", [h100("w1", "r1")])
        .argument("--start-deadline-seconds=8")
        .audited()
        .start()
        .await?;
    // A webhook that does not answer: the API server says 500 to every Job.
    let webhook = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: broken}
webhooks:
- name: broken.example.com
  clientConfig: {url: 'https://127.0.0.1:1/'}
  rules: [{apiGroups: [batch], apiVersions: [v1], operations: [CREATE], resources: [jobs]}]
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
  timeoutSeconds: 1
";
    let east = world.cluster("east")?;
    apply_yaml(&east.admin, webhook).await?;
    // An API server follows its webhooks by a watch.
    let jobs: Api<Job> = Api::namespaced(east.admin.clone(), "default");
    let probe: Job = serde_json::from_value(json!({
        "metadata": {"name": "probe"},
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "a", "image": "a"}]}}},
    }))?;
    let refuses = wait_until("the webhook in force", PATIENCE, || async {
        let params = kube::api::PostParams {
            dry_run: true,
            ..Default::default()
        };
        jobs.create(&params, &probe).await.is_err()
    });
    world.explained(refuses.await)?;
    let cheap = "  - {name: cheap, acceleratorType: nvidia-l4, devicesPerReplica: 1, replicas: 1, image: registry.example/train:1}\n";
    let job = Training::new("hooked").with("maxRestarts: 0").yaml();
    world
        .apply(&job.replace("  alternatives:\n", &format!("  alternatives:\n{cheap}")))
        .await?;
    world
        .training_where(
            "hooked",
            "the words of the API server",
            says("broken.example.com"),
        )
        .await?;
    world.told("hooked", "broken.example.com").await?;
    goes_to(&world, "hooked", "west").await?;
    let created = east.plane.audited_writes()?;
    let tries = created
        .iter()
        .filter(|write| write.resource == "jobs" && write.verb == "create")
        .count();
    // After 1, 2, 4 and 8 seconds, and the probes above.
    ensure!(tries < 40, "{tries} tries in 8 seconds");
    world.delete_training("hooked").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn what_a_members_webhook_requires_of_a_pod_stays_when_its_gate_is_lifted() -> Result<()> {
    let mut world = World::builder()
        .nodes("hub", ["n1", "n2"].map(|n| h100(n, "r1")))
        .without_operator()
        .start()
        .await?;
    world.start_operator(&[("AMPACITY_FAILPOINT", "bind.before:1")])?;
    world
        .apply(&Training::new("gang").gang(2, 8).yaml())
        .await?;
    let mut first = world.operator.take().context("no operator")?;
    let ended = wait_until("the operator to stop before it binds", PATIENCE, || {
        let ended = first.ended().is_ok_and(|status| status.is_some());
        async move { ended }
    });
    world.explained(ended.await)?;
    // What a mutating webhook does to a pod that is made, done to one that is gated still.
    let api: Api<Pod> = Api::namespaced(world.hub.admin.clone(), "default");
    let pods = world.pods_of("hub", "gang").await?;
    ensure!(pods.len() == 2, "{}", pods.len());
    for pod in &pods {
        let mut affinity = serde_json::to_value(&pod.spec.as_ref().context("no spec")?.affinity)?;
        let terms = affinity
            .pointer_mut("/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions")
            .and_then(|terms| terms.as_array_mut())
            .context("no terms")?;
        terms.push(
            json!({"key": "topology.kubernetes.io/rack", "operator": "In", "values": ["r1"]}),
        );
        let patch = Patch::Merge(json!({"spec": {"affinity": affinity}}));
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        api.patch(name, &PatchParams::default(), &patch).await?;
    }
    world.start_operator(&[])?;
    world.training_is("gang", TrainingJobState::Running).await?;
    for pod in world.pods_of("hub", "gang").await? {
        let affinity = serde_json::to_string(&pod.spec.context("no spec")?.affinity)?;
        ensure!(
            affinity.contains("topology.kubernetes.io/rack"),
            "{affinity}"
        );
        ensure!(affinity.contains("metadata.name"), "{affinity}");
    }
    world.delete_training("gang").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_single_replica_that_keeps_being_killed_uses_up_its_restarts() -> Result<()> {
    let world = World::builder().nodes("hub", [l4("n1")]).start().await?;
    let job = Training::new("killed")
        .on("nvidia-l4")
        .failing("200ms")
        .with("maxRestarts: 1")
        .yaml()
        .replace(
            "ampacity.dev/sim-fail: \"true\"",
            "ampacity.dev/sim-fail: \"true\", ampacity.dev/sim-exit-code: \"143\"",
        );
    ensure!(job.contains("143"), "{job}");
    world.apply(&job).await?;
    let failed = world
        .training_is("killed", TrainingJobState::Failed)
        .await?;
    let status = failed.status.context("no status")?;
    ensure!((status.restarts, status.attempts) == (1, 1), "{status:?}");
    world.delete_training("killed").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn a_deadline_holds_while_no_operator_looks() -> Result<()> {
    let mut world = World::builder().nodes("hub", [l4("n1")]).start().await?;
    let deadline = Timestamp::now() + SignedDuration::from_secs(20);
    let job = Training::new("endless")
        .on("nvidia-l4")
        .with("estimatedDurationSeconds: 1")
        .with(&format!("deadline: \"{deadline}\""));
    world.apply(&job.yaml()).await?;
    world
        .training_is("endless", TrainingJobState::Running)
        .await?;
    world.operator.take().context("no operator")?.kill()?;
    let jobs: Api<Job> = Api::namespaced(world.hub.admin.clone(), "default");
    let stopped = wait_for_object(
        &jobs,
        "endless-1",
        "its Job to be stopped",
        PATIENCE,
        |job| {
            let conditions = job
                .status
                .iter()
                .flat_map(|s| s.conditions.iter().flatten());
            conditions
                .filter(|c| c.type_ == "Failed" && c.status == "True")
                .any(|c| c.reason.as_deref() == Some("DeadlineExceeded"))
        },
    );
    stopped.await?;
    world.start_operator(&[])?;
    let failed = world
        .training_is("endless", TrainingJobState::Failed)
        .await?;
    let finished = condition(&failed, "Finished").context("no condition")?;
    ensure!(finished.1 == "DeadlineExceeded", "{finished:?}");
    world.delete_training("endless").await?;
    world.nothing_left().await
}
