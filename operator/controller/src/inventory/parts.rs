//! What one unit of NVIDIA's extended resources is: a whole device, a MIG instance, a time slice, or nothing to be asked for.

use ampacity_catalog::{MigProfile, ProductName, Sharing, Unit, mig_slices};
use ampacity_placement::{DeviceGroup, DevicePart, DeviceShare};

use super::extended::{Devices, Offer, Subject};
use super::note::{NoteReason, Notes, Unsupported, UnsupportedReason};
use super::resources::MAX_DEVICES;

/// Before the profile in a resource's name.
pub(super) const MIG_PREFIX: &str = "nvidia.com/mig-";

/// What a unit is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    /// A whole device.
    Whole,
    /// A MIG instance.
    Mig(MigProfile),
    /// One of so many time slices or MPS clients of a device; 1 to 1000.
    Slice(u32),
}

impl Cut {
    /// One of `of` slices; `None` for a number that cannot be told in thousandths.
    fn slice(of: u64) -> Option<Self> {
        let of = u32::try_from(of).ok()?;
        (1..=1000).contains(&of).then_some(Self::Slice(of))
    }

    /// What the engine calls it. Of three slices each has 333 thousandths, and pays for a third.
    pub(super) fn part(&self) -> DevicePart {
        match self {
            Self::Whole => DevicePart::Whole,
            Self::Mig(profile) => DevicePart::Mig(profile.name().to_owned()),
            Self::Slice(of) => DevicePart::Milli(1000 / of),
        }
    }

    /// The share of a device that it is charged.
    pub(super) fn share(&self, accelerator_type: &str) -> DeviceShare {
        match self {
            Self::Whole => DeviceShare::WHOLE,
            Self::Mig(profile) => {
                DeviceShare::new(profile.compute_slices(), mig_slices(accelerator_type))
            }
            Self::Slice(of) => DeviceShare::new(1, *of),
        }
    }
}

/// What a unit of `offer` is, beside the other `offers` of the node.
pub(super) fn nvidia(
    subject: &Subject<'_>,
    offer: &Offer<'_>,
    offers: &[Offer<'_>],
) -> Result<Cut, UnsupportedReason> {
    let gpu = Gpu(subject);
    match offer.unit {
        Unit::Partition => gpu.mig_instance(offer),
        Unit::TimeSlice => {
            let whole = offers.iter().filter(|o| o.unit == Unit::Device);
            gpu.slice(offer, whole.map(|o| o.count.capacity).sum())
        }
        _ => gpu.device(offer, offers),
    }
}

/// A node as NVIDIA's labels describe it.
struct Gpu<'a>(&'a Subject<'a>);

impl Gpu<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0.labels.get(key).map(String::as_str)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.label(key)?.parse().ok()
    }

    fn sharing(&self) -> Option<Sharing> {
        Some(ProductName::parse(self.label("nvidia.com/gpu.product")?).sharing)
    }

    /// Time slices or MPS clients of a device, where a label tells.
    fn replicas(&self) -> Option<u64> {
        [
            "nvidia.com/gpu.replicas",
            "cloud.google.com/gke-max-shared-clients-per-gpu",
        ]
        .into_iter()
        .filter_map(|key| self.number(key))
        .find(|replicas| *replicas > 1)
    }

    /// Whether something says that devices are shared, if not among how many.
    fn is_sliced(&self) -> bool {
        let product = self.label("nvidia.com/gpu.product");
        self.replicas().is_some()
            || product.is_some_and(|p| p.trim().to_ascii_uppercase().ends_with("-SHARED"))
            || matches!(
                self.label("nvidia.com/gpu.sharing-strategy"),
                Some("time-slicing" | "mps")
            )
    }

    /// Whether the plain resource counts MIG instances (the single strategy, and GKE's partitions).
    fn is_mig(&self) -> bool {
        matches!(self.sharing(), Some(Sharing::Mig(_)))
            || self.label("nvidia.com/gpu.slices.gi").is_some()
            || self.gke_partition().is_some()
    }

    fn gke_partition(&self) -> Option<&str> {
        self.label("cloud.google.com/gke-gpu-partition-size")
            .filter(|size| !size.is_empty())
    }

    /// Devices in the node. The label counts MIG instances where all devices are cut up in one way.
    fn physical(&self) -> Option<u64> {
        self.number("nvidia.com/gpu.count")
            .filter(|n| *n > 0 && !self.is_mig())
            .or_else(|| self.0.shape.map(|shape| shape.devices.into()))
            .or_else(|| self.number("cloud.google.com/gke-accelerator-count"))
    }

    fn mig_instance(&self, offer: &Offer<'_>) -> Result<Cut, UnsupportedReason> {
        let name = offer.resource.strip_prefix(MIG_PREFIX).unwrap_or_default();
        // An instance that is shared again is a share of a share: nothing that a job can ask for.
        let shared = format!("{MIG_PREFIX}{name}.replicas");
        if name.ends_with(".shared") || self.number(&shared).is_some_and(|n| n > 1) {
            return Err(UnsupportedReason::TimeSliced);
        }
        let profile = MigProfile::parse(name).ok_or(UnsupportedReason::Partitioned)?;
        Ok(Cut::Mig(profile))
    }

    /// `whole`: devices that are not shared beside those that are.
    fn slice(&self, offer: &Offer<'_>, whole: u64) -> Result<Cut, UnsupportedReason> {
        let units = offer.count.capacity.max(offer.count.allocatable);
        let shared = self.physical().map(|n| n.saturating_sub(whole));
        let counted = || {
            let devices = shared.filter(|n| *n > 0)?;
            (units > devices && units.is_multiple_of(devices)).then(|| units / devices)
        };
        self.replicas()
            .or_else(counted)
            // More slices than the devices have: one of the numbers is wrong, and the slices are smaller than it says.
            .filter(|of| shared.is_none_or(|n| units <= n.saturating_mul(*of)))
            .and_then(Cut::slice)
            .ok_or(UnsupportedReason::TimeSliced)
    }

    fn device(&self, offer: &Offer<'_>, offers: &[Offer<'_>]) -> Result<Cut, UnsupportedReason> {
        if self.sharing() == Some(Sharing::VirtualGpu)
            || self.label("nvidia.com/vgpu.present") == Some("true")
            || self.0.shape.is_some_and(|shape| shape.is_fractional())
        {
            return Err(UnsupportedReason::VirtualGpu);
        }
        if self.is_mig() {
            if self.is_sliced() {
                return Err(UnsupportedReason::TimeSliced);
            }
            let profile = match self.sharing() {
                Some(Sharing::Mig(profile)) => MigProfile::parse(&profile),
                _ => self.gke_partition().and_then(MigProfile::parse),
            };
            return profile.map(Cut::Mig).ok_or(UnsupportedReason::Partitioned);
        }
        // With renaming the slices are nvidia.com/gpu.shared, and what is left under the plain name is whole.
        let renamed = offers.iter().any(|o| o.resource == "nvidia.com/gpu.shared");
        if self.is_sliced() && !renamed {
            return self.slice(offer, 0);
        }
        let units = offer.count.capacity.max(offer.count.allocatable);
        let more_than_there_are = self.physical().is_some_and(|n| units > n);
        let hami = self
            .0
            .node
            .metadata
            .annotations
            .iter()
            .flatten()
            .any(|(key, _)| key.starts_with("hami.io/node-") && key.contains("nvidia"));
        if more_than_there_are || hami || offer.count.capacity > MAX_DEVICES {
            return Err(UnsupportedReason::VirtualGpu);
        }
        Ok(Cut::Whole)
    }
}

