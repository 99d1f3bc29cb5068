//! One system doing one kind of work on a fresh control plane.

use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ampacity_api::{TrainingJob, TrainingJobState};
use ampacity_controlplane::{
    Component, ControlPlane, RequestCounts, RequestKind, SimulatedNode, create_nodes, wait_until,
};
use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;

use crate::cpu::Cpu;
use crate::workload::Submitter;
use crate::{kueue, operator};

/// How long the pods of one scenario may take to be bound.
const PATIENCE: Duration = Duration::from_secs(600);

/// A plane on which nothing is written for so long is ready to be measured.
const QUIET: Duration = Duration::from_secs(3);

/// Lines of a log that are shown when a process ends by itself.
const LOG_LINES: usize = 20;

/// API group of our own objects.
const GROUP: &str = "ampacity.dev";

/// Who places the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum System {
    /// Nobody: controller-manager and scheduler alone.
    Plain,
    /// Kueue, built from its module, with its default client limits.
    Kueue,
    /// Ampacity.
    Ampacity,
}

impl System {
    /// Name of its process; empty for nobody's.
    fn program(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Kueue => "kueue",
            Self::Ampacity => "ampacity",
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Kueue => "kueue",
            Self::Ampacity => "ampacity",
        })
    }
}

/// What is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Work {
    /// One-pod jobs.
    Singles,
    /// Gangs of 8 pods.
    Gangs,
    /// The same, and each gang has a headless Service by which its pods find each other. Ampacity always makes one.
    Rendezvous,
    /// One gang with a pod for every device.
    Whole,
}

impl Work {
    /// Pods of one job.
    pub(crate) fn pods(self, nodes: usize) -> usize {
        match self {
            Self::Singles => 1,
            Self::Gangs | Self::Rendezvous => 8,
            Self::Whole => nodes * 8,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Singles => "one-pod jobs",
            Self::Gangs => "gangs of 8",
            Self::Rendezvous => "gangs of 8 with a Service each",
            Self::Whole => "one gang for all devices",
        })
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Pods bound.
    pub(crate) pods: usize,
    /// First create to last pod bound.
    pub(crate) seconds: f64,
    /// First create to the moment when the last pod was ready.
    pub(crate) ready_seconds: f64,
    /// First create to the moment when the last job said in its status that it runs.
    pub(crate) told_seconds: f64,
    /// First delete to the moment when the last job and pod were gone.
    pub(crate) gone_seconds: f64,
    /// Megabytes that were sent to whoever watches the system's own objects until the last job said that it runs: each write of a
    /// status sends the whole object. Includes what this program's own watch was sent.
    pub(crate) watched_mb: Option<f64>,
    /// API writes of everybody until the last pod was bound, per job.
    pub(crate) writes_per_job: f64,
    /// Resident memory of the system's own process, MiB.
    pub(crate) memory_mib: Option<f64>,
    /// Processor time of everything that ran, per job: on a machine that is busy throughout, this is what bounds it.
    pub(crate) cpu_ms_per_job: f64,
    /// That of the API server, and of the system's own process.
    pub(crate) server_cpu_ms_per_job: f64,
    pub(crate) own_cpu_ms_per_job: f64,
}

/// A column: name, unit and value.
type Column = (&'static str, &'static str, fn(&Figures) -> Option<f64>);

impl Figures {
    /// What is printed of each result.
    pub(crate) const COLUMNS: [Column; 11] = [
        ("throughput", "pods/s", |f| Some(f.pods as f64 / f.seconds)),
        ("time", "s", |f| Some(f.seconds)),
        ("until every pod is ready", "s", |f| Some(f.ready_seconds)),
        ("until every job says that it runs", "s", |f| {
            Some(f.told_seconds)
        }),
        ("from the first delete until all are gone", "s", |f| {
            Some(f.gone_seconds)
        }),
        ("sent to watchers of its objects", "MB", |f| f.watched_mb),
        ("API writes per job", "writes", |f| Some(f.writes_per_job)),
        ("memory", "MiB", |f| f.memory_mib),
        ("processor time per job", "ms", |f| Some(f.cpu_ms_per_job)),
        ("of it the API server", "ms", |f| {
            Some(f.server_cpu_ms_per_job)
        }),
        ("of it its own process", "ms", |f| {
            Some(f.own_cpu_ms_per_job)
        }),
    ];
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pods in {:.1} s", self.pods, self.seconds)?;
        for (name, unit, value) in Self::COLUMNS {
            if let Some(value) = value(self)
                && name != "time"
            {
                write!(f, ", {name} {value:.1} {unit}")?;
            }
        }
        Ok(())
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) system: System,
    pub(crate) work: Work,
    pub(crate) nodes: usize,
    pub(crate) count: usize,
    /// Prints what the API server was asked, per job.
    pub(crate) show_requests: bool,
}

