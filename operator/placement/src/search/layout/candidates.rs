//! The candidates of a class on the board: one per domain that could hold the gang, and per price.

use std::collections::{BTreeMap, HashMap};

use super::nodes::{BoardGroup, MOST_DEVICES};
use crate::arena::{CellIndex, GroupIndex, PoolIndex};
use crate::candidates::{Candidate, PoolUse, is_within_limits};
use crate::model::{JobSpec, Level};
use crate::schedule::{Entry, Schedule};
use crate::search::model::BoardCandidate;

/// Most domains of one group that a job which requires one may use.
const MOST_DOMAINS: usize = 32;
/// Most prices of a candidate that are candidates of their own.
const MOST_TIERS: usize = 4;

impl Schedule<'_, '_> {
    /// Candidates of a class, cheapest first.
    pub(super) fn board_candidates(
        &self,
        entry: &Entry<'_>,
        board_groups: &[BoardGroup],
        board_group_of: &HashMap<GroupIndex, usize>,
        resources: &[&str],
        exact: &mut bool,
    ) -> Vec<BoardCandidate> {
        let Some(class) = self.classes.get(entry.class) else {
            return Vec::new();
        };
        *exact &= class.complete;
        let mut board_candidates: Vec<BoardCandidate> = Vec::new();
        for (at, candidate) in class.candidates.iter().enumerate() {
            let of_pair = |other: &Candidate| {
                (other.alternative, other.group) == (candidate.alternative, candidate.group)
            };
            // Of the candidates of one alternative on one group, the last admits every price.
            if class
                .candidates
                .get(at + 1..)
                .unwrap_or_default()
                .iter()
                .any(of_pair)
            {
                continue;
            }
            let Some((place, board_group)) = board_group_of
                .get(&candidate.group)
                .and_then(|&at| Some((at, board_groups.get(at)?)))
            else {
                continue;
            };
            // The estimate is exact where prices do not differ.
            if candidate.ranks.is_none()
                && !is_within_limits(entry.job, &candidate.quote, self.now_seconds)
            {
                continue;
            }
            let Some(board_candidate) =
                self.board_candidate(entry.job, candidate, place, resources)
            else {
                *exact = false;
                continue;
            };
            // Several prices with a risk each: what a mix costs is then not the sum of its parts.
            *exact &= candidate.ranks.is_none() || !self.is_risky(candidate.group);
            let pools = self.priced_pools(entry.job, candidate, &board_candidate);
            let level = entry.job.topology.required;
            let within: Vec<Option<CellIndex>> = match level {
                Level::Cluster | Level::Node => vec![None],
                _ => self.domains(board_group, level, &board_candidate),
            };
            *exact &= within.len() < MOST_DOMAINS;
            for domain in within {
                let inside = |cell: Option<CellIndex>| {
                    domain.is_none()
                        || cell.and_then(|cell| self.fleet.cells.above(cell, level)) == domain
                };
                let mut bins: Vec<(u32, i64)> = Vec::new();
                for &(pool, usd) in &pools {
                    let of_pool = board_group.bins.range((pool, None)..);
                    let of_pool = of_pool.take_while(|((of, _), _)| *of == pool);
                    bins.extend(
                        of_pool
                            .filter(|((_, cell), _)| inside(*cell))
                            .map(|(_, &bin)| (bin, usd)),
                    );
                }
                // Bins are numbered in the order of names, so this is the same whatever the order of calls.
                bins.sort_unstable_by_key(|&(bin, usd)| (usd, bin));
                if !bins.is_empty() {
                    board_candidates.push(BoardCandidate {
                        bins,
                        ..board_candidate.clone()
                    });
                }
            }
        }
        board_candidates.sort_by_key(|board_candidate| board_candidate.least_usd);
        for at in 0..board_candidates.len() {
            let Some(board_candidate) = board_candidates.get_mut(at) else {
                break;
            };
            board_candidate.base = at;
            let tiers = tiers(board_candidate);
            board_candidates.extend(tiers);
        }
        board_candidates
    }

    /// Whether nodes of a group may be interrupted.
    fn is_risky(&self, group: GroupIndex) -> bool {
        let pools = &self.fleet.groups[group].pools;
        pools.iter().any(|&pool| {
            self.fleet.pools[pool]
                .key
                .price
                .interruptions_per_hour_micro
                > 0
        })
    }

