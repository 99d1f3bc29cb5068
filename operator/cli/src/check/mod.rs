//! What the API server would say about an Ampacity object, said without one.
//!
//! [`structural`] walks the same schema that the CustomResourceDefinition carries: unknown fields, missing ones, types,
//! bounds, defaults. [`Kinds`] adds the CEL rules and what every object needs (a name, the version).

mod kinds;
mod nearest;
mod problem;
mod scalars;
mod structural;

pub(crate) use kinds::Kinds;
pub(crate) use problem::Problem;
