//! Whether the operator is in touch with a member cluster, and why not.

use ampacity_api::ConditionReason;
use ampacity_api::conditions::ConditionStatus;
use jiff::Timestamp;

use crate::state::{Member, Reach};

/// The answer to `Reachable`, its reason, and the same in words.
pub(super) fn reachability(
    member: &Member,
    now: Timestamp,
) -> (ConditionStatus, ConditionReason, String) {
    match &member.reach {
        Reach::Connecting => (
            ConditionStatus::Unknown,
            ConditionReason::Connecting,
            String::new(),
        ),
        Reach::Connected => match member.watches.failure(now) {
            Some(failure) => (
                ConditionStatus::False,
                if failure.is_refusal() {
                    ConditionReason::Forbidden
                } else {
                    ConditionReason::ConnectionFailed
                },
                failure.message.clone(),
            ),
            None => (
                ConditionStatus::True,
                ConditionReason::Connected,
                String::new(),
            ),
        },
        Reach::Unreachable { cause, message, .. } => {
            (ConditionStatus::False, cause.reason(), message.clone())
        }
    }
}