    /// Domains of a level with devices enough for the whole gang, tightest first.
    fn domains(
        &self,
        board_group: &BoardGroup,
        level: Level,
        board_candidate: &BoardCandidate,
    ) -> Vec<Option<CellIndex>> {
        let mut free: BTreeMap<CellIndex, u64> = BTreeMap::new();
        for ((_, cell), bin) in &board_group.bins {
            if let Some(cell) = cell.and_then(|cell| self.fleet.cells.above(cell, level)) {
                *free.entry(cell).or_default() +=
                    board_group.devices.get(bin).copied().unwrap_or(0);
            }
        }
        let needed =
            u64::from(board_candidate.units).saturating_mul(u64::from(board_candidate.devices));
        let mut domains: Vec<(u64, CellIndex)> = free
            .into_iter()
            .filter(|(_, free)| *free >= needed)
            .map(|(cell, free)| (free, cell))
            .collect();
        domains.sort_by(|a, b| {
            let path = |cell| &self.fleet.cells.get(cell).path;
            (a.0, path(a.1)).cmp(&(b.0, path(b.1)))
        });
        domains.truncate(MOST_DOMAINS);
        domains.into_iter().map(|(_, cell)| Some(cell)).collect()
    }

    fn board_candidate(
        &self,
        job: &JobSpec,
        candidate: &Candidate,
        board_group: usize,
        resources: &[&str],
    ) -> Option<BoardCandidate> {
        let alternative = job.alternatives.get(candidate.alternative)?;
        // A gang that must share a node is placed as one.
        let (units, replicas) = match job.topology.required {
            Level::Node => (1, alternative.replicas),
            _ => (alternative.replicas, 1),
        };
        let all = u64::from(replicas);
        let devices = alternative.devices_per_replica.checked_mul(replicas)?;
        if devices > MOST_DEVICES {
            return None;
        }
        Some(BoardCandidate {
            alternative: candidate.alternative,
            group: candidate.group,
            board_group,
            base: 0,
            bins: Vec::new(),
            usd_egress: candidate.quote.usd_egress,
            least_usd: candidate.score.usd,
            priced_usd: candidate.score.usd,
            most_usd: job.budget.max_usd.map_or(i64::MAX, |most| most.0),
            units,
            replicas,
            devices,
            cpu_milli: alternative.pod.cpu_milli.saturating_mul(all),
            memory_mib: alternative.pod.memory_mib.saturating_mul(all),
            other: alternative
                .pod
                .other
                .iter()
                .filter_map(|(name, each)| {
                    let resource = resources.iter().position(|known| known == name)?;
                    Some((resource, each.saturating_mul(all)))
                })
                .collect(),
            watts: self.watts(devices, candidate.group),
        })
    }

    /// The admitted pools of a candidate with what the whole gang would cost in each, egress left out.
    fn priced_pools(
        &self,
        job: &JobSpec,
        candidate: &Candidate,
        board_candidate: &BoardCandidate,
    ) -> Vec<(PoolIndex, i64)> {
        let pools: Vec<PoolIndex> = match &candidate.pools {
            Some(pools) => pools.clone(),
            None => self.fleet.groups[candidate.group].pools.clone(),
        };
        let egress = candidate.quote.usd_egress;
        let cluster = &self.fleet.clusters[self.fleet.cluster_of(candidate.group)].name;
        let watts_each = self.watts(1, candidate.group);
        pools
            .into_iter()
            .map(|pool| {
                if candidate.ranks.is_none() {
                    return (pool, candidate.score.usd.saturating_sub(egress));
                }
                let units = u64::from(board_candidate.units);
                let per_node =
                    u64::from(self.fleet.pools[pool].key.devices / board_candidate.devices.max(1));
                let uses = [PoolUse {
                    pool,
                    devices: units.saturating_mul(u64::from(board_candidate.devices)),
                    nodes: units.div_ceil(per_node.max(1)),
                }];
                let duration = candidate.quote.duration_seconds;
                let quote = self.fleet.quote(job, cluster, &uses, watts_each, duration);
                (pool, quote.usd_total.saturating_sub(egress))
            })
            .collect()
    }
}

/// A candidate at each of its prices alone, the cheapest first; none where there is one price only.
fn tiers(board_candidate: &BoardCandidate) -> Vec<BoardCandidate> {
    let mut tiers: Vec<BoardCandidate> = Vec::new();
    for &(bin, usd) in &board_candidate.bins {
        let count = tiers.len();
        match tiers.last_mut() {
            Some(tier) if tier.bins.first().is_some_and(|(_, of)| *of == usd) => {
                tier.bins.push((bin, usd));
            }
            _ if count == MOST_TIERS => break,
            _ => tiers.push(BoardCandidate {
                bins: vec![(bin, usd)],
                least_usd: usd.saturating_add(board_candidate.usd_egress),
                ..board_candidate.clone()
            }),
        }
    }
    if tiers.len() < 2 {
        return Vec::new();
    }
    tiers
}
