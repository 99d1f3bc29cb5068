//! ResourceQuotas of the hub: what the pods of a namespace's Placements may ask for together, in whichever cluster they run.

use std::fmt;

/// A quota that a job's pods would exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaShortage {
    /// Namespace of the ResourceQuota.
    pub namespace: String,
    /// Its name.
    pub quota: String,
    /// What is short, as the quota names it: `requests.nvidia.com/gpu`, `pods`.
    pub resource: QuotaResource,
    /// How much the job needs of it.
    pub needed: u64,
    /// How much the namespace's Placements hold already.
    pub used: u64,
    /// How much they may hold.
    pub hard: u64,
}

/// What a quota limits, by its name (kubernetes.io/docs/concepts/policy/resource-quotas). Its unit follows from the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaResource(String);

/// In what a resource is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaUnit {
    /// Thousandths of a processor.
    Millicores,
    /// Bytes.
    Bytes,
    /// Pieces.
    Count,
}

impl QuotaResource {
    /// The resource of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// In what it is counted.
    pub fn unit(&self) -> QuotaUnit {
        match self.0.as_str() {
            "cpu" | "requests.cpu" => QuotaUnit::Millicores,
            "memory" | "requests.memory" => QuotaUnit::Bytes,
            _ => QuotaUnit::Count,
        }
    }

    /// An amount of it as a manifest has it.
    pub fn quantity(&self, amount: u64) -> String {
        const MEBIBYTE: u64 = 1 << 20;
        match self.unit() {
            QuotaUnit::Millicores if amount.is_multiple_of(1000) => (amount / 1000).to_string(),
            QuotaUnit::Millicores => format!("{amount}m"),
            QuotaUnit::Bytes => format!("{}Mi", amount.div_ceil(MEBIBYTE)),
            QuotaUnit::Count => amount.to_string(),
        }
    }
}

impl fmt::Display for QuotaResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_in_a_manifest() {
        for (resource, amount, expected) in [
            ("requests.cpu", 96_000, "96"),
            ("cpu", 1500, "1500m"),
            ("requests.memory", 64 << 30, "65536Mi"),
            ("memory", 1, "1Mi"),
            ("requests.nvidia.com/gpu", 16, "16"),
            ("count/pods", 3, "3"),
        ] {
            assert_eq!(QuotaResource::new(resource).quantity(amount), expected);
        }
    }
}
