//! A world that is not as it should be: clocks that jump, CRDs and objects of an older version, a broken job among a thousand.

use std::path::Path;

use ampacity_api::{MemberCluster, Placement, TrainingJob, TrainingJobState};
use ampacity_controlplane::{FaultMode, wait_until};
use ampacity_e2e::World;
use ampacity_e2e::manifest::{Training, h100};
use ampacity_e2e::outcome::condition;
use ampacity_e2e::world::PATIENCE;
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::ApiResource;
use serde_json::json;

/// Says by how many seconds the operator's clock is ahead, and waits until it has noticed.
async fn set_clock(world: &World, file: &Path, seconds: i64, jumps: usize) -> Result<()> {
    let next = file.with_extension("next");
    std::fs::write(&next, seconds.to_string())?;
    std::fs::rename(&next, file)?;
    let noticed = wait_until(
        "the operator to notice that its clock jumped",
        PATIENCE,
        || async {
            let log = std::fs::read_to_string(&world.log).unwrap_or_default();
            log.matches("the clock of this machine jumped").count() >= jumps
        },
    );
    world.explained(noticed.await)?;
    Ok(())
}

#[tokio::test]
async fn a_clock_that_jumps_by_an_hour_ends_no_healthy_work() -> Result<()> {
    let mut world = World::builder()
        .nodes("east", ["e1", "e2"].map(|name| h100(name, "r1")))
        .nodes("west", [h100("w1", "r1")])
        .without_operator()
        .start()
        .await?;
    let clock = world.log.with_file_name("clock");
    let path = clock.to_string_lossy().into_owned();
    world.start_operator(&[("AMPACITY_CLOCK_OFFSET", &path)])?;
    world.all_reachable().await?;
    let clusters: Api<MemberCluster> = Api::all(world.hub.admin.clone());
    let replace = json!({"spec": {"unreachable": {"afterSeconds": 600, "action": "Replace", "fenceSeconds": 600}}});
    for name in ["east", "west"] {
        clusters
            .patch(name, &PatchParams::default(), &Patch::Merge(&replace))
            .await?;
    }
    let limited = |name: &str, cluster: &str| {
        Training::new(name)
            .gang(1, 4)
            .with(&format!(
                "clusterSelector: {{matchLabels: {{name: {cluster}}}}}"
            ))
            .with("maxRuntimeSeconds: 1200")
    };
    world.apply(&limited("runs", "east").yaml()).await?;
    world.apply(&limited("away", "west").yaml()).await?;
    for job in ["runs", "away"] {
        world.training_is(job, TrainingJobState::Running).await?;
    }
    let slow = limited("starts", "east").starting_after("20s");
    world.apply(&slow.yaml()).await?;
    world
        .training_is("starts", TrainingJobState::Starting)
        .await?;
    let west = world.cluster("west")?;
    west.proxy.set_mode(FaultMode::BlackHole);
    west.proxy.cut_connections();
    world.reachable("west", "False").await?;

    for (jumps, ahead) in [(1, 3_600), (2, 0), (3, -3_600)] {
        set_clock(&world, &clock, ahead, jumps).await?;
        // Placed by a cycle that would have ended the others.
        let later = format!("later-{jumps}");
        let job = Training::new(&later).with("clusterSelector: {matchLabels: {name: east}}");
        world.apply(&job.lasting("200ms").yaml()).await?;
        world
            .training_is(&later, TrainingJobState::Succeeded)
            .await?;
        for name in ["runs", "away", "starts"] {
            let status = world.training().get(name).await?.status.unwrap_or_default();
            ensure!(
                status.attempts == 1 && status.ended_attempts == 0 && status.restarts == 0,
                "{name} was ended, {ahead} s ahead: {status:?}"
            );
        }
    }
    let started = world
        .training_is("starts", TrainingJobState::Running)
        .await?;
    ensure!(started.status.is_some_and(|s| s.attempts == 1));
    west.proxy.set_mode(FaultMode::Pass);
    world.reachable("west", "True").await?;
    let away = world
        .training_where("away", "to be seen running", |job| {
            condition(job, "Running").is_some_and(|(status, ..)| status == "True")
        })
        .await?;
    let status = away.status.context("no status")?;
    ensure!(
        status.attempts == 1 && status.run_seconds < 1_200,
        "{status:?}"
    );
    world.check_invariants().await?;
    for name in ["runs", "away", "starts"] {
        world.delete_training(name).await?;
        let spent = world.training().get_opt(name).await?;
        ensure!(spent.is_none());
    }
    world.nothing_left().await
}

