//! One system doing one kind of work on a fresh control plane.

use std::fmt;
use std::time::{Duration, Instant};

use ampacity_controlplane::{ControlPlane, SimulatedNode, create_nodes};
use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};

use crate::workload::Submitter;
use crate::{kueue, operator};

/// How long the pods of one scenario may take to be bound.
const PATIENCE: Duration = Duration::from_secs(600);

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
}

impl Work {
    /// Pods of one job.
    pub(crate) fn pods(self) -> usize {
        match self {
            Self::Singles => 1,
            Self::Gangs => 8,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Singles => "one-pod jobs",
            Self::Gangs => "gangs of 8",
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
    /// API writes of everybody until then, per job.
    pub(crate) writes_per_job: f64,
    /// Resident memory of the system's own process, MiB.
    pub(crate) memory_mib: Option<f64>,
}

/// A column: name, unit and value.
type Column = (&'static str, &'static str, fn(&Figures) -> Option<f64>);

impl Figures {
    /// What is printed of each result.
    pub(crate) const COLUMNS: [Column; 4] = [
        ("throughput", "pods/s", |f| Some(f.pods as f64 / f.seconds)),
        ("time", "s", |f| Some(f.seconds)),
        ("API writes per job", "writes", |f| Some(f.writes_per_job)),
        ("memory", "MiB", |f| f.memory_mib),
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
}

impl Scenario {
    /// Runs it on a fresh control plane.
    pub(crate) async fn run(self) -> anyhow::Result<Figures> {
        let plane = ControlPlane::builder("bench").start().await?;
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
        let pods = self.count * self.work.pods();
        let before = plane.request_counts().await?;
        let bound = tokio::spawn(all_bound(client.clone(), pods));
        let started = Instant::now();
        let submitter = Submitter {
            client: client.clone(),
            system: self.system,
            work: self.work,
        };
        submitter.submit(self.count).await?;
        let ended = async {
            match &mut system {
                Some(process) => process.child.wait().await,
                None => std::future::pending().await,
            }
        };
        let last = tokio::select! {
            bound = tokio::time::timeout(PATIENCE, bound) => bound.with_context(|| {
                format!("{} did not bind {pods} pods within {PATIENCE:?}", self.system)
            })???,
            status = ended => anyhow::bail!("{} ended by itself: {}", self.system, status?),
        };
        let seconds = (last - started).as_secs_f64();
        let writes = plane.request_counts().await?.since(&before).writes();
        let memory_mib = system.as_ref().and_then(Process::memory_mib);
        Ok(Figures {
            pods,
            seconds,
            writes_per_job: writes as f64 / self.count as f64,
            memory_mib,
        })
    }
}

/// The system's own process; ends with the scenario.
pub(crate) struct Process {
    pub(crate) child: tokio::process::Child,
    /// Removed when the process is.
    pub(crate) _folder: tempfile::TempDir,
}

impl Process {
    fn memory_mib(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib / 1024.0)
    }
}

/// When the last of so many pods was seen bound.
async fn all_bound(client: Client, pods: usize) -> anyhow::Result<Instant> {
    let api: Api<Pod> = Api::namespaced(client, "default");
    let mut stream = watcher(api, watcher::Config::default().streaming_lists())
        .default_backoff()
        .applied_objects()
        .boxed();
    let mut seen = std::collections::HashSet::new();
    while let Some(pod) = stream.try_next().await? {
        if pod
            .spec
            .as_ref()
            .and_then(|s| s.node_name.as_ref())
            .is_some()
            && seen.insert(pod.name_any())
            && seen.len() == pods
        {
            return Ok(Instant::now());
        }
    }
    anyhow::bail!("the watch of pods ended")
}
