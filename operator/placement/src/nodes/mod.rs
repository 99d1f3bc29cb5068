//! Which nodes: of a candidate's pools those that a gang or replicas get, within every limit on watts and dollars, and the
//! decision that follows. Uses `candidates` and `fleet`.

mod class;
mod decision;
mod gang;
mod missing;
mod replicas;
mod request;
mod select;

pub(crate) use gang::Found;
pub(crate) use missing::Missing;
pub(crate) use request::{Pick, Want, total};
