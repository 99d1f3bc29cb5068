//! PowerBudget: a limit in watts on a power domain or a queue.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{member_cluster::ObjectRef, schema};

/// A limit and what it is on.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema,
)]
#[kube(
    group = "ampacity.dev",
    version = "v1alpha1",
    kind = "PowerBudget",
    doc = "A limit in watts on what placements may reserve under a power domain or from a queue.",
    status = "PowerBudgetStatus",
    shortname = "pb",
    category = "ampacity",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(
        name = "Domain",
        type_ = "string",
        json_path = ".spec.powerDomainRef.name",
        description = "PowerDomain that is limited"
    ),
    printcolumn(
        name = "Queue",
        type_ = "string",
        json_path = ".spec.queueRef.name",
        description = "Queue that is limited"
    ),
    printcolumn(
        name = "Limit",
        type_ = "integer",
        json_path = ".spec.limitWatts",
        description = "Limit in watts"
    ),
    printcolumn(
        name = "Reserved",
        type_ = "integer",
        json_path = ".status.reservedWatts",
        description = "Watts reserved now"
    ),
    printcolumn(
        name = "Headroom",
        type_ = "integer",
        json_path = ".status.headroomWatts",
        description = "Watts that can still be reserved"
    ),
    printcolumn(
        name = "Overloaded",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Overloaded\")].status",
        description = "Whether more is reserved than may be drawn"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the budget is in force"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since it was created"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.powerDomainRef) != has(self.queueRef)", "give exactly one of powerDomainRef and queueRef"))]
pub struct PowerBudgetSpec {
    /// PowerDomain that is limited, with all that hangs on it. No default; exactly one of powerDomainRef and queueRef is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_domain_ref: Option<ObjectRef>,
    /// Queue whose jobs are limited, wherever they run. No default; exactly one of powerDomainRef and queueRef is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_ref: Option<ObjectRef>,
    /// Most watts that placements may reserve, at all times; 0 to 10^12. Required.
    #[schemars(range(min = 0, max = 1_000_000_000_000_i64))]
    pub limit_watts: i64,
}

/// What the budget carries now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PowerBudgetStatus {
    /// Watts reserved by placements under the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_watts: Option<i64>,
    /// Watts that can still be reserved: limitWatts − reservedWatts. Below 0 where the limit was lowered under what runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headroom_watts: Option<i64>,
    /// The metadata.generation that this status was worked out from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The answer to Ready: whether what it limits exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
