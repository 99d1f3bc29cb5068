//! Parts of devices: `migProfile` and `millidevices` to the engine's part and back.

use ampacity_api::{Alternative, ConditionReason};
use ampacity_catalog::MigProfile;
use ampacity_placement::DevicePart;

use super::issue::JobIssue;

/// The two fields that say which part of a device is meant: both absent for whole devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartFields {
    /// Profile of MIG instances.
    pub mig_profile: Option<String>,
    /// Thousandths of a device.
    pub millidevices: Option<i32>,
}

impl PartFields {
    /// The fields for a part.
    pub fn of(part: &DevicePart) -> Self {
        match part {
            DevicePart::Whole => Self::default(),
            DevicePart::Mig(profile) => Self {
                mig_profile: Some(profile.clone()),
                millidevices: None,
            },
            DevicePart::Milli(unit) => Self {
                mig_profile: None,
                millidevices: Some(i32::try_from(*unit).unwrap_or(i32::MAX)),
            },
        }
    }

    /// `1g.10gb`, or thousandths as Kubernetes writes them, `250m`; `None` for whole devices.
    pub fn mark(&self) -> Option<String> {
        let milli = self.millidevices.map(|milli| format!("{milli}m"));
        self.mig_profile.clone().or(milli)
    }
}

/// A device type with the part of it, for people: `nvidia-h100-sxm5-80gb/1g.10gb`, `nvidia-t4/250m`, `nvidia-t4`.
pub fn device_name(
    accelerator_type: &str,
    mig_profile: Option<&str>,
    millidevices: Option<i32>,
) -> String {
    let part = PartFields {
        mig_profile: mig_profile.map(str::to_owned),
        millidevices,
    };
    match part.mark() {
        Some(mark) => format!("{accelerator_type}/{mark}"),
        None => accelerator_type.to_owned(),
    }
}

/// The part that two fields mean, written by us: what cannot be read is taken as it stands.
pub fn device_part(mig_profile: Option<&str>, millidevices: Option<i32>) -> DevicePart {
    match (mig_profile, millidevices) {
        (Some(text), _) => DevicePart::Mig(
            MigProfile::parse(text)
                .map_or_else(|| text.to_owned(), |profile| profile.name().to_owned()),
        ),
        (None, Some(milli)) => DevicePart::Milli(milli.unsigned_abs()),
        (None, None) => DevicePart::Whole,
    }
}

/// The part that an alternative asks for.
///
/// # Errors
/// When the fields contradict each other or cannot be read.
pub fn asked_part(alternative: &Alternative, field: &str) -> Result<DevicePart, JobIssue> {
    let invalid = |name: &str, message: String| {
        JobIssue::new(format!("{field}.{name}"), ConditionReason::Invalid, message)
    };
    let (mig_profile, millidevices) = (&alternative.mig_profile, alternative.millidevices);
    if mig_profile.is_some() && millidevices.is_some() {
        return Err(invalid(
            "millidevices",
            "migProfile is given too; give one of them, or none for whole devices".to_owned(),
        ));
    }
    if let Some(text) = mig_profile
        && MigProfile::parse(text).is_none()
    {
        return Err(invalid(
            "migProfile",
            format!(
                "{text:?} is no MIG profile; write compute slices and memory, such as \"1g.10gb\""
            ),
        ));
    }
    if let Some(milli) = millidevices {
        if !(1..=999).contains(&milli) {
            return Err(invalid(
                "millidevices",
                format!(
                    "{milli} is no share of a device; give 1 to 999, or leave it out for whole devices"
                ),
            ));
        }
        if alternative.devices_per_replica != 1 {
            return Err(invalid(
                "devicesPerReplica",
                "with millidevices it must be 1: a replica gets a share of one device".to_owned(),
            ));
        }
    }
    Ok(device_part(mig_profile.as_deref(), millidevices))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: impl FnOnce(&mut Alternative)) -> Result<DevicePart, String> {
        let mut alternative = Alternative::default();
        change(&mut alternative);
        asked_part(&alternative, "a").map_err(|issue| issue.to_string())
    }

    #[test]
    fn parts_are_read_and_written_alike() {
        let mig = asked(|a| a.mig_profile = Some("1g.10gb+me".into())).unwrap();
        assert_eq!(mig, DevicePart::Mig("1g.10gb.me".into()));
        let milli = asked(|a| a.millidevices = Some(250)).unwrap();
        assert_eq!(milli, DevicePart::Milli(250));
        assert_eq!(asked(|_| ()).unwrap(), DevicePart::Whole);
        for (part, mark) in [
            (mig, Some("1g.10gb.me")),
            (milli, Some("250m")),
            (DevicePart::Whole, None),
        ] {
            let fields = PartFields::of(&part);
            assert_eq!(fields.mark().as_deref(), mark);
            let back = device_part(fields.mig_profile.as_deref(), fields.millidevices);
            assert_eq!(back, part);
        }
    }

    #[test]
    fn what_cannot_be_a_part_is_named_with_its_field() {
        let cases = [
            (
                asked(|a| a.mig_profile = Some("10gb".into())),
                "a.migProfile: \"10gb\" is no MIG profile; write compute slices and memory, such as \"1g.10gb\"",
            ),
            (
                asked(|a| a.millidevices = Some(1000)),
                "a.millidevices: 1000 is no share of a device; give 1 to 999, or leave it out for whole devices",
            ),
            (
                asked(|a| (a.millidevices, a.devices_per_replica) = (Some(500), 2)),
                "a.devicesPerReplica: with millidevices it must be 1: a replica gets a share of one device",
            ),
            (
                asked(|a| {
                    (a.millidevices, a.mig_profile) = (Some(500), Some("1g.10gb".into()));
                }),
                "a.millidevices: migProfile is given too; give one of them, or none for whole devices",
            ),
        ];
        for (seen, expected) in cases {
            assert_eq!(seen.unwrap_err(), expected);
        }
    }
}
