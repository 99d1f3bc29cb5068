//! Which node and which device a single task gets, so that the fleet stays useful for the tasks that usually come.
//!
//! Tasks arrive one at a time; each is placed at once on one node, or dropped because it fits nowhere. Nothing moves afterwards.
//! A policy knows the usual mix of tasks, never the order in which they will come.
//!
//! ```text
//!   NodeRow… ──► Cluster ◄── place ── Policy::choose(cluster, task) ──► Placement
//!   PodRow…  ──► Arrivals ── run ──► Series: allocated, fragmented, watts by arrived load
//!   PodRow…  ──► JobMix   ──► the policies that look ahead
//! ```
//!
//! Everything is a pure function of its arguments; random order comes from a seed.

mod ampacity;
mod baseline;
mod cluster;
mod fgd;
mod mix;
mod prices;
mod protocol;
mod random;
mod rows;
mod scored;

pub use ampacity::*;
pub use baseline::*;
pub use cluster::*;
pub use fgd::*;
pub use mix::*;
pub use prices::*;
pub use protocol::*;
pub use random::*;
pub use rows::*;
pub use scored::*;
