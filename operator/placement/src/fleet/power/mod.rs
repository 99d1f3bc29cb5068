//! Watts on the breaker tree and under budgets.
//!
//! A node draws from its feeds. What it draws there is charged to every ancestor, multiplied by the losses on the way
//! (the largest over the paths of a DAG, and once per ancestor however many paths lead to it). Loads are kept in
//! nano-watts as integers, so that a charge and its release cancel exactly.

mod charges;
mod limits;
mod tree;
mod trial;
mod usage;

pub(crate) use charges::chargeable;
pub(crate) use limits::{PowerLimit, PowerShortage};
pub(crate) use tree::PowerLedger;
pub(crate) use trial::PowerTrial;
