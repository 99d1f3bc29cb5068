//! Whether the operator is in touch with a member cluster, and why not.

use ampacity_api::ConditionReason;
use ampacity_api::conditions::ConditionStatus;
use jiff::Timestamp;

use crate::state::{Member, Reach};

/// A watch that failed longer ago than this has been tried again since, and has not failed.
const WATCH_FAILURE_SECONDS: i64 = 30;

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
        Reach::Connected => match &member.watch_failed {
            Some((failure, at))
                if now.as_second() - at.as_second() < WATCH_FAILURE_SECONDS
                    && (!member.is_synced() || failure.is_refusal()) =>
            {
                (
                    ConditionStatus::False,
                    if failure.is_refusal() {
                        ConditionReason::Forbidden
                    } else {
                        ConditionReason::ConnectionFailed
                    },
                    failure.message.clone(),
                )
            }
            _ => (
                ConditionStatus::True,
                ConditionReason::Connected,
                String::new(),
            ),
        },
        Reach::Unreachable {
            reason, message, ..
        } => {
            let reason = match *reason {
                "SecretMissing" | "SecretForbidden" => ConditionReason::SecretMissing,
                "KubeconfigInvalid" => ConditionReason::KubeconfigInvalid,
                "Unauthorized" => ConditionReason::Unauthorized,
                "Forbidden" => ConditionReason::Forbidden,
                "UnsupportedVersion" => ConditionReason::UnsupportedVersion,
                _ => ConditionReason::ConnectionFailed,
            };
            (ConditionStatus::False, reason, message.clone())
        }
    }
}
