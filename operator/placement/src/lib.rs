//! The placement engine: which job runs where, on which devices, at which price and within which watts.
//!
//! Plain data in, plain data out. No I/O, no Kubernetes, no clock, no randomness: the same input gives the same output,
//! byte for byte, so what is simulated is what runs.
//!
//! ```text
//!   ClusterSpec, NodeSpec, AcceleratorFacts, PowerSpec ──► Fleet ◄── Reservation (what is already placed)
//!                                                            │
//!   JobSpec… ───────────────────────────────────────► Fleet::plan ──► Plan { placements, unplaced, totals }
//! ```

mod arena;
mod candidates;
mod cycle;
mod explain;
mod fleet;
pub mod model;
mod nodes;
pub mod numerics;
mod preemption;
mod schedule;
mod search;
mod time;

pub use fleet::{DeviceCount, Fleet};
pub use model::*;
