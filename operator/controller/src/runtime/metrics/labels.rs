//! The labels of metrics. All values are from bounded sets: names of objects of the platform team, accelerator types, reasons,
//! and the first few hundred queues.

use prometheus_client::encoding::EncodeLabelSet;

/// A set of labels whose names are known.
pub(super) trait LabelSet:
    EncodeLabelSet + Clone + std::fmt::Debug + std::hash::Hash + Ord + Send + Sync + 'static
{
    /// Names of the labels.
    const NAMES: &'static [&'static str];
}

macro_rules! label_sets {
    ($( $(#[$doc:meta])* $name:ident { $($label:ident),+ } )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
        pub struct $name {
            $(
                /// The label of this name.
                pub $label: String,
            )+
        }

        impl LabelSet for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($label)),+];
        }
    )+};
}

label_sets! {
    /// A member cluster.
    ClusterLabel { cluster }
    /// A member cluster, and why.
    ClusterReason { cluster, reason }
    /// Devices of one type in a member cluster.
    ClusterDevices { cluster, accelerator_type }
    /// Devices of one type in a member cluster that jobs of a queue hold.
    QueueDevices { cluster, accelerator_type, queue }
    /// Devices of one type that jobs of a queue wait for.
    WaitingDevices { accelerator_type, queue }
    /// A queue.
    QueueLabel { queue }
    /// A power domain.
    DomainLabel { domain }
    /// A power budget.
    BudgetLabel { budget }
    /// Why.
    ReasonLabel { reason }
    /// A call and how it ended.
    CallLabel { call, outcome }
}