#[tokio::test]
async fn an_operator_waits_for_crds_that_know_what_it_writes() -> Result<()> {
    let mut world = World::builder()
        .nodes("hub", [h100("h1", "r1")])
        .without_operator()
        .start()
        .await?;
    let crds: Api<CustomResourceDefinition> = Api::all(world.hub.admin.clone());
    let name = "trainingjobs.ampacity.dev";
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let ours = ampacity_api::crds();
    let ours = ours
        .iter()
        .find(|crd| crd.metadata.name.as_deref() == Some(name));
    let ours = serde_json::to_value(ours.context("no such CRD")?)?;
    let field = ours.pointer(&format!("{status}/endedAttempts"));
    let older = json!([{"op": "remove", "path": format!("{status}/endedAttempts")}]);
    let newer = json!([{"op": "add", "path": format!("{status}/endedAttempts"), "value": field}]);
    let patch = |patch: serde_json::Value| -> Result<Patch<()>> {
        Ok(Patch::Json(serde_json::from_value(patch)?))
    };
    crds.patch(name, &PatchParams::default(), &patch(older)?)
        .await?;
    world.apply(&Training::new("waits").yaml()).await?;
    world.start_operator(&[])?;
    let told = wait_until("the operator to say what is missing", PATIENCE, || async {
        let log = std::fs::read_to_string(&world.log).unwrap_or_default();
        log.contains("trainingjobs.ampacity.dev: status.endedAttempts")
            && log.contains("ampacity crds | kubectl apply")
    });
    world.explained(told.await)?;
    let waits = world.training().get("waits").await?;
    ensure!(
        waits.status.is_none(),
        "it was acted on: {:?}",
        waits.status
    );
    crds.patch(name, &PatchParams::default(), &patch(newer)?)
        .await?;
    world
        .training_is("waits", TrainingJobState::Running)
        .await?;
    world.check_invariants().await?;
    world.delete_training("waits").await?;
    world.nothing_left().await
}

