//! Makes decisions real, and takes them back: Placements are written, shrunk and released. Only when a Placement is written
//! anything is made in a member, and it goes only when nothing is left there.

mod create;
mod domains;
mod drain;
mod finalizer;
mod orphans;
mod release;
mod remove;
mod settle;
mod shrink;
mod stuck;

pub use create::commit;
pub use domains::keep_power_domains;
pub use drain::drain_clusters;
pub use orphans::collect_orphans;
pub use release::release;
pub use settle::settle;
pub use shrink::shrink;
