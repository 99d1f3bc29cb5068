//! The smallest change that would place a job, tried before it is named.
//!
//! Each option is tried on the fleet itself, one group at a time, and taken back: what is named has been seen to work.

mod add_nodes;
mod capacity;
mod job;
mod smallest;
mod trial;
