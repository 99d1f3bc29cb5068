//! Changes to what is there: a raised limit on watts, nodes returned to service, devices that others free.

use super::trial::{MOST_NODES, Trial};
use crate::arena::NodeIndex;
use crate::fleet::{Fleet, PowerLimit};
use crate::model::{Fix, MOST_NAMED, NodeFault, Reason, Watts};

/// Largest step by which a limit is raised: a billion gigawatts.
const MOST_RAISE_WATTS: i64 = 1_000_000_000_000_000_000;

/// Most limits that one fix raises.
const MOST_LIMITS: usize = 8;

impl Fleet {
    /// Raises the limits that bind, one after the other, until the job fits.
    pub(super) fn raise_power(&mut self, trial: Trial<'_>, reason: &Reason) -> Option<(i128, Fix)> {
        let mut raised: Vec<(PowerLimit, i64)> = Vec::new();
        let mut next = lacking(reason);
        let mut works = false;
        for _ in 0..MOST_LIMITS {
            // Nobody raises a limit by so much, and a larger step could not be taken back exactly. One that was raised by what
            // was missing and is short still cannot be helped.
            let Some((limit, by)) = next.filter(|(limit, by)| {
                (1..=MOST_RAISE_WATTS).contains(by)
                    && !raised.iter().any(|(known, _)| known == limit)
            }) else {
                break;
            };
            self.power.shift_limit(&limit, by);
            raised.push((limit, by));
            works = self.fits(trial);
            if works {
                break;
            }
            let (job, shortfall) = (trial.job, trial.shortfall);
            let (alternative, now) = (trial.alternative, trial.now_seconds);
            let binds = self.binding_constraint(job, alternative, trial.group, shortfall, now);
            next = binds.as_ref().and_then(lacking);
        }
        for (limit, by) in &raised {
            self.power.shift_limit(limit, -by);
        }
        if !works {
            return None;
        }
        let watts = raised.iter().map(|(_, by)| i128::from(*by)).sum();
        let mut fixes: Vec<Fix> = raised.into_iter().filter_map(raise).collect();
        let fix = match fixes.len() {
            1 => fixes.pop()?,
            _ => Fix::RaisePowerLimits { limits: fixes },
        };
        Some((watts, fix))
    }

    pub(super) fn restore_nodes(
        &mut self,
        trial: Trial<'_>,
        tries: &mut usize,
    ) -> Option<(i128, Fix)> {
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
        *tries += usize::from(!out.is_empty());
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
        let names = self.names(out.iter().take(count).map(|(node, _)| *node));
        Some((
            i128::from(nodes),
            Fix::RestoreNodes {
                cluster,
                nodes,
                names,
            },
        ))
    }

    pub(super) fn free_devices(
        &mut self,
        trial: Trial<'_>,
        tries: &mut usize,
    ) -> Option<(i128, Fix)> {
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
        *tries += usize::from(!held.is_empty());
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
        let accelerator_type = self.groups[group].key.accelerator_type.to_string();
        let on = self.names(held.iter().take(count).map(|(node, _)| *node));
        Some((
            i128::from(devices),
            Fix::FreeDevices {
                cluster,
                devices,
                accelerator_type,
                nodes: u64::try_from(count).unwrap_or(u64::MAX),
                on,
            },
        ))
    }

    /// Names of the first of these nodes, in order of names.
    fn names(&self, nodes: impl Iterator<Item = NodeIndex>) -> Vec<String> {
        let nodes = nodes.take(MOST_NAMED);
        let mut names: Vec<String> = nodes
            .map(|node| self.nodes[node].name.to_string())
            .collect();
        names.sort();
        names
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

/// The limit on watts that a reason names, and how much is missing there.
fn lacking(reason: &Reason) -> Option<(PowerLimit, i64)> {
    let (limit, needed, headroom) = match reason {
        Reason::UnknownPowerDomain {
            domain,
            needed_watts,
        } => (
            PowerLimit::Missing(domain.clone()),
            needed_watts,
            &Watts::ZERO,
        ),
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
    Some((limit, (*needed - *headroom).0))
}

/// The fix that raises a limit; `None` where none is too low, since the domain carries nothing new whatever it is.
fn raise((limit, by): (PowerLimit, i64)) -> Option<Fix> {
    match limit {
        PowerLimit::Closed(..) => None,
        PowerLimit::Domain(domain) => Some(Fix::RaisePowerDomain {
            domain,
            by_watts: Watts(by),
        }),
        PowerLimit::Missing(domain) => Some(Fix::CreatePowerDomain {
            domain,
            usable_watts: Watts(by),
        }),
        PowerLimit::Budget(budget) => Some(Fix::RaisePowerBudget {
            budget,
            by_watts: Watts(by),
        }),
    }
}
