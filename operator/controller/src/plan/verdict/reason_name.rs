//! The words for why a candidate was not taken, and how such words are declared.

macro_rules! names {
    ($(#[$meta:meta])* pub enum $name:ident { $( $(#[$doc:meta])* $variant:ident, )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$doc])* $variant, )+ }

        impl $name {
            /// Every name.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )+];

            /// The word that stands in a status and in a plan.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => stringify!($variant), )+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(super) use names;

names! {
    /// Why a candidate was not taken. Programs may rely on these words; they are never renamed.
    pub enum ReasonName {
        /// `clusterSelector` leaves the cluster out.
        ClusterNotSelected,
        /// The cluster does not admit the namespace.
        NamespaceNotAllowed,
        /// The cluster cannot be reached.
        ClusterUnreachable,
        /// Something did not work there a short while ago; the cluster is tried again by itself.
        ClusterAvoided,
        /// No node has such a device.
        NoSuchAccelerator,
        /// Nodes have the device, but not the part of it, or not whole.
        NoSuchPart,
        /// `capacityTypes` leaves the nodes out.
        CapacityTypeNotAllowed,
        /// Too few devices exist.
        InsufficientCapacity,
        /// Devices enough exist, but on nodes too small for a replica.
        NodesTooSmall,
        /// Too few devices are free.
        InsufficientDevices,
        /// Devices are free, but on too many nodes.
        Fragmented,
        /// Too little CPU.
        InsufficientCpu,
        /// Too little memory.
        InsufficientMemory,
        /// Too little of another resource of the template.
        InsufficientResource,
        /// A node goes to one replica as a whole, and the job asks for another number of devices.
        NodeIsOneUnit,
        /// No pod slots.
        InsufficientPodSlots,
        /// A taint is not tolerated.
        TaintNotTolerated,
        /// Node selector or affinity leaves nodes out.
        NodeSelectorMismatch,
        /// Nodes are out of service.
        NodesUnavailable,
        /// No topology domain is large enough.
        TopologyTooSmall,
        /// Nodes carry no label of the level.
        TopologyUnknown,
        /// A power domain has too little headroom.
        PowerDomainExceeded,
        /// Nodes hang on a power domain that does not exist.
        UnknownPowerDomain,
        /// Nodes hang on power domains that feed each other in a circle.
        PowerDomainCycle,
        /// Nodes hang on a power domain that is being deleted.
        PowerDomainTerminating,
        /// A power budget has too little headroom.
        PowerBudgetExceeded,
        /// The run would cost too much.
        DollarBudgetExceeded,
        /// An hour would cost too much.
        HourlyBudgetExceeded,
        /// Nodes have no price and the job has a budget.
        Unpriced,
        /// It would be late.
        DeadlineMissed,
        /// The work would never end.
        NoThroughput,
        /// Spread leaves no room.
        SpreadExceeded,
        /// There is room, but gangs that come first were promised it.
        Promised,
        /// The cluster refused the job's objects a moment ago.
        DispatchRefused,
        /// A ResourceQuota of the job's namespace in the hub leaves no room.
        ResourceQuotaExceeded,
        /// The job cannot be planned.
        Invalid,
    }
}
