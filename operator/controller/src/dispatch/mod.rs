//! A placement's objects in its member: built, made, refused.
//!
//! ```text
//!  job, Placement, Target ──► the kind's builder ──► Objects ──► make ──► [ResourceClaimTemplate] [Service] workload
//!
//!  template ─ alternative ─ devices ─ rendezvous ─ tolerations ─ node affinity ─ gate ─▶ pod template
//!             (pod)         (devices) (rendezvous)  (pod)         (affinity)
//! ```
//!
//! What is built is a pure function of a job, its placement and what is known of the member ([`Target`]). Each kind of job puts its
//! objects together from the parts here. They are named after the job and its attempt, so that making them again changes nothing,
//! and they carry labels that say whose they are ([`Identity`]). The required node affinity names what was placed: the node of a
//! pod whose node is known, the node set of a gang over several nodes, the pool of an inference replica. Only the pods of a gang
//! over several nodes carry a scheduling gate; [`crate::bind`] pins each to its own node and lifts the gate.
//!
//! They are made in the order claim template, Service, workload: a pod is never there before what it refers to.

pub mod affinity;
mod devices;
mod error;
mod fence;
mod identity;
mod make;
mod member_target;
mod names;
mod namespace;
mod objects;
pub mod pod;
mod rendezvous;
mod scale;
mod spec_patch;
mod target;
#[cfg(test)]
pub(crate) mod testing;

pub use devices::{DeviceRequestKind, replaced_requests};
pub use error::DispatchError;
pub use fence::{Times, active_deadline, renew_fence};
pub use identity::Identity;
pub use make::{dispatch, dispatch_call};
pub use member_target::target;
#[cfg(test)]
pub use names::is_label;
pub use names::{MAX_LABEL, bounded, bounded_subdomain, shortened};
pub use objects::Objects;
pub use rendezvous::{Rendezvous, identity_env};
pub use scale::scale;
pub use target::Target;
