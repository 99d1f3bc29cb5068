//! What is wrong with a field, and how it is said.

use serde_json::Value;

use crate::input::{FieldPath, MAX_QUOTE, shortened};

/// Most problems that one object reports.
pub(super) const MAX_PROBLEMS: usize = 20;

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The field.
    pub(crate) field: FieldPath,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

pub(super) fn report(problems: &mut Vec<Problem>, at: &FieldPath, message: String) {
    problems.push(Problem {
        field: at.clone(),
        message,
    });
}

pub(super) fn quoted(text: &str) -> String {
    shortened(text, MAX_QUOTE).into_owned()
}

/// `minItems` and its kin.
pub(super) fn count(
    schema: &Value,
    suffix: &str,
    count: usize,
    what: &str,
    at: &FieldPath,
    problems: &mut Vec<Problem>,
) {
    let bound = |name: &str| {
        schema
            .get(format!("{name}{suffix}"))
            .and_then(Value::as_u64)
    };
    let count = count as u64;
    if let Some(least) = bound("min").filter(|least| count < *least) {
        report(
            problems,
            at,
            format!("must have at least {least} {what}, not {count}"),
        );
    }
    if let Some(most) = bound("max").filter(|most| count > *most) {
        report(
            problems,
            at,
            format!("must have at most {most} {what}, not {count}"),
        );
    }
}
