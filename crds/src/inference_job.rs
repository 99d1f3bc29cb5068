//! InferenceJob: replicas that serve until deleted, on several device types and clusters at once.

use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time},
};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    decimal::Decimal,
    job::{Alternative, CapacityType, Objective, all_capacity_types, default_queue},
    schema,
    string_enum::string_enum,
    verdict::Verdict,
};

/// Most placements that a status lists.
pub const MAX_PLACEMENTS: usize = 64;

fn default_replicas() -> i32 {
    1
}

/// What an InferenceJob asks for.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "ampacity.dev",
    version = "v1alpha1",
    kind = "InferenceJob",
    namespaced,
    doc = "Replicas that serve until deleted, on the device types, clusters and capacity types that serve for the least money.",
    status = "InferenceJobStatus",
    shortname = "ij",
    category = "ampacity",
    derive = "PartialEq",
    derive = "Default",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    validation = (
        "self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must be at most 52 characters of a-z, 0-9 and '-', start with a letter and end with a letter or digit: it becomes part of host names"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "Pending, Starting, Running or Suspended"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas", description = "Replicas asked for"),
    printcolumn(name = "Placed", type_ = "integer", json_path = ".status.placedReplicas", description = "Replicas that have a place"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas", description = "Replicas that serve"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".status.clusters", description = "Member clusters that it is placed in"),
    printcolumn(name = "Accelerator", type_ = "string", json_path = ".status.acceleratorTypes", description = "Device types that it is placed on"),
    printcolumn(name = "Watts", type_ = "integer", json_path = ".status.watts", description = "Watts reserved for all replicas"),
    printcolumn(name = "USD/h", type_ = "string", json_path = ".status.usdPerHour", description = "US dollars per hour of all replicas; empty without a price"),
    printcolumn(name = "Queue", type_ = "string", json_path = ".spec.queue", description = "Queue that it waits in", priority = 1),
    printcolumn(name = "USD", type_ = "string", json_path = ".status.usdAccrued", description = "US dollars spent so far", priority = 1),
    printcolumn(name = "Wh", type_ = "integer", json_path = ".status.wattHours", description = "Watt-hours used so far", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", description = "What is wrong with it, in the way of a place, or keeps replicas from running"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since it was created")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("(has(self.template.spec) && (self.template.spec.containers.size() == 0 || has(self.template.spec.containers[0].image))) || self.alternatives.all(a, has(a.image))", "there is no image to run: give one to the template's first container or to every alternative"),
    validation = ("self.alternatives.all(a, a.replicas == 1)", "an InferenceJob has one count of replicas for all alternatives: give spec.replicas instead of alternatives[].replicas"),
    validation = Rule::new("!has(self.template.spec) || !has(self.template.spec.restartPolicy) || self.template.spec.restartPolicy == 'Always'").message("restartPolicy must be Always: a replica runs until the job is deleted").field_path(".template.spec.restartPolicy"),
    validation = Rule::new("oldSelf.suspend || self.alternatives == oldSelf.alternatives").message("alternatives can be changed only while the job is suspended: set suspend to true first").field_path(".alternatives").reason(Reason::FieldValueForbidden),
    validation = Rule::new("oldSelf.suspend || self.template == oldSelf.template").message("template can be changed only while the job is suspended: set suspend to true first").field_path(".template").reason(Reason::FieldValueForbidden),
    validation = Rule::new("oldSelf.suspend || self.queue == oldSelf.queue").message("queue can be changed only while the job is suspended: set suspend to true first").field_path(".queue").reason(Reason::FieldValueForbidden)
)]
pub struct InferenceJobSpec {
    /// Replicas that serve, 0 to 100000, over all alternatives together; what `kubectl scale` and autoscalers set. Default: 1.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: i32,
    /// Queue that the job waits in, a DNS label. Default: `default`.
    #[serde(default = "default_queue")]
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL))]
    pub queue: String,
    /// PriorityClass of the hub that says how important the job is; higher is placed first. Default: none, priority 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub priority_class_name: Option<String>,
    /// What the best placement is best in: Cost (fewest dollars for the throughput), Time (fastest devices) or Energy (fewest
    /// watts for the throughput). Default: Cost.
    #[serde(default)]
    pub objective: Objective,
    /// What the job may cost; replicas that would cost more are not placed. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<InferenceBudget>,
    /// How nodes may be paid for: OnDemand, Spot, Reserved, Owned. A change takes effect where replicas are placed next; those that
    /// run, run on. Default: all four.
    #[serde(default = "all_capacity_types")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub capacity_types: Vec<CapacityType>,
    /// MemberClusters that the job may be placed in, by their labels. A change takes effect where replicas are placed next; those
    /// that run, run on. Default: all that allow its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub cluster_selector: Option<LabelSelector>,
    /// How the replicas are kept apart. A change takes effect where replicas are placed next; those that run, run on. Default: not
    /// at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// Whether the job is kept from running; running replicas are stopped and give back all that they hold. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// Pod that each replica runs, as in a Deployment; its containers' ports become the Service's. The chosen alternative's
    /// image, env, args and resources and its accelerators are put into the first container. Default: one container `main`
    /// with the alternative's image.
    #[serde(default)]
    #[schemars(schema_with = "schema::pod_template")]
    pub template: PodTemplateSpec,
    /// Ways to run a replica, 1 to 16; replicas of one job may run on different ones. Required.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub alternatives: Vec<Alternative>,
}

