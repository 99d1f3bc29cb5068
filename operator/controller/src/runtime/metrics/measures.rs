//! What is measured of the whole state, at one moment.

use std::collections::BTreeMap;

use super::labels::{
    BudgetLabel, ClusterDevices, ClusterLabel, ClusterReason, DomainLabel, QueueDevices,
    QueueLabel, WaitingDevices,
};

/// Everything that is measured rather than counted. What is not in it is not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Jobs that want a place.
    pub waiting: BTreeMap<QueueLabel, i64>,
    /// Seconds since the creation of the oldest of them.
    pub longest_wait_seconds: BTreeMap<QueueLabel, i64>,
    /// Whole devices that nodes have.
    pub devices: BTreeMap<ClusterDevices, i64>,
    /// Of these, those that nobody holds, on nodes that can take pods.
    pub devices_free: BTreeMap<ClusterDevices, i64>,
    /// Whole devices that placements hold.
    pub devices_used: BTreeMap<QueueDevices, i64>,
    /// Whole devices that waiting jobs ask for.
    pub devices_waiting: BTreeMap<WaitingDevices, i64>,
    /// 1 or 0 for every member cluster.
    pub cluster_reachable: BTreeMap<ClusterLabel, i64>,
    /// 1 for each that is not, under the reason.
    pub cluster_unreachable: BTreeMap<ClusterReason, i64>,
    /// When each last answered, Unix seconds.
    pub cluster_last_seen: BTreeMap<ClusterLabel, i64>,
    /// Watts of all placements.
    pub reserved_watts: i64,
    /// Millionths of a dollar per hour of all placements.
    pub usd_micro_per_hour: i64,
    /// Watts that may be reserved.
    pub domain_usable_watts: BTreeMap<DomainLabel, i64>,
    /// Watts that are reserved.
    pub domain_reserved_watts: BTreeMap<DomainLabel, i64>,
    /// Watts that are left, less than 0 where it is overloaded.
    pub domain_headroom_watts: BTreeMap<DomainLabel, i64>,
    /// Watts that are left, less than 0 where it is overloaded.
    pub budget_headroom_watts: BTreeMap<BudgetLabel, i64>,
}
