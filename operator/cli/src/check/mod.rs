//! What the API server would say about an Ampacity object, said without one.
//!
//! [`structural`] walks the same schema that the CustomResourceDefinition carries: unknown fields, missing ones, types,
//! bounds, defaults. [`Kinds`] adds the CEL rules and what every object needs (a name, the version).

mod kinds;
mod nearest;
mod structural;

pub(crate) use kinds::Kinds;

use crate::input::FieldPath;

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The field.
    pub(crate) field: FieldPath,
    /// What is wrong and what to do.
    pub(crate) message: String,
}
