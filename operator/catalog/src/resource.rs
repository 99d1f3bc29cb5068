//! What extended resources count, and the patterns that name them.

/// What one unit of an extended resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A whole device.
    Device,
    /// A whole device under a second name; counted only where the first name is absent.
    DeviceAlias,
    /// A core of a device (NeuronCore).
    Core,
    /// A time slice or an MPS client of a device.
    TimeSlice,
    /// A hardware partition: a MIG instance, an AMD partition, a vNPU.
    Partition,
    /// A virtual GPU of a sharing layer (HAMi, Volcano).
    VirtualGpu,
    /// A device that is passed through to a virtual machine: no container can open it.
    PassedThrough,
    /// Memory, or cores in percent, of a sharing layer: never devices.
    Measure,
    /// A handle to watch all devices of a node by; it holds none.
    Monitor,
    /// Something of a device under a name that is the vendor's and in no list, such as one that a site gave
    /// (`nvidia.com/gpu.large`): what it counts only a user's `match` can say.
    Unlisted,
}

impl Unit {
    /// Whether who asks for a unit asks for an accelerator or a share of one.
    pub fn is_of_a_device(self) -> bool {
        self != Self::Monitor
    }
}

/// Whether `name` has the form of `pattern`, in which each `*` stands for any text, none included.
pub(crate) fn has_form(name: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return name == pattern;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut between) = name
        .strip_prefix(start)
        .and_then(|name| name.strip_suffix(end))
    else {
        return false;
    };
    middle
        .split('*')
        .all(|piece| match between.split_once(piece) {
            Some((_, after)) => {
                between = after;
                true
            }
            None => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        let cases = [
            ("a/gpu", "a/gpu", true),
            ("a/gpu2", "a/gpu", false),
            ("a/gpu2", "a/gpu*", true),
            ("a/gpu", "a/gpu*", true),
            ("b/gpu", "a/*", false),
            ("a/x_monitoring", "a/*_monitoring", true),
            ("a/x_monitorin", "a/*_monitoring", false),
            ("a/Npu910-5c", "a/Npu*-*", true),
            ("a/Npu910", "a/Npu*-*", false),
            ("a/mlu.smlu.vcore", "a/*.smlu.*", true),
            ("a/.smlu", "a/*.smlu.*", false),
            ("a/xbxcx", "a/*b*c*", true),
            ("a/xcxbx", "a/*b*c*", false),
            // Start and end do not share a letter.
            ("aba", "ab*ba", false),
        ];
        for (name, pattern, expected) in cases {
            assert_eq!(has_form(name, pattern), expected, "{name} {pattern}");
        }
    }
}
