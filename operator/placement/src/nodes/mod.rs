//! Which nodes: of a candidate's pools those that a gang or replicas get, within every limit on watts and dollars, and the
//! decision that follows. Uses `candidates` and `fleet`.

mod class;
mod decision;
mod gang;
mod replicas;
mod request;
mod select;
mod shortfall;
mod spread;

pub(crate) use gang::FeasiblePlacement;
pub(crate) use request::{NodeAllocation, NodeRequest, total};
pub(crate) use shortfall::Shortfall;
