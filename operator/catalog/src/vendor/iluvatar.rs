//! Iluvatar CoreX.
//!
//! Source: HAMi's charts.

use super::facts::FamilyFacts;
use crate::resource::Unit;

const GPU: &str = "iluvatar.ai/gpu";

pub(super) const GPUS: FamilyFacts = FamilyFacts {
    name: "iluvatar",
    vendor: "iluvatar",
    resources: &[
        (GPU, Unit::Device),
        ("iluvatar.ai/vgpu", Unit::Device),
        ("iluvatar.ai/*", Unit::Measure),
    ],
    device_resources: &[GPU],
    taint_keys: &[GPU],
    ..FamilyFacts::NONE
};
