//! Changes to what is there: a raised limit on watts, nodes returned to service, devices that others free.

use super::trial::{MOST_NODES, Trial};
use crate::arena::NodeIndex;
use crate::fleet::{Fleet, PowerLimit};
use crate::model::{Fix, NodeFault, Reason, Watts};

/// Largest step by which a limit is raised: a billion gigawatts.
const MOST_RAISE_WATTS: i64 = 1_000_000_000_000_000_000;

impl Fleet {
    pub(super) fn raise_power(&mut self, trial: Trial<'_>, reason: &Reason) -> Option<(i128, Fix)> {
        let none = Watts::ZERO;
        let (limit, needed, headroom) = match reason {
            Reason::UnknownPowerDomain {
                domain,
                needed_watts,
            } => (PowerLimit::Missing(domain.clone()), needed_watts, &none),
            Reason::PowerDomainExceeded {
                domain,
                needed_watts,
                headroom_watts,
            } => (
                PowerLimit::Domain(domain.clone()),
                needed_watts,
                headroom_watts,
            ),
            Reason::PowerBudgetExceeded {
                budget,
                needed_watts,
                headroom_watts,
            } => (
                PowerLimit::Budget(budget.clone()),
                needed_watts,
                headroom_watts,
            ),
            _ => return None,
        };
        let by = *needed - *headroom;
        // Nobody raises a limit by so much, and a larger step could not be taken back exactly.
        if by.0 > MOST_RAISE_WATTS {
            return None;
        }
        self.power.shift_limit(&limit, by.0);
        let works = self.fits(trial);
        self.power.shift_limit(&limit, -by.0);
        let fix = match limit {
            PowerLimit::Domain(domain) => Fix::RaisePowerDomain {
                domain,
                by_watts: Watts(by.0),
            },
            PowerLimit::Missing(domain) => Fix::CreatePowerDomain {
                domain,
                usable_watts: Watts(by.0),
            },
            PowerLimit::Budget(budget) => Fix::RaisePowerBudget {
                budget,
                by_watts: Watts(by.0),
            },
        };
        works.then(|| (i128::from(by.0), fix))
    }

    pub(super) fn restore_nodes(&mut self, trial: Trial<'_>) -> Option<(i128, Fix)> {
        let pools = &self.groups[trial.group].pools;
        if pools.iter().all(|&pool| self.pools[pool].faulty() == 0) {
            return None;
        }
        let mut out: Vec<(NodeIndex, Box<NodeFault>)> = self
            .own_nodes(trial)
            .into_iter()
            .filter_map(|node| Some((node, self.nodes[node].fault.clone()?)))
            .collect();
        out.sort_by_key(|(node, _)| {
            std::cmp::Reverse(
                self.nodes[*node]
                    .slot(trial.group)
                    .map_or(0, |slot| slot.free),
            )
        });
        out.truncate(usize::try_from(MOST_NODES).unwrap_or(usize::MAX));
        let count = self.fewest(
            out.len(),
            |fleet, range, on| {
                for (node, fault) in out.get(range).unwrap_or_default() {
                    fleet.nodes[*node].fault = (!on).then(|| fault.clone());
                    fleet.refresh(*node);
                }
                fleet.settle();
            },
            |fleet| fleet.fits(trial),
        )?;
        let cluster = self.clusters[self.cluster_of(trial.group)].name.to_string();
        let nodes = u64::try_from(count).unwrap_or(u64::MAX);
        Some((i128::from(nodes), Fix::RestoreNodes { cluster, nodes }))
    }

    pub(super) fn free_devices(&mut self, trial: Trial<'_>) -> Option<(i128, Fix)> {
        let mut held: Vec<(NodeIndex, u32)> = self
            .own_nodes(trial)
            .into_iter()
            .filter_map(|node| {
                let slot = self.nodes[node].slot(trial.group)?;
                (slot.held > 0).then_some((node, slot.held))
            })
            .collect();
        held.sort_by_key(|(_, held)| *held);
        held.truncate(usize::try_from(MOST_NODES).unwrap_or(usize::MAX));
        let group = trial.group;
        let count = self.fewest(
            held.len(),
            |fleet, range, on| {
                for (node, devices) in held.get(range).unwrap_or_default() {
                    if let Some(slot) = fleet.nodes[*node]
                        .slots
                        .iter_mut()
                        .find(|slot| slot.group == group)
                    {
                        slot.held = if on { 0 } else { *devices };
                    }
                    fleet.charge_held(*node);
                    fleet.refresh(*node);
                }
                fleet.settle();
            },
            |fleet| fleet.fits(trial),
        )?;
        let devices: u64 = held
            .iter()
            .take(count)
            .map(|(_, held)| u64::from(*held))
            .sum();
        let cluster = self.clusters[self.cluster_of(group)].name.to_string();
        Some((i128::from(devices), Fix::FreeDevices { cluster, devices }))
    }

    /// The least number of changes, taken from the front, after which `works`; all are taken back.
    fn fewest(
        &mut self,
        all: usize,
        change: impl Fn(&mut Self, std::ops::Range<usize>, bool),
        works: impl Fn(&mut Self) -> bool,
    ) -> Option<usize> {
        if all == 0 {
            return None;
        }
        change(self, 0..all, true);
        let mut enough = works(self).then_some(all);
        let mut done = all;
        let mut too_few = 0;
        while let Some(most) = enough
            && most - too_few > 1
        {
            let middle = usize::midpoint(too_few, most);
            if middle < done {
                change(self, middle..done, false);
            } else {
                change(self, done..middle, true);
            }
            done = middle;
            if works(self) {
                enough = Some(middle);
            } else {
                too_few = middle;
            }
        }
        change(self, 0..done, false);
        enough
    }
}
