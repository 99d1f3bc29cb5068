//! Cambricon MLU.
//!
//! Source: Cambricon's device plugin, HAMi's charts.

use super::facts::FamilyFacts;
use crate::resource::Unit;

const MLU: &str = "cambricon.com/mlu";

pub(super) const MLUS: FamilyFacts = FamilyFacts {
    name: "cambricon",
    vendor: "cambricon",
    resources: &[
        (MLU, Unit::Device),
        ("cambricon.com/vmlu", Unit::VirtualGpu),
        ("cambricon.com/vmlu*", Unit::Unlisted),
        ("cambricon.com/*.smlu.*", Unit::Measure),
        // Typed names: cambricon.com/mlu370.
        ("cambricon.com/mlu*", Unit::Device),
    ],
    device_resources: &[MLU],
    taint_keys: &[MLU],
    ..FamilyFacts::NONE
};
