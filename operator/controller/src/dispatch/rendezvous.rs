//! The environment by which the replicas of a gang find each other.
//!
//! A replica is a pod. `WORLD_SIZE` and `RANK` count pods, not processes, for two reasons: a pod's rank comes from its completion
//! index, which cannot be multiplied; and both common ways to start work from them agree. A script that runs `torchrun
//! --nnodes=$WORLD_SIZE --node_rank=$RANK --nproc_per_node=$NPROC_PER_NODE` gets what it means, a program that runs one process
//! per pod may use `env://` directly, and plain `torchrun script.py` reads the `PET_…` forms; torchrun gives its
//! own processes their own `RANK` and `WORLD_SIZE`.

use std::fmt::Write as _;

use ampacity_api::Placement;
use ampacity_catalog::{self as catalog, EnvValue, Family, Processes};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector};

use super::Target;

/// Port of torch's rendezvous, its own default. Vendors' ports must differ from it.
pub const MASTER_PORT: u16 = 29_500;
/// Port of JAX's coordinator, its own default on TPU.
pub const JAX_COORDINATOR_PORT: u16 = 8476;

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
        let rendezvous = Family::of_type(&self.target.vendor, &spec.accelerator_type)
            .map_or(catalog::Rendezvous::PER_DEVICE, |family| family.rendezvous);
        let (processes, cores) = split(
            rendezvous.processes,
            &spec.accelerator_type,
            spec.devices_per_replica,
            container,
        );
        let replicas = spec.replicas.to_string();
        let processes = processes.to_string();
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
        self.vendors(&mut env, &rendezvous, cores, container);
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

    /// Variables of the vendor's own.
    fn vendors(
        &self,
        env: &mut Vec<EnvVar>,
        rendezvous: &catalog::Rendezvous,
        cores: Option<i32>,
        container: &Container,
    ) {
        for group in rendezvous.environment {
            let is_left_to_the_program = group
                .yields_to
                .is_some_and(|prefix| starts_torchrun(container) || sets(container, prefix));
            if is_left_to_the_program {
                continue;
            }
            let variables: Option<Vec<EnvVar>> = group
                .variables
                .iter()
                .map(|(name, what)| self.variable(name, *what, cores))
                .collect();
            env.extend(variables.into_iter().flatten());
        }
    }

    fn variable(&self, name: &str, what: EnvValue, cores: Option<i32>) -> Option<EnvVar> {
        let spec = &self.placement.spec;
        Some(match what {
            EnvValue::Rank => self.rank(name),
            EnvValue::MasterAt(port) => value(name, &format!("{}:{port}", self.master())),
            EnvValue::HostNames => value(name, &self.host_names()?),
            EnvValue::CoresOfEachReplica => {
                let each = cores?.saturating_mul(spec.devices_per_replica);
                let list = bounded_list(spec.replicas, |_, list| write!(list, "{each}"));
                value(name, &list?)
            }
        })
    }

    /// Short names, as GKE gives them: the pods' search path begins with their namespace.
    fn host_names(&self) -> Option<String> {
        let Some(service) = self.service else {
            return Some("localhost".to_owned());
        };
        bounded_list(self.placement.spec.replicas, |index, list| {
            write!(list, "{}-{index}.{service}", self.job)
        })
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

/// Processes per replica that torchrun should start, and the cores of a device that a program sees, where they are known.
fn split(
    processes: Processes,
    accelerator_type: &str,
    devices: i32,
    container: &Container,
) -> (i32, Option<i32>) {
    match processes {
        Processes::PerDevice => (devices, None),
        Processes::PerReplica => (1, None),
        Processes::PerCore(cores) => {
            let cores = cores.logical(accelerator_type, |variable| {
                literal(container, variable)?.parse().ok()
            });
            (devices.saturating_mul(cores.unwrap_or(1)), cores)
        }
    }
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

/// Whether the container sets a variable whose name begins like this.
fn sets(container: &Container, prefix: &str) -> bool {
    let mut names = container.env.iter().flatten().map(|v| v.name.as_str());
    names.any(|name| name.starts_with(prefix))
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
