//! The breaker tree: domains with their limits and loads, and the way from a feed to each of its ancestors.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::limits::PowerLimit;
use crate::arena::{Arena, FeedIndex};
use crate::model::{BudgetScope, PowerClosure, PowerIssue, PowerSpec};

/// Parts of a watt in which loads are counted.
pub(super) const NANO: i128 = 1_000_000_000;
/// Watts beyond which a single charge is cut: more than mankind draws, and small enough that sums of products cannot overflow.
pub(super) const MOST_WATTS: i64 = 1_000_000_000_000_000;
/// Largest multiplier: a loss so large that nothing fits.
const MOST_FACTOR: i128 = NANO * NANO;

/// One power domain with its limits and its load.
#[derive(Clone, Debug, Default)]
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) usable: i64,
    /// Whether there is no such domain though nodes or other domains are said to hang on it: it carries nothing, since nobody knows how much it could.
    pub(super) is_missing: bool,
    /// Why it carries nothing new, if it does not; what is charged to it stays charged, to its parents too.
    pub(super) closed: Option<PowerClosure>,
    pub(super) budgets: Vec<(String, i64)>,
    pub(super) load_nano: i128,
}

impl Domain {
    /// The tightest limit here: its name and nano-watts left.
    pub(super) fn tightest(&self) -> (PowerLimit, i128) {
        if let Some(why) = &self.closed {
            let limit = PowerLimit::Closed(self.name.clone(), why.clone());
            return (limit, self.headroom_nano());
        }
        let mut limit = if self.is_missing {
            PowerLimit::Missing(self.name.clone())
        } else {
            PowerLimit::Domain(self.name.clone())
        };
        let mut watts = self.usable;
        for (name, budget) in &self.budgets {
            if *budget < watts {
                watts = *budget;
                limit = PowerLimit::Budget(name.clone());
            }
        }
        (limit, i128::from(watts) * NANO - self.load_nano)
    }

    pub(super) fn headroom_nano(&self) -> i128 {
        let usable = match self.closed {
            Some(_) => self.usable.min(0),
            None => self.usable,
        };
        let watts = self
            .budgets
            .iter()
            .fold(usable, |least, (_, limit)| least.min(*limit));
        i128::from(watts) * NANO - self.load_nano
    }
}

/// Feeds that some nodes share.
#[derive(Clone, Debug, Default)]
pub(super) struct Feed {
    pub(super) names: Vec<String>,
    /// What is drawn from it.
    pub(super) watts: i128,
    /// Ancestors with the multiplier in billionths.
    pub(super) path: Vec<(usize, i128)>,
}

/// The breaker tree with what is charged to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PowerLedger {
    pub(super) domains: Vec<Domain>,
    pub(super) feeds: Arena<FeedIndex, Feed>,
    pub(super) feed_by_names: HashMap<Vec<String>, FeedIndex>,
    /// Parents of each domain with the domain's own loss.
    pub(super) parents: Vec<(Vec<usize>, u32)>,
    pub(super) by_name: BTreeMap<String, usize>,
    pub(super) queue_budgets: BTreeMap<String, Vec<(String, i64)>>,
    pub(super) queue_watts: BTreeMap<String, i128>,
    pub(super) budgets: Vec<(String, BudgetScope, i64)>,
}

