//! Whole objects, as they are sent to a member cluster.

mod errors;
mod inference;
mod training;
