//! The environment by which the replicas of a gang find each other.
//!
//! A replica is a pod. `WORLD_SIZE` and `RANK` count pods, not processes, for two reasons: a pod's rank comes from its completion
//! index, which cannot be multiplied; and both common ways to start work from them agree. A script that runs `torchrun
//! --nnodes=$WORLD_SIZE --node_rank=$RANK --nproc_per_node=$NPROC_PER_NODE` gets what it means, a program that runs one process
//! per pod may use `env://` directly, and plain `torchrun script.py` reads the `PET_…` forms; torchrun gives its
//! own processes their own `RANK` and `WORLD_SIZE`.

use std::fmt::Write as _;

use ampacity_api::Placement;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector};

use super::Target;

/// Port of torch's rendezvous, its own default.
pub const MASTER_PORT: u16 = 29_500;
/// Port of JAX's coordinator, its own default on TPU.
pub const JAX_COORDINATOR_PORT: u16 = 8476;
/// Port of Neuron's root communicator, the default of torch-neuronx. It must differ from [`MASTER_PORT`].
pub const NEURON_ROOT_COMM_PORT: u16 = 62_182;

/// Most bytes of a list with one entry per replica. Every pod carries it, so that it grows with the square of a gang.
const MAX_LIST_BYTES: usize = 32 * 1024;

/// A pod's rank, as the Job controller writes it on the pod.
const RANK_FIELD: &str = "metadata.annotations['batch.kubernetes.io/job-completion-index']";

/// Who the replicas are and how they are reached.
pub struct Rendezvous<'a> {
    pub placement: &'a Placement,
    pub target: &'a Target,
    pub namespace: &'a str,
    /// Name of the Job; pods have the host names `<job>-<rank>`.
    pub job: &'a str,
    /// Headless Service; `None` for a single replica, which needs none.
    pub service: Option<&'a str>,
}

impl Rendezvous<'_> {
    /// All variables for `container`, in an order in which later ones may refer to earlier ones.
    pub fn environment(&self, container: &Container) -> Vec<EnvVar> {
        let spec = &self.placement.spec;
        let family = Family::of(self.target, &spec.accelerator_type, container);
        let replicas = spec.replicas.to_string();
        let processes = family.processes(spec.devices_per_replica).to_string();
        let master = self.master();
        let port = MASTER_PORT.to_string();
        // What the user sets under one name holds under the other too.
        let processes = literal(container, "NPROC_PER_NODE").unwrap_or(&processes);
        let port = literal(container, "MASTER_PORT").unwrap_or(&port);

        let mut env = self.identity();
        env.extend([
            value("MASTER_ADDR", &master),
            value("MASTER_PORT", port),
            value("WORLD_SIZE", &replicas),
            self.rank("RANK"),
            self.rank("NODE_RANK"),
            value("NNODES", &replicas),
            value("NPROC_PER_NODE", processes),
        ]);
        self.torchrun(&mut env, &master, port, processes);
        env.extend([
            value(
                "JAX_COORDINATOR_ADDRESS",
                &format!("{master}:{JAX_COORDINATOR_PORT}"),
            ),
            value("JAX_NUM_PROCESSES", &replicas),
            self.rank("JAX_PROCESS_ID"),
        ]);
        match family {
            Family::Gpu => {}
            Family::Tpu => self.tpu(&mut env),
            Family::Neuron { cores } => self.neuron(&mut env, cores, container),
        }
        env
    }

    /// What plain `torchrun script.py` reads. A single replica gets only what differs from torchrun's own defaults (one
    /// node, one process, port 29500): pods are stored and sent many times, and each variable with them.
    fn torchrun(&self, env: &mut Vec<EnvVar>, master: &str, port: &str, processes: &str) {
        let alone = self.is_alone();
        if !alone {
            let replicas = self.placement.spec.replicas.to_string();
            env.push(value("PET_NNODES", &replicas));
            env.push(self.rank("PET_NODE_RANK"));
            env.push(value("PET_MASTER_ADDR", master));
        }
        if !alone || processes != "1" {
            env.push(value("PET_NPROC_PER_NODE", processes));
        }
        if !alone || port != MASTER_PORT.to_string() {
            env.push(value("PET_MASTER_PORT", port));
        }
    }

    fn is_alone(&self) -> bool {
        self.placement.spec.replicas <= 1
    }

    /// A variable with the pod's rank.
    fn rank(&self, name: &str) -> EnvVar {
        if self.is_alone() {
            value(name, "0")
        } else {
            rank_of_pod(name)
        }
    }

    fn identity(&self) -> Vec<EnvVar> {
        identity_env(self.placement)
    }

    /// Host that rank 0 is reached at. Without the cluster's domain, which is not known; resolvers add it.
    fn master(&self) -> String {
        match self.service {
            Some(service) => format!("{}-0.{service}.{}.svc", self.job, self.namespace),
            None => "localhost".to_owned(),
        }
    }

    fn tpu(&self, env: &mut Vec<EnvVar>) {
        env.push(self.rank("TPU_WORKER_ID"));
        let hosts = match self.service {
            // Short names, as GKE gives them: the pods' search path begins with their namespace.
            Some(service) => bounded_list(self.placement.spec.replicas, |index, list| {
                write!(list, "{}-{index}.{service}", self.job)
            }),
            None => Some("localhost".to_owned()),
        };
        if let Some(hosts) = hosts {
            env.push(value("TPU_WORKER_HOSTNAMES", &hosts));
        }
    }

    fn neuron(&self, env: &mut Vec<EnvVar>, cores: Option<i32>, container: &Container) {
        env.push(value(
            "NEURON_RT_ROOT_COMM_ID",
            &format!("{}:{NEURON_ROOT_COMM_PORT}", self.master()),
        ));
        // One process per replica, as JAX and SPMD programs want it. torchrun makes one process per core and torch-xla works
        // these out for each itself, unless it finds them set: then it would use the wrong ones.
        if starts_torchrun(container) || sets_pjrt(container) {
            return;
        }
        let Some(cores) = cores else { return };
        let per_process = cores.saturating_mul(self.placement.spec.devices_per_replica);
        let list = bounded_list(self.placement.spec.replicas, |_, list| {
            write!(list, "{per_process}")
        });
        if let Some(list) = list {
            env.push(value("NEURON_PJRT_PROCESSES_NUM_DEVICES", &list));
            env.push(self.rank("NEURON_PJRT_PROCESS_INDEX"));
        }
    }
}