impl Default for InferenceJobSpec {
    /// What the API server fills in; alternatives are still to be given.
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            queue: default_queue(),
            priority_class_name: None,
            objective: Objective::default(),
            budget: None,
            capacity_types: all_capacity_types(),
            cluster_selector: None,
            spread: None,
            suspend: false,
            template: PodTemplateSpec::default(),
            alternatives: Vec::new(),
        }
    }
}

/// What an InferenceJob may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceBudget {
    /// Most US dollars per hour of all replicas together. A decimal in quotes. Required.
    pub max_usd_per_hour: Decimal,
}

string_enum! {
    /// What replicas are spread over.
    pub enum SpreadBy {
        /// Nodes.
        Node,
        /// Zones.
        Zone,
        /// Member clusters.
        Cluster,
    }
}

/// How replicas are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// What the replicas are spread over: Node, Zone or Cluster. Required.
    pub by: SpreadBy,
    /// Most replicas that one of them may have above another one that could take the job, 1 to 1000. Default: 1.
    #[serde(default = "default_max_skew")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: i32,
}

fn default_max_skew() -> i32 {
    1
}

string_enum! {
    /// Where an InferenceJob is in its life.
    #[derive(Default)]
    pub enum InferenceJobState {
        /// No replica is placed.
        #[default]
        Pending,
        /// Replicas are placed; fewer serve than are asked for.
        Starting,
        /// All replicas serve.
        Running,
        /// Kept from running by `suspend`.
        Suspended,
    }
}

/// What became of an InferenceJob.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceJobStatus {
    /// Number of the last Placement made: none gets a number that another had.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub attempts: i32,
    /// Where the job is in its life: Pending, Starting, Running or Suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<InferenceJobState>,
    /// Replicas that exist in member clusters.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// Replicas that serve.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub ready_replicas: i32,
    /// Replicas that have a place.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub placed_replicas: i32,
    /// Label selector of the replicas' pods, as a string, for autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// Where the replicas run; at most 64, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub placements: Vec<ReplicaPlacement>,
    /// Member clusters of the placements, the largest first, such as `aws-east,oslo`; at most 1024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub clusters: Option<String>,
    /// Device types of the placements, the largest first, such as `nvidia-l40s,amd-mi300x`; at most 1024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub accelerator_types: Option<String>,
    /// US dollars per hour of all replicas; a decimal. Absent where no node has a price, or nothing is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_hour: Option<Decimal>,
    /// Watts reserved for all replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub watts: Option<i64>,
    /// Up to when usdAccrued and wattHours count, RFC 3339. Absent while nothing is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accrued_time: Option<Time>,
    /// US dollars spent so far; a decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_accrued: Option<Decimal>,
    /// Watt-hours used so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub watt_hours: Option<i64>,
    /// Why the job is not what it should be, in one word, for `kubectl get`: what is wrong with it, what is in the way of a place,
    /// or what keeps it from running. Absent where all is well and where `state` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub reason: Option<String>,
    /// The metadata.generation that this status was worked out from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Answers to Valid, Placed and Running.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Why replicas are not placed. Absent where all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

