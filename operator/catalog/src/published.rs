//! Devices that DRA drivers publish in ResourceSlices.

use crate::part::NotAskable;
use crate::vendor::nvidia::mig::MigProfile;

/// A published device, as far as a vendor's file looks at it.
pub trait PublishedDevice {
    /// Its name in the slice.
    fn name(&self) -> &str;

    /// An attribute that is text, with or without the driver's name before it.
    fn text(&self, attribute: &str) -> Option<&str>;

    /// Its capacity `memory` in MiB.
    fn memory_mib(&self) -> Option<u64>;
}

/// What a published device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedKind {
    /// A whole device.
    Whole,
    /// A MIG instance.
    Mig(MigProfile),
    /// Something of a device that cannot be asked for.
    Split(NotAskable),
    /// The same silicon in another guise, or nothing that computes.
    Other,
}

/// How a vendor's DRA drivers publish devices.
#[derive(Clone, Copy, Debug)]
pub struct Dra {
    /// Names of the drivers; the device class of a whole device has the driver's name.
    pub drivers: &'static [&'static str],
    /// Device classes of parts of devices.
    pub part_classes: &'static [&'static str],
    /// Names of the first driver's pods on the nodes; a `*` stands for any text. A node whose pod does not run keeps its slices
    /// for a while, and prepares no claim.
    pub pods: &'static [&'static str],
    /// What a device says about its model.
    pub model: fn(&dyn PublishedDevice) -> Option<&str>,
    /// The PCI device id by which its model is known.
    pub pci_id: fn(&dyn PublishedDevice) -> Option<&str>,
    /// Attribute with the instance type of its node.
    pub instance_type: Option<&'static str>,
    /// Attribute with the id of a whole device.
    pub id: Option<&'static str>,
    /// Attribute of a part with the id of the device that it is cut from.
    pub parent_id: Option<&'static str>,
    /// What it is. Devices that several claims may share are none of its business: they are time slices.
    pub kind: fn(&dyn PublishedDevice) -> PublishedKind,
}

impl Dra {
    /// No driver.
    pub const NONE: Self = Self {
        drivers: &[],
        part_classes: &[],
        pods: &[],
        model: |_| None,
        pci_id: |_| None,
        instance_type: None,
        id: None,
        parent_id: None,
        kind: |_| PublishedKind::Whole,
    };
}