impl PowerLedger {
    /// Replaces the tree and the budgets; what is charged stays charged.
    pub(crate) fn set(&mut self, spec: PowerSpec) -> Vec<PowerIssue> {
        let mut issues = Vec::new();
        self.domains.clear();
        self.parents.clear();
        self.by_name.clear();
        self.queue_budgets.clear();
        self.budgets.clear();
        let mut specs = spec.domains;
        specs.sort_by(|a, b| a.name.cmp(&b.name));
        let mut wanted: Vec<Vec<String>> = Vec::new();
        for domain in specs {
            let at = match self.by_name.get(&domain.name) {
                // Named twice: the tighter limit and the larger loss hold, so that a mistake never lifts a limit.
                Some(&at) => at,
                None => {
                    self.by_name.insert(domain.name.clone(), self.domains.len());
                    self.domains.push(Domain {
                        name: domain.name.clone(),
                        usable: i64::MAX,
                        ..Domain::default()
                    });
                    self.parents.push((Vec::new(), 0));
                    wanted.push(Vec::new());
                    self.domains.len() - 1
                }
            };
            if let Some(place) = self.domains.get_mut(at) {
                place.usable = place
                    .usable
                    .min(domain.usable_watts.0.clamp(-MOST_WATTS, MOST_WATTS));
                if domain.is_terminating {
                    place.closed = Some(PowerClosure::Terminating);
                }
            }
            if let Some((_, loss)) = self.parents.get_mut(at) {
                *loss = (*loss).max(domain.loss_percent);
            }
            if let Some(names) = wanted.get_mut(at) {
                names.extend(domain.parents);
            }
        }
        for (at, names) in wanted.iter().enumerate() {
            let names: BTreeSet<&String> = names.iter().collect();
            for name in names {
                let domain = self.domains.get(at).map_or("", |d| &d.name).to_owned();
                let parent = self.by_name.get(name.as_str()).copied();
                let parent = parent.unwrap_or_else(|| self.add_missing_domain(name.clone()));
                if self.is_missing(parent) {
                    issues.push(PowerIssue::UnknownParent {
                        domain,
                        parent: name.clone(),
                    });
                }
                if let Some((parents, _)) = self.parents.get_mut(at) {
                    parents.push(parent);
                }
            }
        }
        issues.extend(self.close_cycles());
        let mut budgets = spec.budgets;
        budgets.sort_by(|a, b| {
            (&a.name, &a.scope, a.limit_watts).cmp(&(&b.name, &b.scope, b.limit_watts))
        });
        for budget in budgets {
            let limit = budget.limit_watts.0.clamp(-MOST_WATTS, MOST_WATTS);
            match &budget.scope {
                BudgetScope::Queue(queue) => self
                    .queue_budgets
                    .entry(queue.clone())
                    .or_default()
                    .push((budget.name.clone(), limit)),
                BudgetScope::Domain(name) => {
                    match self
                        .by_name
                        .get(name)
                        .and_then(|&at| self.domains.get_mut(at))
                    {
                        Some(domain) if !domain.is_missing => {
                            domain.budgets.push((budget.name.clone(), limit));
                        }
                        _ => issues.push(PowerIssue::UnknownDomain {
                            budget: budget.name.clone(),
                            domain: name.clone(),
                        }),
                    }
                }
            }
            self.budgets.push((budget.name, budget.scope, limit));
        }
        self.add_missing();
        self.recharge();
        issues
    }

    /// A domain that feeds itself carries nothing, since nobody knows what it hangs on; what is charged to it stays charged to all of
    /// the cycle and to what is above it.
    fn close_cycles(&mut self) -> Vec<PowerIssue> {
        let mut issues = Vec::new();
        for at in 0..self.domains.len() {
            let parents = self.parents.get(at).map(|(parents, _)| parents.clone());
            let back = parents.into_iter().flatten();
            let Some(parent) = back.into_iter().find(|&parent| self.reaches(parent, at)) else {
                continue;
            };
            let name = |at: usize| self.domains.get(at).map_or("", |d| &d.name).to_owned();
            issues.push(PowerIssue::Cycle {
                domain: name(at),
                parent: name(parent),
            });
            let parent = name(parent);
            if let Some(domain) = self.domains.get_mut(at) {
                domain.closed = Some(PowerClosure::Cycle { parent });
            }
        }
        issues
    }

    /// A domain for every name that feeds nodes and is not there.
    fn add_missing(&mut self) {
        let feeds = self.feeds.iter().flat_map(|(_, feed)| &feed.names);
        let missing: BTreeSet<String> = feeds
            .filter(|name| !self.by_name.contains_key(*name))
            .cloned()
            .collect();
        for name in missing {
            self.add_missing_domain(name);
        }
    }

