//! One operator acts at a time: a `coordination.k8s.io/v1` Lease with a pure decision function and a fencing epoch.
//!
//! [`decide`](decide::decide) compares what the Lease says with when *this* process last saw it change, on its own monotonic clock, so
//! skewed wall clocks cannot make two leaders. The Lease's `leaseTransitions` is the **epoch**: it grows at every change
//! of holder and is written with every Placement.

mod decide;
mod elector;
mod tenure;

pub use decide::Timing;
pub use elector::{Elector, ElectorError};
pub use tenure::Tenure;
