//! AcceleratorType: one device model.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::schema;

/// Facts about a device model; an object of a built-in type's name stands in its place.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema,
)]
#[kube(
    group = "ampacity.dev",
    version = "v1alpha1",
    kind = "AcceleratorType",
    doc = "A device model: its memory, speed and watts, and how nodes show that they have it. An object of a built-in type's name stands in that type's place.",
    shortname = "at",
    category = "ampacity",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(
        name = "Vendor",
        type_ = "string",
        json_path = ".spec.vendor",
        description = "Vendor"
    ),
    printcolumn(
        name = "GiB",
        type_ = "integer",
        json_path = ".spec.memoryGib",
        description = "Memory of a device in GiB"
    ),
    printcolumn(
        name = "TFLOPS",
        type_ = "integer",
        json_path = ".spec.bf16Tflops",
        description = "Dense BF16 speed of a device in TFLOPS"
    ),
    printcolumn(
        name = "Watts",
        type_ = "integer",
        json_path = ".spec.power.defaultWatts",
        description = "Power limit of a device in watts"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since it was created"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorTypeSpec {
    /// Vendor, in lower case: `nvidia`, `amd`, `aws`, `google`, `intel`. Required.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub vendor: String,
    /// Memory of one device, in GiB, 1 to 65536. Required.
    #[schemars(range(min = 1, max = 65_536))]
    pub memory_gib: i64,
    /// Dense BF16 speed of one device, in TFLOPS, 1 to 10000000. Required.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub bf16_tflops: i64,
    /// Whole devices of a node whose instance type only `match.instanceTypes` names, 1 to 1024: where such a node offers more, it offers
    /// slices of them, which are not counted. Default: every count is taken for whole devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub devices_per_node: Option<i32>,
    /// Watts of one device. Required.
    pub power: AcceleratorPower,
    /// How nodes show that they have the device. Default: the built-in rules for a type of this name, if there is one.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_: Option<AcceleratorMatch>,
}

/// Watts of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!has(self.minCapWatts) || self.minCapWatts <= self.defaultWatts", "minCapWatts must not be above defaultWatts"),
    validation = ("!has(self.minCapWatts) || !has(self.maxCapWatts) || self.minCapWatts <= self.maxCapWatts", "minCapWatts must not be above maxCapWatts"),
    validation = ("!has(self.idleWatts) || self.idleWatts <= self.defaultWatts", "idleWatts must not be above defaultWatts")
)]
pub struct AcceleratorPower {
    /// Power limit of one device as it is shipped, in watts, 1 to 1000000: what is reserved for it. Required.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub default_watts: i64,
    /// Lowest power cap that the device takes, in watts. Checked and kept, but nothing follows from it yet: no caps are set. Default:
    /// it takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_cap_watts: Option<i64>,
    /// Highest power cap that the device takes, in watts. Checked and kept, but nothing follows from it yet: no caps are set.
    /// Default: defaultWatts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_cap_watts: Option<i64>,
    /// Watts of one device that does nothing. Checked and kept, but nothing follows from it yet: idle devices are charged no watts.
    /// Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub idle_watts: Option<i64>,
    /// Watts of the host (CPUs, fans, NICs, losses of its supply) for each device. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub host_overhead_watts: Option<i64>,
}

/// How nodes show that they have a device: one of resourceNames, and one of nodeLabels or instanceTypes where given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorMatch {
    /// Extended resources that the device is advertised as, such as `nvidia.com/gpu`; 1 to 16. Required.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 317), regex(pattern = schema::QUALIFIED_NAME)), extend("x-kubernetes-list-type" = "set"))]
    pub resource_names: Vec<String>,
    /// Node labels of which one must have one of its values; at most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub node_labels: Vec<NodeLabelValues>,
    /// Instance types of which the node must have one, such as `p5.48xlarge`; at most 64. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub instance_types: Vec<String>,
}

/// A node label and the values that match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeLabelValues {
    /// Key of the label. Required.
    #[schemars(length(min = 1, max = 317), regex(pattern = schema::QUALIFIED_NAME))]
    pub key: String,
    /// Values that match; 1 to 64. Required.
    #[schemars(length(min = 1, max = 64), inner(length(max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}
