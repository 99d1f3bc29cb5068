//! Published methods that are pure arithmetic: seeded sequences of numbers, the measure of fragmentation, the inverse of a
//! simplex basis. One implementation each, for the engine, the packing experiments, tests and benchmarks.
//!
//! Knows nothing of fleets or jobs and uses nothing of the crate.

mod basis;
mod fragmentation;
mod random;

pub use basis::BasisInverse;
pub use fragmentation::expected_loss;
pub use random::{Mmix, SplitMix64};
