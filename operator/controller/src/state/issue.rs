//! What is wrong with a job, so that it cannot be planned.

use ampacity_api::ConditionReason;

/// A field of a job that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct JobIssue {
    /// Path of the field, such as `spec.alternatives[0].acceleratorType`.
    pub field: String,
    /// Reason of the `Valid` condition.
    pub reason: ConditionReason,
    /// What is wrong and what to do.
    pub message: String,
}

impl JobIssue {
    /// An issue with a field.
    pub fn new(
        field: impl Into<String>,
        reason: ConditionReason,
        message: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            reason,
            message: message.into(),
        }
    }
}
