//! Which node and which device a single task gets, so that the fleet stays useful for the tasks that usually come.
//!
//! Tasks arrive one at a time; each is placed at once on one node, or dropped because it fits nowhere. Nothing moves afterwards.
//! A policy knows the usual mix of tasks, never the order in which they will come.
//!
//! ```text
//!   NodeRow… ──► Cluster ◄── place ── Policy::choose(cluster, task) ──► Placement
//!   PodRow…  ──► Arrivals ── Experiment::run ──► LoadPoint…: allocated, fragmented, watts by arrived load
//!   PodRow…  ──► JobMix   ──► the policies that look ahead
//! ```
//!
//! Everything is a pure function of its arguments; random order comes from a seed.

mod ampacity;
mod baseline;
mod cluster;
mod fgd;
mod mix;
mod outlook;
mod power;
mod prices;
mod protocol;
mod replay;
mod rows;
mod scored;

pub use ampacity::Ampacity;
pub use baseline::{BestFit, Random};
pub use cluster::{Cluster, MAX_DEVICES, ModelSet, Models, Node, Placement, Shape, Task, WHOLE};
pub use fgd::{Fgd, fragmentation};
pub use mix::JobMix;
pub use power::{PowerBlend, PowerTable};
pub use prices::SharePrices;
pub use protocol::{Arrivals, mix_of};
pub use replay::{Experiment, LoadPoint, PolicyName};
pub use rows::{NodeRow, PodRow};
pub use scored::{NodeScore, Policy, Scored};
