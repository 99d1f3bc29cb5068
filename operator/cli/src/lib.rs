//! The `ampacity` command: plans, the operator, and the definitions that it needs.
//!
//! ```text
//!   main ──► command ──┬──► plan ──────┬── scene (what the operator would know) ──┬── input (files, YAML, JSON)
//!                      ├──► simulate ──┤                                          └── check (schemas, CEL)
//!                      └──► operator   │
//!   in_memory ─────────────────────────┘   the same on bytes in memory, for fuzz targets
//! ```

mod check;
mod command;
mod exit;
pub mod in_memory;
mod input;
mod operator;
mod plan;
mod scene;
mod simulate;

pub use command::main;
