//! The placement engine: which job runs where, on which devices, at which price and within which watts.
//!
//! Plain data in, plain data out. No I/O, no Kubernetes, no clock, no randomness: the same input gives the same output,
//! byte for byte, so what is simulated is what runs.
//!
//! ```text
//!   ClusterSpec, NodeSpec, AcceleratorFacts, PowerSpec ──► Fleet ◄── Reservation (what is already placed)
//!                                                            │
//!   JobSpec… ───────────────────────────────────────► Fleet::plan ──► Plan { placements, unplaced, proof }
//! ```
//!
//! Each folder answers one question and uses only those in the rows below its own:
//!
//! ```text
//!      cycle        preemption      construct, improve, look ahead, finish; who stops for whom
//!        │ └────┐       │
//!        ▼      ▼       ▼
//!      time     search              when what is pending can start; a better plan
//!        │ └────┐  │
//!        ▼      ▼  ▼
//!     explain   schedule            why not, and what would help; what a cycle has assigned
//!        └──┐  ┌──┘
//!           ▼  ▼
//!          nodes                    which nodes
//!            ▼
//!        candidates                 what could run where, at what price, past which hard constraints
//!            ▼
//!          fleet                    what there is and who holds it: index, ledger, power
//!            ▼
//!   model, numerics, arena          plain data, published arithmetic, typed indices
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
