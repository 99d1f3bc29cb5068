//! What an alternative asks for: replicas at once, seconds of work, nodes with these labels.

use crate::model::{Alternative, JobSpec, Kind, NodeRequirement, PodShape, Work, saturated};

/// Replicas that an alternative must place at once: the gang, or one inference replica.
pub(crate) fn gang_size(job: &JobSpec, alternative: &Alternative) -> u64 {
    match job.kind {
        Kind::Training { .. } => u64::from(alternative.replicas),
        Kind::Inference { .. } => 1,
    }
}

/// Seconds that an alternative needs for a gang's work, with restoring a checkpoint where there is one; `None` where it would
/// never end, and for inference.
pub(crate) fn duration_seconds(kind: &Kind, alternative: &Alternative) -> Option<i64> {
    let Kind::Training {
        work,
        restores,
        checkpoint_restore_seconds,
        ..
    } = kind
    else {
        return None;
    };
    let seconds = match *work {
        Work::DurationSeconds(seconds) => seconds,
        Work::UnitsMicro(units) => {
            let rate = i128::from(alternative.throughput_micro.filter(|&t| t > 0)?);
            // To the nearest second, and never nothing.
            saturated((i128::from(units) + rate / 2) / rate).max(1)
        }
    };
    let restore = (*checkpoint_restore_seconds).max(0);
    Some(seconds.saturating_add(if *restores { restore } else { 0 }))
}

/// The node requirement, where it says anything.
pub(crate) fn requirement(pod: &PodShape) -> Option<&NodeRequirement> {
    (!pod.nodes.all.0.is_empty() || !pod.nodes.any.is_empty()).then_some(&pod.nodes)
}
