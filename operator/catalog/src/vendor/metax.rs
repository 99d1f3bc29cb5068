//! MetaX.
//!
//! Source: HAMi's charts.

use super::facts::FamilyFacts;
use crate::resource::Unit;

const GPU: &str = "metax-tech.com/gpu";

pub(super) const GPUS: FamilyFacts = FamilyFacts {
    name: "metax",
    vendor: "metax",
    resources: &[
        (GPU, Unit::Device),
        ("metax-tech.com/sgpu", Unit::VirtualGpu),
        ("metax-tech.com/*", Unit::Measure),
    ],
    device_resources: &[GPU],
    taint_keys: &[GPU],
    ..FamilyFacts::NONE
};
