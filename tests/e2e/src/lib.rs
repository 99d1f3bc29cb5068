//! What the end-to-end tests share: a hub and its members as real control planes, the chart installed in each, and the
//! operator as a process of its own that holds nothing but the chart's ServiceAccount tokens.
//!
//! ```text
//!  World ─ hub ─────── chart (CRDs, roles, ServiceAccount) ── token ──► OperatorProcess (target/debug/ampacity)
//!        └ members ─── chart (memberOnly) ── token ── kubeconfig Secret in the hub ──┘
//! ```

pub mod helm;
pub mod invariant;
pub mod manifest;
pub mod operator;
pub mod outcome;
pub mod world;

pub use operator::OperatorProcess;
pub use world::{World, WorldBuilder};
