//! Which clusters, accelerator types and groups a job may use at all.

use std::sync::Arc;

use super::constraints::cluster_refusal;
use crate::arena::GroupIndex;
use crate::fleet::{Fleet, GroupsOfType};
use crate::model::{AcceleratorFacts, AcceleratorRequirement, Alternative, JobSpec};

/// Whether a type has what is asked for.
pub(crate) fn suits(
    wanted: &AcceleratorRequirement,
    name: &str,
    facts: Option<&AcceleratorFacts>,
) -> bool {
    match wanted {
        AcceleratorRequirement::Named(wanted) => wanted == name,
        AcceleratorRequirement::Selected {
            vendor,
            min_memory_gib,
            min_bf16_tflops,
            names,
        } => {
            (names.is_empty() || names.iter().any(|n| n == name))
                && facts.is_some_and(|facts| {
                    vendor.as_ref().is_none_or(|v| *v == facts.vendor)
                        && facts.memory_gib >= *min_memory_gib
                        && facts.bf16_tflops >= *min_bf16_tflops
                })
        }
    }
}

impl Fleet {
    /// Which clusters may take a job, by cluster index.
    pub(crate) fn open_clusters(&self, job: &JobSpec) -> Vec<bool> {
        self.clusters
            .iter()
            .map(|(_, cluster)| cluster_refusal(job, cluster).is_none())
            .collect()
    }

    /// Groups whose type and part an alternative may use.
    pub(crate) fn groups_for(&self, alternative: &Alternative) -> Vec<GroupIndex> {
        let mut groups = self.groups_of_type(&alternative.accelerator);
        groups.retain(|&group| alternative.part.is_served_by(&self.groups[group].key.part));
        groups
    }

    /// Groups of the types that are asked for, whatever the part.
    pub(crate) fn groups_of_type(&self, wanted: &AcceleratorRequirement) -> Vec<GroupIndex> {
        let types = self.types_for(wanted);
        types.flat_map(|(_, groups)| groups.iter()).collect()
    }

    /// Accelerator types that a requirement admits, with their groups.
    pub(crate) fn types_for<'a>(
        &'a self,
        wanted: &'a AcceleratorRequirement,
    ) -> Box<dyn Iterator<Item = (&'a Arc<str>, &'a GroupsOfType)> + 'a> {
        match wanted {
            AcceleratorRequirement::Named(name) => {
                Box::new(self.groups_by_type.get_key_value(name.as_str()).into_iter())
            }
            AcceleratorRequirement::Selected { .. } => Box::new(
                self.groups_by_type
                    .iter()
                    .filter(|(name, _)| suits(wanted, name, self.facts.get(&***name))),
            ),
        }
    }
}
