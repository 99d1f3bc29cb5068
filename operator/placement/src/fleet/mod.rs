//! What there is and who holds it: clusters, nodes in groups and pools, the breaker tree, reservations, with the indexes that
//! make planning cheap. Uses `model` and `numerics`; knows nothing of jobs.
//!
//! Every change is incremental and goes one way: the node's free amounts are derived again from what others hold and what
//! reservations hold, and the difference moves through the node's own path of the [capacity index](cells). Nothing is
//! added up over time, so releasing what was reserved restores the state exactly.

mod cells;
mod changes;
mod copies;
mod counts;
mod ends;
mod grouping;
mod index;
mod ledger;
mod mix;
mod node;
mod pool;
mod power;
mod rate;
mod reservations;
mod symbols;
mod unions;

pub use index::{DeviceCount, Fleet};
pub(crate) use mix::{Sizes, stranded};
pub(crate) use node::{ReplicaNeed, Slot};
pub(crate) use pool::{Cluster, GroupKey, GroupsOfType, Pool};
pub(crate) use power::{PowerLimit, PowerShortage, PowerTrial};
pub(crate) use rate::{hourly, nearest};
