//! The controller: Kubernetes on one side, the placement engine on the other.
pub mod config;
pub mod failpoint;
pub mod leader;
