//! Hygon DCU.
//!
//! Source: HAMi's charts.

use super::facts::FamilyFacts;
use crate::resource::Unit;

const DCU: &str = "hygon.com/dcunum";

pub(super) const DCUS: FamilyFacts = FamilyFacts {
    name: "hygon",
    vendor: "hygon",
    resources: &[(DCU, Unit::Device), ("hygon.com/dcu*", Unit::Measure)],
    device_resources: &[DCU],
    taint_keys: &[DCU],
    ..FamilyFacts::NONE
};
