//! Inference replicas: a Deployment per placement, and one Service per job and cluster.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_api::{InferenceJob, Placement, labels};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    ContainerPort, PodSpec, PodTemplateSpec, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::Kind;
use super::names::{inference_name, service_name};
use crate::dispatch::{
    DeviceRequestKind, DispatchError, Identity, Objects, Target, affinity, identity_env, pod,
};

/// Old ReplicaSets that are kept to roll back to.
const REVISION_HISTORY: i32 = 2;

/// The objects of `placement`, which must be one of `job`.
///
/// A replica may only be where one was charged: on the placement's nodes, as many on each as were planned there. One that is lost
/// comes back there without the hub; where its node is lost too, the hub places it elsewhere.
///
/// # Errors
/// When job and placement do not belong together, or the template cannot be placed.
pub fn inference_objects(
    job: &InferenceJob,
    placement: &Placement,
    target: &Target,
) -> Result<Objects<Deployment>, DispatchError> {
    let identity = Identity::of(InferenceJob::KIND, &job.metadata, placement, target)?;
    let alternative = pod::chosen(&job.spec.alternatives, placement)?;
    let devices = DeviceRequestKind::of(placement)?;
    let spec = &placement.spec;
    let name = inference_name(&identity.placement);

    let mut pod = pod::patched(&job.spec.template, alternative)?;
    devices.put_into(&mut pod, spec.devices_per_replica, &name);
    pod::tolerate(&mut pod, &target.tolerated_taint_keys);
    if let Some(first) = pod.containers.first_mut() {
        pod::provide_env(first, identity_env(placement));
    }
    pod.restart_policy = Some("Always".to_owned());
    let nodes: Vec<&str> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    affinity::require(&mut pod, &affinity::any_of(&nodes))?;
    affinity::spread_evenly(&mut pod, &nodes, target, identity.pod_selector());
    let service = service(&identity, &pod);

    let mut metadata = job.spec.template.metadata.clone().unwrap_or_default();
    identity.label_pod(&mut metadata);
    // The Service that the job's placements share selects by it.
    let own = metadata.labels.get_or_insert_default();
    own.insert(labels::JOB_UID.to_owned(), identity.job.uid.clone());
    Ok(Objects {
        claim_template: devices.claim_template(identity.meta(&name), spec.devices_per_replica),
        service,
        workload: Deployment {
            metadata: identity.meta(&name),
            spec: DeploymentSpec {
                replicas: Some(spec.replicas),
                revision_history_limit: Some(REVISION_HISTORY),
                // Devices are all taken: a new replica can start only where an old one has gone.
                strategy: Some(DeploymentStrategy {
                    type_: Some("RollingUpdate".to_owned()),
                    rolling_update: Some(RollingUpdateDeployment {
                        max_surge: Some(IntOrString::Int(0)),
                        max_unavailable: Some(IntOrString::String("25%".to_owned())),
                    }),
                }),
                selector: LabelSelector {
                    match_labels: Some(identity.pod_selector()),
                    match_expressions: None,
                },
                template: PodTemplateSpec {
                    metadata: Some(metadata),
                    spec: Some(pod),
                },
                ..DeploymentSpec::default()
            },
            status: None,
        },
        gated: false,
    })
}

/// Pods of the job's replicas in the cluster, whichever placement they are of.
fn replica_labels(identity: &Identity<'_>) -> BTreeMap<String, String> {
    identity.job_labels()
}

fn service(identity: &Identity<'_>, pod: &PodSpec) -> Option<Service> {
    let ports = service_ports(pod);
    if ports.is_empty() {
        return None;
    }
    Some(Service {
        metadata: identity.shared_meta(&service_name(&identity.job.name)),
        spec: Some(ServiceSpec {
            selector: Some(replica_labels(identity)),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

/// The containers' ports, first come first served where two are the same. Ports are named, as a Service with several must.
fn service_ports(pod: &PodSpec) -> Vec<ServicePort> {
    let mut numbers = BTreeSet::new();
    let mut names = BTreeSet::new();
    let declared = pod.containers.iter().flat_map(|c| c.ports.iter().flatten());
    declared
        .filter_map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            if !numbers.insert((port.container_port, protocol.clone())) {
                return None;
            }
            let name = port_name(port, &protocol);
            let name = if names.insert(name.clone()) {
                name
            } else {
                format!("{}-{}", protocol.to_ascii_lowercase(), port.container_port)
            };
            names.insert(name.clone());
            Some(ServicePort {
                name: Some(name),
                port: port.container_port,
                // By number: another container may use the same name for another port.
                target_port: Some(IntOrString::Int(port.container_port)),
                protocol: Some(protocol),
                ..ServicePort::default()
            })
        })
        .collect()
}

fn port_name(port: &ContainerPort, protocol: &str) -> String {
    port.name
        .clone()
        .unwrap_or_else(|| format!("{}-{}", protocol.to_ascii_lowercase(), port.container_port))
}

#[cfg(test)]
mod tests;
