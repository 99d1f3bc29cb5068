//! What a vendor's file says about one family of its devices.

use ampacity_placement::Labels;

use crate::evidence::{Clues, DeviceQuery, Found};
use crate::part::{Cut, NodeView, NotAskable, Offer, by_unit};
use crate::published::Dra;
use crate::rendezvous::Rendezvous;
use crate::resource::Unit;

/// Everything that only this family of devices has: devices that are found and asked for in the same way.
///
/// Most of it is plain data. A vendor's file writes what its devices have and takes the rest from `FamilyFacts::NONE`.
#[derive(Clone, Copy, Debug)]
pub struct FamilyFacts {
    /// Name of the family, unlike all others.
    pub name: &'static str,
    /// The vendor's name, as AcceleratorType writes it.
    pub vendor: &'static str,
    /// Whether an accelerator type of the vendor, by its name, is of this family; asked in the order of the list of families.
    pub(crate) has_type: fn(&str) -> bool,

    /// Every extended resource that stands for its devices or something of them, and what a unit is. A `*` in a name stands for
    /// any text; the first that fits counts.
    pub resources: &'static [(&'static str, Unit)],
    /// Extended resources by which whole devices are asked for, the preferred one first.
    pub device_resources: &'static [&'static str],
    /// Most devices that a machine with devices of a type has, by the type's name; `None` where any number may be. More units of a
    /// whole device than that are shares under its name.
    pub most_devices: fn(&str) -> Option<u64>,
    /// Whether the devices of a node are one machine to their runtime, so that all of them go to one replica.
    pub whole_nodes: bool,
    /// What the messages of containers say that did not start because they could not be given a device.
    pub failed_starts: &'static [&'static str],
    /// Resources of whole devices that a device plugin may offer many times over under the same name: no number is a mistake.
    pub shareable_resources: &'static [&'static str],
    /// Cores of a device on nodes that do not tell; `None` where cores are no resource.
    pub cores_per_device: Option<u64>,
    /// Its DRA drivers.
    pub dra: Dra,
    /// Taint keys that mark its nodes; pods made for its devices tolerate them.
    pub taint_keys: &'static [&'static str],

    /// Labels that show that a node has such devices, whatever it offers. The first that is there counts.
    pub signs: &'static [Sign],
    /// Annotations whose keys say something; the values are large, and dropped. Prefixes.
    pub annotation_keys: &'static [&'static str],
    /// Kinds of rows in `data/names.csv` by which its types are known.
    pub name_kinds: &'static [&'static str],
    /// The type of a device by what its driver and its node's labels say. A name is compared as a whole, never in part.
    pub(crate) identify: fn(&DeviceQuery<'_>, &mut Clues) -> Found,
    /// Whether the instance type may tell the type where [`Self::identify`] finds none.
    pub(crate) trusts_instance_type: fn(&DeviceQuery<'_>) -> bool,
    /// Memory of a whole device in MiB as driver or labels give it, to doubt the type by.
    pub(crate) device_memory_mib: fn(&DeviceQuery<'_>) -> Option<u64>,

    /// What a unit is on this node, beside the other resources of the family; or why it is nothing that can be asked for.
    pub cut: fn(&NodeView<'_>, &Offer<'_>, &[Offer<'_>]) -> Result<Cut, NotAskable>,
    /// Devices in a node, cut up or not, where something tells: parts beyond them are not counted.
    pub physical_devices: fn(&NodeView<'_>) -> Option<u64>,
    /// What a node's labels say that it has of this type, in words: `time slices of nvidia-t4`.
    pub in_words: fn(&Labels, String) -> String,

    /// Domains with a fabric of the vendor's own.
    pub fabric: Fabric,
    /// What the vendor's own agents say about a node.
    pub health: Health,
    /// The environment by which replicas find each other.
    pub rendezvous: Rendezvous,
}

/// A label that shows devices of a family; the value `false` shows none.
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// A label of this key.
    Label(&'static str),
    /// A label whose key begins like this.
    LabelPrefix(&'static str),
    /// A label of this key, which other vendors' devices have too; the second says whose they are.
    LabelOfMaker(&'static str, &'static str),
}

/// Domains in which a fabric joins the devices of several nodes (NVLink, a TPU slice, an UltraServer).
#[derive(Clone, Copy, Debug)]
pub struct Fabric {
    /// Labels whose value is the domain; the first that is there counts.
    pub labels: &'static [&'static str],
    /// The domain by several labels together, where no label names it.
    pub domain: fn(&Labels) -> Option<String>,
}

/// What a vendor's own agents say about a node's health. What clouds say is theirs.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// Node conditions whose `True` is a fault.
    pub faults: &'static [&'static str],
    /// Those of them whose fault ends what runs on the node.
    pub end_work: &'static [&'static str],
    /// Labels and the values that are a fault; `*` is any value but empty and `false`.
    pub bad_labels: &'static [(&'static str, &'static [&'static str])],
}

impl FamilyFacts {
    /// What a family has of which nothing is said.
    pub(crate) const NONE: Self = Self {
        name: "",
        vendor: "",
        has_type: |_| true,
        resources: &[],
        device_resources: &[],
        most_devices: |_| None,
        whole_nodes: false,
        failed_starts: &[],
        shareable_resources: &[],
        cores_per_device: None,
        dra: Dra::NONE,
        taint_keys: &[],
        signs: &[],
        annotation_keys: &[],
        name_kinds: &[],
        identify: by_site_labels,
        trusts_instance_type: |_| true,
        device_memory_mib: |_| None,
        cut: by_unit,
        physical_devices: |_| None,
        in_words: |_, device| device,
        fabric: Fabric {
            labels: &[],
            domain: |_| None,
        },
        health: Health {
            faults: &[],
            end_work: &[],
            bad_labels: &[],
        },
        rendezvous: Rendezvous::PER_DEVICE,
    };

    /// Names by which whole devices are asked for: extended resources, then DRA device classes.
    pub fn requestable(&self) -> Vec<String> {
        self.device_resources
            .iter()
            .chain(self.dra.drivers)
            .map(|name| (*name).to_owned())
            .collect()
    }

    /// The preferred extended resource of a whole device.
    pub fn device_resource(&self) -> Option<&'static str> {
        self.device_resources.first().copied()
    }

    /// The label that shows such devices, with its value.
    pub fn sign<'a>(&self, labels: &'a Labels) -> Option<(&'a str, &'a str)> {
        let shows = |(key, value): (&'a String, &'a String)| {
            (value != "false").then_some((key.as_str(), value.as_str()))
        };
        self.signs.iter().find_map(|sign| match *sign {
            Sign::Label(key) => labels.get_key_value(key).and_then(shows),
            Sign::LabelPrefix(prefix) => labels
                .iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .find_map(shows),
            Sign::LabelOfMaker(key, maker) => {
                let of_other = labels.get(maker).is_some_and(|maker| maker != self.vendor);
                labels
                    .get_key_value(key)
                    .filter(|_| !of_other)
                    .and_then(shows)
            }
        })
    }
}

/// Labels that sites put on nodes by hand: they tell people something, and no type.
pub(super) fn by_site_labels(query: &DeviceQuery<'_>, clues: &mut Clues) -> Found {
    clues.see_labels(query, &["accelerator", "servertype"]);
    None
}
