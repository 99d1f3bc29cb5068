//! The operator is killed between every two steps of its pipeline, over and over, and nothing is lost or done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use ampacity_api::{InferenceJob, TrainingJob, TrainingJobState};
use ampacity_controlplane::{FaultMode, RequestKind, SimulatedNode, wait_until};
use ampacity_e2e::World;
use ampacity_e2e::manifest::{Training, h100, inference, l4};
use ampacity_e2e::operator::OperatorProcess;
use ampacity_e2e::world::{NAMESPACE, PATIENCE};
use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

/// Least number of times that the operator is killed.
const KILLS: u32 = 200;
/// Every named point between two steps (`operator/controller/src/runtime/failpoint.rs`).
const POINTS: [&str; 14] = [
    "commit.before",
    "commit.written",
    "dispatch.before",
    "dispatch.service",
    "dispatch.done",
    "bind.before",
    "bind.done",
    "status.before",
    "status.written",
    "release.before-delete",
    "release.before-remove",
    "release.job-removed",
    "release.before-finalizer",
    "release.done",
];
/// After this long at a point that is not reached, the operator is killed wherever it is.
const REACH: Duration = Duration::from_secs(4);

/// Points that an InferenceJob passes while its replicas come and go.
const SERVING_POINTS: [&str; 17] = [
    "commit.before",
    "commit.written",
    "dispatch.before",
    "dispatch.service",
    "dispatch.done",
    "scale.before",
    "scale.done",
    "shrink.before",
    "shrink.written",
    "status.before",
    "status.written",
    "phase.before",
    "phase.written",
    "release.before-delete",
    "release.before-remove",
    "release.job-removed",
    "release.before-finalizer",
];
/// Replicas that it is scaled to in turn: up, down within a placement, away altogether.
const SIZES: [i32; 7] = [5, 2, 6, 1, 4, 0, 3];

fn nodes(prefix: &str) -> Vec<SimulatedNode> {
    (0..3)
        .map(|i| h100(&format!("{prefix}{i}"), "r1"))
        .collect()
}

/// Jobs of one round: more than fit at once, gangs and single replicas, some that are deleted before they end.
fn batch(round: u32) -> Vec<(String, Training)> {
    let job = |name: &str, replicas, devices, lasting: &str| {
        let name = format!("{name}-{round}");
        let job = Training::new(&name)
            .gang(replicas, devices)
            .lasting(lasting);
        (name, job)
    };
    vec![
        job("single-a", 1, 8, "200ms"),
        job("single-b", 1, 1, "400ms"),
        job("pair", 2, 8, "300ms"),
        job("wide", 6, 2, "200ms"),
        job("big", 3, 8, "100ms"),
        job("deleted-gang", 2, 4, "1h"),
        job("deleted-single", 1, 2, "1h"),
    ]
}

