//! Why no objects can be made of a placement.

/// Why no objects can be made of a placement. Each says what to do; none is worth a retry with the same input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// The placement was made for another job.
    #[error("placement {placement} is for {wanted}, not for {given}: remove the placement")]
    OtherJob {
        /// Name of the placement.
        placement: String,
        /// Job that it names.
        wanted: String,
        /// Job that was given.
        given: String,
    },
    /// An object has no name, namespace or UID: it was not read from an API server.
    #[error("{object} has no {field}: it must come from the hub's API server")]
    Incomplete {
        /// `Placement` or the job's kind.
        object: &'static str,
        /// The missing field.
        field: &'static str,
    },
    /// The alternative that was chosen is no longer in the job.
    #[error("the job has no alternative {alternative:?}: place the job again")]
    NoSuchAlternative {
        /// Its name.
        alternative: String,
    },
    /// Neither an extended resource nor a device class, or both.
    #[error(
        "spec.resource of placement {placement} must name either a resource or a device class: place the job again"
    )]
    NoDeviceResource {
        /// Name of the placement.
        placement: String,
    },
    /// The MIG profile cannot be asked for by DRA.
    #[error(
        "spec.migProfile {profile:?} of placement {placement} is no MIG profile: place the job again"
    )]
    NoMigProfile {
        /// Name of the placement.
        placement: String,
        /// What it says.
        profile: String,
    },
    /// The nodes do not add up to the replicas.
    #[error(
        "the nodes of placement {placement} hold {held} replicas but it has {replicas}: place the job again"
    )]
    ReplicasDoNotAddUp {
        /// Name of the placement.
        placement: String,
        /// Sum over the nodes.
        held: i64,
        /// Replicas of the placement.
        replicas: i32,
    },
    /// The template chooses its node itself.
    #[error(
        "template.spec.nodeName is set, but Ampacity chooses the node: remove it, or use a nodeSelector"
    )]
    NodeNameSet,
    /// The template's pods would have a priority that is for the components of a cluster.
    #[error("template.spec.priorityClassName: {0}")]
    ReservedPriorityClass(String),
    /// The template's required node affinity matches no node.
    #[error(
        "no term of the template's required node affinity has a requirement, so it matches no node: remove it or give it one"
    )]
    EmptyAffinity,
}
