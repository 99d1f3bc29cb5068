//! What could run where, and at what price: every alternative on every group that no hard constraint refuses, best first.
//! Uses `fleet`; chooses no nodes and changes nothing.

mod candidate;
mod class_key;
mod classes;
mod constraints;
mod demand;
mod eligible;
mod frontier;
mod pricing;
mod quote;

pub(crate) use candidate::{Candidate, Score, score};
pub(crate) use classes::{ClassCandidates, Classes};
pub(crate) use constraints::{
    PoolRefusal, alternative_refusal, cluster_refusal, group_refusal, invalid, is_within_limits,
    late_seconds, limits_refusal, pool_refusal,
};
pub(crate) use demand::{duration_seconds, gang_size, requirement};
pub(crate) use quote::{PoolUse, Quote};
