//! Whether a member answers, and why not.

use ampacity_api::ConditionReason;
use jiff::Timestamp;

/// Why a member cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The Secret with its kubeconfig does not exist.
    SecretMissing,
    /// The operator may not read the Secret.
    SecretForbidden,
    /// The Secret holds no kubeconfig that can be used.
    KubeconfigInvalid,
    /// It does not take the credentials.
    Unauthorized,
    /// The credentials do not allow what is needed.
    Forbidden,
    /// It is of a version that is not supported.
    UnsupportedVersion,
    /// It is another cluster than the one that was there before.
    OtherCluster,
    /// It is the cluster that another MemberCluster leads to.
    SameCluster,
    /// The hub does not give the Secret.
    HubError,
    /// It does not answer.
    NoAnswer,
}

impl Cause {
    /// Whether it is the member that is silent. Everything else is on our side or between us, and says nothing of whether it lives.
    pub fn is_silence(self) -> bool {
        self == Self::NoAnswer
    }

    /// The word of the API for it.
    pub fn reason(self) -> ConditionReason {
        match self {
            Self::SecretMissing | Self::SecretForbidden => ConditionReason::SecretMissing,
            Self::KubeconfigInvalid => ConditionReason::KubeconfigInvalid,
            Self::Unauthorized => ConditionReason::Unauthorized,
            Self::Forbidden => ConditionReason::Forbidden,
            Self::UnsupportedVersion => ConditionReason::UnsupportedVersion,
            Self::OtherCluster => ConditionReason::OtherCluster,
            Self::SameCluster => ConditionReason::SameCluster,
            Self::HubError | Self::NoAnswer => ConditionReason::ConnectionFailed,
        }
    }
}

/// Whether a member answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// No attempt has ended yet.
    #[default]
    Connecting,
    /// It answers.
    Connected,
    /// It does not, or may not be used.
    Unreachable {
        /// Since when for this cause.
        since: Timestamp,
        /// Why.
        cause: Cause,
        /// What happened and what to do.
        message: String,
    },
}
