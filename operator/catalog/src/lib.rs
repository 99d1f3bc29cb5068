//! What accelerators are and what they cost.
//!
//! ```text
//!  data/*.csv ──▶ Catalog ◀── AcceleratorType objects      PriceSheet objects ──▶ Prices
//!                   │                                                               │
//!  a node's labels, │ identify                                          node_price, │
//!  instance type,   ▼                                               egress          ▼
//!  DRA attributes ──▶ accelerator type, watts, memory                 dollars per hour
//! ```
//!
//! What only one vendor has is in that vendor's file in `vendor/`: resource names, drivers, taints, labels, how devices are cut
//! up, rendezvous environment. The rest of the product asks a [`Family`] and lists no vendor's strings.
//!
//! The built-in facts live in `data/`: `accelerators.csv` (one row per type, each with its source),
//! `names.csv` (the spellings by which nodes and drivers name a device) and `instances.csv` (what each
//! cloud instance type holds). Nothing here does I/O or reads a clock.

mod accelerator;
mod builtin;
mod catalog;
mod evidence;
mod identify;
mod instance;
mod names;
mod part;
pub mod prices;
mod published;
mod rendezvous;
mod resource;
mod vendor;

pub use accelerator::{Accelerator, AcceleratorPower, WattsBasis};
pub use catalog::{Catalog, CatalogIssue};
pub use evidence::{DeviceQuery, Evidence};
pub use identify::Identity;
pub use instance::InstanceShape;
pub use part::{Count, Cut, MAX_DEVICES_PER_NODE, NodeView, NotAskable, Offer};
pub use prices::{PriceIssue, Prices};
pub use published::{Dra, PublishedDevice, PublishedKind};
pub use rendezvous::{Cores, EnvGroup, EnvValue, Processes, Rendezvous, TypeCores};
pub use resource::Unit;
pub use vendor::aws::NEURON_ROOT_COMM_PORT;
pub use vendor::facts::{Fabric, FamilyFacts, Health, Sign};
pub use vendor::nvidia::mig::{MigProfile, mig_slices};
pub use vendor::nvidia::product::{ProductName, Sharing};
pub use vendor::{
    Family, driver_of_pod, family_of, is_accelerator_resource, is_failed_device_start,
    is_kept_annotation, resource_unit,
};
