//! Scaling the workload of a placement that became smaller.

use ampacity_api::Placement;
use kube::api::{Api, DynamicObject, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::spec_patch::at_generation;
use crate::runtime::{Operator, Then, failpoint, placement_call};
use crate::state::{KindFacts, ObjectKey};

/// Has the workload of a placement scaled to the replicas that it holds.
pub fn scale(operator: &mut Operator, placement: &Placement) {
    let facts = operator.state.kinds.get(placement.spec.job_ref.kind);
    let member = operator.state.usable_member(placement);
    let generation = member
        .and_then(|member| member.workload_of(placement))
        .and_then(|workload| workload.metadata.generation);
    let (Some(facts), Some(member)) = (facts.cloned(), operator.member_client(placement)) else {
        return;
    };
    let (key, server, placement) = (
        ObjectKey::of(placement),
        placement.spec.cluster.clone(),
        placement.clone(),
    );
    operator.start(&server, placement_call(&key.clone()), async move {
        let scaled = scale_workload(&member, &facts, &placement, generation).await;
        Box::new(move |operator: &mut Operator| {
            operator.retry_if_failed("scale workload", &key, scaled)
        }) as Then
    });
}

/// Sets how many replicas a placement's workload has.
///
/// # Errors
/// The member's.
async fn scale_workload(
    member: &Client,
    facts: &KindFacts,
    placement: &Placement,
    generation: Option<i64>,
) -> Result<(), kube::Error> {
    let namespace = placement.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(member.clone(), &namespace, &facts.workload);
    let replicas = json!(placement.spec.replicas);
    let patch = at_generation(generation, "/spec/replicas", Some(replicas))
        .map_err(kube::Error::SerdeError)?;
    failpoint("scale.before");
    match api
        .patch(
            &(facts.workload_name)(placement),
            &PatchParams::default(),
            &patch,
        )
        .await
    {
        Ok(_) => {
            failpoint("scale.done");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
