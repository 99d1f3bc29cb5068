//! Devices that DRA drivers publish in ResourceSlices.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_catalog::{
    Cut, DeviceQuery, Family, Identity, MigProfile, NotAskable, PublishedDevice, PublishedKind,
    family_of,
};
use ampacity_placement::DeviceGroup;

use super::devices::{Devices, Subject, as_one_unit, taint_keys};
use super::dra_facts::{PoolCount, driver};
use super::held::DeviceId;
use super::note::{NoteReason, Notes, Unsupported, UnsupportedReason};
use crate::state::{SlimAttribute, SlimDevice, SlimResourceSlice, SlimTaint, parse_bytes};

/// Finds the devices in the slices of a node. Slices of other nodes, of network cards and of compute domains are passed over.
///
/// A pool counts as a whole or not at all: only its highest generation, and only when all `resourceSliceCount` slices are there, on
/// whatever nodes.
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
        let count = subject.dra.pool(driver, pool).unwrap_or_else(|| {
            let mut count = PoolCount::default();
            slices.iter().for_each(|slice| count.add(slice));
            count
        });
        let current: Vec<&SlimResourceSlice> = slices
            .into_iter()
            .filter(|s| s.spec.pool.generation == count.generation)
            .collect();
        if let Some(wanted) = count.missing_of() {
            devices.shown.insert(family);
            notes.add(
                NoteReason::IncompletePool,
                format!(
                    "pool {pool:?} of {driver} has {} of {wanted} ResourceSlices, so its devices are not counted until it is whole",
                    count.slices
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
        if members.is_empty() {
            let of_pool = (family, driver.to_owned(), pool.to_owned());
            devices.empty_pools.push(of_pool);
            continue;
        }
        devices.shown.insert(family);
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
            .any(SlimTaint::keeps_claims_off);
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

    /// The device that a part says it is cut from.
    fn parent(&self, family: Family) -> Option<&'a str> {
        self.text(family.dra.parent_id?)
    }

    fn kind(&self, family: Family) -> PublishedKind {
        if self.body.allow_multiple_allocations || self.device.allow_multiple_allocations {
            return PublishedKind::Split(NotAskable::TimeSliced);
        }
        (family.dra.kind)(self)
    }
}

impl PublishedDevice for Member<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn text(&self, attribute: &str) -> Option<&str> {
        Member::text(self, attribute)
    }

    fn memory_mib(&self) -> Option<u64> {
        Member::memory_mib(self)
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
    let mut groups: BTreeMap<(&str, Cut), Counted> = BTreeMap::new();
    let mut unsupported: BTreeMap<(UnsupportedReason, Option<&str>), u64> = BTreeMap::new();
    let mut unhealthy = 0_u32;
    let mut names = BTreeSet::new();
    for member in members.iter().filter(|m| names.insert(m.name)) {
        let kind = member.kind(family);
        let said = family.dra.instance_type.and_then(|name| member.text(name));
        let instance_type = said.unwrap_or(subject.instance_type);
        let query = DeviceQuery {
            model: (family.dra.model)(member),
            pci_id: (family.dra.pci_id)(member),
            // An instance's memory says nothing about its device.
            memory_mib: member
                .memory_mib()
                .filter(|_| !matches!(kind, PublishedKind::Mig(_))),
            instance_type,
            ..subject.query(driver)
        };
        let identity = subject.catalog.identify(&query);
        let is_doubted = !identity.is_by_match();
        let (known, memory_gib) = match identity {
            Identity::Known { accelerator, .. } => {
                (Some(accelerator.name.as_str()), accelerator.memory_gib)
            }
            Identity::Unknown { .. } => (None, 0),
        };
        // A driver that does not say how its devices are cut up says how much memory each has.
        let is_smaller = |mib: u64| mib.saturating_mul(2) <= u64::from(memory_gib) * 1024;
        let is_part = is_doubted && query.memory_mib.is_some_and(is_smaller);
        let cut = match kind {
            PublishedKind::Other => continue,
            PublishedKind::Mig(_) | PublishedKind::Split(NotAskable::Partitioned)
                if silicon.is_in_a_whole_device(family, member) =>
            {
                continue;
            }
            PublishedKind::Mig(_) if silicon.may_overlap(member) => {
                Err(UnsupportedReason::Partitioned)
            }
            PublishedKind::Split(why) => Err(why.into()),
            PublishedKind::Mig(profile) => Ok(Cut::Mig(profile)),
            PublishedKind::Whole if is_part && known.is_some() => {
                Err(UnsupportedReason::Partitioned)
            }
            PublishedKind::Whole => Ok(Cut::Whole),
        };
        match (cut, known) {
            (Err(reason), known) => *unsupported.entry((reason, known)).or_default() += 1,
            (Ok(cut), Some(name)) => {
                let group = groups.entry((name, cut)).or_default();
                let is_tainted = subject.dra.is_tainted(driver, pool, member.name);
                if is_tainted || member.is_unhealthy() {
                    group.unusable += 1;
                    unhealthy += 1;
                } else {
                    group.devices += 1;
                    group.held += u32::from(held.contains(member.name));
                }
            }
            (Ok(_), None) if member.is_unhealthy() => unhealthy += 1,
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
    for ((name, cut), counted) in groups {
        let class = match cut {
            Cut::Mig(_) => MigProfile::device_class(),
            Cut::Whole | Cut::Slice(_) => driver,
        };
        devices.groups.push((
            Some(family),
            as_one_unit(DeviceGroup {
                accelerator_type: name.to_owned(),
                resource: class.to_owned(),
                part: cut.part(),
                share: cut.share(name),
                devices: counted.devices,
                held: counted.held,
                unusable: counted.unusable,
                unusable_why: if counted.unusable > 0 {
                    format!("devices of {driver} are tainted or reported unhealthy")
                } else {
                    String::new()
                },
                whole_node: family.whole_nodes,
                node_devices: silicon.devices,
                taint_keys: taint_keys(Some(family), class),
            }),
        ));
    }
    for ((reason, known), count) in unsupported {
        if reason != UnsupportedReason::UnknownModel {
            notes.add(
                NoteReason::NotWholeDevices,
                format!(
                    "{count} devices of {driver} are {} and are not used for jobs that ask for whole devices",
                    reason.words()
                ),
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

/// Devices of one type and cut.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    devices: u32,
    held: u32,
    unusable: u32,
}

/// Which published devices are the same silicon.
struct Silicon<'a> {
    /// Counter sets that whole devices draw on.
    whole_counters: BTreeSet<&'a str>,
    /// Ids of whole devices.
    whole_ids: BTreeSet<&'a str>,
    /// MIG instances by the counter set that they draw on.
    instances: BTreeMap<&'a str, usize>,
    /// Devices that there are, whole and cut up; 0 where all are whole, or an instance does not name its device.
    devices: u32,
}

impl<'a> Silicon<'a> {
    fn of(family: Family, members: &[Member<'a>]) -> Self {
        let (mut whole_counters, mut whole_ids) = (BTreeSet::new(), BTreeSet::new());
        let mut instances: BTreeMap<&str, usize> = BTreeMap::new();
        let mut parents: BTreeSet<Option<&str>> = BTreeSet::new();
        let mut whole: BTreeSet<&str> = BTreeSet::new();
        for member in members {
            match member.kind(family) {
                PublishedKind::Whole => {
                    whole_counters.extend(member.counter_sets());
                    whole_ids.extend(family.dra.id.and_then(|name| member.text(name)));
                    whole.insert(member.name);
                }
                PublishedKind::Mig(_) => {
                    parents.insert(member.parent(family));
                    for set in member.counter_sets() {
                        *instances.entry(set).or_default() += 1;
                    }
                }
                PublishedKind::Split(_) | PublishedKind::Other => {}
            }
        }
        parents.retain(|id| !id.is_some_and(|id| whole_ids.contains(id)));
        let all = whole.len().saturating_add(parents.len());
        let known = !parents.is_empty() && !parents.contains(&None);
        Self {
            whole_counters,
            whole_ids,
            instances,
            devices: u32::try_from(all).ok().filter(|_| known).unwrap_or(0),
        }
    }

    /// A partition that is, or could be, cut from a whole device that is listed too.
    fn is_in_a_whole_device(&self, family: Family, member: &Member<'_>) -> bool {
        let mut sets = member.counter_sets();
        sets.any(|set| self.whole_counters.contains(set))
            || member
                .parent(family)
                .is_some_and(|id| self.whole_ids.contains(id))
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
            is_held(m) || (m.kind(family) == PublishedKind::Whole && cut_up())
        })
        .map(|m| m.name)
        .collect()
}

fn note_unknown(member: &Member<'_>, driver: &str, family: Family, notes: &mut Notes<'_>) {
    let said = (family.dra.model)(member)
        .or_else(|| (family.dra.pci_id)(member))
        .unwrap_or("nothing");
    let resource = family.device_resource().unwrap_or(driver);
    notes.add(
        NoteReason::UnknownDevice,
        format!(
            "device {} of {driver} cannot be used: it says {said:?} about its model, which is not known; create an AcceleratorType with spec.match.resourceNames [{resource}] and this node's labels or instance type",
            member.name
        ),
    );
}
