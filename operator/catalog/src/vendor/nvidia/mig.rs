//! MIG profiles: their names, how instances are asked for, and the share of a device that they stand for.

/// Before the profile in the name of an extended resource.
pub(crate) const RESOURCE_PREFIX: &str = "nvidia.com/mig-";
/// DeviceClass of the MIG instances that `gpu.nvidia.com` publishes; the driver's chart makes it.
pub(super) const DEVICE_CLASS: &str = "mig.nvidia.com";

/// Compute slices of most devices that MIG can cut up.
const SLICES: u32 = 7;
/// Types with other numbers of compute slices. Source: NVIDIA Multi-Instance GPU User Guide, "Supported MIG profiles": A30 and
/// RTX PRO 6000 Blackwell have profiles up to `4g`, all others up to `7g`.
const OTHERS: [(&str, u32); 4] = [
    ("nvidia-a30", 4),
    ("nvidia-rtx-pro-6000-max-q", 4),
    ("nvidia-rtx-pro-6000-server", 4),
    ("nvidia-rtx-pro-6000-workstation", 4),
];

/// A MIG profile.
///
/// ```
/// use ampacity_catalog::{MigProfile, mig_slices};
///
/// let profile = MigProfile::parse("1g.10gb+me").ok_or("no profile")?;
/// assert_eq!(profile.name(), "1g.10gb.me");
/// assert_eq!((profile.compute_slices(), mig_slices("nvidia-h100-sxm5-80gb")), (1, 7));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MigProfile {
    name: String,
    compute_slices: u32,
}

impl MigProfile {
    /// Reads `[Cc.]Gg.Mgb`, followed by attributes after `+`, `-` or `.`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.replace('+', ".");
        let (compute, instance) = match name.split_once("c.") {
            Some((compute, instance)) => (Some(slices(compute)?), instance),
            None => (None, name.as_str()),
        };
        let (graphics, memory) = instance.split_once("g.")?;
        let graphics = slices(graphics)?;
        let (memory, attributes) = memory.split_once("gb")?;
        let has_memory = memory.parse::<u16>().is_ok_and(|gb| gb > 0);
        let has_attributes = attributes.is_empty()
            || attributes.strip_prefix(['.', '-']).is_some_and(|rest| {
                rest.split('.')
                    .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
            });
        (has_memory && has_attributes).then_some(Self {
            compute_slices: compute.unwrap_or(graphics),
            name,
        })
    }

    /// The profile as resource names write it: a dot before attributes, `1g.10gb.me`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The extended resource by which a device plugin offers instances of the profile of this name.
    pub fn resource(name: &str) -> String {
        format!("{RESOURCE_PREFIX}{name}")
    }

    /// The DRA device class of instances of any profile.
    pub fn device_class() -> &'static str {
        DEVICE_CLASS
    }

    /// The CEL expression that selects instances of this profile among those of [`Self::device_class`]. The driver writes
    /// attributes after a plus, `1g.10gb+me`.
    pub fn cel_selector(&self) -> String {
        let named = self.with_plus();
        let named = named.as_deref().unwrap_or_else(|| self.name());
        format!("device.attributes['gpu.nvidia.com'].profile == '{named}'")
    }

    /// Compute slices of the instance.
    pub fn compute_slices(&self) -> u32 {
        self.compute_slices
    }

    /// The profile as drivers write it, `1g.10gb+me`, where that differs from [`Self::name`].
    pub fn with_plus(&self) -> Option<String> {
        let at = self.name.find("gb.")? + "gb".len();
        let (profile, attributes) = self.name.split_at_checked(at)?;
        Some(format!("{profile}+{}", attributes.strip_prefix('.')?))
    }
}

/// One digit from 1.
fn slices(text: &str) -> Option<u32> {
    match text.as_bytes() {
        [digit @ b'1'..=b'9'] => Some(u32::from(digit - b'0')),
        _ => None,
    }
}

/// Compute slices that MIG cuts a device of this type into.
pub fn mig_slices(accelerator_type: &str) -> u32 {
    OTHERS
        .iter()
        .find(|(name, _)| *name == accelerator_type)
        .map_or(SLICES, |(_, slices)| *slices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn profiles_are_read_as_nvidia_writes_them() {
        let cases = [
            ("1g.5gb", Some(("1g.5gb", 1))),
            ("7g.141gb", Some(("7g.141gb", 7))),
            ("1c.3g.20gb", Some(("1c.3g.20gb", 1))),
            ("1g.10gb+me", Some(("1g.10gb.me", 1))),
            ("1g.10gb.me", Some(("1g.10gb.me", 1))),
            ("1g.24gb+me.all", Some(("1g.24gb.me.all", 1))),
            ("1g.24gb-me", Some(("1g.24gb-me", 1))),
            ("0g.5gb", None),
            ("10g.5gb", None),
            ("1g.gb", None),
            ("1g.0gb", None),
            ("1g.5gb.", None),
            ("1g.5gb.2", None),
            ("1g.5GB", None),
            ("g.5gb", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let profile = MigProfile::parse(text);
            let seen = profile.as_ref().map(|p| (p.name(), p.compute_slices()));
            assert_eq!(seen, expected, "{text}");
        }
    }

    #[test]
    fn attributes_have_two_spellings() {
        let with_plus = |text| MigProfile::parse(text)?.with_plus();
        assert_eq!(with_plus("1g.10gb.me").as_deref(), Some("1g.10gb+me"));
        assert_eq!(
            with_plus("1g.24gb+me.all").as_deref(),
            Some("1g.24gb+me.all")
        );
        assert_eq!(with_plus("1g.10gb"), None);
        assert_eq!(with_plus("1g.24gb-me"), None);
    }

    #[test]
    fn types_with_other_slices_exist() {
        let catalog = Catalog::builtin();
        for (name, _) in OTHERS {
            assert!(catalog.get(name).is_some(), "{name}");
        }
    }
}
