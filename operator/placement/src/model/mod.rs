//! What goes into the engine and what comes out of it, as plain data.

mod fleet;
mod job;
mod part;
mod plan;
mod power;
mod quantity;
mod replan;
mod reservation;
mod selector;

pub use fleet::*;
pub use job::*;
pub use part::*;
pub use plan::*;
pub use power::*;
pub(crate) use quantity::saturated;
pub use quantity::*;
pub use replan::*;
pub use reservation::*;
pub use selector::*;
