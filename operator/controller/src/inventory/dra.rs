//! Devices that DRA drivers publish in ResourceSlices.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_catalog::{
    DeviceQuery, Family, Identity, MigProfile, ProductName, Sharing, family_of,
};
use ampacity_placement::DeviceGroup;

use super::extended::{Devices, Subject, taint_keys};
use super::held::DeviceId;
use super::note::{NoteReason, Notes, Unsupported, UnsupportedReason};
use super::parts::Cut;
use crate::state::parse_bytes;
use crate::state::{SlimAttribute, SlimDevice, SlimResourceSlice};

/// DeviceClass of the MIG instances that `gpu.nvidia.com` publishes; the driver's chart makes it.
const MIG_CLASS: &str = "mig.nvidia.com";

/// What a published device is.
enum Kind {
    Whole,
    Mig(MigProfile),
    Split(UnsupportedReason),
    /// The same silicon in another guise, or nothing that computes.
    Other,
}

/// Finds the devices in the slices of a node. Slices of other nodes, of network cards and of compute domains are passed over.
///
/// A pool counts as a whole or not at all: only its highest generation, and only when all `resourceSliceCount` slices are there.
/// For the families in `offered` a device plugin is what counts, so nothing is noted about them.
pub(super) fn find(
    subject: &Subject<'_>,
    node_name: &str,
    slices: &[&SlimResourceSlice],
    offered: &BTreeSet<Family>,
    notes: &mut Notes<'_>,
) -> Devices {
    let mut devices = Devices::default();
    let mut unsaid = Notes {
        notes: Vec::new(),
        ..*notes
    };
    for ((driver, pool), slices) in pools(node_name, slices) {
        let Some(family) = family_of(driver) else {
            continue;
        };
        let notes = if offered.contains(&family) {
            &mut unsaid
        } else {
            &mut *notes
        };
        let newest = slices.iter().map(|s| s.spec.pool.generation).max();
        let current: Vec<&SlimResourceSlice> = slices
            .into_iter()
            .filter(|s| Some(s.spec.pool.generation) == newest)
            .collect();
        let wanted = current
            .iter()
            .filter_map(|s| s.spec.pool.resource_slice_count)
            .max();
        devices.shown.insert(family);
        if let Some(wanted) =
            wanted.filter(|n| *n > i64::try_from(current.len()).unwrap_or(i64::MAX))
        {
            notes.add(
                NoteReason::IncompletePool,
                format!(
                    "pool {pool:?} of {driver} has {} of {wanted} ResourceSlices, so its devices are not counted until it is whole",
                    current.len()
                ),
            );
            continue;
        }
        let members: Vec<Member<'_>> = current
            .iter()
            .flat_map(|slice| slice.spec.devices.iter().map(move |d| (*slice, d)))
            .filter(|(slice, device)| {
                slice.spec.node_name.is_some() || device.node_name.as_deref() == Some(node_name)
            })
            .map(|(_, device)| Member::new(device, driver))
            .collect();
        count_pool(subject, family, driver, pool, &members, &mut devices, notes);
    }
    devices
}

type Pools<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a SlimResourceSlice>>;

fn pools<'a>(node_name: &'a str, slices: &[&'a SlimResourceSlice]) -> Pools<'a> {
    let mut pools = Pools::new();
    for slice in slices.iter().filter(|slice| is_of(slice, node_name)) {
        let pool = match slice.spec.pool.name.as_str() {
            "" => node_name,
            pool => pool,
        };
        pools.entry((driver(slice), pool)).or_default().push(slice);
    }
    pools
}

fn is_of(slice: &SlimResourceSlice, node_name: &str) -> bool {
    !node_name.is_empty()
        && (slice.spec.node_name.as_deref() == Some(node_name)
            || slice
                .spec
                .devices
                .iter()
                .any(|d| d.node_name.as_deref() == Some(node_name)))
}

/// The driver; where a trimmed file leaves it out, it is read from the slice's name (`<node>-<driver>-<suffix>`).
fn driver(slice: &SlimResourceSlice) -> &str {
    if !slice.spec.driver.is_empty() {
        return &slice.spec.driver;
    }
    let name = slice.metadata.name.as_deref().unwrap_or_default();
    Family::ALL
        .iter()
        .flat_map(|family| family.dra_drivers())
        .find(|driver| name.contains(&format!("-{driver}-")))
        .copied()
        .unwrap_or_default()
}

/// A device with its attributes at hand.
struct Member<'a> {
    name: &'a str,
    driver: &'a str,
    device: &'a SlimDevice,
    /// Where attributes and capacity are: the device, or its `basic` part in `v1beta1`.
    body: &'a SlimDevice,
}

