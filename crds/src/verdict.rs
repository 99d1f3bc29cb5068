//! Why a job is not placed, and what would place it. Bounded, so that a status stays small however
//! many clusters and pools were tried.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Most reasons that one verdict lists; the rest are counted into the last.
pub const MAX_REASONS: usize = 32;
/// Most entries of one `details` map.
pub const MAX_DETAILS: usize = 16;
/// Longest `message`, in characters.
pub const MAX_MESSAGE: usize = 1024;

/// Why the job is not placed, and the smallest change that would place it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What ruled candidates out, the most telling first: what decided, then what is nearest to a place; at most 32. None where the job is placed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub reasons: Vec<VerdictReason>,
    /// The smallest change that would place the job. Absent where none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// When the job can start at the earliest, RFC 3339: running jobs have then ended as expected, and jobs before it in the
    /// queue have started. Absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earliest_start_time: Option<Time>,
}

/// One reason, and how many candidates it ruled out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictReason {
    /// The constraint that ruled the candidates out, such as `InsufficientDevices` or `PowerBudgetExceeded`.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// How many candidates (an alternative on a pool of nodes) it ruled out.
    #[schemars(range(min = 0))]
    pub count: i64,
    /// The member cluster that the reason is about. Absent where it holds for several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub cluster: Option<String>,
    /// The alternative that the reason is about. Absent where it holds for several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub alternative: Option<String>,
    /// How much the job needs of what is short, in the reason's unit: devices, watts or millionths of a dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<i64>,
    /// How much of it the best candidate has, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<i64>,
    /// Further facts by name, such as `domain` or `taint`; at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::details")]
    pub details: BTreeMap<String, String>,
    /// The same in words, at most 1024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// A change that would place the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fix {
    /// What to do, such as `AddNodes`, `RaisePowerLimit`, `RaiseBudget`, `AllowCapacityType` or `Wait`.
    #[schemars(length(min = 1, max = 64))]
    pub action: String,
    /// How much of it and where, by name, such as `cluster` and `nodes`; at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::details")]
    pub details: BTreeMap<String, String>,
    /// The same in words, at most 1024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}