    fn is_missing(&self, at: usize) -> bool {
        self.domains.get(at).is_some_and(|domain| domain.is_missing)
    }

    fn add_missing_domain(&mut self, name: String) -> usize {
        let at = self.domains.len();
        self.by_name.insert(name.clone(), at);
        self.domains.push(Domain {
            name,
            is_missing: true,
            ..Domain::default()
        });
        self.parents.push((Vec::new(), 0));
        at
    }

    /// Whether `to` is `from` or an ancestor of it.
    fn reaches(&self, from: usize, to: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            if at == to {
                return true;
            }
            if seen.insert(at)
                && let Some((parents, _)) = self.parents.get(at)
            {
                open.extend(parents);
            }
        }
        false
    }

    fn recharge(&mut self) {
        let keys: Vec<FeedIndex> = self.feeds.iter().map(|(key, _)| key).collect();
        for key in keys {
            let path = self.path(&self.feeds[key].names);
            let watts = self.feeds[key].watts;
            for &(at, factor) in &path {
                if let Some(domain) = self.domains.get_mut(at) {
                    domain.load_nano = domain
                        .load_nano
                        .saturating_add(watts.saturating_mul(factor));
                }
            }
            self.feeds[key].path = path;
        }
    }

    /// Every ancestor of these feeds with the largest product of losses below it.
    fn path(&self, names: &[String]) -> Vec<(usize, i128)> {
        // Depth first gives an order in which every domain stands before its parents.
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        let starts: Vec<usize> = names
            .iter()
            .filter_map(|name| self.by_name.get(name).copied())
            .collect();
        for &start in &starts {
            let mut stack = vec![(start, false)];
            while let Some((at, done)) = stack.pop() {
                if done {
                    order.push(at);
                } else if seen.insert(at) {
                    stack.push((at, true));
                    if let Some((parents, _)) = self.parents.get(at) {
                        stack.extend(parents.iter().map(|&p| (p, false)));
                    }
                }
            }
        }
        order.reverse();
        let mut factors: BTreeMap<usize, i128> = starts.iter().map(|&at| (at, NANO)).collect();
        for at in order {
            let (Some(&factor), Some((parents, loss))) = (factors.get(&at), self.parents.get(at))
            else {
                continue;
            };
            // Rounded up: a limit is never broken by rounding.
            let above = (factor * (100 + i128::from(*loss)) + 99) / 100;
            let above = above.min(MOST_FACTOR);
            for &parent in parents {
                let place = factors.entry(parent).or_insert(above);
                *place = (*place).max(above);
            }
        }
        factors.into_iter().collect()
    }

    /// The feed set of these power domains.
    pub(crate) fn feed(&mut self, names: &[String]) -> FeedIndex {
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        if let Some(&key) = self.feed_by_names.get(&names) {
            return key;
        }
        for name in &names {
            if !self.by_name.contains_key(name) {
                self.add_missing_domain(name.clone());
            }
        }
        let path = self.path(&names);
        let key = self.feeds.add(Feed {
            names: names.clone(),
            watts: 0,
            path,
        });
        self.feed_by_names.insert(names, key);
        key
    }

    /// The power domains of a feed set.
    pub(crate) fn feed_names(&self, feed: FeedIndex) -> &[String] {
        &self.feeds[feed].names
    }

    /// The domains above a feed, by position, with what a watt drawn at the feed is there, in billionths.
    pub(crate) fn path_of(&self, feed: FeedIndex) -> &[(usize, i128)] {
        &self.feeds[feed].path
    }

    /// Nano-watts left in every domain, by its position.
    pub(crate) fn headrooms(&self) -> Vec<i128> {
        self.domains.iter().map(Domain::headroom_nano).collect()
    }
}
