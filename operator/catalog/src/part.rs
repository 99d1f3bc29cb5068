//! Parts of devices, and what is looked at to tell them from whole ones.

use std::collections::BTreeMap;

use ampacity_placement::{DevicePart, DeviceShare, Labels};

use crate::instance::InstanceShape;
use crate::resource::Unit;
use crate::vendor::nvidia::mig::{MigProfile, mig_slices};

/// No node has more devices; a larger number is a mistake, or a count of shares.
pub const MAX_DEVICES_PER_NODE: u64 = 256;

/// What one unit that can be asked for is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// A whole device.
    Whole,
    /// A MIG instance.
    Mig(MigProfile),
    /// One of so many time slices or MPS clients of a device; 1 to 1000.
    Slice(u32),
}

/// Why units cannot be asked for, neither as devices nor as parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAskable {
    /// Time slices or MPS clients of which nothing tells how large they are.
    TimeSliced,
    /// Hardware partitions of which nothing tells what they are, or that no job can name.
    Partitioned,
    /// Virtual GPUs: vGPU profiles, shares of a sharing layer, fractional cloud instances.
    VirtualGpu,
    /// Single cores of a device.
    Cores,
    /// A graphics unit in a processor.
    Integrated,
    /// Devices that are passed through to virtual machines.
    PassedThrough,
    /// More units than devices: they count shares, or a number is wrong.
    Surplus {
        /// Devices that there are.
        there_are: u64,
        /// What tells so, in words.
        told_by: &'static str,
    },
}

/// Capacity and allocatable of one resource of a node, in units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// What is there.
    pub capacity: u64,
    /// What pods may use.
    pub allocatable: u64,
}

/// One extended resource that a node has units of.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Its name.
    pub resource: &'a str,
    /// What a unit is by the name.
    pub unit: Unit,
    /// How many.
    pub count: Count,
}

/// A node as its vendor's files look at it.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    /// Its labels.
    pub labels: &'a Labels,
    /// Its annotations; [`crate::is_kept_annotation`] says of which the keys are needed.
    pub annotations: Option<&'a BTreeMap<String, String>>,
    /// What its instance type holds, where known.
    pub shape: Option<&'a InstanceShape>,
}

impl Cut {
    /// One of `of` slices; `None` for a number that cannot be told in thousandths.
    pub(crate) fn slice(of: u64) -> Option<Self> {
        let of = u32::try_from(of).ok()?;
        (1..=1000).contains(&of).then_some(Self::Slice(of))
    }

    /// What the engine calls it. Of three slices each has 333 thousandths, and pays for a third.
    pub fn part(&self) -> DevicePart {
        match self {
            Self::Whole => DevicePart::Whole,
            Self::Mig(profile) => DevicePart::Mig(profile.name().to_owned()),
            Self::Slice(of) => DevicePart::Milli(1000 / of),
        }
    }

    /// The share of a device that it is charged.
    pub fn share(&self, accelerator_type: &str) -> DeviceShare {
        match self {
            Self::Whole => DeviceShare::WHOLE,
            Self::Mig(profile) => {
                DeviceShare::new(profile.compute_slices(), mig_slices(accelerator_type))
            }
            Self::Slice(of) => DeviceShare::new(1, *of),
        }
    }
}

/// What a unit is where its name alone tells: whole devices, and parts that nobody can ask for.
pub(crate) fn by_unit(
    _node: &NodeView<'_>,
    offer: &Offer<'_>,
    _offers: &[Offer<'_>],
) -> Result<Cut, NotAskable> {
    match offer.unit {
        Unit::Device | Unit::DeviceAlias => Ok(Cut::Whole),
        Unit::Core => Err(NotAskable::Cores),
        Unit::TimeSlice => Err(NotAskable::TimeSliced),
        Unit::Partition => Err(NotAskable::Partitioned),
        Unit::PassedThrough => Err(NotAskable::PassedThrough),
        Unit::VirtualGpu | Unit::Measure | Unit::Monitor | Unit::Unlisted => {
            Err(NotAskable::VirtualGpu)
        }
    }
}
