//! From a Node with its ResourceSlices and pods to the engine's `NodeSpec`.

use std::collections::BTreeSet;

use ampacity_api::member_cluster::TopologyLabel;
use ampacity_catalog::{Catalog, DeviceQuery, Family, Identity, MigProfile, Prices, family_of};
use ampacity_placement::{Amount, DeviceGroup, DevicePart, Labels, NodeSpec, Taint, TaintEffect};

use super::devices::{Devices, Subject};
use super::dra_facts::DraFacts;
use super::feeds::FeedRules;
use super::held::HeldOnNode;
use super::note::{InventoryNote, NoteReason, Notes, Unsupported, UnsupportedReason};
use super::resources::{Basics, basics, held_mib, others};
use super::{capacity_type, dra, extended, health, platform, topology};
use crate::state::{SlimNode, SlimResourceSlice, SlimTaint};

/// What is known of the cluster that a node belongs to.
#[derive(Clone, Copy, Debug)]
pub struct MemberContext<'a> {
    /// Name of the MemberCluster.
    pub cluster: &'a str,
    /// Its provider, such as `aws` or `onprem`.
    pub provider: &'a str,
    /// Its region; taken where a node does not tell its own.
    pub region: &'a str,
    /// `spec.topologyLevels`.
    pub topology_levels: &'a [TopologyLabel],
    /// Power domains of its nodes.
    pub feeds: &'a FeedRules,
    /// Accelerator types.
    pub catalog: &'a Catalog,
    /// Prices.
    pub prices: &'a Prices,
    /// DRA pools over several nodes, and DeviceTaintRules.
    pub dra: &'a DraFacts,
}

/// A node as the engine sees it, and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInventory {
    /// What can be placed there.
    pub spec: NodeSpec,
    /// What was odd.
    pub notes: Vec<InventoryNote>,
    /// Devices that are there and cannot be asked for.
    pub unsupported: Vec<Unsupported>,
}

/// What `node` offers. `slices` may hold those of other nodes; they are passed over. `held` is what pods that belong to no
/// Ampacity placement hold on it.
pub fn node_spec(
    ctx: &MemberContext<'_>,
    node: &SlimNode,
    slices: &[&SlimResourceSlice],
    held: &HeldOnNode,
) -> NodeInventory {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let labels: Labels = node.metadata.labels.clone().unwrap_or_default();
    let mut notes = Notes {
        cluster: ctx.cluster,
        node: name,
        notes: Vec::new(),
    };
    if name.is_empty() {
        notes.add(
            NoteReason::Unnamed,
            "the node has no metadata.name; give it one".to_owned(),
        );
    }
    let instance_type = platform::instance_type(&labels);
    let shape = ctx.catalog.instance(instance_type);
    let subject = Subject {
        node,
        labels: &labels,
        instance_type,
        shape: shape.as_ref(),
        catalog: ctx.catalog,
        held,
        dra: ctx.dra,
    };
    let mut devices = all_devices(&subject, name, slices, &mut notes);
    let mut offered = basics(node, shape.as_ref(), &mut notes);
    let mut other = others(node, &held.extended, &mut notes);
    if let Some(os) = platform::foreign_os(node, &labels) {
        offered = offer_nothing(os, &mut devices, &mut notes);
        other.clear();
    }
    let groups: Vec<DeviceGroup> = devices.groups.into_iter().map(|(_, group)| group).collect();
    let capacity_type =
        capacity_type::capacity_type(&labels, &node.spec.taints, ctx.provider, &mut notes);
    let zone = platform::zone(&labels);
    let region = match platform::region(&labels) {
        "" => ctx.region,
        region => region,
    };
    if !groups.is_empty() {
        for (level, label) in topology::unknown_levels(&labels, ctx.topology_levels) {
            let level = crate::state::engine_level(level).as_str();
            notes.add(
                NoteReason::UnknownTopology,
                format!("it has no label {label}, which spec.topologyLevels of the MemberCluster names for {level}, so it counts as being in no {level}; label it or correct topologyLevels"),
            );
        }
    }
    if let Some(placement) = held.beyond.first() {
        let more = match held.beyond.len() {
            1 => String::new(),
            others => format!(" (and {} other Placements)", others - 1),
        };
        notes.add(
            NoteReason::BeyondPlacement,
            format!("pods with the labels of Placement {placement}{more} hold more here than is reserved for it, and that is counted like anybody's: pods were copied, or its workload was changed in this cluster; delete those pods, or delete the Placement in the hub to have the job placed anew"),
        );
    }
    let accelerator_type = groups.first().map_or("", |g| g.accelerator_type.as_str());
    let spec = NodeSpec {
        cluster: ctx.cluster.to_owned(),
        name: name.to_owned(),
        instance_type: instance_type.to_owned(),
        zone: zone.to_owned(),
        region: region.to_owned(),
        capacity_type: Some(capacity_type),
        price: ctx.prices.node_price_in(
            ctx.provider,
            priced_region(ctx, region),
            &[zone, platform::zone_id(&labels)],
            instance_type,
            capacity_type,
            accelerator_type,
        ),
        cpu_milli: Amount {
            total: offered.cpu_milli,
            held: held.cpu_milli,
        },
        memory_mib: Amount {
            total: offered.memory_mib,
            held: held_mib(held.memory_bytes),
        },
        pod_slots: Amount {
            total: offered.pods,
            held: held.pods,
        },
        other,
        taints: node.spec.taints.iter().map(taint).collect(),
        fault: health::fault(node, &labels),
        domains: topology::domains(&labels, zone, ctx.topology_levels),
        feeds: ctx.feeds.feeds(&labels),
        devices: groups,
        labels,
    };
    NodeInventory {
        spec,
        notes: notes.notes,
        unsupported: devices.unsupported,
    }
}

