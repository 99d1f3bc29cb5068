//! Pins the pods of a gang to their nodes, in rank order.
//!
//! A gang's pods are made with a scheduling gate and all at once. As soon as one is there it gets one patch that makes it require
//! its node and lifts the gate; the member's own kube-scheduler then binds it.

mod gang;
mod patch;
mod ranks;

pub use gang::bind;
pub use patch::required_terms;
