//! MemberCluster: a cluster that jobs may be placed in.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{job::TopologyLevel, schema, string_enum::string_enum};

/// Key of a kubeconfig Secret when nothing is said.
pub const DEFAULT_KUBECONFIG_KEY: &str = "kubeconfig";
/// Seconds after which a silent cluster counts as unreachable when nothing is said.
pub const DEFAULT_UNREACHABLE_SECONDS: i64 = 300;
/// Most accelerator types that a status lists.
pub const MAX_ACCELERATORS: usize = 64;

fn default_kubeconfig_key() -> String {
    DEFAULT_KUBECONFIG_KEY.to_owned()
}

/// Default of [`UnreachablePolicy::fence_seconds`].
const DEFAULT_FENCE_SECONDS: i64 = 3_600;

fn default_fence_seconds() -> i64 {
    DEFAULT_FENCE_SECONDS
}

fn default_unreachable_seconds() -> i64 {
    DEFAULT_UNREACHABLE_SECONDS
}

/// What a platform team says about a cluster.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "ampacity.dev",
    version = "v1alpha1",
    kind = "MemberCluster",
    doc = "A cluster that jobs may be placed in: the hub itself, or one that a kubeconfig reaches. Its labels are what clusterSelector selects.",
    status = "MemberClusterStatus",
    shortname = "mc",
    category = "ampacity",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(
        name = "Provider",
        type_ = "string",
        json_path = ".spec.provider",
        description = "Who runs the nodes"
    ),
    printcolumn(
        name = "Region",
        type_ = "string",
        json_path = ".spec.region",
        description = "The provider's region"
    ),
    printcolumn(
        name = "Reachable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Reachable\")].status",
        description = "Whether the operator is in touch with it"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "Kubernetes version of its API server"
    ),
    printcolumn(
        name = "Nodes",
        type_ = "integer",
        json_path = ".status.nodes",
        description = "Nodes with accelerators"
    ),
    printcolumn(
        name = "Devices",
        type_ = "string",
        json_path = ".status.summary",
        description = "Free and all devices by type"
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.nodesReady",
        description = "Nodes that can take pods",
        priority = 1
    ),
    printcolumn(
        name = "Power",
        type_ = "string",
        json_path = ".spec.powerDomainRef.name",
        description = "PowerDomain of its nodes",
        priority = 1
    ),
    printcolumn(
        name = "Since",
        type_ = "date",
        json_path = ".status.conditions[?(@.type==\"Reachable\")].lastTransitionTime",
        description = "How long it has been reachable, or has not",
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Reachable\")].reason",
        description = "Why it is reachable or not",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since it was registered"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterSpec {
    /// Who runs the nodes: `aws`, `gcp`, `azure`, `oci`, `coreweave`, … or `onprem`; prices and topology labels follow from
    /// it. Required.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub provider: String,
    /// The provider's region, such as `us-east-1`: where its nodes are priced, as far as they carry no region label of their own.
    /// Required.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub region: String,
    /// Secret of the hub with a kubeconfig for the cluster. Default: none; the cluster is the hub itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig_secret_ref: Option<SecretKeyRef>,
    /// Whether a kubeconfig with `insecure-skip-tls-verify: true` is used: whoever is between the hub and the cluster can then take
    /// the credentials. Default: false; such a kubeconfig is refused.
    #[serde(default, rename = "insecureSkipTLSVerify")]
    pub insecure_skip_tls_verify: bool,
    /// Node labels that name the topology domains, one per level; at most 4. Default: those of the provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["level"]))]
    pub topology_levels: Vec<TopologyLabel>,
    /// PowerDomain that feeds all nodes which no PowerDomain claims as members. Default: none; its watts are not limited. While
    /// one of that name does not exist, nothing is placed on nodes that hang on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_domain_ref: Option<ObjectRef>,
    /// Namespaces of the hub whose jobs may be placed here; at most 256. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_namespaces: Vec<String>,
    /// What to do where the cluster lacks the namespace of a job. Default: none is made; the job goes elsewhere.
    #[serde(default)]
    pub namespaces: NamespacePolicy,
    /// What to do when the cluster cannot be reached. Default: wait; nothing that runs there is started elsewhere.
    #[serde(default)]
    pub unreachable: UnreachablePolicy,
    /// What happens when this object is deleted. Drain: what runs in the cluster is ended and placed elsewhere. Refuse: it runs to its
    /// end, and nothing new is placed there. The object goes when nothing is left in the cluster. Default: Drain.
    #[serde(default)]
    pub deletion: DeletionPolicy,
}