/// The region by which a node's price is looked up. OKE's nodes name theirs by its key, three letters (`iad`), price sheets and
/// clusters by its name (`us-ashburn-1`); an OKE cluster lies in one region.
fn priced_region<'a>(ctx: &MemberContext<'a>, region: &'a str) -> &'a str {
    let is_key = region.len() == 3 && region.bytes().all(|b| b.is_ascii_alphabetic());
    if ctx.provider == "oci" && is_key {
        ctx.region
    } else {
        region
    }
}

/// Devices of plugins and of DRA together, each counted once.
fn all_devices(
    subject: &Subject<'_>,
    name: &str,
    slices: &[&SlimResourceSlice],
    notes: &mut Notes<'_>,
) -> Devices {
    let mut devices = extended::find(subject, notes);
    let mut dra = dra::find(subject, name, slices, &devices.offered, notes);
    let twice: BTreeSet<Family> = devices.offered.intersection(&dra.shown).copied().collect();
    for family in &twice {
        notes.add(
            NoteReason::CountedOnce,
            format!(
                "{} devices are offered by a device plugin and by DRA; they are counted once and asked for as {}",
                family.vendor,
                family.device_resource().unwrap_or_default()
            ),
        );
    }
    // Of a claim that is not known nobody can tell which devices it holds: what may be held is not promised.
    let is_unresolved = subject.held.is_unresolved() && !dra.groups.is_empty();
    if is_unresolved {
        for (_, group) in &mut dra.groups {
            group.held = group.devices;
        }
        let count: u64 = dra.groups.iter().map(|(_, g)| u64::from(g.devices)).sum();
        notes.add(
            NoteReason::UnresolvedClaims,
            format!(
                "pods here use ResourceClaims that are not given, or not as allocated: none of the {count} DRA devices is promised, since they may be held; give the claims too, with kubectl get resourceclaims --all-namespaces -o yaml"
            ),
        );
    }
    // What DRA claims hold cannot be had from the plugin either.
    for (family, group) in &mut devices.groups {
        let through_dra: u32 = dra
            .groups
            .iter()
            .filter(|(other, of)| other == family && of.part == group.part)
            .map(|(_, other)| other.held)
            .sum();
        group.held = group.held.saturating_add(through_dra).min(group.devices);
    }
    // Requests for the extended resource may be served by DRA: where no claim says so, they are all that tells who holds devices.
    for (family, group) in &mut dra.groups {
        let asked: u64 = plugin_resources(*family, &group.part)
            .iter()
            .filter_map(|r| subject.held.unclaimed.get(r))
            .fold(0, |sum, n| sum.saturating_add(*n));
        let asked = u32::try_from(asked).unwrap_or(u32::MAX);
        group.held = group.held.saturating_add(asked).min(group.devices);
    }
    // Devices that a plugin does not offer any more are those that DRA does.
    let by_dra: BTreeSet<Family> = dra
        .groups
        .iter()
        .filter_map(|(family, _)| *family)
        .collect();
    devices.groups.retain(|(family, group)| {
        group.devices > 0 || family.is_none_or(|family| !by_dra.contains(&family))
    });
    let counted = |family: &Option<Family>| family.is_none_or(|f| !twice.contains(&f));
    devices
        .groups
        .extend(dra.groups.into_iter().filter(|(family, _)| counted(family)));
    let of_twice =
        |resource: &str| family_of(resource).is_some_and(|family| twice.contains(&family));
    devices.unsupported.extend(
        dra.unsupported
            .into_iter()
            .filter(|u| !of_twice(&u.resource)),
    );
    devices.shown.extend(dra.shown);
    if platform::foreign_os(subject.node, subject.labels).is_none() {
        note_absent(subject, &devices.shown, &dra.empty_pools, notes);
    }
    devices
}

