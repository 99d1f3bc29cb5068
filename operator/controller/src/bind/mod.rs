//! Pins the pods of a gang to their nodes, in rank order. Pure: patches come out, the caller sends them.
//!
//! A gang's pods are made with a scheduling gate and all at once. When all of them are there, each gets one patch that makes it
//! require its node and lifts the gate; the member's own kube-scheduler then binds it.

mod patch;
mod ranks;

pub use patch::{bind_patch, is_gated, required_terms};
pub use ranks::{RankMap, node_of_rank, rank_of};