impl Scenario {
    /// Runs it on a fresh control plane.
    pub(crate) async fn run(self) -> anyhow::Result<Figures> {
        let plane = ControlPlane::builder("bench")
            // Heartbeats of all nodes come from one process here, late while it plays thousands of pods: no node is lost for that.
            .argument(
                Component::ControllerManager,
                "--node-monitor-grace-period=30m",
            )
            .start()
            .await?;
        let client = plane.client()?;
        let nodes = (0..self.nodes).map(|i| {
            SimulatedNode::new(format!("node-{i:04}"))
                .label("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3")
                .label("topology.kubernetes.io/zone", "hall-1")
                .resource("nvidia.com/gpu", "8")
                .resource("cpu", "192")
                .resource("memory", "2000Gi")
                .resource("pods", "110")
        });
        create_nodes(&client, nodes).await?;
        let mut system = match self.system {
            System::Plain => None,
            System::Kueue => Some(kueue::start(&plane, &client, self.nodes).await?),
            System::Ampacity => Some(operator::start(&plane, &client, self.nodes).await?),
        };
        settled(&plane, &client, self.nodes).await?;
        let pods = self.count * self.work.pods(self.nodes);
        let before = plane.request_counts().await?;
        let bytes_before = plane.watch_event_bytes(GROUP).await?;
        let cpu_before = Cpu::now();
        let bound = tokio::spawn(all_bound(client.clone(), pods));
        let started = Instant::now();
        let submitter = Submitter {
            client: client.clone(),
            system: self.system,
            work: self.work,
            pods: self.work.pods(self.nodes),
        };
        submitter.submit(self.count).await?;
        let ended = async {
            match &mut system {
                Some(process) => (process.child.wait().await, process.last_lines()),
                None => std::future::pending().await,
            }
        };
        let last = tokio::select! {
            bound = tokio::time::timeout(PATIENCE, bound) => bound.with_context(|| {
                format!("{} did not bind {pods} pods within {PATIENCE:?}", self.system)
            })???,
            (status, said) = ended => {
                anyhow::bail!("{} ended by itself: {}\n{said}", self.system, status?)
            }
        };
        let seconds = (last - started).as_secs_f64();
        let cpu = Cpu::now().since(&cpu_before);
        let ms_per_job = |seconds: f64| seconds * 1000.0 / self.count as f64;
        let requests = plane.request_counts().await?.since(&before);
        let writes = requests.writes();
        if self.show_requests {
            self.print(&requests);
        }
        let memory_mib = system.as_ref().and_then(Process::memory_mib);
        // Watched only now: it is not part of the work that is measured.
        let statuses = async {
            tokio::try_join!(
                all_ready(client.clone(), pods),
                all_running(client.clone(), self)
            )
        };
        let (ready, told) = tokio::time::timeout(PATIENCE, statuses)
            .await
            .with_context(|| {
                format!(
                    "not every job of {} says that it runs after {PATIENCE:?}",
                    self.system
                )
            })??;
        if self.show_requests {
            println!("  until every job says that it runs:");
            self.print(&plane.request_counts().await?.since(&before));
        }
        let watched = plane.watch_event_bytes(GROUP).await? - bytes_before;
        let deleted = Instant::now();
        submitter.delete(self.count).await?;
        nothing_left(&client, self.system).await?;
        Ok(Figures {
            pods,
            seconds,
            ready_seconds: (ready - started).as_secs_f64(),
            told_seconds: (told - started).as_secs_f64(),
            gone_seconds: deleted.elapsed().as_secs_f64(),
            watched_mb: (self.system == System::Ampacity).then_some(watched / 1e6),
            writes_per_job: writes as f64 / self.count as f64,
            memory_mib,
            cpu_ms_per_job: ms_per_job(cpu.total()),
            server_cpu_ms_per_job: ms_per_job(cpu.of("kube-apiserver")),
            own_cpu_ms_per_job: ms_per_job(cpu.of(self.system.program())),
        })
    }
}

impl Scenario {
    /// What the API server was asked, leaving out what is asked less than once in 20 jobs.
    fn print(self, requests: &RequestCounts) {
        for (kind, count) in requests.iter() {
            let per_job = count as f64 / self.count as f64;
            if per_job < 0.05 {
                continue;
            }
            let RequestKind {
                verb,
                group,
                resource,
                subresource,
                code,
            } = kind;
            println!(
                "  {per_job:.2} a job: {verb} {group}/{resource} {subresource} answered {code}"
            );
        }
    }
}

