//! What is known about a device, and what it tells of the accelerator type.

use ampacity_placement::Labels;

use crate::names;

/// What is known about a device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceQuery<'a> {
    /// Extended resource (`nvidia.com/gpu`) or DRA driver (`gpu.nvidia.com`) that shows it.
    pub resource: &'a str,
    /// Labels of its node.
    pub labels: &'a Labels,
    /// Instance type of its node; empty where unknown.
    pub instance_type: &'a str,
    /// Product or model that the DRA driver gives.
    pub model: Option<&'a str>,
    /// PCI device id that the DRA driver gives, such as `0xe211`.
    pub pci_id: Option<&'a str>,
    /// Memory of the device in MiB, where the DRA driver gives it; otherwise it is read from the labels.
    pub memory_mib: Option<u64>,
}

/// What told the type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Label key, attribute, `instance type` or `AcceleratorType match`.
    pub from: String,
    /// Its value.
    pub value: String,
}

impl Evidence {
    pub(crate) fn new(from: &str, value: &str) -> Self {
        Self {
            from: from.to_owned(),
            value: value.to_owned(),
        }
    }
}

/// Name of an accelerator type and what told it.
pub(crate) type Found = Option<(String, Evidence)>;

/// What was looked at and led nowhere, for a message.
#[derive(Debug, Default)]
pub(crate) struct Clues {
    pub(crate) seen: Vec<Evidence>,
}

impl Clues {
    /// Looks `value` up among the names of `kind`; `shown` is the value as `key` has it. One that leads nowhere is remembered.
    pub(crate) fn look_up(
        &mut self,
        kind: &str,
        key: &str,
        shown: &str,
        value: &str,
        memory_mib: Option<u64>,
    ) -> Found {
        let evidence = Evidence::new(key, shown);
        match names::named(kind, value, memory_mib) {
            Some(name) => Some((name.to_owned(), evidence)),
            None => {
                self.seen.push(evidence);
                None
            }
        }
    }

    /// Remembers labels that say something about a device but not its type.
    pub(crate) fn see_labels(&mut self, query: &DeviceQuery<'_>, keys: &[&str]) {
        for key in keys {
            if let Some(value) = query.labels.get(*key) {
                self.seen.push(Evidence::new(key, value));
            }
        }
    }
}

/// A PCI device id as `data/names.csv` writes it: lower case, without `0x`.
pub(crate) fn pci_id(id: &str) -> String {
    let id = id.trim().to_ascii_lowercase();
    id.strip_prefix("0x").unwrap_or(&id).to_owned()
}
