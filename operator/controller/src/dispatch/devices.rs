//! The request for accelerators: an extended resource or a DRA claim, on the first container, and no other accelerator anywhere.

use std::collections::BTreeMap;

use ampacity_api::{Alternative, Placement, labels};
use ampacity_catalog::{MigProfile, is_accelerator_resource};
use k8s_openapi::api::core::v1::{
    Container, PodResourceClaim, PodSpec, PodTemplateSpec, ResourceClaim, ResourceRequirements,
};
use k8s_openapi::api::resource::v1::{
    CELDeviceSelector, DeviceClaim, DeviceRequest, DeviceSelector, ExactDeviceRequest,
    ResourceClaimSpec, ResourceClaimTemplate, ResourceClaimTemplateSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::DispatchError;

/// Name of the pod's claim and of the request in it.
const CLAIM: &str = "ampacity-devices";
/// Most requests of a template that are told one by one.
const MAX_TOLD: usize = 5;

/// A request for accelerators that the template makes itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TemplateRequest {
    /// Who makes it: `container main`, or `the pod` for the resources of the whole pod.
    by: String,
    /// Resource that is asked for.
    resource: String,
    /// How much.
    quantity: String,
}

/// How the devices of one replica are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRequestKind<'a> {
    /// By the name of an extended resource. One of MIG instances or time slices says itself what it counts.
    Extended(&'a str),
    /// By a DRA device class; for MIG instances, those of one profile.
    Class(&'a str, Option<MigProfile>),
}

impl<'a> DeviceRequestKind<'a> {
    pub fn of(placement: &'a Placement) -> Result<Self, DispatchError> {
        let resource = &placement.spec.resource;
        match (&resource.resource_name, &resource.device_class_name) {
            (Some(name), None) => Ok(Self::Extended(name)),
            (None, Some(class)) => {
                let read = |text: &String| {
                    MigProfile::parse(text).ok_or_else(|| DispatchError::NoMigProfile {
                        placement: placement.name_any(),
                        profile: text.clone(),
                    })
                };
                let profile = placement.spec.mig_profile.as_ref().map(read).transpose()?;
                Ok(Self::Class(class, profile))
            }
            _ => Err(DispatchError::NoDeviceResource {
                placement: placement.name_any(),
            }),
        }
    }

    /// The claim template for it, for DRA.
    pub fn claim_template(
        &self,
        metadata: ObjectMeta,
        count: i32,
    ) -> Option<ResourceClaimTemplate> {
        let Self::Class(class, profile) = self else {
            return None;
        };
        // The claims that are made from it say whose they are too: an inventory of claims can leave out ours.
        let labels = metadata.labels.clone();
        let uid = metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get_key_value(labels::PLACEMENT_UID));
        let annotations = uid.map(|(key, uid)| [(key.clone(), uid.clone())].into());
        Some(ResourceClaimTemplate {
            metadata,
            spec: Some(ResourceClaimTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels,
                    annotations,
                    ..ObjectMeta::default()
                }),
                spec: Some(ResourceClaimSpec {
                    devices: Some(DeviceClaim {
                        requests: Some(vec![DeviceRequest {
                            name: CLAIM.to_owned(),
                            exactly: Some(ExactDeviceRequest {
                                device_class_name: (*class).to_owned(),
                                selectors: profile.as_ref().map(|p| vec![of_profile(p)]),
                                allocation_mode: Some("ExactCount".to_owned()),
                                count: Some(i64::from(count)),
                                ..ExactDeviceRequest::default()
                            }),
                            ..DeviceRequest::default()
                        }]),
                        ..DeviceClaim::default()
                    }),
                }),
            }),
        })
    }

    /// Puts the request for `count` devices on the first container and takes every other request for accelerators out of the pod.
    pub fn put_into(&self, pod: &mut PodSpec, count: i32, claim_template: &str) {
        take_requests(pod);
        if let Some(first) = pod.containers.first_mut() {
            self.ask(first, Quantity(count.to_string()));
        }
        if matches!(self, Self::Class(..)) {
            let claims = pod.resource_claims.get_or_insert_default();
            claims.retain(|claim| claim.name != CLAIM);
            claims.push(PodResourceClaim {
                name: CLAIM.to_owned(),
                resource_claim_template_name: Some(claim_template.to_owned()),
                ..PodResourceClaim::default()
            });
        }
    }

    fn ask(&self, container: &mut Container, count: Quantity) {
        let resources = container.resources.get_or_insert_default();
        match self {
            Self::Extended(name) => {
                // Extended resources cannot be overcommitted: request and limit must be equal.
                for amounts in [&mut resources.requests, &mut resources.limits] {
                    amounts
                        .get_or_insert_default()
                        .insert((*name).to_owned(), count.clone());
                }
            }
            Self::Class(..) => {
                let claims = resources.claims.get_or_insert_default();
                claims.retain(|claim| claim.name != CLAIM);
                claims.push(ResourceClaim {
                    name: CLAIM.to_owned(),
                    request: None,
                });
            }
        }
    }
}

