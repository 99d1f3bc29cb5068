//! A training gang: one indexed Job, and what its pods need beside it.

use ampacity_api::{Placement, TrainingJob, labels};
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    PodSchedulingGate, PodSpec, PodTemplateSpec, Service, ServiceSpec,
};
use kube::ResourceExt;

use super::super::Kind;
use super::limits;
use super::names::{service_name, training_name};
use crate::dispatch::{
    DeviceRequestKind, DispatchError, Identity, Objects, Rendezvous, Target, active_deadline,
    affinity, pod,
};

/// Exit code of a process that SIGTERM ended.
const EXIT_SIGTERM: i32 = 128 + 15;

/// The objects of `placement`, which must be one of `job`.
///
/// A gang fails as a whole with its first pod: another attempt is another placement. The pod of a one-replica job that was evicted,
/// preempted or lost with its node is made again by the Job controller, on the same node, and does not count; one that was asked to
/// end, by a liveness probe or by somebody who deleted it, is made again as often as the job may be restarted; one that fails by
/// itself fails the Job. The limits of the job's time and budget are the Job's too, since the hub may be away.
///
/// # Errors
/// When job and placement do not belong together, the placement's nodes do not hold its replicas, or the template cannot be
/// placed.
pub fn training_objects(
    job: &TrainingJob,
    placement: &Placement,
    target: &Target,
) -> Result<Objects<Job>, DispatchError> {
    let identity = Identity::of(TrainingJob::KIND, &job.metadata, placement, target)?;
    let alternative = pod::chosen(&job.spec.alternatives, placement)?;
    let devices = DeviceRequestKind::of(placement)?;
    let spec = &placement.spec;
    let nodes = nodes_in_rank_order(placement)?;

    let name = training_name(&spec.job_ref.name, spec.attempt, spec.replicas);
    let service = service_name(&name);
    let is_gang = spec.replicas > 1;

    let mut pod = pod::patched(&job.spec.template, alternative)?;
    devices.put_into(&mut pod, spec.devices_per_replica, &name);
    pod::tolerate(&mut pod, &target.tolerated_taint_keys);
    let rendezvous = Rendezvous {
        placement,
        target,
        namespace: &identity.namespace,
        job: &name,
        service: is_gang.then_some(service.as_str()),
    };
    if let Some(first) = pod.containers.first_mut() {
        let environment = rendezvous.environment(first);
        pod::provide_env(first, environment);
    }
    pod.restart_policy = Some("Never".to_owned());
    if is_gang {
        join_gang(&mut pod, &service);
    }
    let gated = match nodes.as_slice() {
        [node] => {
            affinity::require(&mut pod, &affinity::one_node(node))?;
            false
        }
        several => {
            affinity::require(&mut pod, &affinity::node_set(several, target))?;
            gate(&mut pod);
            true
        }
    };

    let mut metadata = job.spec.template.metadata.clone().unwrap_or_default();
    identity.label_pod(&mut metadata);
    let limit = limits::seconds_left(job, placement);
    let mut job_metadata = identity.meta(&name);
    if let Some(limit) = limit {
        let annotations = job_metadata.annotations.get_or_insert_default();
        annotations.insert(labels::LIMIT_SECONDS.to_owned(), limit.to_string());
    }
    Ok(Objects {
        claim_template: devices.claim_template(identity.meta(&name), spec.devices_per_replica),
        service: is_gang.then(|| headless_service(&identity, &service)),
        workload: Job {
            metadata: job_metadata,
            spec: Some(JobSpec {
                completion_mode: Some("Indexed".to_owned()),
                completions: Some(spec.replicas),
                parallelism: Some(spec.replicas),
                backoff_limit: Some(if is_gang { 0 } else { restarts_left(job) }),
                active_deadline_seconds: active_deadline(limit, target.fence_seconds, 0),
                pod_failure_policy: Some(failure_policy(is_gang)),
                // A pod is replaced only once it has ended: two pods of one rank would write one checkpoint.
                pod_replacement_policy: Some("Failed".to_owned()),
                suspend: Some(false),
                template: PodTemplateSpec {
                    metadata: Some(metadata),
                    spec: Some(pod),
                },
                ..JobSpec::default()
            }),
            status: None,
        },
        gated,
    })
}

/// Names of the nodes, once checked to hold all replicas. A node may stand there twice; it is one node.
fn nodes_in_rank_order(placement: &Placement) -> Result<Vec<&str>, DispatchError> {
    let spec = &placement.spec;
    let held: i64 = spec
        .nodes
        .iter()
        .map(|n| i64::from(n.replicas.max(0)))
        .sum();
    if held != i64::from(spec.replicas) || held == 0 {
        return Err(DispatchError::ReplicasDoNotAddUp {
            placement: placement.name_any(),
            held,
            replicas: spec.replicas,
        });
    }
    let mut names: Vec<&str> = spec
        .nodes
        .iter()
        .filter(|node| node.replicas > 0)
        .map(|node| node.name.as_str())
        .collect();
    names.dedup();
    Ok(names)
}

/// Makes the pod reachable as `<job>-<rank>.<service>`.
fn join_gang(pod: &mut PodSpec, service: &str) {
    pod.subdomain = Some(service.to_owned());
    // The Job controller gives each pod its own host name; one from the template could only be wrong.
    pod.hostname = None;
    if pod.host_network == Some(true) && pod.dns_policy.is_none() {
        // The default would leave pods on the host's network (for RDMA) unable to resolve the gang's names.
        pod.dns_policy = Some("ClusterFirstWithHostNet".to_owned());
    }
}

fn gate(pod: &mut PodSpec) {
    let gates = pod.scheduling_gates.get_or_insert_default();
    if gates
        .iter()
        .all(|gate| gate.name != labels::SCHEDULING_GATE)
    {
        gates.push(PodSchedulingGate {
            name: labels::SCHEDULING_GATE.to_owned(),
        });
    }
}

/// How often the job may still be restarted.
fn restarts_left(job: &TrainingJob) -> i32 {
    let restarts = job.status.as_ref().map_or(0, |status| status.restarts);
    job.spec.max_restarts.saturating_sub(restarts).max(0)
}

/// A gang's backoff limit of 0 already makes the first failure final; the rule adds what the Job's condition then says. For a single
/// replica the rules say which failures do not count, and which are final.
fn failure_policy(is_gang: bool) -> PodFailurePolicy {
    let action = if is_gang { "FailJob" } else { "Ignore" };
    let disrupted = PodFailurePolicyRule {
        action: action.to_owned(),
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: Some("True".to_owned()),
        }]),
        on_exit_codes: None,
    };
    let exit_codes = |action: &str, operator: &str, codes| PodFailurePolicyRule {
        action: action.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            operator: operator.to_owned(),
            values: codes,
            container_name: None,
        }),
        on_pod_conditions: None,
    };
    let mut rules = vec![disrupted];
    // Processes that were asked to end, by somebody who deleted the pod or by a probe: those of a single replica are started again,
    // and count.
    let ended = if is_gang {
        vec![0]
    } else {
        vec![0, EXIT_SIGTERM]
    };
    rules.push(exit_codes("FailJob", "NotIn", ended));
    PodFailurePolicy { rules }
}

fn headless_service(identity: &Identity<'_>, name: &str) -> Service {
    Service {
        metadata: identity.meta(name),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            // Replicas look each other up before any of them is ready.
            publish_not_ready_addresses: Some(true),
            selector: Some(identity.pod_selector()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod tests;