/// A key of a Secret of the hub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Namespace of the Secret. Required.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub namespace: String,
    /// Name of the Secret. Required.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
    /// Key within the Secret. Default: `kubeconfig`.
    #[serde(default = "default_kubeconfig_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// The node label that names a level's domains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologyLabel {
    /// The level: NvlinkDomain, Rack, Block or Zone; nodes and clusters are told apart without a label. Required.
    #[schemars(extend("enum" = ["NvlinkDomain", "Rack", "Block", "Zone"]))]
    pub level: TopologyLevel,
    /// The node label whose value names the domain. Required.
    #[schemars(length(min = 1, max = 317), regex(pattern = schema::QUALIFIED_NAME))]
    pub node_label: String,
}

/// A cluster-scoped object by name.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Name of the object. Required.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
}

string_enum! {
    /// How pods of a namespace are confined: a Pod Security Standard.
    #[derive(Default)]
    pub enum PodSecurityLevel {
        /// Not at all.
        Privileged,
        /// They cannot take the node over.
        #[default]
        Baseline,
        /// Least privilege.
        Restricted,
    }
}

/// What to do where the cluster lacks the namespace of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespacePolicy {
    /// Whether the operator makes it; the cluster must allow that too (chart value `member.createNamespaces`). Default: false.
    #[serde(default)]
    pub create: bool,
    /// Pod Security Standard that a namespace made by the operator enforces where the hub's namespace of its name has no
    /// `pod-security.kubernetes.io` label; otherwise it has the same ones. Privileged, Baseline or Restricted. Default: Baseline.
    #[serde(default)]
    pub pod_security: PodSecurityLevel,
}

string_enum! {
    /// What happens to the jobs of a cluster that cannot be reached.
    #[derive(Default)]
    pub enum UnreachableAction {
        /// They keep what they hold; nothing is started elsewhere.
        #[default]
        Wait,
        /// They are placed elsewhere; what may still run there is removed when the cluster is back.
        Replace,
    }
}

string_enum! {
    /// What happens to the jobs of a cluster whose MemberCluster is deleted.
    #[derive(Default)]
    pub enum DeletionPolicy {
        /// They are ended there and placed elsewhere.
        #[default]
        Drain,
        /// They run to their end.
        Refuse,
    }
}

/// What to do when a cluster cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnreachablePolicy {
    /// Seconds without an answer after which the cluster counts as unreachable, 10 to 86400. Default: 300.
    #[serde(default = "default_unreachable_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub after_seconds: i64,
    /// Wait: jobs there keep what they hold. Replace: they are placed elsewhere. Default: Wait.
    #[serde(default)]
    pub action: UnreachableAction,
    /// With Replace, longest time in seconds that a gang may run on in the silent cluster beside the one that replaced it: its Job
    /// ends by itself afterSeconds and fenceSeconds after the operator last renewed it. An operator that is away for longer than
    /// that ends the gangs there. 10 to 86400. Default: 3600.
    #[serde(default = "default_fence_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub fence_seconds: i64,
}

impl Default for UnreachablePolicy {
    fn default() -> Self {
        Self {
            after_seconds: DEFAULT_UNREACHABLE_SECONDS,
            action: UnreachableAction::Wait,
            fence_seconds: DEFAULT_FENCE_SECONDS,
        }
    }
}

/// What the operator sees of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterStatus {
    /// Kubernetes version of its API server, such as `v1.37.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// UID of its `kube-system` namespace, by which one cluster is told from another.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cluster_uid: Option<String>,
    /// Nodes with accelerators.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub nodes: i32,
    /// Nodes with accelerators that are ready and not cordoned.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub nodes_ready: i32,
    /// Devices by type, the most first; at most 64 types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["acceleratorType"]))]
    pub accelerators: Vec<AcceleratorCount>,
    /// Free and all devices by type in one line, such as `nvidia-h100-sxm5-80gb 48/64`; at most 1024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub summary: Option<String>,
    /// When the cluster last answered, RFC 3339; up to a minute ago while it is reachable, since it is written no more often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_time: Option<Time>,
    /// The metadata.generation that this status was worked out from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Answers to Valid and Reachable, and to Terminating once it is deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// Devices of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorCount {
    /// Device type.
    #[schemars(length(min = 1, max = 253))]
    pub accelerator_type: String,
    /// Devices that the nodes have.
    #[schemars(range(min = 0))]
    pub devices: i64,
    /// Devices that nobody holds, on nodes that can take pods.
    #[schemars(range(min = 0))]
    pub free: i64,
}
