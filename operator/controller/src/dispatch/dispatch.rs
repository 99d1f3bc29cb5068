//! Has a placement's objects made, and takes in what its member says.

use ampacity_api::Placement;
use jiff::Timestamp;

use super::make::{MakeError, make_objects};
use super::member_target::target;
use super::{DispatchError, Objects, Target};
use crate::runtime::{Operator, RETRY_SECONDS, Then, placement_call};
use crate::state::{JobKey, NamespacedObject, ObjectKey};

/// Makes the objects of a placement that `build` gives, unless its member has refused them.
pub fn dispatch<W: NamespacedObject>(
    operator: &mut Operator,
    placement: &Placement,
    build: impl FnOnce(&Placement, &Target) -> Result<Objects<W>, DispatchError> + Send + 'static,
) {
    let key = ObjectKey::of(placement);
    if operator.state.placements.refusal(&key).is_some() {
        return;
    }
    let facts = operator.state.kinds.get(placement.spec.job_ref.kind);
    let (Some(service), Some(member)) =
        (facts.map(|f| f.service), operator.member_client(placement))
    else {
        return;
    };
    let (target, server, placement) = (
        target(operator, placement),
        placement.spec.cluster.clone(),
        placement.clone(),
    );
    operator.start(&server, placement_call(&key.clone()), async move {
        let made = match build(&placement, &target) {
            Ok(objects) => make_objects(&member, &placement, objects, service).await,
            Err(error) => Err(error.into()),
        };
        Box::new(move |operator: &mut Operator| objects_made(operator, &key, made)) as Then
    });
}

fn objects_made(operator: &mut Operator, key: &ObjectKey, made: Result<(), MakeError>) {
    operator.metrics.called("create workload", made.is_ok());
    let Some(job) = operator.state.placement(key).map(JobKey::of_placement) else {
        return;
    };
    match made {
        Ok(()) => {
            operator.state.placements.dispatched(key);
        }
        Err(MakeError::Transient { cluster, source }) => {
            tracing::warn!(placement = %key, %cluster, error = %source, "objects not made; trying again");
            operator.requeue_after(&job, Timestamp::now(), RETRY_SECONDS);
        }
        Err(error) => {
            tracing::warn!(placement = %key, %error, "objects refused");
            operator.state.placements.refused(key, error.to_string());
        }
    }
    operator.state.dirty.jobs.insert(job);
}