impl<'a> Member<'a> {
    fn new(device: &'a SlimDevice, driver: &'a str) -> Self {
        Self {
            name: &device.name,
            driver,
            device,
            body: device.basic.as_deref().unwrap_or(device),
        }
    }

    fn attribute(&self, name: &str) -> Option<&'a SlimAttribute> {
        let body = self.body;
        body.attributes
            .get(name)
            .or_else(|| body.attributes.get(&format!("{}/{name}", self.driver)))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.attribute(name)?.string.as_deref()
    }

    fn memory_mib(&self) -> Option<u64> {
        let capacity = &self.body.capacity;
        let memory = capacity
            .get("memory")
            .or_else(|| capacity.get(&format!("{}/memory", self.driver)))?;
        Some(parse_bytes(&memory.value).ok()? >> 20)
    }

    /// Taints that keep claims away and health attributes.
    fn is_unhealthy(&self) -> bool {
        let tainted = self
            .body
            .taints
            .iter()
            .chain(&self.device.taints)
            .any(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
        let said = self
            .attribute("healthy")
            .is_some_and(|a| a.bool == Some(false) || a.string.as_deref() == Some("false"));
        let health = self.text("health").is_some_and(|h| {
            !matches!(
                h.to_ascii_lowercase().as_str(),
                "healthy" | "unknown" | "ok"
            )
        });
        tainted || said || health
    }

    fn counter_sets(&self) -> impl Iterator<Item = &'a str> {
        let body = self.body;
        self.device
            .consumes_counters
            .iter()
            .chain(body.consumes_counters.iter())
            .map(|c| c.counter_set.as_str())
    }

    fn model(&self, family: Family) -> Option<&'a str> {
        match family {
            Family::Nvidia | Family::Amd => self.text("productName"),
            Family::Gaudi | Family::IntelGpu => self.text("model").filter(|m| *m != "Unknown"),
            Family::Tpu => self.text("tpuGen"),
            _ => None,
        }
    }

    fn pci_id(&self, family: Family) -> Option<&'a str> {
        match family {
            Family::IntelGpu => self.text("pciId"),
            // `0000-a0-00-0-0x1020`
            Family::Gaudi => self.name.rsplit_once("-0x").map(|(_, id)| id),
            _ => None,
        }
    }

    fn kind(&self, family: Family) -> Kind {
        use UnsupportedReason::{Integrated, Partitioned, TimeSliced, VirtualGpu};
        if self.body.allow_multiple_allocations || self.device.allow_multiple_allocations {
            return Kind::Split(TimeSliced);
        }
        let type_ = self.text("type").unwrap_or_default();
        match family {
            Family::Nvidia => {
                let vgpu = self.text("brand").is_some_and(|b| b.starts_with("NvidiaV"))
                    || self
                        .text("productName")
                        .is_some_and(|p| ProductName::parse(p).sharing == Sharing::VirtualGpu);
                match type_ {
                    "gpu" | "" if vgpu => Kind::Split(VirtualGpu),
                    "gpu" | "" => Kind::Whole,
                    "mig" => match self.text("profile").and_then(MigProfile::parse) {
                        Some(profile) => Kind::Mig(profile),
                        None => Kind::Split(Partitioned),
                    },
                    _ => Kind::Other,
                }
            }
            Family::Amd => {
                let whole_profile = self
                    .text("partitionProfile")
                    .is_none_or(|p| p.to_ascii_lowercase().starts_with("spx"));
                match type_ {
                    "amdgpu" | "" if whole_profile => Kind::Whole,
                    "amdgpu" | "" | "amdgpu-partition" => Kind::Split(Partitioned),
                    _ => Kind::Other,
                }
            }
            Family::IntelGpu => match type_ {
                "vf" => Kind::Split(Partitioned),
                _ if self.memory_mib() == Some(0) => Kind::Split(Integrated),
                _ => Kind::Whole,
            },
            Family::Neuron => match self.text("resourceType").unwrap_or_default() {
                "" | "neuron_device" => Kind::Whole,
                "neuron_core" => Kind::Split(UnsupportedReason::Cores),
                _ => Kind::Other,
            },
            _ => Kind::Whole,
        }
    }
}

