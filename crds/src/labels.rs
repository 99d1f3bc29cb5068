//! Names of the labels, annotations and finalizers that Ampacity writes or reads.

/// Prefix of every key of ours.
pub const PREFIX: &str = "ampacity.dev/";

/// Finalizer on a Placement: what it holds in its member cluster has not been removed yet.
pub const PLACEMENT_FINALIZER: &str = "ampacity.dev/placement";

/// Finalizer on a MemberCluster: Placements of the hub are still there.
pub const CLUSTER_FINALIZER: &str = "ampacity.dev/member-cluster";

/// Finalizer on a PowerDomain: watts are still charged to it, and by way of it to its parents.
pub const POWER_DOMAIN_FINALIZER: &str = "ampacity.dev/power-domain";

/// Label on objects in member clusters and on Placements: name of the job that they belong to.
pub const JOB_NAME: &str = "ampacity.dev/job-name";

/// Label beside [`JOB_NAME`]: `TrainingJob` or `InferenceJob`.
pub const JOB_KIND: &str = "ampacity.dev/job-kind";

/// Label beside [`JOB_NAME`]: UID of the job, so that a job of the same name made later is another.
pub const JOB_UID: &str = "ampacity.dev/job-uid";

/// Label beside [`JOB_NAME`]: the attempt, from 1.
pub const ATTEMPT: &str = "ampacity.dev/attempt";

/// Label on objects in member clusters: name of their Placement in the hub.
pub const PLACEMENT: &str = "ampacity.dev/placement";

/// Label on objects and pods in member clusters: which hub they are from.
pub const HUB: &str = "ampacity.dev/hub";

/// Annotation on Jobs in member clusters: seconds after their start at which the first limit of their TrainingJob is reached (its
/// deadline, its dollars, its longest runtime). Their `activeDeadlineSeconds` may be less, where they end for want of word from the hub.
pub const LIMIT_SECONDS: &str = "ampacity.dev/limit-seconds";
/// Annotation on objects and pods in member clusters: UID of their Placement.
pub const PLACEMENT_UID: &str = "ampacity.dev/placement-uid";

/// Annotation on objects in member clusters: fencing epoch of the placement that they were made from. A writer of a lower epoch
/// is a leader that was replaced.
pub const EPOCH: &str = "ampacity.dev/epoch";

/// Label on a node, only in files: name of the MemberCluster that the node belongs to.
pub const CLUSTER: &str = "ampacity.dev/cluster";

/// Label on a node: its capacity type, before any cloud's own label.
pub const CAPACITY_TYPE: &str = "ampacity.dev/capacity-type";

/// Label on objects in member clusters: who wrote them.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Value of [`MANAGED_BY`], and the field manager of server-side apply.
pub const MANAGED_BY_VALUE: &str = "ampacity";

/// Scheduling gate of a gang's pods, lifted when all of them are there and pinned.
pub const SCHEDULING_GATE: &str = "ampacity.dev/placement";
