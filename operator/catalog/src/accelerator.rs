//! One accelerator type with its facts.

use ampacity_placement::{AcceleratorFacts, Watts};

use crate::vendor::Family;

/// Where a number of watts comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WattsBasis {
    /// The vendor's data sheet or the device's own limits.
    Sheet,
    /// The rated maximum of a whole system less its devices, shared out over them.
    System,
    /// A rule, because nothing is published. Device: 0.75 W for each dense BF16 TFLOPS (Trainium2's planning figure, 500 W at
    /// 667 TFLOPS), rounded up to ten. Host: 82 % of the device's watts (a DGX H100: 4600 W of host for 5600 W of devices);
    /// on NVL72 trays 39 % (a GB200 tray: 6667 W, of which 4800 W are devices). Both err on the side of reserving too much.
    Estimate,
    /// An AcceleratorType object.
    User,
}

/// Watts of one device and of the part of its host that comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceleratorPower {
    /// Power limit as shipped: what is reserved.
    pub default_watts: Watts,
    /// Lowest cap that the device takes; `None`: it takes none, or none is published.
    pub min_cap_watts: Option<Watts>,
    /// Highest cap that the device takes; `None`: it takes none.
    pub max_cap_watts: Option<Watts>,
    /// Draw of an idle device, where it was measured.
    pub idle_watts: Option<Watts>,
    /// Host power (CPUs, memory, fans, NICs, conversion losses) per device in use.
    pub host_overhead_watts: Watts,
    /// Where `default_watts` comes from.
    pub default_basis: WattsBasis,
    /// Where `host_overhead_watts` comes from.
    pub overhead_basis: WattsBasis,
}

/// One accelerator type: what a job asks for and what a node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerator {
    /// Name, such as `nvidia-h100-sxm5-80gb`.
    pub name: String,
    /// Vendor in lower case, such as `nvidia`.
    pub vendor: String,
    /// Memory of one device in GiB. Built-in types: what software sees of it, rounded up (an "80 GB" H100 shows 79.6 GiB and is
    /// 80 here; a "24 GB" L4 shows 22.5 GiB and is 23).
    pub memory_gib: u32,
    /// Dense BF16 peak of one device in TFLOPS; 0 where the device has no BF16 units.
    pub bf16_tflops: u32,
    /// Devices that a node usually has.
    pub devices_per_node: Option<u32>,
    /// Watts.
    pub power: AcceleratorPower,
    /// Names under which whole devices of this type are asked for.
    pub resource_names: Vec<String>,
    /// How nodes show the device; `None` for types of unknown vendors without a `match`.
    pub family: Option<Family>,
    /// Papers and data sheets that the facts are from.
    pub source: String,
}

impl Accelerator {
    /// What the placement engine needs of it.
    pub fn facts(&self) -> AcceleratorFacts {
        AcceleratorFacts {
            name: self.name.clone(),
            vendor: self.vendor.clone(),
            memory_gib: self.memory_gib,
            bf16_tflops: self.bf16_tflops,
            default_watts: self.power.default_watts,
            host_overhead_watts: self.power.host_overhead_watts,
        }
    }
}
