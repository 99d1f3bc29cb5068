//! What there is to know of each reason: how telling it is, how much is missing, what kinds of change could lift it.

use crate::model::Reason;

/// Most reasons of one verdict.
pub(crate) const MOST_REASONS: usize = 32;

/// How telling a reason is, least first: what is nearest to a placement. Unique per variant.
pub(super) fn rank(reason: &Reason) -> u8 {
    match reason {
        Reason::Invalid { .. } => 0,
        Reason::NoThroughput => 1,
        Reason::DeadlineMissed { .. } => 2,
        Reason::HourlyBudgetExceeded { .. } => 3,
        Reason::DollarBudgetExceeded { .. } => 4,
        Reason::PowerBudgetExceeded { .. } => 5,
        Reason::PowerDomainExceeded { .. } => 6,
        Reason::SpreadExceeded { .. } => 7,
        Reason::TopologyTooSmall { .. } => 8,
        Reason::TopologyUnknown { .. } => 9,
        Reason::InsufficientCpu { .. } => 10,
        Reason::InsufficientMemory { .. } => 11,
        Reason::InsufficientResource { .. } => 12,
        Reason::InsufficientPodSlots { .. } => 13,
        Reason::NodesUnavailable { .. } => 14,
        Reason::NodeSelectorMismatch { .. } => 15,
        Reason::TaintNotTolerated { .. } => 16,
        Reason::NodeIsOneUnit { .. } => 17,
        Reason::Unpriced => 18,
        Reason::Fragmented { .. } => 19,
        Reason::InsufficientDevices { .. } => 20,
        Reason::NodesTooSmall { .. } => 21,
        Reason::InsufficientCapacity { .. } => 22,
        Reason::CapacityTypeNotAllowed { .. } => 23,
        Reason::ClusterUnreachable => 24,
        Reason::NamespaceNotAllowed => 25,
        Reason::ClusterNotSelected => 26,
        Reason::NoSuchPart { .. } => 27,
        Reason::NoSuchAccelerator { .. } => 28,
        Reason::Promised { .. } => 29,
        Reason::UnknownPowerDomain { .. } => 30,
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
        Reason::UnknownPowerDomain { needed_watts, .. } => i128::from(needed_watts.0),
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