/// Counts silicon once: gives parts the number of devices that the node's price is shared out over, and takes parts out
/// where they and the whole devices are more than there are.
pub(super) fn reconcile(subject: &Subject<'_>, devices: &mut Devices, notes: &mut Notes<'_>) {
    let is_part = |group: &DeviceGroup| group.part != DevicePart::Whole;
    let nvidia = Some(ampacity_catalog::Family::Nvidia);
    let ours = |family: &Option<ampacity_catalog::Family>| *family == nvidia;
    let groups = devices.groups.iter().filter(|(family, _)| ours(family));
    if !groups.clone().any(|(_, group)| is_part(group)) {
        return;
    }
    let Some(physical) = Gpu(subject).physical() else {
        return;
    };
    // In thousandths, each group rounded down: seven sevenths are one device.
    let milli = groups.fold(0_u64, |sum, (_, group)| {
        let share = group.share;
        let each = 1_000_000 * u64::from(share.parts()) / u64::from(share.of());
        sum.saturating_add(each.saturating_mul(group.devices.into()) / 1000)
    });
    if milli <= physical.saturating_mul(1000) {
        for (family, group) in &mut devices.groups {
            if ours(family) {
                group.node_devices = u32::try_from(physical).unwrap_or(u32::MAX);
            }
        }
        return;
    }
    notes.add(
        NoteReason::ConflictingFacts,
        format!(
            "whole devices, MIG instances and time slices add up to more than the {physical} devices that the node's labels or its instance type tell of: only the whole ones are used; repair the device plugin or the labels"
        ),
    );
    let (kept, parts): (Vec<_>, Vec<_>) = std::mem::take(&mut devices.groups)
        .into_iter()
        .partition(|(family, group)| !(ours(family) && is_part(group)));
    devices.groups = kept;
    devices
        .unsupported
        .extend(parts.into_iter().map(|(_, group)| Unsupported {
            resource: group.resource,
            count: group.devices.into(),
            reason: match group.part {
                DevicePart::Milli(_) => UnsupportedReason::TimeSliced,
                _ => UnsupportedReason::Partitioned,
            },
            accelerator_type: Some(group.accelerator_type),
        }));
}