#[tokio::test]
async fn two_hundred_kills_lose_nothing_and_start_nothing_twice() -> Result<()> {
    let mut world = World::builder()
        .nodes("hub", nodes("h"))
        .nodes("member", nodes("m"))
        .audited()
        .without_operator()
        .start()
        .await?;
    let mut hits: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut kills, mut elsewhere, mut rounds, mut runs) = (0, 0, 0, 0);
    while kills < KILLS || POINTS.iter().any(|p| !hits.contains_key(p)) {
        ensure!(
            runs < 4 * KILLS,
            "{runs} runs, {kills} kills; points reached: {hits:?}"
        );
        if unfinished(&world).await?.is_empty() {
            for (_, job) in batch(rounds) {
                world.apply(&job.yaml()).await?;
            }
            rounds += 1;
        }
        let point = POINTS[runs as usize % POINTS.len()];
        let count = 1 + (runs as usize / POINTS.len()) % 3;
        runs += 1;
        let failpoint = format!("{point}:{count}");
        let mut operator = world.another_operator(
            &format!("run-{runs}"),
            &["--lease-seconds=0"],
            &[("AMPACITY_FAILPOINT", &failpoint)],
        )?;
        let until = tokio::time::Instant::now() + REACH;
        loop {
            if let Some(status) = operator.ended()? {
                reached(status, &failpoint, &operator.log_end())?;
                *hits.entry(point).or_default() += 1;
                kills += 1;
                break;
            }
            let waiting = unfinished(&world).await?;
            delete_the_endless(&world, &waiting).await?;
            if waiting.is_empty() || tokio::time::Instant::now() >= until {
                operator.kill()?;
                elsewhere += 1;
                kills += 1;
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.check_invariants().await?;
    }
    println!(
        "{kills} kills in {runs} runs, {elsewhere} of them between points; {rounds} rounds of jobs; points: {hits:?}"
    );

    world.start_operator(&[])?;
    let settled = ampacity_controlplane::wait_until("every job to end", PATIENCE, || async {
        let Ok(waiting) = unfinished(&world).await else {
            return false;
        };
        delete_the_endless(&world, &waiting).await.is_ok() && waiting.is_empty()
    });
    world.explained(settled.await)?;
    world.nothing_left().await?;
    let mut lasted = 0;
    for job in world.training().list(&ListParams::default()).await? {
        let name = job.name_any();
        let status = job
            .status
            .with_context(|| format!("{name} has no status"))?;
        ensure!(
            status.state == Some(TrainingJobState::Succeeded)
                && status.attempts == 1
                && status.restarts == 0,
            "{name}: a kill cost an attempt: {status:?}"
        );
        lasted += 1;
    }
    ensure!(
        lasted == 5 * rounds,
        "{lasted} jobs of {rounds} rounds are left"
    );
    made_once(&world, "jobs")
}

#[tokio::test]
async fn kills_while_replicas_come_and_go_lose_none_and_make_none_twice() -> Result<()> {
    let mut world = World::builder()
        .nodes("hub", [l4("e1"), l4("e2")])
        .nodes("member", nodes("m"))
        .audited()
        .without_operator()
        .start()
        .await?;
    let kinds = ["nvidia-l4", "nvidia-h100-sxm5-80gb"];
    world.apply(&inference("chat", 3, &kinds)).await?;
    let mut hits: BTreeSet<&str> = BTreeSet::new();
    let mut runs = 0;
    while hits.len() < SERVING_POINTS.len() {
        ensure!(runs < 20 * SERVING_POINTS.len(), "{runs} runs; {hits:?}");
        let left: Vec<&str> = SERVING_POINTS
            .into_iter()
            .filter(|p| !hits.contains(p))
            .collect();
        let point = left[runs % left.len()];
        let replicas = SIZES[runs % SIZES.len()];
        runs += 1;
        world.scale("chat", replicas).await?;
        let mut operator = world.another_operator(
            &format!("run-{runs}"),
            &["--lease-seconds=0"],
            &[("AMPACITY_FAILPOINT", point)],
        )?;
        let until = tokio::time::Instant::now() + REACH;
        loop {
            if let Some(status) = operator.ended()? {
                reached(status, point, &operator.log_end())?;
                hits.insert(point);
                break;
            }
            if tokio::time::Instant::now() >= until || serves(&world, replicas).await? {
                operator.kill()?;
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world.check_invariants().await?;
    }
    println!("{runs} runs, every one killed; {} points", hits.len());

    world.scale("chat", 4).await?;
    world.start_operator(&[])?;
    let settled = ampacity_controlplane::wait_until("4 replicas to serve", PATIENCE, || async {
        serves(&world, 4).await.unwrap_or(false)
    });
    world.explained(settled.await)?;
    let mut made = 0;
    for (_, cluster) in world.clusters() {
        let deployments: Api<Deployment> = Api::all(cluster.admin.clone());
        for deployment in deployments.list(&ListParams::default()).await? {
            made += deployment.spec.replicas.unwrap_or(1);
        }
    }
    ensure!(made == 4, "Deployments have {made} replicas for 4");
    made_once(&world, "deployments")?;
    world
        .inference()
        .delete("chat", &DeleteParams::default())
        .await?;
    world.nothing_left().await
}

/// Times that whoever leads is killed while another stands by and a member comes and goes.
const LEADER_KILLS: u32 = 14;

#[tokio::test]
async fn leaders_that_are_killed_while_a_member_is_away_lose_nothing_and_start_nothing_twice()
-> Result<()> {
    let mut world = World::builder()
        .nodes("hub", nodes("h"))
        .nodes("member", nodes("m"))
        .audited()
        .without_operator()
        .start()
        .await?;
    let start = |world: &World, number: u32| {
        let point = POINTS[number as usize % POINTS.len()];
        let failpoint = format!("{point}:{}", 1 + number % 2);
        let operator = world.another_operator(
            &format!("replica-{number}"),
            &["--lease-seconds=4"],
            &[("AMPACITY_FAILPOINT", &failpoint)],
        )?;
        anyhow::Ok((operator, failpoint))
    };
    let mut replicas = vec![start(&world, 0)?, start(&world, 1)?];
    let (mut started, mut kills, mut rounds) = (2, 0, 0);
    let until = tokio::time::Instant::now() + 4 * PATIENCE;
    while kills < LEADER_KILLS {
        ensure!(
            tokio::time::Instant::now() < until,
            "{kills} kills in {:?}\n{}",
            4 * PATIENCE,
            replicas[0].0.log_end()
        );
        let waiting = unfinished(&world).await?;
        delete_the_endless(&world, &waiting).await?;
        if waiting.len() < 3 {
            for (_, job) in batch(rounds) {
                world.apply(&job.yaml()).await?;
            }
            rounds += 1;
        }
        let mut ended = None;
        for (index, (operator, failpoint)) in replicas.iter_mut().enumerate() {
            if let Some(status) = operator.ended()? {
                reached(status, failpoint, &operator.log_end())?;
                ended = Some(index);
            }
        }
        let Some(index) = ended else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        kills += 1;
        replicas[index] = start(&world, started)?;
        started += 1;
        // The member is away during every second term.
        let proxy = &world.cluster("member")?.proxy;
        if kills % 2 == 1 {
            proxy.set_mode(FaultMode::BlackHole);
            proxy.cut_connections();
        } else {
            proxy.set_mode(FaultMode::Pass);
        }
        world.check_invariants().await?;
    }
    drop(replicas);
    world.cluster("member")?.proxy.set_mode(FaultMode::Pass);
    world.start_operator(&[])?;
    let settled = ampacity_controlplane::wait_until("every job to end", PATIENCE, || async {
        let Ok(waiting) = unfinished(&world).await else {
            return false;
        };
        delete_the_endless(&world, &waiting).await.is_ok() && waiting.is_empty()
    });
    world.explained(settled.await)?;
    world.nothing_left().await?;
    for job in world.training().list(&ListParams::default()).await? {
        let name = job.name_any();
        let status = job
            .status
            .with_context(|| format!("{name} has no status"))?;
        ensure!(
            status.state == Some(TrainingJobState::Succeeded) && status.restarts == 0,
            "{name}: {status:?}"
        );
    }
    made_once(&world, "jobs")
}

/// Sees to it that an operator was ended by its failpoint: by an abort, not by an error of its own.
fn reached(status: ExitStatus, failpoint: &str, log_end: &str) -> Result<()> {
    ensure!(
        status.signal() == Some(6),
        "the operator ended by itself at {failpoint}: {status}\n{log_end}"
    );
    Ok(())
}

/// Whether the job says that so many replicas, as many as are wanted now, have a place and are ready.
async fn serves(world: &World, replicas: i32) -> Result<bool> {
    let job = world.inference().get("chat").await?;
    let generation = job.metadata.generation;
    Ok(job.status.is_some_and(|status| {
        status.observed_generation == generation
            && status.ready_replicas == replicas
            && status.placed_replicas == replicas
    }))
}

/// From the API servers' audit logs: every object of a kind was created once, in one cluster.
fn made_once(world: &World, resource: &str) -> Result<()> {
    let mut made: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (cluster, of) in world.clusters() {
        for write in of.plane.audited_writes()? {
            if write.verb == "create" && write.resource == resource && write.code == 201 {
                made.entry(write.name).or_default().push(cluster.to_owned());
            }
        }
    }
    ensure!(!made.is_empty(), "the audit log has no {resource}");
    for (name, clusters) in made {
        if clusters.len() != 1 {
            bail!(
                "{name} of {resource} was created {} times: {clusters:?}",
                clusters.len()
            );
        }
    }
    Ok(())
}

/// Jobs that have not ended, or that still hold something.
async fn unfinished(world: &World) -> Result<Vec<TrainingJob>> {
    let held = !world
        .placements()
        .list(&ListParams::default())
        .await?
        .items
        .is_empty();
    let jobs = world.training().list(&ListParams::default()).await?.items;
    let ended = |j: &TrainingJob| {
        j.status
            .as_ref()
            .and_then(|s| s.state)
            .is_some_and(TrainingJobState::is_finished)
    };
    if jobs.iter().all(ended) && held {
        return Ok(jobs);
    }
    Ok(jobs.into_iter().filter(|j| !ended(j)).collect())
}

/// Jobs that would never end are deleted once they run.
async fn delete_the_endless(world: &World, jobs: &[TrainingJob]) -> Result<()> {
    for job in jobs {
        let running = job.status.as_ref().and_then(|s| s.state) == Some(TrainingJobState::Running);
        if running
            && job.name_any().starts_with("deleted-")
            && job.metadata.deletion_timestamp.is_none()
        {
            match world
                .training()
                .delete(&job.name_any(), &DeleteParams::default())
                .await
            {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_write_of_an_earlier_leader_that_arrives_late_follows_none_of_a_later_one() -> Result<()>
{
    let world = World::builder()
        .nodes("east", ["e1", "e2", "e3", "e4"].map(l4))
        .without_operator()
        .start()
        .await?;
    let until = world.log.with_file_name("go-on");
    let path = until.to_string_lossy().into_owned();
    let environment = [
        ("AMPACITY_FAILPOINT", "scale.before"),
        ("AMPACITY_FAILPOINT_UNTIL", path.as_str()),
    ];
    let mut first = world.another_operator("first", &["--lease-seconds=60"], &environment)?;
    world.all_reachable().await?;
    let kubeconfig = world.folder.path().join("second.kubeconfig");
    world.hub.plane.write_kubeconfig(&kubeconfig)?;
    let namespace = format!("--namespace={NAMESPACE}");
    let arguments = ["--identity=second", "--lease-seconds=60", &namespace];
    let second = OperatorProcess::start(&kubeconfig, &world.log, &arguments, &[])?;
    world.apply(&inference("serves", 4, &["nvidia-l4"])).await?;
    let ready = |count: i32| {
        move |job: &InferenceJob| {
            let status = job.status.as_ref();
            status.is_some_and(|s| s.ready_replicas == count && s.placed_replicas == count)
        }
    };
    world
        .inference_where("serves", "4 ready replicas", ready(4))
        .await?;
    let east = world.cluster("east")?;
    let workloads: Api<Deployment> = Api::namespaced(east.admin.clone(), "default");
    let deployment = async || -> Result<(i64, i32)> {
        let all = workloads.list(&ListParams::default()).await?;
        let one = all.items.first().context("no Deployment")?;
        let replicas = one.spec.replicas.unwrap_or(0);
        Ok((one.metadata.generation.unwrap_or(0), replicas))
    };
    // The first leader has decided to scale to 2, and stalls with that call on its way.
    world.scale("serves", 2).await?;
    let placements = world.placements();
    let decided = wait_until("the placement to be of 2 replicas", PATIENCE, || async {
        let all = placements.list(&ListParams::default()).await;
        all.is_ok_and(|all| all.items.iter().all(|p| p.spec.replicas == 2))
    });
    world.explained(decided.await)?;
    let before = deployment().await?;
    ensure!(before.1 == 4, "the call was not held up: {before:?}");
    first.pause()?;
    // It believes that it leads for longer than others do.
    let leases: Api<Lease> = Api::namespaced(world.hub.admin.clone(), "kube-system");
    let short = Patch::Merge(json!({"spec": {"leaseDurationSeconds": 2}}));
    leases
        .patch("ampacity-operator", &PatchParams::default(), &short)
        .await?;
    // The second one scales to 2, and then to 1.
    world
        .inference_where("serves", "2 ready replicas", ready(2))
        .await?;
    world.scale("serves", 1).await?;
    world
        .inference_where("serves", "1 ready replica", ready(1))
        .await?;
    let after = deployment().await?;
    ensure!(after.1 == 1 && after.0 > before.0, "{before:?} {after:?}");
    let refused = async || -> Result<_> {
        let counts = east.plane.request_counts().await?;
        let late = |kind: &RequestKind| {
            kind.verb == "PATCH"
                && kind.resource == "deployments"
                && (400..500).contains(&kind.code)
        };
        Ok(counts.total(late))
    };
    ensure!(refused().await? == 0);
    world.hub.proxy.set_mode(FaultMode::BlackHole);
    std::fs::write(&until, "")?;
    first.resume()?;
    let came = wait_until("the late write to be refused", PATIENCE, || async {
        refused().await.is_ok_and(|refused| refused == 1)
    });
    world.explained(came.await)?;
    let ended = wait_until("the stalled operator to end", PATIENCE, || {
        let ended = first.ended().is_ok_and(|e| e.is_some_and(|s| !s.success()));
        async move { ended }
    });
    world.explained(ended.await)?;
    ensure!(
        deployment().await? == after,
        "the late write was carried out"
    );
    world.check_invariants().await?;
    world
        .inference()
        .delete("serves", &DeleteParams::background())
        .await?;
    world.nothing_left().await?;
    drop(second);
    Ok(())
}
