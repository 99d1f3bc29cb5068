//! Qualcomm Cloud AI.
//!
//! Source: Karpenter's AWS provider (reference/instance-types.md).

use super::facts::FamilyFacts;
use crate::resource::Unit;

const QAIC: &str = "qualcomm.com/qaic";

pub(super) const CARDS: FamilyFacts = FamilyFacts {
    name: "qualcomm",
    vendor: "qualcomm",
    resources: &[(QAIC, Unit::Device), ("qualcomm.com/qaic*", Unit::Unlisted)],
    device_resources: &[QAIC],
    taint_keys: &[QAIC],
    ..FamilyFacts::NONE
};
