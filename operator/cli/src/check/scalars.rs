//! Texts and numbers against their schema.

use std::cell::RefCell;
use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::problem::{Problem, count, quoted, report};
use crate::input::FieldPath;

pub(super) fn check_text(schema: &Value, text: &str, at: &FieldPath, problems: &mut Vec<Problem>) {
    count(
        schema,
        "Length",
        text.chars().count(),
        "characters",
        at,
        problems,
    );
    if schema.get("format").and_then(Value::as_str) == Some("date-time")
        && text.parse::<jiff::Timestamp>().is_err()
    {
        report(
            problems,
            at,
            format!(
                "must be a time such as \"2026-12-01T08:00:00Z\", not {:?}",
                quoted(text)
            ),
        );
    }
    let Some(pattern) = schema.get("pattern").and_then(Value::as_str) else {
        return;
    };
    if !matches(pattern, text) {
        let advice = match pattern {
            ampacity_api::decimal::PATTERN => {
                "a decimal of at least 0 with at most 12 digits before and 6 after the point, such as \"98.32\""
            }
            ampacity_api::schema::DNS_LABEL => {
                "lower-case letters, digits and '-', with a letter or digit at both ends"
            }
            ampacity_api::schema::DNS_SUBDOMAIN => {
                "lower-case letters, digits, '-' and '.', with a letter or digit at both ends"
            }
            ampacity_api::schema::LOCATION => "provider and region, such as aws/us-east-1",
            pattern => pattern,
        };
        report(
            problems,
            at,
            format!("must be {advice}, not {:?}", quoted(text)),
        );
    }
}

/// Whether `text` matches; a pattern that cannot be read here is left to the API server.
fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        /// Compiling a pattern takes far longer than matching it, and there are only a few.
        static COMPILED: RefCell<BTreeMap<String, Option<Regex>>> = const { RefCell::new(BTreeMap::new()) };
    }
    COMPILED.with_borrow_mut(|compiled| {
        if !compiled.contains_key(pattern) {
            compiled.insert(pattern.to_owned(), Regex::new(pattern).ok());
        }
        let regex = compiled.get(pattern).and_then(Option::as_ref);
        regex.is_none_or(|regex| regex.is_match(text))
    })
}

pub(super) fn check_number(
    schema: &Value,
    value: &Value,
    at: &FieldPath,
    problems: &mut Vec<Problem>,
) {
    let Some(number) = value.as_f64() else {
        return;
    };
    let bound = |name: &str| schema.get(name).filter(|bound| bound.is_number());
    if let Some(least) = bound("minimum").filter(|b| b.as_f64().is_some_and(|b| number < b)) {
        report(
            problems,
            at,
            format!("must be at least {}, not {value}", whole(least)),
        );
    }
    if let Some(most) = bound("maximum").filter(|b| b.as_f64().is_some_and(|b| number > b)) {
        report(
            problems,
            at,
            format!("must be at most {}, not {value}", whole(most)),
        );
    }
}

/// A bound without the `.0` that schemas carry.
fn whole(bound: &Value) -> String {
    match bound.as_f64() {
        Some(number) if number.fract() == 0.0 && number.abs() < 9e15 => format!("{number:.0}"),
        _ => bound.to_string(),
    }
}
