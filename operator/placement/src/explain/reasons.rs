//! What there is to know of each reason: how telling it is, how much is missing, what kinds of change could lift it.

use crate::model::Reason;

/// Most reasons of one verdict.
pub(crate) const MOST_REASONS: usize = 32;

/// How telling a reason is, least first: what decided, and what is nearest to a placement; what the job or the cluster's owner
/// ruled out on purpose comes last. Unique per variant.
pub(super) fn rank(reason: &Reason) -> u8 {
    match reason {
        Reason::Invalid { .. } => 0,
        Reason::NoThroughput => 1,
        Reason::Promised { .. } => 2,
        Reason::DeadlineMissed { .. } => 3,
        Reason::HourlyBudgetExceeded { .. } => 4,
        Reason::DollarBudgetExceeded { .. } => 5,
        Reason::PowerBudgetExceeded { .. } => 6,
        Reason::PowerDomainExceeded { .. } => 7,
        Reason::UnknownPowerDomain { .. } | Reason::PowerDomainClosed { .. } => 8,
        Reason::SpreadExceeded { .. } => 9,
        Reason::TopologyTooSmall { .. } => 10,
        Reason::TopologyUnknown { .. } => 11,
        Reason::InsufficientCpu { .. } => 12,
        Reason::InsufficientMemory { .. } => 13,
        Reason::InsufficientResource { .. } => 14,
        Reason::InsufficientPodSlots { .. } => 15,
        Reason::NodesUnavailable { .. } => 16,
        Reason::NodeSelectorMismatch { .. } => 17,
        Reason::TaintNotTolerated { .. } => 18,
        Reason::NodeIsOneUnit { .. } => 19,
        Reason::Unpriced => 20,
        Reason::ClusterAvoided => 21,
        Reason::Fragmented { .. } => 22,
        Reason::InsufficientDevices { .. } => 23,
        Reason::NodesTooSmall { .. } => 24,
        Reason::InsufficientCapacity { .. } => 25,
        Reason::CapacityTypeNotAllowed { .. } => 26,
        Reason::ClusterUnreachable => 27,
        Reason::NoSuchPart { .. } => 28,
        Reason::NoSuchAccelerator { .. } => 29,
        Reason::NamespaceNotAllowed => 30,
        Reason::ClusterNotSelected => 31,
    }
}

/// How much is missing, to put the closest first among equal reasons.
pub(super) fn shortage(reason: &Reason) -> i128 {
    let less = |needed: u64, have: u64| i128::from(needed) - i128::from(have);
    match reason {
        Reason::DeadlineMissed { late_seconds } => i128::from(*late_seconds),
        Reason::HourlyBudgetExceeded {
            needed_usd_per_hour: needed,
            limit_usd_per_hour: limit,
        }
        | Reason::DollarBudgetExceeded {
            needed_usd: needed,
            limit_usd: limit,
        } => i128::from(needed.0) - i128::from(limit.0),
        Reason::PowerBudgetExceeded {
            needed_watts,
            headroom_watts,
            ..
        }
        | Reason::PowerDomainExceeded {
            needed_watts,
            headroom_watts,
            ..
        } => i128::from(needed_watts.0) - i128::from(headroom_watts.0),
        Reason::UnknownPowerDomain { needed_watts, .. }
        | Reason::PowerDomainClosed { needed_watts, .. } => i128::from(needed_watts.0),
        Reason::TopologyTooSmall {
            needed, fitting, ..
        }
        | Reason::InsufficientCpu {
            needed, fitting, ..
        }
        | Reason::InsufficientMemory {
            needed, fitting, ..
        }
        | Reason::InsufficientPodSlots { needed, fitting }
        | Reason::InsufficientResource {
            needed, fitting, ..
        }
        | Reason::NodesTooSmall {
            needed, fitting, ..
        }
        | Reason::Fragmented {
            needed, fitting, ..
        } => less(*needed, *fitting),
        Reason::InsufficientDevices { needed, available } => less(*needed, *available),
        Reason::InsufficientCapacity { needed, total } => less(*needed, *total),
        _ => 0,
    }
}

/// Kinds of change, in order of how small a change they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FixKind {
    Topology,
    Capacity,
    Restore,
    Power,
    Money,
    Deadline,
    Part,
    Add,
    Free,
}

impl FixKind {
    /// Place in that order.
    pub(super) fn rank(self) -> u8 {
        self as u8
    }
}

/// Changes that could lift a reason.
pub(super) fn kinds(reason: &Reason) -> &'static [FixKind] {
    use FixKind as O;
    match reason {
        Reason::CapacityTypeNotAllowed { .. } => &[O::Capacity],
        Reason::InsufficientCapacity { .. } | Reason::NodesTooSmall { .. } => &[O::Add],
        Reason::InsufficientDevices { .. } | Reason::Fragmented { .. } => {
            &[O::Restore, O::Add, O::Free]
        }
        Reason::InsufficientCpu { .. }
        | Reason::InsufficientMemory { .. }
        | Reason::InsufficientPodSlots { .. }
        | Reason::InsufficientResource { .. }
        | Reason::NodeSelectorMismatch { .. }
        | Reason::NodesUnavailable { .. } => &[O::Restore, O::Add],
        Reason::TopologyTooSmall { .. } | Reason::TopologyUnknown { .. } => {
            &[O::Topology, O::Restore, O::Add]
        }
        Reason::PowerDomainExceeded { .. }
        | Reason::UnknownPowerDomain { .. }
        | Reason::PowerBudgetExceeded { .. } => &[O::Power],
        Reason::DollarBudgetExceeded { .. } | Reason::HourlyBudgetExceeded { .. } => &[O::Money],
        Reason::DeadlineMissed { .. } => &[O::Deadline],
        Reason::NoSuchPart { .. } => &[O::Part],
        _ => &[],
    }
}

/// Whether only the job's author can help.
pub(super) fn is_jobs_own(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::Invalid { .. }
            | Reason::NoThroughput
            | Reason::TaintNotTolerated { .. }
            | Reason::NodeSelectorMismatch { .. }
            | Reason::NodeIsOneUnit { .. }
            | Reason::NodesTooSmall { .. }
            | Reason::InsufficientResource { fitting: 0, .. }
            | Reason::ClusterNotSelected
            | Reason::NamespaceNotAllowed
            | Reason::NoSuchAccelerator { .. }
            | Reason::NoSuchPart { .. }
            | Reason::Unpriced
    )
}
