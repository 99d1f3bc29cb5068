//! A gang in a cluster whose jobs are placed elsewhere once it is silent ends by itself when it has had no word from the hub for a
//! time: nobody could stop it there, and it must not run beside its replacement for ever.

use std::time::Instant;

use ampacity_api::member_cluster::UnreachableAction;
use ampacity_api::{Placement, labels};
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, PatchParams};
use serde_json::Value;

use super::spec_patch::at_generation;
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

/// The deadline that a Job is to get instead of the one that it has, where it is time: half of the fence is over since it was put off
/// last, or what it has is not what is wanted. `unrenewed`: seconds since then by a clock that never jumps, as `age` may.
fn renewed(times: Times, fence: Option<i64>, age: i64, unrenewed: i64) -> Option<Option<i64>> {
    let Times { has, limit, .. } = times;
    let wanted = active_deadline(limit, fence, age);
    let is_for_want_of_word = has.is_some() && has != limit;
    let (Some(fence), true) = (fence, is_for_want_of_word) else {
        return (has != wanted).then_some(wanted);
    };
    let later = has.map(|has| has.saturating_add(unrenewed.max(0)));
    let is_due = has.is_some_and(|has| has - age < fence / 2) || unrenewed > fence / 2;
    is_due.then(|| [wanted.max(later), limit].into_iter().flatten().min())
}

/// The times of a Job as its member shows it.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Its `metadata.generation`.
    generation: Option<i64>,
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
            generation: workload.metadata.generation,
            has: workload.spec.active_deadline_seconds,
            limit: limit.and_then(|limit| limit.parse().ok()),
        }
    }
}

/// Gives the Job of a placement word from the hub where that is due.
pub fn renew_fence(operator: &mut Operator, placement: &Placement, times: Times, now: Timestamp) {
    let Some(placed) = placement.metadata.creation_timestamp.as_ref() else {
        return;
    };
    let age = operator.state.clock_steps.seconds_since(placed.0, now);
    let fence = fence_seconds(operator, &placement.spec.cluster);
    let (key, began) = (ObjectKey::of(placement), Instant::now());
    let call = format!("fence/{key}");
    let since = operator.state.placements.fence_renewed(&key, began);
    let unrenewed = since.map_or(0, |since| (began - since).as_secs());
    let unrenewed = i64::try_from(unrenewed).unwrap_or(i64::MAX);
    let Some(deadline) = renewed(times, fence, age, unrenewed) else {
        return;
    };
    if !operator.backoff.is_open(&call, began) {
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
    let path = "/spec/activeDeadlineSeconds";
    let Ok(patch) = at_generation(times.generation, path, deadline.map(Value::from)) else {
        return;
    };
    let server = placement.spec.cluster.clone();
    operator.start(&server.clone(), placement_call(&key.clone()), async move {
        let api: Api<DynamicObject> =
            Api::namespaced_with(member, &key.namespace, &facts.workload);
        let renewed = api
            .patch(&name, &PatchParams::default(), &patch)
            .await;
        Box::new(move |operator: &mut Operator| {
            operator.metrics.called("renew fence", renewed.is_ok());
            match renewed {
                Ok(_) => {
                    operator.backoff.succeeded(&call);
                    operator.state.placements.renew_fence(&key, began);
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::warn!(placement = %key, cluster = %server, %error, "a Job gets no word from the hub and will end by itself; does the member's role let the operator patch Jobs?");
                    operator.backoff.failed(&call, error.to_string(), Instant::now());
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
        // What the Job has, the job's limit, the fence, the age, how long it was not put off: what it gets, if it is time.
        let table = [
            (None, None, None, 0, 0, None),
            (Some(100), Some(100), None, 50, 50, None),
            (None, None, Some(600), 0, 0, Some(Some(600))),
            (Some(600), None, Some(600), 299, 299, None),
            (Some(600), None, Some(600), 301, 301, Some(Some(901))),
            (Some(600), Some(700), Some(600), 301, 301, Some(Some(700))),
            (Some(700), Some(700), Some(600), 650, 349, None),
            // The policy is to replace from now on.
            (Some(700), Some(700), Some(600), 10, 10, Some(Some(610))),
            // The policy is no longer to replace.
            (Some(600), None, None, 10, 10, Some(None)),
            (Some(600), Some(700), None, 10, 10, Some(Some(700))),
            // The hub's clock went back by an hour, and then on by two.
            (Some(4_200), None, Some(600), 299, 299, None),
            (Some(4_200), None, Some(600), 301, 301, Some(Some(4_501))),
            (Some(600), None, Some(600), 7_400, 200, Some(Some(8_000))),
        ];
        for (has, limit, fence, age, unrenewed, expected) in table {
            let times = Times {
                generation: None,
                has,
                limit,
            };
            let got = renewed(times, fence, age, unrenewed);
            assert_eq!(
                got, expected,
                "{has:?} {limit:?} {fence:?} {age} {unrenewed}"
            );
        }
    }
}
