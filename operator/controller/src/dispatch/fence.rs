//! A gang in a cluster whose jobs are placed elsewhere once it is silent ends by itself when it has had no word from the hub for a
//! time: nobody could stop it there, and it must not run beside its replacement for ever.

use ampacity_api::member_cluster::UnreachableAction;
use ampacity_api::{Placement, labels};
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;

use crate::runtime::{Operator, Then, placement_call};
use crate::state::{ObjectKey, Workload};

/// Seconds for which a gang may run in a cluster without word from the hub; `None`: for ever.
pub fn fence_seconds(operator: &Operator, cluster: &str) -> Option<i64> {
    let cluster = operator.state.hub.clusters.named(cluster)?;
    let policy = &cluster.spec.unreachable;
    (policy.action == UnreachableAction::Replace)
        .then(|| policy.after_seconds.saturating_add(policy.fence_seconds))
}

/// The `activeDeadlineSeconds` of a Job that may run for `limit` seconds and for `fence` without word from the hub, `age` seconds after
/// its placement.
pub fn active_deadline(limit: Option<i64>, fence: Option<i64>, age: i64) -> Option<i64> {
    let fenced = fence.map(|fence| age.max(0).saturating_add(fence));
    [limit, fenced].into_iter().flatten().min()
}

/// Whether a deadline that a Job has is to be put off, or taken off: it is one for want of word, and half of its time is over.
fn is_due(has: Option<i64>, limit: Option<i64>, fence: Option<i64>, age: i64) -> bool {
    let wanted = active_deadline(limit, fence, age);
    match (has, fence) {
        _ if has == wanted || has == limit => has != wanted && fence.is_some(),
        (Some(has), Some(fence)) => has - age < fence / 2,
        (None, Some(_)) => true,
        (_, None) => true,
    }
}

/// The times of a Job as its member shows it.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Its `activeDeadlineSeconds`.
    has: Option<i64>,
    /// The limit of the job itself, as it was when this was placed.
    limit: Option<i64>,
}

impl Times {
    /// Of a workload.
    pub fn of(workload: &Workload) -> Self {
        let annotations = workload.metadata.annotations.as_ref();
        let limit = annotations.and_then(|a| a.get(labels::LIMIT_SECONDS));
        Self {
            has: workload.spec.active_deadline_seconds,
            limit: limit.and_then(|limit| limit.parse().ok()),
        }
    }
}

/// Gives the Job of a placement word from the hub where that is due.
pub fn renew_fence(
    operator: &mut Operator,
    placement: &Placement,
    Times { has, limit }: Times,
    now: Timestamp,
) {
    let Some(placed) = placement.metadata.creation_timestamp.as_ref() else {
        return;
    };
    let age = now.as_second() - placed.0.as_second();
    let fence = fence_seconds(operator, &placement.spec.cluster);
    let key = ObjectKey::of(placement);
    let call = format!("fence/{key}");
    if !is_due(has, limit, fence, age)
        || !operator.backoff.is_open(&call, std::time::Instant::now())
    {
        return;
    }
    let facts = operator
        .state
        .kinds
        .get(placement.spec.job_ref.kind)
        .cloned();
    let (Some(facts), Some(member)) = (facts, operator.member_client(placement)) else {
        return;
    };
    let name = (facts.workload_name)(placement);
    let patch = json!({"spec": {"activeDeadlineSeconds": active_deadline(limit, fence, age)}});
    let server = placement.spec.cluster.clone();
    operator.start(&server.clone(), placement_call(&key.clone()), async move {
        let api: Api<DynamicObject> =
            Api::namespaced_with(member, &key.namespace, &facts.workload);
        let renewed = api
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        Box::new(move |operator: &mut Operator| {
            operator.metrics.called("renew fence", renewed.is_ok());
            match renewed {
                Ok(_) => operator.backoff.succeeded(&call),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::warn!(placement = %key, cluster = %server, %error, "a Job gets no word from the hub and will end by itself; does the member's role let the operator patch Jobs?");
                    operator
                        .backoff
                        .failed(&call, error.to_string(), std::time::Instant::now());
                }
            }
        }) as Then
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_for_want_of_word_is_put_off_in_time_and_never_beyond_the_jobs_own() {
        // What the Job has, the job's limit, the fence, the age: whether it is due, and what it gets.
        let table = [
            (None, None, None, 0, None),
            (Some(100), Some(100), None, 50, None),
            (None, None, Some(600), 0, Some(600)),
            (Some(600), None, Some(600), 299, None),
            (Some(600), None, Some(600), 301, Some(901)),
            (Some(600), Some(700), Some(600), 301, Some(700)),
            (Some(700), Some(700), Some(600), 650, None),
            (Some(700), Some(700), Some(600), 10, Some(610)),
            // The policy is no longer to replace.
            (Some(600), None, None, 10, Some(0)),
            (Some(600), Some(700), None, 10, Some(700)),
        ];
        for (has, limit, fence, age, expected) in table {
            let due = is_due(has, limit, fence, age);
            assert_eq!(due, expected.is_some(), "{has:?} {limit:?} {fence:?} {age}");
            if due {
                let wanted = active_deadline(limit, fence, age).unwrap_or(0);
                assert_eq!(Some(wanted), expected, "{has:?} {limit:?} {fence:?} {age}");
            }
        }
    }
}
