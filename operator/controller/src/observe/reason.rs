//! The one word by which `kubectl get` says what is the matter with a job.

use ampacity_api::conditions::find_condition;
use ampacity_api::{ConditionReason as R, ConditionType, Verdict};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Reasons of `Running` that say no more than the state does.
const SAID_BY_STATE: [R; 7] = [
    R::Dispatching,
    R::Starting,
    R::AllReplicasRunning,
    R::NotPlaced,
    R::Stopping,
    R::Suspended,
    R::Replacing,
];

/// `status.reason` of a job: what is wrong with it, else what keeps those from it that it runs with, else what is in the way of a
/// place, else why it failed or does not run. `None` where all is well, and where the state says it.
pub fn reason_column(conditions: &[Condition], verdict: Option<&Verdict>) -> Option<String> {
    let of = |type_| find_condition(conditions, type_);
    let is = |condition: &Condition, reason: R| condition.reason == reason.as_str();
    let valid = of(ConditionType::Valid).filter(|c| c.status == "False");
    if let Some(invalid) = valid {
        return Some(invalid.reason.clone());
    }
    if let Some(finished) = of(ConditionType::Finished).filter(|c| c.status == "True") {
        return (!is(finished, R::Succeeded)).then(|| finished.reason.clone());
    }
    let running = of(ConditionType::Running).filter(|c| c.status != "True");
    if let Some(running) = running.filter(|c| c.status == "Unknown") {
        return Some(running.reason.clone());
    }
    if let Some(reason) = verdict.and_then(|verdict| verdict.reasons.first()) {
        return Some(reason.reason.clone());
    }
    let placed = of(ConditionType::Placed).filter(|c| c.status == "False");
    if placed.is_some_and(|c| is(c, R::Suspended)) {
        return None;
    }
    let telling = running.filter(|c| !SAID_BY_STATE.iter().any(|reason| is(c, *reason)));
    let word = telling.or(placed)?;
    Some(word.reason.clone())
}

#[cfg(test)]
mod tests {
    use ampacity_api::conditions::{ConditionStatus, NewCondition};
    use ampacity_api::set_condition;
    use ampacity_api::verdict::VerdictReason;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    /// What it is, its conditions, whether it has a verdict, and the word.
    type Case<'a> = (
        &'a str,
        &'a [(ConditionType, ConditionStatus, R)],
        bool,
        Option<&'a str>,
    );

    #[test]
    fn the_most_urgent_word_is_shown() {
        use ConditionStatus::{False, True, Unknown};
        use ConditionType::{Finished, Placed, Running, Valid};
        let ok = (Valid, True, R::Accepted);
        let here = (Placed, True, R::Placed);
        let cases: [Case<'_>; 14] = [
            ("new", &[], false, None),
            (
                "invalid",
                &[
                    (Valid, False, R::UnknownAcceleratorType),
                    (Placed, False, R::UnknownAcceleratorType),
                    (Running, False, R::NotPlaced),
                ],
                false,
                Some("UnknownAcceleratorType"),
            ),
            (
                "waits for its turn",
                &[
                    ok,
                    (Placed, False, R::Queued),
                    (Running, False, R::NotPlaced),
                ],
                false,
                Some("Queued"),
            ),
            (
                "has no place",
                &[
                    ok,
                    (Placed, False, R::NoCandidate),
                    (Running, False, R::NotPlaced),
                ],
                true,
                Some("InsufficientDevices"),
            ),
            (
                "starts",
                &[ok, here, (Running, False, R::Starting)],
                false,
                None,
            ),
            (
                "runs",
                &[ok, here, (Running, True, R::AllReplicasRunning)],
                false,
                None,
            ),
            (
                "runs where nobody can look",
                &[ok, here, (Running, Unknown, R::ClusterUnreachable)],
                false,
                Some("ClusterUnreachable"),
            ),
            (
                "serves in part, and nobody can look",
                &[
                    ok,
                    (Placed, False, R::PartlyPlaced),
                    (Running, Unknown, R::ClusterUnreachable),
                ],
                true,
                Some("ClusterUnreachable"),
            ),
            (
                "lost its node",
                &[
                    ok,
                    (Placed, False, R::Replacing),
                    (Running, False, R::NodeFailed),
                ],
                false,
                Some("NodeFailed"),
            ),
            (
                "its Placement was deleted",
                &[
                    ok,
                    (Placed, False, R::Replacing),
                    (Running, False, R::Stopping),
                ],
                false,
                Some("Replacing"),
            ),
            (
                "replicas broke down",
                &[ok, here, (Running, False, R::ReplicasNotReady)],
                false,
                Some("ReplicasNotReady"),
            ),
            (
                "suspended",
                &[
                    ok,
                    (Placed, False, R::Suspended),
                    (Running, False, R::Suspended),
                ],
                false,
                None,
            ),
            (
                "succeeded",
                &[
                    ok,
                    (Placed, False, R::Released),
                    (Running, False, R::Succeeded),
                    (Finished, True, R::Succeeded),
                ],
                false,
                None,
            ),
            (
                "failed",
                &[
                    ok,
                    (Placed, False, R::Released),
                    (Running, False, R::MaxRestartsExceeded),
                    (Finished, True, R::MaxRestartsExceeded),
                ],
                false,
                Some("MaxRestartsExceeded"),
            ),
        ];
        let verdict = Verdict {
            reasons: vec![VerdictReason {
                reason: "InsufficientDevices".to_owned(),
                ..VerdictReason::default()
            }],
            ..Verdict::default()
        };
        for (what, said, has_verdict, word) in cases {
            let mut conditions = Vec::new();
            for (type_, status, reason) in said {
                let condition = NewCondition::new(*type_, *status, *reason);
                set_condition(&mut conditions, condition, &Time(Timestamp::UNIX_EPOCH));
            }
            let verdict = has_verdict.then_some(&verdict);
            assert_eq!(
                reason_column(&conditions, verdict).as_deref(),
                word,
                "{what}"
            );
        }
    }
}
