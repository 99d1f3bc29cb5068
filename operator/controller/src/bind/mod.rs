//! Pins the pods of a gang to their nodes, in rank order.
//!
//! A gang's pods are made with a scheduling gate. Once all of them are there each gets one patch that makes it require its node and
//! lifts the gate; the member's own kube-scheduler then binds it.

mod gang;
mod patch;
mod ranks;

pub use gang::{bind, bind_call};
pub use patch::required_terms;
