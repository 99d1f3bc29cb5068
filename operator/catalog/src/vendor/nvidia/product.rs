//! NVIDIA product names, as GPU feature discovery labels and DRA attributes write them.

/// How one device is split up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Not at all: a whole device.
    Whole,
    /// Time slices or MPS clients (`-SHARED`).
    TimeSliced,
    /// A MIG instance of this profile (`-MIG-1g.5gb`).
    Mig(String),
    /// A virtual GPU (`GRID-A100-40C`).
    VirtualGpu,
}

/// A product name taken apart.
///
/// ```
/// use ampacity_catalog::{ProductName, Sharing};
///
/// let name = ProductName::parse("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb");
/// assert_eq!(name.base, "A100-SXM4-40GB");
/// assert_eq!(name.sharing, Sharing::Mig("1g.5gb".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProductName {
    /// The board in upper case, without the vendor and without what splits it up, spaces as dashes.
    pub base: String,
    /// How the device is split up.
    pub sharing: Sharing,
}

impl ProductName {
    /// Takes a product name apart; any text has an answer.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let mut base = text.to_ascii_uppercase().replace([' ', '_'], "-");
        let mut sharing = Sharing::Whole;
        if let Some(cut) = base.strip_suffix("-SHARED") {
            base = cut.to_owned();
            sharing = Sharing::TimeSliced;
        }
        if let Some(at) = base.find("-MIG-") {
            // Upper-casing ASCII keeps byte positions, so the profile is cut from the text as given.
            let profile = text.get(at + "-MIG-".len()..).unwrap_or_default();
            let profile = profile
                .split_once("-SHARED")
                .map_or(profile, |(profile, _)| profile);
            sharing = Sharing::Mig(profile.replace('-', "."));
            base.truncate(at);
        }
        if let Some(cut) = base.strip_prefix("NVIDIA-") {
            base = cut.to_owned();
        }
        if sharing == Sharing::Whole && is_vgpu(&base) {
            sharing = Sharing::VirtualGpu;
        }
        Self { base, sharing }
    }
}

/// vGPU profiles end in the frame buffer in GB and the licence: `-40C`, `-4Q`, `-1-5CME`.
fn is_vgpu(base: &str) -> bool {
    let Some((_, profile)) = base.rsplit_once('-') else {
        return false;
    };
    let profile = profile.strip_suffix("ME").unwrap_or(profile);
    let Some(digits) = profile.strip_suffix(['A', 'B', 'C', 'Q']) else {
        return false;
    };
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let whole = |base: &str| (base.to_owned(), Sharing::Whole);
        let cases = [
            ("NVIDIA-H100-80GB-HBM3", whole("H100-80GB-HBM3")),
            ("NVIDIA H100 80GB HBM3", whole("H100-80GB-HBM3")),
            ("Tesla-T4", whole("TESLA-T4")),
            ("Tesla T4", whole("TESLA-T4")),
            ("A100-SXM4-40GB", whole("A100-SXM4-40GB")),
            ("NVIDIA-GB300", whole("GB300")),
            ("Tesla-T4-SHARED", ("TESLA-T4".into(), Sharing::TimeSliced)),
            (
                "A100-PCIE-40GB-MIG-1g.5gb",
                ("A100-PCIE-40GB".into(), Sharing::Mig("1g.5gb".into())),
            ),
            (
                "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb.me-SHARED",
                ("H100-80GB-HBM3".into(), Sharing::Mig("1g.10gb.me".into())),
            ),
            (
                "GRID-A100-40C",
                ("GRID-A100-40C".into(), Sharing::VirtualGpu),
            ),
            ("GRID A100-4C", ("GRID-A100-4C".into(), Sharing::VirtualGpu)),
            ("NVIDIA-A16-4Q", ("A16-4Q".into(), Sharing::VirtualGpu)),
            (
                "NVIDIA-A100-1-5CME",
                ("A100-1-5CME".into(), Sharing::VirtualGpu),
            ),
            ("", whole("")),
        ];
        for (text, (base, sharing)) in cases {
            assert_eq!(
                ProductName::parse(text),
                ProductName { base, sharing },
                "{text}"
            );
        }
    }
}
