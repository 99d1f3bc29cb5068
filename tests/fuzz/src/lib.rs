//! Any bytes to everything that reads files: nothing may panic, hang or take all memory.
//!
//! ```text
//!   the project's fixtures ──► seeds ──► corpus ◄──► libFuzzer ── mutate ──► target: bytes ──► ampacity::in_memory
//!                                                        └──► what broke it ──► regressions/ ──► cargo test
//! ```
//!
//! `make fuzz` builds the targets with coverage and runs them. `cargo test` plays the seeds and all that was ever found through the
//! same targets, without libFuzzer.

pub mod mutate;
pub mod seeds;
pub mod targets;
