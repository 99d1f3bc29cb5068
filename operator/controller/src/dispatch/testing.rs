//! Builders for tests: jobs, placements and targets as they come from a hub.

use ampacity_api::placement::{DeviceResource, JobRef, NodeReplicas};
use ampacity_api::{
    CapacityType, Decimal, InferenceJob, JobKind, Placement, PlacementSpec, TrainingJob,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;

use super::Target;

/// A TrainingJob `research/llama` with this spec, in YAML.
pub fn training(spec: &str) -> TrainingJob {
    let mut job = TrainingJob::new("llama", yaml(spec));
    job.metadata.namespace = Some("research".to_owned());
    job.metadata.uid = Some("job-uid".to_owned());
    job
}

/// An InferenceJob `research/chat` with this spec, in YAML.
pub fn inference(spec: &str) -> InferenceJob {
    let mut job = InferenceJob::new("chat", yaml(spec));
    job.metadata.namespace = Some("research".to_owned());
    job.metadata.uid = Some("job-uid".to_owned());
    job
}

pub fn yaml<T: DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).unwrap()
}

/// A placement of a job on `(node, replicas)…`, of the alternative `a`.
pub struct PlacementOf {
    placement: Placement,
}

impl PlacementOf {
    pub fn new(kind: JobKind, job: &str, nodes: &[(&str, i32)]) -> Self {
        let nodes: Vec<_> = nodes
            .iter()
            .map(|(name, replicas)| NodeReplicas {
                name: (*name).to_owned(),
                replicas: *replicas,
            })
            .collect();
        let spec = PlacementSpec {
            job_ref: JobRef {
                kind,
                name: job.to_owned(),
                uid: "job-uid".to_owned(),
            },
            attempt: 2,
            epoch: 7,
            cluster: "oslo".to_owned(),
            alternative: "a".to_owned(),
            accelerator_type: "nvidia-h100-sxm5-80gb".to_owned(),
            capacity_type: CapacityType::Owned,
            devices_per_replica: 8,
            mig_profile: None,
            millidevices: None,
            replicas: nodes.iter().map(|n| n.replicas).sum(),
            nodes,
            resource: DeviceResource {
                resource_name: Some("nvidia.com/gpu".to_owned()),
                device_class_name: None,
            },
            power_cap_watts: Some(700),
            watts: 40_800,
            power_domains: Vec::new(),
            usd_per_hour: Decimal::ZERO,
            price_sheet: None,
        };
        let mut placement = Placement::new(&format!("{job}-2"), spec);
        placement.metadata = ObjectMeta {
            namespace: Some("research".to_owned()),
            uid: Some("placement-uid".to_owned()),
            ..placement.metadata
        };
        Self { placement }
    }

    pub fn training(nodes: &[(&str, i32)]) -> Self {
        Self::new(JobKind::TrainingJob, "llama", nodes)
    }

    pub fn inference(nodes: &[(&str, i32)]) -> Self {
        Self::new(JobKind::InferenceJob, "chat", nodes)
    }

    pub fn devices(mut self, accelerator_type: &str, resource: &str, count: i32) -> Self {
        self.placement.spec.accelerator_type = accelerator_type.to_owned();
        self.placement.spec.devices_per_replica = count;
        self.placement.spec.resource = if resource.contains('/') {
            DeviceResource {
                resource_name: Some(resource.to_owned()),
                device_class_name: None,
            }
        } else {
            DeviceResource {
                resource_name: None,
                device_class_name: Some(resource.to_owned()),
            }
        };
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut Placement)) -> Self {
        change(&mut self.placement);
        self
    }

    pub fn build(self) -> Placement {
        self.placement
    }
}

/// A member whose nodes have their own names as host names.
pub fn target(vendor: &str, placement: &Placement) -> Target {
    let names = placement.spec.nodes.iter().map(|n| n.name.clone());
    Target {
        hub: "hub-1".to_owned(),
        vendor: vendor.to_owned(),
        tolerated_taint_keys: placement
            .spec
            .resource
            .resource_name
            .iter()
            .cloned()
            .collect(),
        fence_seconds: None,
        hostnames: names.map(|name| (name.clone(), name)).collect(),
    }
}
