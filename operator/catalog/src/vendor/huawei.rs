//! Huawei Ascend.
//!
//! Sources: Huawei's device plugin, HAMi's charts.

use super::facts::{FamilyFacts, Sign, by_site_labels};
use crate::evidence::{Clues, DeviceQuery, Found};
use crate::resource::Unit;

const ASCEND_910: &str = "huawei.com/Ascend910";
/// The chip, such as `910B4`. No built-in type is known by it yet.
const CHIP: &str = "node.kubernetes.io/npu.chip.name";

pub(super) const ASCENDS: FamilyFacts = FamilyFacts {
    name: "huawei-ascend",
    vendor: "huawei",
    resources: &[
        (ASCEND_910, Unit::Device),
        ("huawei.com/Ascend310", Unit::Device),
        ("huawei.com/Ascend310P", Unit::Device),
        ("huawei.com/npu", Unit::Device),
        ("huawei.com/*-memory", Unit::Measure),
        // vNPUs: huawei.com/Ascend910-5c.1cpu.8g.
        ("huawei.com/Ascend*-*", Unit::Partition),
        // HAMi's typed names (Ascend910B4) count shares, not chips.
        ("huawei.com/Ascend*", Unit::VirtualGpu),
    ],
    device_resources: &[ASCEND_910],
    taint_keys: &[ASCEND_910],
    signs: &[Sign::Label(CHIP)],
    identify,
    ..FamilyFacts::NONE
};

fn identify(query: &DeviceQuery<'_>, clues: &mut Clues) -> Found {
    clues.see_labels(query, &[CHIP]);
    by_site_labels(query, clues)
}