fn count_pool(
    subject: &Subject<'_>,
    family: Family,
    driver: &str,
    pool: &str,
    members: &[Member<'_>],
    devices: &mut Devices,
    notes: &mut Notes<'_>,
) {
    let held = held_devices(subject, family, driver, pool, members);
    let silicon = Silicon::of(family, members);
    let mut groups: BTreeMap<(&str, Cut), (u32, u32)> = BTreeMap::new();
    let mut unsupported: BTreeMap<(UnsupportedReason, Option<&str>), u64> = BTreeMap::new();
    let mut unhealthy = 0_u32;
    let mut names = BTreeSet::new();
    for member in members.iter().filter(|m| names.insert(m.name)) {
        let kind = member.kind(family);
        let instance_type = member
            .text("instanceType")
            .filter(|_| family == Family::Neuron)
            .unwrap_or(subject.instance_type);
        let query = DeviceQuery {
            model: member.model(family),
            pci_id: member.pci_id(family),
            // An instance's memory says nothing about its device.
            memory_mib: member
                .memory_mib()
                .filter(|_| !matches!(kind, Kind::Mig(_))),
            instance_type,
            ..subject.query(driver)
        };
        let known = match subject.catalog.identify(&query) {
            Identity::Known { accelerator, .. } => Some(accelerator.name.as_str()),
            Identity::Unknown { .. } => None,
        };
        let cut = match kind {
            Kind::Other => continue,
            Kind::Mig(_) | Kind::Split(UnsupportedReason::Partitioned)
                if silicon.is_in_a_whole_device(member) =>
            {
                continue;
            }
            Kind::Mig(_) if silicon.may_overlap(member) => Err(UnsupportedReason::Partitioned),
            Kind::Split(reason) => Err(reason),
            Kind::Mig(profile) => Ok(Cut::Mig(profile)),
            Kind::Whole => Ok(Cut::Whole),
        };
        match (cut, known) {
            (Err(reason), known) => *unsupported.entry((reason, known)).or_default() += 1,
            (Ok(_), _) if member.is_unhealthy() => unhealthy += 1,
            (Ok(cut), Some(name)) => {
                let (count, in_use) = groups.entry((name, cut)).or_default();
                *count += 1;
                *in_use += u32::from(held.contains(member.name));
            }
            (Ok(_), None) => {
                *unsupported
                    .entry((UnsupportedReason::UnknownModel, None))
                    .or_default() += 1;
                note_unknown(member, driver, family, notes);
            }
        }
    }
    if unhealthy > 0 {
        notes.add(
            NoteReason::UnhealthyDevices,
            format!("{unhealthy} devices of {driver} are tainted or reported unhealthy"),
        );
    }
    for ((name, cut), (count, in_use)) in groups {
        let class = match cut {
            Cut::Mig(_) => MIG_CLASS,
            Cut::Whole | Cut::Slice(_) => driver,
        };
        devices.groups.push((
            Some(family),
            DeviceGroup {
                accelerator_type: name.to_owned(),
                resource: class.to_owned(),
                part: cut.part(),
                share: cut.share(name),
                devices: count,
                held: in_use,
                node_devices: silicon.devices,
                taint_keys: taint_keys(Some(family), class),
            },
        ));
    }
    for ((reason, known), count) in unsupported {
        if reason != UnsupportedReason::UnknownModel {
            notes.add(
                NoteReason::NotWholeDevices,
                format!("{count} devices of {driver} are no whole accelerators ({reason:?}) and are not used"),
            );
        }
        devices.unsupported.push(Unsupported {
            resource: driver.to_owned(),
            count,
            reason,
            accelerator_type: known.map(str::to_owned),
        });
    }
}

/// Which published devices are the same silicon.
struct Silicon<'a> {
    /// Counter sets that whole devices draw on.
    whole_counters: BTreeSet<&'a str>,
    /// UUIDs of whole devices.
    whole_uuids: BTreeSet<&'a str>,
    /// MIG instances by the counter set that they draw on.
    instances: BTreeMap<&'a str, usize>,
    /// Devices that there are, whole and cut up; 0 where all are whole, or an instance does not name its device.
    devices: u32,
}

