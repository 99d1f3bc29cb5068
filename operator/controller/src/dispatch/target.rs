//! What the builders must know of the member cluster.

use std::collections::BTreeMap;

/// Facts about the member cluster that a placement is dispatched to, as read from its nodes when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Identity of this hub: two hubs that share a member keep to their own objects by it. A label value.
    pub hub: String,
    /// Vendor of the placement's accelerator type, as in AcceleratorType: `nvidia`, `amd`, `aws`, `google`, `intel`.
    pub vendor: String,
    /// Keys of the taints that pods tolerate because they hold the device (`nvidia.com/gpu`, say).
    pub tolerated_taint_keys: Vec<String>,
    /// Seconds for which a gang may run without word from the hub; `None`: for ever.
    pub fence_seconds: Option<i64>,
    /// Label `kubernetes.io/hostname` by node name, for the placement's nodes. It usually equals the name but
    /// need not. Nodes without the label are left out.
    pub hostnames: BTreeMap<String, String>,
}