/// Names by which a device plugin would offer what a DRA driver offers.
fn plugin_resources(family: Option<Family>, part: &DevicePart) -> Vec<String> {
    let whole = family.map(|f| f.device_resources).unwrap_or_default();
    match part {
        DevicePart::Whole => whole.iter().map(|name| (*name).to_owned()).collect(),
        DevicePart::Mig(profile) => vec![MigProfile::resource(profile)],
        DevicePart::Milli(_) => Vec::new(),
    }
}

/// Labels or the instance type show devices of a family, and nothing offers them.
fn note_absent(
    subject: &Subject<'_>,
    shown: &BTreeSet<Family>,
    empty_pools: &[(Family, String, String)],
    notes: &mut Notes<'_>,
) {
    for family in Family::all() {
        if shown.contains(&family) {
            continue;
        }
        let Some(by) = sign_of(family, subject) else {
            continue;
        };
        let resource = family.device_resource().unwrap_or_default();
        let query: DeviceQuery<'_> = subject.query(resource);
        let what = match subject.catalog.identify(&query) {
            Identity::Known { accelerator, .. } => accelerator.name.clone(),
            Identity::Unknown { .. } => format!("{} devices of an unknown model", family.vendor),
        };
        let what = (family.in_words)(subject.labels, what);
        let mut of_family = empty_pools.iter().filter(|(of, ..)| *of == family);
        if let Some((_, driver, pool)) = of_family.next() {
            notes.add(
                NoteReason::LabelsWithoutCapacity,
                format!(
                    "{by} shows {what}, but DRA driver {driver} published no device in pool {pool:?}: 0 devices; look at the log of the driver's pod on the node"
                ),
            );
            continue;
        }
        notes.add(
            NoteReason::LabelsWithoutCapacity,
            format!(
                "{by} shows {what}, but the status offers no {resource} and no ResourceSlice does: 0 devices; install or repair the device plugin or DRA driver"
            ),
        );
    }
}

/// The label or the instance type that shows a family's devices.
fn sign_of(family: Family, subject: &Subject<'_>) -> Option<String> {
    let by_label = family.sign(subject.labels);
    if let Some((key, value)) = by_label {
        return Some(format!("label {key}={value}"));
    }
    let shape = subject.shape?;
    let of = Catalog::builtin_family(&shape.accelerator)?;
    (of == family && !shape.is_fractional())
        .then(|| format!("instance type {}", shape.instance_type))
}

/// Windows nodes run no Linux job: their devices are listed as unsupported, and CPU, memory and pods are nothing.
fn offer_nothing(os: &str, devices: &mut Devices, notes: &mut Notes<'_>) -> Basics {
    notes.add(
        NoteReason::NotLinux,
        format!("the node runs {os}, so nothing is placed there; only Linux nodes are used"),
    );
    for (_, group) in devices.groups.drain(..) {
        devices.unsupported.push(Unsupported {
            resource: group.resource,
            count: group.devices.into(),
            reason: UnsupportedReason::NotLinux,
            accelerator_type: Some(group.accelerator_type),
        });
    }
    Basics {
        cpu_milli: 0,
        memory_mib: 0,
        pods: 0,
    }
}

/// An effect that is not known keeps pods away, to be safe.
fn taint(taint: &SlimTaint) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: match taint.effect.as_str() {
            "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
            "NoExecute" => TaintEffect::NoExecute,
            _ => TaintEffect::NoSchedule,
        },
    }
}