/// The system's own process; ends with the scenario.
pub(crate) struct Process {
    pub(crate) child: tokio::process::Child,
    /// What it has written.
    pub(crate) log: PathBuf,
    /// Its files, removed when the process is.
    pub(crate) _files: Box<dyn Any + Send>,
}

impl Process {
    /// The end of its log.
    fn last_lines(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    fn memory_mib(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib / 1024.0)
    }
}

/// Waits until every node is ready and nothing is written but their heartbeats: every system starts on a plane that is
/// as quiet.
async fn settled(plane: &ControlPlane, client: &Client, nodes: usize) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let all: Api<Node> = Api::all(client.clone());
    wait_until("every node to be ready", PATIENCE, || async {
        let beating = leases.list_metadata(&ListParams::default()).await;
        let ready = all.list(&ListParams::default()).await;
        let is_ready = |node: &Node| node.spec.as_ref().is_none_or(|s| s.taints.is_none());
        beating.is_ok_and(|l| l.items.len() >= nodes)
            && ready.is_ok_and(|n| n.items.iter().filter(|n| is_ready(n)).count() >= nodes)
    })
    .await?;
    let writes = |counts: &RequestCounts| {
        counts.total(|kind| kind.is_write() && !(kind.resource == "leases" && kind.verb == "PUT"))
    };
    let mut before = plane.request_counts().await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = plane.request_counts().await?;
        if writes(&now.since(&before)) == 0 {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the control plane is not quiet after {PATIENCE:?}"
        );
        before = now;
    }
}

/// When the last of so many pods was seen bound.
async fn all_bound(client: Client, pods: usize) -> anyhow::Result<Instant> {
    let bound = |pod: &Pod| pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
    all_seen(Api::namespaced(client, "default"), pods, bound).await
}

/// When the last of so many pods was seen ready.
async fn all_ready(client: Client, pods: usize) -> anyhow::Result<Instant> {
    let ready = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|c| c.type_ == "Ready" && c.status == "True")
    };
    all_seen(Api::namespaced(client, "default"), pods, ready).await
}

/// Waits until neither jobs nor their pods are left.
async fn nothing_left(client: &Client, system: System) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let jobs: Api<Job> = Api::namespaced(client.clone(), "default");
    let ours: Api<TrainingJob> = Api::namespaced(client.clone(), "default");
    let one = ListParams::default().limit(1);
    wait_until("every job and pod to be gone", PATIENCE, || async {
        let is_none = |left: Result<usize, kube::Error>| left.is_ok_and(|left| left == 0);
        is_none(pods.list_metadata(&one).await.map(|l| l.items.len()))
            && is_none(jobs.list_metadata(&one).await.map(|l| l.items.len()))
            && (system != System::Ampacity
                || is_none(ours.list_metadata(&one).await.map(|l| l.items.len())))
    })
    .await?;
    Ok(())
}

/// When the last job was seen to say that it runs: the job that the user made, not what was made from it.
async fn all_running(client: Client, scenario: Scenario) -> anyhow::Result<Instant> {
    let jobs = scenario.count;
    if scenario.system == System::Ampacity {
        let runs = |job: &TrainingJob| {
            let state = job.status.as_ref().and_then(|s| s.state);
            state == Some(TrainingJobState::Running)
        };
        return all_seen(Api::namespaced(client, "default"), jobs, runs).await;
    }
    let pods = i32::try_from(scenario.work.pods(scenario.nodes))?;
    let runs = move |job: &Job| {
        let ready = job.status.as_ref().and_then(|s| s.ready);
        ready == Some(pods)
    };
    all_seen(Api::namespaced(client, "default"), jobs, runs).await
}

/// When so many objects had been seen for which `wanted` holds.
async fn all_seen<K>(
    api: Api<K>,
    count: usize,
    wanted: impl Fn(&K) -> bool,
) -> anyhow::Result<Instant>
where
    K: kube::Resource<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned + Send + 'static,
{
    let mut stream = watcher(api, watcher::Config::default().streaming_lists())
        .default_backoff()
        .applied_objects()
        .boxed();
    let mut seen = HashSet::new();
    while let Some(object) = stream.try_next().await? {
        if wanted(&object) && seen.insert(object.name_any()) && seen.len() == count {
            return Ok(Instant::now());
        }
    }
    anyhow::bail!("the watch of {} ended", K::plural(&()))
}