/// Variables that say what was placed where, for any kind of job.
pub fn identity_env(placement: &Placement) -> Vec<EnvVar> {
    let spec = &placement.spec;
    let mut env = vec![
        value("AMPACITY_ACCELERATOR_TYPE", &spec.accelerator_type),
        value("AMPACITY_ALTERNATIVE", &spec.alternative),
        value("AMPACITY_CLUSTER", &spec.cluster),
        value("AMPACITY_ATTEMPT", &spec.attempt.to_string()),
        value(
            "AMPACITY_DEVICES_PER_REPLICA",
            &spec.devices_per_replica.to_string(),
        ),
    ];
    if let Some(watts) = spec.power_cap_watts {
        env.push(value("AMPACITY_POWER_CAP_WATTS", &watts.to_string()));
    }
    env
}

/// How programs for a device split up into processes.
#[derive(Clone, Copy)]
enum Family {
    /// One process per device.
    Gpu,
    /// One process per host, for all its chips.
    Tpu,
    /// One process per core (torchrun) or per host (JAX). `cores`: visible cores of one device, where known.
    Neuron { cores: Option<i32> },
}

impl Family {
    fn of(target: &Target, accelerator_type: &str, container: &Container) -> Self {
        match target.vendor.as_str() {
            "google" => Self::Tpu,
            "aws" => Self::Neuron {
                cores: neuron_cores(accelerator_type, container),
            },
            _ => Self::Gpu,
        }
    }

    /// Processes per replica that torchrun should start.
    fn processes(self, devices: i32) -> i32 {
        match self {
            Self::Gpu => devices,
            Self::Tpu => 1,
            Self::Neuron { cores } => devices.saturating_mul(cores.unwrap_or(1)),
        }
    }
}

/// Cores of one device that a program sees: physical cores divided by the logical core size, which is 2 on Trainium2 and later
/// unless `NEURON_LOGICAL_NC_CONFIG` says otherwise. Source: AWS Neuron documentation, hardware architecture and logical
/// NeuronCore configuration.
fn neuron_cores(accelerator_type: &str, container: &Container) -> Option<i32> {
    let (physical, logical) = match accelerator_type {
        "aws-inferentia1" => (4, 1),
        "aws-inferentia2" | "aws-trainium1" => (2, 1),
        "aws-trainium2" | "aws-trainium3" => (8, 2),
        _ => return None,
    };
    let chosen = ["NEURON_LOGICAL_NC_CONFIG", "NEURON_RT_VIRTUAL_CORE_SIZE"]
        .into_iter()
        .find_map(|name| literal(container, name)?.parse::<i32>().ok())
        .filter(|size| (1..=physical).contains(size))
        .unwrap_or(logical);
    Some(physical / chosen)
}

fn literal<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    let variable = container.env.iter().flatten().find(|v| v.name == name)?;
    variable.value.as_deref()
}

fn starts_torchrun(container: &Container) -> bool {
    let words = container.command.iter().chain(&container.args).flatten();
    words.into_iter().any(|word| {
        [
            "torchrun",
            "torch.distributed.run",
            "torch.distributed.launch",
        ]
        .iter()
        .any(|launcher| word.contains(launcher))
    })
}

fn sets_pjrt(container: &Container) -> bool {
    let mut names = container.env.iter().flatten().map(|v| v.name.as_str());
    names.any(|name| name.starts_with("NEURON_PJRT_"))
}

/// One entry per replica with commas between, or `None` when that would be longer than [`MAX_LIST_BYTES`].
fn bounded_list(
    replicas: i32,
    entry: impl Fn(i32, &mut String) -> std::fmt::Result,
) -> Option<String> {
    let mut list = String::new();
    for index in 0..replicas {
        if index > 0 {
            list.push(',');
        }
        entry(index, &mut list).ok()?;
        if list.len() > MAX_LIST_BYTES {
            return None;
        }
    }
    Some(list)
}

fn value(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

fn rank_of_pod(name: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: RANK_FIELD.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    }
}