/// Instances of one profile among those of their device class.
fn of_profile(profile: &MigProfile) -> DeviceSelector {
    DeviceSelector {
        cel: Some(CELDeviceSelector {
            expression: profile.cel_selector(),
        }),
    }
}

/// What a job's template asks for of accelerators itself and will not get, since its alternatives say which devices and how many; in
/// words, `None` where there is nothing of the kind. A template that says the same as every alternative is not told of.
pub fn replaced_requests(
    template: &PodTemplateSpec,
    alternatives: &[Alternative],
) -> Option<String> {
    let mut pod = template.spec.clone()?;
    let first = pod.containers.first().map(of_container);
    let is_said_anyway = |request: &TemplateRequest| {
        Some(&request.by) == first.as_ref()
            && alternatives.iter().all(|alternative| {
                alternative.devices_per_replica.to_string() == request.quantity
                    && alternative.mig_profile.is_none()
                    && alternative.millidevices.is_none()
            })
    };
    let mut requests = take_requests(&mut pod);
    requests.retain(|request| !is_said_anyway(request));
    let texts: Vec<String> = requests
        .iter()
        .take(MAX_TOLD)
        .map(|r| format!("{}: {} of {}", r.resource, r.quantity, r.by))
        .collect();
    let more = match requests.len().checked_sub(MAX_TOLD) {
        Some(more) if more > 0 => format!(" and {more} more"),
        _ => String::new(),
    };
    (!texts.is_empty()).then(|| {
        format!(
            "spec.template asks for accelerators itself ({}{more}), which is left out: devicesPerReplica of the chosen alternative is what each replica gets, in its first container; take it out of the template, or correct the alternatives",
            texts.join(", ")
        )
    })
}

fn of_container(container: &Container) -> String {
    format!("container {}", container.name)
}

/// Takes every request for accelerators out of a pod.
fn take_requests(pod: &mut PodSpec) -> Vec<TemplateRequest> {
    let mut taken = Vec::new();
    if let Some(resources) = &mut pod.resources {
        strip(resources, "the pod", &mut taken);
    }
    let containers = pod.containers.iter_mut();
    for container in containers.chain(pod.init_containers.iter_mut().flatten()) {
        let by = of_container(container);
        if let Some(resources) = &mut container.resources {
            strip(resources, &by, &mut taken);
        }
    }
    taken.sort();
    taken.dedup();
    taken
}

fn strip(resources: &mut ResourceRequirements, by: &str, taken: &mut Vec<TemplateRequest>) {
    for amounts in [&mut resources.requests, &mut resources.limits] {
        let Some(map) = amounts else { continue };
        map.retain(|resource, quantity| {
            let stays = !is_accelerator_resource(resource);
            if !stays {
                taken.push(TemplateRequest {
                    by: by.to_owned(),
                    resource: resource.clone(),
                    quantity: quantity.0.clone(),
                });
            }
            stays
        });
        // An empty map is what nothing asked for looks like when it is read back.
        if map.is_empty() {
            *amounts = None::<BTreeMap<String, Quantity>>;
        }
    }
}

#[cfg(test)]
mod tests {
    use ampacity_catalog::{Family, Unit};

    use super::*;