#[tokio::test]
async fn objects_that_an_older_version_wrote_are_taken_over() -> Result<()> {
    let mut world = World::builder()
        .nodes("hub", [h100("h1", "r1"), h100("h2", "r1")])
        .start()
        .await?;
    world
        .apply("{apiVersion: ampacity.dev/v1alpha1, kind: PowerDomain, metadata: {name: hall}, spec: {ratedWatts: 20000, continuousPercent: 100, members: [{cluster: hub}]}}")
        .await?;
    world
        .apply(&Training::new("older").gang(1, 8).yaml())
        .await?;
    world
        .training_is("older", TrainingJobState::Running)
        .await?;
    world.operator.take().context("no operator")?.kill()?;
    // What the first version that ran jobs wrote, and no more.
    let status = json!({"status": {
        "reason": null, "failedAttempts": null, "nextAttemptTime": null, "lastPlacement": null, "verdict": null,
        "estimatedCompletionTime": null, "runSeconds": null, "usdAccrued": null, "wattHours": null, "accruedTime": null,
    }});
    world
        .training()
        .patch_status("older", &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    let placements = world.placements();
    let all = placements.list(&ListParams::default()).await?;
    let placement: &Placement = all.items.first().context("no placement")?;
    let name = placement.metadata.name.clone().unwrap_or_default();
    let spec = json!({"spec": {"powerDomains": null}, "status": null});
    let crds: Api<CustomResourceDefinition> = Api::all(world.hub.admin.clone());
    let crd = crds.get("placements.ampacity.dev").await?;
    let rules = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations";
    let value = serde_json::to_value(&crd)?;
    let value = value.pointer(rules).context("a Placement can be changed")?;
    // A decision cannot be changed; one that was written by an older version never had the field.
    let open = json!([{"op": "remove", "path": rules}]);
    let closed = json!([{"op": "add", "path": rules, "value": value}]);
    let json_patch =
        |patch| -> Result<Patch<()>> { Ok(Patch::Json(serde_json::from_value(patch)?)) };
    crds.patch(
        "placements.ampacity.dev",
        &PatchParams::default(),
        &json_patch(open)?,
    )
    .await?;
    let stripped = wait_until(
        "the API server to let a Placement be changed",
        PATIENCE,
        || async {
            let patch = Patch::Merge(&spec);
            placements
                .patch(&name, &PatchParams::default(), &patch)
                .await
                .is_ok()
        },
    );
    world.explained(stripped.await)?;
    crds.patch(
        "placements.ampacity.dev",
        &PatchParams::default(),
        &json_patch(closed)?,
    )
    .await?;
    world.start_operator(&[])?;
    world.all_reachable().await?;
    // 20,000 W carry one such gang: were the older one's watts forgotten, this would be the second.
    world
        .apply(
            &Training::new("newer")
                .gang(1, 8)
                .with("queue: \"\"")
                .yaml()
                .replace("  queue: \"\"\n", ""),
        )
        .await?;
    let newer = world
        .training_where("newer", "to be told of the power", |job| {
            let verdict = job.status.as_ref().and_then(|s| s.verdict.as_ref());
            verdict.is_some_and(|v| {
                v.reasons
                    .iter()
                    .any(|r| r.message.as_deref().is_some_and(|m| m.contains("hall")))
            })
        })
        .await?;
    ensure!(newer.status.is_some_and(|s| s.attempts == 0));
    let older = world
        .training_is("older", TrainingJobState::Running)
        .await?;
    ensure!(
        older
            .status
            .is_some_and(|s| s.attempts == 1 && s.restarts == 0)
    );
    world.check_invariants().await?;
    for name in ["older", "newer"] {
        world.delete_training(name).await?;
    }
    world.nothing_left().await
}

#[tokio::test]
async fn a_broken_job_among_a_thousand_stops_no_other() -> Result<()> {
    const JOBS: usize = 1000;
    const DEVICES: usize = 16;
    let world = World::builder()
        .nodes("hub", ["h1", "h2"].map(|name| h100(name, "r1")))
        .start()
        .await?;
    let (misformed, impossible) = (333, 777);
    let mut all = String::new();
    for number in 0..JOBS {
        let name = format!("job-{number}");
        let job = match number {
            // A template that the schema leaves open and that is no PodTemplateSpec.
            n if n == misformed => Training::new(&name).yaml().replace(
                "restartPolicy: Never",
                "restartPolicy: Never\n      hostPID: perhaps",
            ),
            n if n == impossible => Training::new(&name).on("nvidia-h1000").yaml(),
            _ => Training::new(&name).yaml(),
        };
        all.push_str(&job);
        all.push_str("---\n");
    }
    let anything: Api<DynamicObject> = Api::namespaced_with(
        world.hub.admin.clone(),
        "default",
        &ApiResource::erase::<TrainingJob>(&()),
    );
    world.apply(&all).await?;
    let placed = wait_until(
        "every sound job to run or to be told why not",
        PATIENCE * 2,
        || async {
            let Ok(jobs) = anything.list(&ListParams::default()).await else {
                return false;
            };
            let count = |is_so: &dyn Fn(&serde_json::Value) -> bool| {
                jobs.items
                    .iter()
                    .filter(|job| is_so(&job.data["status"]))
                    .count()
            };
            count(&|status| status["state"] == "Running") == DEVICES
                && count(&|status| {
                    status["verdict"]["reasons"][0]["reason"] == "InsufficientDevices"
                }) == JOBS - 2 - DEVICES
        },
    );
    world.explained(placed.await)?;
    let jobs = anything.list(&ListParams::default()).await?.items;
    ensure!(jobs.len() == JOBS, "{} jobs are left", jobs.len());
    for (number, word) in [(misformed, "hostPID"), (impossible, "nvidia-h1000")] {
        let name = format!("job-{number}");
        let job = jobs
            .iter()
            .find(|job| job.metadata.name.as_ref() == Some(&name));
        let conditions = job.context("it is gone")?.data["status"]["conditions"].clone();
        let mut conditions = conditions.as_array().into_iter().flatten();
        let valid = conditions.find(|condition| condition["type"] == "Valid");
        let said = valid.with_context(|| format!("nothing is said of {name}"))?;
        let message = said["message"].as_str().unwrap_or_default();
        ensure!(
            said["status"] == "False" && message.contains(word),
            "{name}: {said}"
        );
    }
    world.check_invariants().await?;
    let all = DeleteParams::background();
    anything
        .delete_collection(&all, &ListParams::default())
        .await?;
    world.nothing_left().await
}
