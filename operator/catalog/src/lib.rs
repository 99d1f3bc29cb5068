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
//! The built-in facts live in `data/`: `accelerators.csv` (one row per type, each with its source),
//! `names.csv` (the spellings by which nodes and drivers name a device) and `instances.csv` (what each
//! cloud instance type holds). Nothing here does I/O or reads a clock.

mod accelerator;
mod builtin;
mod catalog;
mod family;
mod identify;
mod instance;
mod mig;
pub mod prices;
mod product;

pub use accelerator::{Accelerator, AcceleratorPower, WattsBasis};
pub use catalog::{Catalog, CatalogIssue};
pub use family::{Family, Unit, family_of, resource_unit};
pub use identify::{DeviceQuery, Evidence, Identity};
pub use instance::InstanceShape;
pub use mig::{MigProfile, mig_slices};
pub use prices::{PriceIssue, Prices};
pub use product::{ProductName, Sharing};