    #[test]
    fn accelerators_are_told_from_other_extended_resources() {
        let accelerators = [
            "nvidia.com/gpu",
            "nvidia.com/gpu.shared",
            "nvidia.com/mig-1g.10gb",
            "nvidia.com/gpumem-percentage",
            "amd.com/gpu",
            "amd.com/cpx_nps4",
            "gpu.intel.com/i915",
            "habana.ai/gaudi",
            "aws.amazon.com/neuron",
            "aws.amazon.com/neuroncore",
            "aws.amazon.com/neurondevice",
            "google.com/tpu",
            "qualcomm.com/qaic",
            "huawei.com/Ascend910B4-memory",
            "cambricon.com/mlu370",
            "volcano.sh/vgpu-cores",
            "deviceclass.resource.kubernetes.io/gpu.example.com",
        ];
        let others = [
            "cpu",
            "memory",
            "hugepages-2Mi",
            "gpu",
            "nvidia.com/mlnxnics",
            "gpu.intel.com/i915_monitoring",
            "vpc.amazonaws.com/efa",
            "rdma/ib",
            "smarter-devices/gpu",
            "example.com/nvidia.com",
        ];
        for name in accelerators {
            assert!(is_accelerator_resource(name), "{name}");
        }
        for name in others {
            assert!(!is_accelerator_resource(name), "{name}");
        }
    }

    #[test]
    fn a_template_keeps_no_vendors_resource_but_handles_to_watch_by() {
        // One name of each form that a vendor's file knows.
        let forms = Family::all().flat_map(|family| family.resources);
        let names: BTreeMap<String, Unit> = forms
            .map(|(form, unit)| (form.replace('*', "x"), *unit))
            .collect();
        let limits = names
            .keys()
            .map(|name| (name.clone(), Quantity("2".to_owned())));
        let mut pod = PodSpec {
            containers: vec![Container {
                name: "main".to_owned(),
                resources: Some(ResourceRequirements {
                    limits: Some(limits.collect()),
                    ..ResourceRequirements::default()
                }),
                ..Container::default()
            }],
            ..PodSpec::default()
        };
        let mut kept = names.clone();
        for taken in take_requests(&mut pod) {
            kept.remove(&taken.resource);
        }
        assert_eq!(
            kept,
            BTreeMap::from([("gpu.intel.com/x_monitoring".to_owned(), Unit::Monitor)])
        );
        for name in names.keys() {
            assert_eq!(
                is_accelerator_resource(name),
                !kept.contains_key(name),
                "{name}"
            );
        }
    }

    #[test]
    fn what_a_template_asks_for_beside_its_alternatives_is_told() {
        let alternatives =
            |yaml: &str| -> Vec<Alternative> { serde_saphyr::from_str(yaml).unwrap() };
        let template = |containers: &str| -> PodTemplateSpec {
            serde_saphyr::from_str(&format!("{{spec: {{containers: [{containers}]}}}}")).unwrap()
        };
        let eight = "[{name: a, acceleratorType: t, devicesPerReplica: 8}]";
        let both = "[{name: a, acceleratorType: t, devicesPerReplica: 8}, {name: b, acceleratorType: u, devicesPerReplica: 4}]";
        let part = "[{name: a, acceleratorType: t, devicesPerReplica: 8, millidevices: 500}]";
        let main = "{name: main, resources: {limits: {nvidia.com/gpu: 8, cpu: 1}}}";
        for (what, containers, alternatives_are, told) in [
            ("nothing", "{name: main}", eight, None),
            ("the same", main, eight, None),
            (
                "the same as one of two",
                main,
                both,
                Some("(nvidia.com/gpu: 8 of container main)"),
            ),
            (
                "as many parts",
                main,
                part,
                Some("(nvidia.com/gpu: 8 of container main)"),
            ),
            (
                "another number",
                "{name: main, resources: {requests: {nvidia.com/gpu: 4}}}",
                eight,
                Some("(nvidia.com/gpu: 4 of container main)"),
            ),
            (
                "in another container",
                "{name: main}, {name: log, resources: {limits: {amd.com/gpu: 8}}}",
                eight,
                Some("(amd.com/gpu: 8 of container log)"),
            ),
        ] {
            let text = replaced_requests(&template(containers), &alternatives(alternatives_are));
            match (told, &text) {
                (None, None) => {}
                (Some(words), Some(text)) => assert!(text.contains(words), "{what}: {text}"),
                _ => panic!("{what}: {text:?}"),
            }
        }
    }
}
