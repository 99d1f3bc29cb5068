//! What the benchmarks share: how a figure is printed, and a fleet of a million accelerators with jobs on it.

pub mod figure;
pub mod fleet;
pub mod load;
