//! PowerDomain: a breaker, and what hangs on it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{member_cluster::ObjectRef, schema};

/// Share of a breaker's rating that may be drawn for hours, in percent, when nothing is said: the
/// continuous-load rule of NFPA 70 (NEC) 210.20(A) and 215.3.
pub const DEFAULT_CONTINUOUS_PERCENT: i32 = 80;

fn default_continuous_percent() -> i32 {
    DEFAULT_CONTINUOUS_PERCENT
}

/// What a breaker carries.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "ampacity.dev",
    version = "v1alpha1",
    kind = "PowerDomain",
    doc = "A breaker, a PDU, a UPS or a site, and the nodes that hang on it. Domains form a DAG: two parents are A and B feeds, and each must carry the whole load.",
    status = "PowerDomainStatus",
    shortname = "pd",
    category = "ampacity",
    derive = "PartialEq",
    derive = "Default",
    validation = Rule::new("!has(self.spec.parents) || self.spec.parents.all(p, p.name != self.metadata.name)").message("a domain cannot be its own parent").field_path(".spec.parents"),
    printcolumn(name = "Rated", type_ = "integer", json_path = ".spec.ratedWatts", description = "Rating in watts"),
    printcolumn(name = "Usable", type_ = "integer", json_path = ".status.usableWatts", description = "Watts that may be reserved"),
    printcolumn(name = "Reserved", type_ = "integer", json_path = ".status.reservedWatts", description = "Watts reserved now"),
    printcolumn(name = "Headroom", type_ = "integer", json_path = ".status.headroomWatts", description = "Watts that can still be reserved here"),
    printcolumn(name = "Overloaded", type_ = "string", json_path = ".status.conditions[?(@.type==\"Overloaded\")].status", description = "Whether more is reserved than may be drawn"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the domain can be used"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since it was created")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.reserveWatts * 100 <= self.ratedWatts * self.continuousPercent", "nothing is left: reserveWatts is more than ratedWatts × continuousPercent / 100")
)]
pub struct PowerDomainSpec {
    /// Domains that feed this one, at most 4; each must carry the whole load. Default: none, it is a root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parents: Vec<ObjectRef>,
    /// Rating of the breaker, in watts, 1 to 10^12. Required.
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub rated_watts: i64,
    /// Share of the rating that may be drawn for hours, in percent, 1 to 100. Default: 80.
    #[serde(default = "default_continuous_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub continuous_percent: i32,
    /// What is lost between here and the parents, in percent, 0 to 99: with 3, a watt drawn here is 1.03 watts at each parent.
    /// Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 99))]
    pub loss_percent: i32,
    /// Watts kept free for what Ampacity does not place. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000_000_i64))]
    pub reserve_watts: i64,
    /// Nodes that hang directly on this domain; at most 64. Default: none but those whose MemberCluster names it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub members: Vec<PowerDomainMember>,
}

impl Default for PowerDomainSpec {
    /// What the API server fills in; the rating is still to be given.
    fn default() -> Self {
        Self {
            parents: Vec::new(),
            rated_watts: 0,
            continuous_percent: DEFAULT_CONTINUOUS_PERCENT,
            loss_percent: 0,
            reserve_watts: 0,
            members: Vec::new(),
        }
    }
}

/// Nodes of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PowerDomainMember {
    /// Name of the MemberCluster. Required.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub cluster: String,
    /// Which of its nodes, by their labels. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub node_selector: Option<LabelSelector>,
}

/// What the domain carries now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PowerDomainStatus {
    /// Watts that may be reserved: ratedWatts × continuousPercent / 100 − reserveWatts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usable_watts: Option<i64>,
    /// Watts reserved by placements here and below, losses included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_watts: Option<i64>,
    /// Watts that can still be reserved here: usableWatts − reservedWatts. A PowerBudget on the domain may leave less: its own status
    /// says how much. Below 0 where the limit was lowered under what runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headroom_watts: Option<i64>,
    /// The metadata.generation that this status was worked out from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Answers to Ready, whether its parents exist and form no cycle, and Overloaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
