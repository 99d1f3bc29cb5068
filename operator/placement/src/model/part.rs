//! Parts of a device: MIG instances and time slices.

use std::fmt;

/// What one unit of a device group is, and what one unit of an alternative must be.
///
/// Offered, `Milli(n)` says that a unit is n thousandths of a device; asked for, that a unit must be at least so much. A
/// whole device never serves a request for a part, nor a part one for a whole device: memory, faults and neighbours differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DevicePart {
    /// A whole device.
    #[default]
    Whole,
    /// A MIG instance of this profile, such as `1g.10gb`, with a dot before its attributes (`1g.10gb.me`).
    Mig(String),
    /// A time slice or an MPS client, in thousandths of a device.
    Milli(u32),
}

impl DevicePart {
    /// Whether a unit of `offered` is what is asked for: the same profile, or a slice that is large enough.
    pub fn is_served_by(&self, offered: &Self) -> bool {
        match (self, offered) {
            (Self::Milli(asked), Self::Milli(unit)) => unit >= asked,
            _ => self == offered,
        }
    }

    /// Whether a unit of `offered` is known to have at least the compute and the memory of what is asked for, whatever kind
    /// of part it is: what one could ask for instead.
    pub fn is_within(&self, offered: &Self) -> bool {
        match (self, offered) {
            (_, Self::Whole) => true,
            (Self::Milli(asked), Self::Milli(unit)) => unit >= asked,
            (Self::Mig(asked), Self::Mig(unit)) => match (mig_size(asked), mig_size(unit)) {
                (Some(asked), Some(unit)) => unit.0 >= asked.0 && unit.1 >= asked.1,
                _ => false,
            },
            _ => false,
        }
    }
}

impl fmt::Display for DevicePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole devices"),
            Self::Mig(profile) => write!(f, "MIG {profile}"),
            Self::Milli(unit) => write!(f, "slices of {unit}/1000"),
        }
    }
}

/// Compute slices and GB of memory of a profile without attributes, `3g.40gb`. Attributes (`1g.10gb.me`: media engines) make a
/// profile of another kind, which is not compared.
fn mig_size(profile: &str) -> Option<(u32, u32)> {
    let (compute, memory) = profile.split_once("g.")?;
    Some((
        compute.parse().ok()?,
        memory.strip_suffix("gb")?.parse().ok()?,
    ))
}

/// The share of one device that a unit is, more than nothing and at most the whole: 1/7 for MIG `1g.10gb` of an H100, 1/4 for
/// one of four time slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceShare {
    parts: u32,
    of: u32,
}

impl DeviceShare {
    /// The whole device.
    pub const WHOLE: Self = Self { parts: 1, of: 1 };

    /// `parts` of `of` equal parts. What could not be a share is brought to the nearest one that could.
    pub fn new(parts: u32, of: u32) -> Self {
        let of = of.max(1);
        Self {
            parts: parts.clamp(1, of),
            of,
        }
    }

    /// Numerator: 1 to the denominator.
    pub const fn parts(self) -> u32 {
        self.parts
    }

    /// Denominator: at least 1.
    pub const fn of(self) -> u32 {
        self.of
    }

    /// So much of an amount that a whole device has, rounded up. Amounts below 0 stay as they are.
    pub fn of_amount(self, amount: i64) -> i64 {
        if amount <= 0 {
            return amount;
        }
        let all = i128::from(amount) * i128::from(self.parts);
        let of = i128::from(self.of);
        i64::try_from((all + of - 1) / of).unwrap_or(i64::MAX)
    }
}

impl Default for DeviceShare {
    fn default() -> Self {
        Self::WHOLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mig(profile: &str) -> DevicePart {
        DevicePart::Mig(profile.to_owned())
    }

    #[test]
    fn parts_serve_their_own_kind_only() {
        use DevicePart::{Milli, Whole};
        // Asked for, offered, served, and whether one could ask for it instead.
        let cases = [
            (Whole, Whole, true, true),
            (Whole, Milli(1000), false, false),
            (Whole, mig("7g.80gb"), false, false),
            (mig("1g.10gb"), Whole, false, true),
            (mig("1g.10gb"), mig("1g.10gb"), true, true),
            (mig("1g.10gb"), mig("1g.20gb"), false, true),
            (mig("2g.20gb"), mig("3g.40gb"), false, true),
            (mig("3g.40gb"), mig("4g.20gb"), false, false),
            (mig("1g.10gb"), mig("1g.10gb.me"), false, false),
            (mig("1g.10gb"), Milli(500), false, false),
            (Milli(250), Milli(250), true, true),
            (Milli(250), Milli(500), true, true),
            (Milli(250), Milli(249), false, false),
            (Milli(250), Whole, false, true),
            (Milli(250), mig("3g.40gb"), false, false),
        ];
        for (asked, offered, served, within) in cases {
            assert_eq!(asked.is_served_by(&offered), served, "{asked} {offered}");
            assert_eq!(asked.is_within(&offered), within, "{asked} {offered}");
        }
    }

    #[test]
    fn a_share_is_never_nothing_nor_more_than_the_device() {
        assert_eq!(DeviceShare::new(1, 7).of_amount(1275), 183);
        assert_eq!(DeviceShare::new(1, 4).of_amount(1000), 250);
        for (parts, of) in [(0, 0), (5, 0), (0, 7), (9, 7), (u32::MAX, u32::MAX)] {
            let share = DeviceShare::new(parts, of);
            assert!((1..=share.of()).contains(&share.parts()), "{share:?}");
            assert!(share.of_amount(i64::MAX) > 0);
            assert_eq!(share.of_amount(-5), -5);
        }
    }
}
