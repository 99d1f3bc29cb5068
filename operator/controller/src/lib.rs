//! The controller: Kubernetes on one side, the placement engine on the other.
pub mod bind;
pub mod config;
pub mod dispatch;
pub mod failpoint;
pub mod leader;
pub mod translate;
