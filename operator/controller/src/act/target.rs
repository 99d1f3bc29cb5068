//! What the builders of a member's objects must know of the member.

use std::collections::BTreeMap;

use ampacity_api::{JobKind, Placement};
use ampacity_catalog::Family;
use ampacity_placement::Labels;
use kube::{Client, ResourceExt};

use crate::dispatch::Target;
use crate::operator::Operator;
use crate::world::ObjectKey;

impl Operator {
    pub(super) fn members_client(&self, placement: &Placement) -> Option<Client> {
        let member = self.world.members.get(&placement.spec.cluster)?;
        member.is_usable().then(|| member.client.clone()).flatten()
    }

    /// What the builders must know of the member.
    pub(super) fn target(&self, placement: &Placement) -> Target {
        let spec = &placement.spec;
        let vendor = self
            .world
            .catalog
            .get(&spec.accelerator_type)
            .map(|a| a.vendor.clone())
            .unwrap_or_default();
        let mut target = Target {
            hub: self.config.hub_name.clone(),
            vendor,
            ..Target::default()
        };
        let Some(member) = self.world.members.get(&spec.cluster) else {
            return target;
        };
        let labels_of = |name: &str| {
            member
                .nodes
                .get(&ObjectKey::new("", name))
                .map(|n| n.labels().clone())
        };
        let chosen: Vec<(String, Labels)> = spec
            .nodes
            .iter()
            .filter_map(|n| Some((n.name.clone(), labels_of(&n.name)?)))
            .collect();
        for (name, labels) in &chosen {
            if let Some(hostname) = labels.get("kubernetes.io/hostname") {
                target.hostnames.insert(name.clone(), hostname.clone());
            }
        }
        let resource = spec
            .resource
            .resource_name
            .as_ref()
            .or(spec.resource.device_class_name.as_ref());
        target.tolerated_taint_keys = resource
            .and_then(|r| member.taint_keys.get(r))
            .cloned()
            .unwrap_or_default();
        if spec.job_ref.kind == JobKind::InferenceJob {
            add_pool(&mut target, &chosen);
        }
        target
    }
}

/// The label that tells the machine, and with it the device.
const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";

/// Labels of clusters and clouds that tell pools apart; those of the vendors are theirs to name.
const POOL_LABELS: [&str; 6] = [
    INSTANCE_TYPE,
    "topology.kubernetes.io/zone",
    "ampacity.dev/capacity-type",
    "karpenter.sh/capacity-type",
    "eks.amazonaws.com/capacityType",
    "cloud.google.com/gke-spot",
];

/// The pool of an inference placement: the labels that its nodes share, where these tell the device, else the nodes.
fn add_pool(target: &mut Target, chosen: &[(String, Labels)]) {
    let mut shared: BTreeMap<String, String> = BTreeMap::new();
    if let Some((_, first)) = chosen.first() {
        let of_vendors = Family::all()
            .map(|family| family.pool_labels)
            .flat_map(|labels| labels.device.iter().chain(labels.others));
        for key in POOL_LABELS.iter().chain(of_vendors) {
            if let Some(value) = first
                .get(*key)
                .filter(|v| chosen.iter().all(|(_, l)| l.get(*key) == Some(v)))
            {
                shared.insert((*key).to_owned(), value.clone());
            }
        }
    }
    let mut tell_device = Family::all()
        .flat_map(|family| family.pool_labels.device)
        .chain([&INSTANCE_TYPE]);
    if tell_device.any(|key| shared.contains_key(*key)) {
        target.pool_labels = shared;
    }
    target.pool_nodes = chosen.iter().map(|(name, _)| name.clone()).collect();
}
