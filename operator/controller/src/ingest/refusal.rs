//! Why a member cannot be used, and what to do about it.

use crate::state::Cause;

/// Oldest version of a member: since this one scheduling gates are stable
/// (kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness).
const OLDEST_SUPPORTED: (u32, u32) = (1, 30);

/// Why no connection was made.
pub(super) struct Refusal {
    /// The cause.
    pub(super) cause: Cause,
    /// What happened and what to do.
    pub(super) message: String,
}

/// Whether a member of this version can run what is placed there. Some distributions write a minor version as `30+`.
pub(super) fn supported(major: &str, minor: &str) -> Result<(), String> {
    let number = |text: &str| -> Option<u32> {
        text.trim_end_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .ok()
    };
    match (number(major), number(minor)) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST_SUPPORTED => Err(format!(
            "the member runs Kubernetes {major}.{minor}, and at least {}.{} is needed: gangs are held together by scheduling gates; upgrade the member",
            OLDEST_SUPPORTED.0, OLDEST_SUPPORTED.1
        )),
        // What does not tell its version is given a try.
        _ => Ok(()),
    }
}

/// No answer from an API server, and what to do about it.
pub(super) fn unreachable(server: &str, problem: &str) -> Refusal {
    Refusal {
        cause: Cause::NoAnswer,
        message: format!(
            "cannot reach the API server {server}: {problem}; check that it runs, that its address is right and that the hub's network reaches it"
        ),
    }
}

/// What an answer of an API server says about the credentials, and what to do about it.
pub(super) fn explain(server: &str, error: &kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) if status.code == 401 => Refusal {
            cause: Cause::Unauthorized,
            message: "the member does not accept the credentials; renew the token or certificate in the Secret".to_owned(),
        },
        kube::Error::Api(status) if status.code == 403 => Refusal {
            cause: Cause::Forbidden,
            message: format!("the member denies access ({}); install the member role of the chart", status.message),
        },
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                text = cause.to_string();
                source = cause.source();
            }
            unreachable(server, &text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_must_know_scheduling_gates() {
        for (major, minor, is_supported) in [
            ("1", "30", true),
            ("1", "37+", true),
            ("2", "0", true),
            ("1", "29", false),
            ("1", "29+", false),
            ("", "", true),
        ] {
            assert_eq!(
                supported(major, minor).is_ok(),
                is_supported,
                "{major}.{minor}"
            );
        }
    }
}