impl InferenceJobStatus {
    /// Lists `placements`, the largest first and at most [`MAX_PLACEMENTS`], and puts their clusters and device types into
    /// words: a printer column shows only the first element of a list.
    pub fn set_placements(&mut self, mut placements: Vec<ReplicaPlacement>) {
        placements.sort_by(|a, b| {
            b.replicas
                .cmp(&a.replicas)
                .then_with(|| a.name.cmp(&b.name))
        });
        self.clusters = in_words(
            placements
                .iter()
                .map(|placement| placement.cluster.as_str()),
        );
        self.accelerator_types = in_words(
            placements
                .iter()
                .map(|placement| placement.accelerator_type.as_str()),
        );
        placements.truncate(MAX_PLACEMENTS);
        self.placements = placements;
    }
}

/// Most characters of `clusters` and `acceleratorTypes`.
const MAX_WORDS: usize = 1024;

/// Each name once, with commas; none where there are none. Cut after the last name that leaves room for `,…`.
fn in_words<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut seen = std::collections::BTreeSet::new();
    let mut words = String::new();
    for name in names.filter(|name| seen.insert(*name)) {
        if words.len() + name.len() + 3 > MAX_WORDS {
            words.push_str(",…");
            break;
        }
        if !words.is_empty() {
            words.push(',');
        }
        words.push_str(name);
    }
    (!words.is_empty()).then_some(words)
}

/// Replicas of one alternative in one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaPlacement {
    /// Name of the Placement, in the job's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Member cluster.
    #[schemars(length(min = 1, max = 253))]
    pub cluster: String,
    /// Device type.
    #[schemars(length(min = 1, max = 253))]
    pub accelerator_type: String,
    /// How the nodes are paid for. Absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_type: Option<CapacityType>,
    /// Alternative of the job that was chosen.
    #[schemars(length(min = 1, max = 63))]
    pub alternative: String,
    /// Profile of the MIG instances that stand in for whole devices. Absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub mig_profile: Option<String>,
    /// Thousandths of a device that each replica has. Absent where devices are whole or in MIG instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub millidevices: Option<i32>,
    /// Replicas placed here.
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// Replicas that serve here.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub ready_replicas: i32,
    /// US dollars per hour of the replicas placed here; a decimal. Absent where no node has a price, or they cost nothing.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub usd_per_hour: Decimal,
    /// Watts reserved for the replicas placed here.
    #[schemars(range(min = 0))]
    pub watts: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(
        name: &str,
        cluster: &str,
        accelerator_type: &str,
        replicas: i32,
    ) -> ReplicaPlacement {
        ReplicaPlacement {
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            accelerator_type: accelerator_type.to_owned(),
            replicas,
            ..ReplicaPlacement::default()
        }
    }

    #[test]
    fn placements_are_listed_by_size_and_put_into_words() {
        let mut status = InferenceJobStatus::default();
        status.set_placements(vec![
            placed("a", "oslo", "nvidia-l4", 1),
            placed("b", "east", "nvidia-l40s", 4),
            placed("c", "oslo", "nvidia-l40s", 2),
        ]);
        assert_eq!(status.clusters.as_deref(), Some("east,oslo"));
        assert_eq!(
            status.accelerator_types.as_deref(),
            Some("nvidia-l40s,nvidia-l4")
        );
        assert_eq!(
            status
                .placements
                .iter()
                .map(|p| p.name.as_str())
                .collect::<Vec<_>>(),
            ["b", "c", "a"]
        );

        status.set_placements(Vec::new());
        assert_eq!(status, InferenceJobStatus::default());
    }

    #[test]
    fn many_placements_stay_within_bounds() {
        let mut status = InferenceJobStatus::default();
        let name = |index: i32| format!("cluster-with-a-long-name-{index:03}");
        status.set_placements(
            (0..100)
                .map(|index| placed(&name(index), &name(index), "t", 1))
                .collect(),
        );
        assert_eq!(status.placements.len(), MAX_PLACEMENTS);
        let clusters = status.clusters.unwrap();
        assert!(
            clusters.chars().count() <= MAX_WORDS && clusters.ends_with(",…"),
            "{clusters}"
        );
    }
}