impl<'a> Silicon<'a> {
    fn of(family: Family, members: &[Member<'a>]) -> Self {
        let (mut whole_counters, mut whole_uuids) = (BTreeSet::new(), BTreeSet::new());
        let mut instances: BTreeMap<&str, usize> = BTreeMap::new();
        let mut parents: BTreeSet<Option<&str>> = BTreeSet::new();
        let mut whole: BTreeSet<&str> = BTreeSet::new();
        for member in members {
            match member.kind(family) {
                Kind::Whole => {
                    whole_counters.extend(member.counter_sets());
                    whole_uuids.extend(member.text("uuid"));
                    whole.insert(member.name);
                }
                Kind::Mig(_) => {
                    parents.insert(member.text("parentUUID"));
                    for set in member.counter_sets() {
                        *instances.entry(set).or_default() += 1;
                    }
                }
                Kind::Split(_) | Kind::Other => {}
            }
        }
        parents.retain(|uuid| !uuid.is_some_and(|uuid| whole_uuids.contains(uuid)));
        let all = whole.len().saturating_add(parents.len());
        let known = !parents.is_empty() && !parents.contains(&None);
        Self {
            whole_counters,
            whole_uuids,
            instances,
            devices: u32::try_from(all).ok().filter(|_| known).unwrap_or(0),
        }
    }

    /// A partition that is, or could be, cut from a whole device that is listed too.
    fn is_in_a_whole_device(&self, member: &Member<'_>) -> bool {
        let mut sets = member.counter_sets();
        sets.any(|set| self.whole_counters.contains(set))
            || member
                .text("parentUUID")
                .is_some_and(|uuid| self.whole_uuids.contains(uuid))
    }

    /// An instance that draws on the same counters as another may be one that could be made rather than one that is.
    fn may_overlap(&self, member: &Member<'_>) -> bool {
        let mut sets = member.counter_sets();
        sets.any(|set| self.instances.get(set).is_some_and(|n| *n > 1))
    }
}

/// Names of the devices that claims of others hold, be it through a partition cut from them.
fn held_devices<'a>(
    subject: &Subject<'_>,
    family: Family,
    driver: &str,
    pool: &str,
    members: &[Member<'a>],
) -> BTreeSet<&'a str> {
    let is_held = |member: &Member<'_>| {
        subject.held.devices.contains(&DeviceId {
            driver: driver.to_owned(),
            pool: pool.to_owned(),
            device: member.name.to_owned(),
        })
    };
    let drained: BTreeSet<&str> = members
        .iter()
        .filter(|m| is_held(m))
        .flat_map(Member::counter_sets)
        .collect();
    members
        .iter()
        .filter(|m| {
            let cut_up = || m.counter_sets().any(|set| drained.contains(set));
            is_held(m) || (matches!(m.kind(family), Kind::Whole) && cut_up())
        })
        .map(|m| m.name)
        .collect()
}

fn note_unknown(member: &Member<'_>, driver: &str, family: Family, notes: &mut Notes<'_>) {
    let said = member
        .model(family)
        .or_else(|| member.pci_id(family))
        .unwrap_or("nothing");
    let resource = family.resources().first().copied().unwrap_or(driver);
    notes.add(
        NoteReason::UnknownDevice,
        format!(
            "device {} of {driver} cannot be used: it says {said:?} about its model, which is not known; create an AcceleratorType with spec.match.resourceNames [{resource}] and this node's labels or instance type",
            member.name
        ),
    );
}
