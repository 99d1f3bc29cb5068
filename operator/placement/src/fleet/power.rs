//! Watts on the breaker tree and under budgets.
//!
//! A node draws from its feeds. What it draws there is charged to every ancestor, multiplied by the losses on the way
//! (the largest over the paths of a DAG, and once per ancestor however many paths lead to it). Loads are kept in
//! nano-watts as integers, so that a charge and its release cancel exactly.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::arena::{Arena, FeedIndex};
use crate::model::{BudgetScope, PowerIssue, PowerSpec, PowerUsage, Watts};

/// Parts of a watt in which loads are counted.
const NANO: i128 = 1_000_000_000;
/// Watts beyond which a single charge is cut: more than mankind draws, and small enough that sums of products cannot overflow.
const MOST_WATTS: i64 = 1_000_000_000_000_000;
/// Largest multiplier: a loss so large that nothing fits.
const MOST_FACTOR: i128 = NANO * NANO;

/// What stands in the way of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PowerLimit {
    /// The breaker's own limit.
    Domain(String),
    /// A budget.
    Budget(String),
}

/// A limit that a load would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PowerShortage {
    /// Which.
    pub(crate) limit: PowerLimit,
    /// Watts the load adds there.
    pub(crate) needed: Watts,
    /// Watts left there.
    pub(crate) headroom: Watts,
}

#[derive(Clone, Debug, Default)]
struct Domain {
    name: String,
    usable: i64,
    budgets: Vec<(String, i64)>,
    load_nano: i128,
}

impl Domain {
    /// The tightest limit here: its name and nano-watts left.
    fn tightest(&self) -> (PowerLimit, i128) {
        let mut limit = PowerLimit::Domain(self.name.clone());
        let mut watts = self.usable;
        for (name, budget) in &self.budgets {
            if *budget < watts {
                watts = *budget;
                limit = PowerLimit::Budget(name.clone());
            }
        }
        (limit, i128::from(watts) * NANO - self.load_nano)
    }

    fn headroom_nano(&self) -> i128 {
        let watts = self
            .budgets
            .iter()
            .fold(self.usable, |least, (_, limit)| least.min(*limit));
        i128::from(watts) * NANO - self.load_nano
    }
}

/// Feeds that some nodes share.
#[derive(Clone, Debug, Default)]
struct Feed {
    names: Vec<String>,
    /// What is drawn from it.
    watts: i128,
    /// Ancestors with the multiplier in billionths.
    path: Vec<(usize, i128)>,
}

/// The breaker tree with what is charged to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PowerLedger {
    domains: Vec<Domain>,
    feeds: Arena<FeedIndex, Feed>,
    feed_by_names: HashMap<Vec<String>, FeedIndex>,
    /// Parents of each domain with the domain's own loss.
    parents: Vec<(Vec<usize>, u32)>,
    by_name: BTreeMap<String, usize>,
    queue_budgets: BTreeMap<String, Vec<(String, i64)>>,
    queue_watts: BTreeMap<String, i128>,
    budgets: Vec<(String, BudgetScope, i64)>,
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
                match self.by_name.get(name.as_str()).copied() {
                    None => issues.push(PowerIssue::UnknownParent {
                        domain,
                        parent: name.clone(),
                    }),
                    Some(parent) if self.reaches(parent, at) => issues.push(PowerIssue::Cycle {
                        domain,
                        parent: name.clone(),
                    }),
                    Some(parent) => {
                        if let Some((parents, _)) = self.parents.get_mut(at) {
                            parents.push(parent);
                        }
                    }
                }
            }
        }
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
                        Some(domain) => domain.budgets.push((budget.name.clone(), limit)),
                        None => issues.push(PowerIssue::UnknownDomain {
                            budget: budget.name.clone(),
                            domain: name.clone(),
                        }),
                    }
                }
            }
            self.budgets.push((budget.name, budget.scope, limit));
        }
        self.recharge();
        issues
    }

    /// Whether `to` is `from` or an ancestor of it by the links accepted so far.
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

    /// Charges watts (or, negative, gives them back) to a feed and all above it.
    pub(crate) fn charge(&mut self, feed: FeedIndex, watts: i64) {
        if watts == 0 {
            return;
        }
        let watts = i128::from(watts);
        let feed = &mut self.feeds[feed];
        feed.watts += watts;
        for &(at, factor) in &feed.path {
            if let Some(domain) = self.domains.get_mut(at) {
                domain.load_nano = domain
                    .load_nano
                    .saturating_add(watts.saturating_mul(factor));
            }
        }
    }

    /// Nano-watts left in every domain, by its position.
    pub(crate) fn headrooms(&self) -> Vec<i128> {
        self.domains.iter().map(Domain::headroom_nano).collect()
    }

    /// The domains above a feed, by position, with what a watt drawn at the feed is there, in billionths.
    pub(crate) fn path_of(&self, feed: FeedIndex) -> &[(usize, i128)] {
        &self.feeds[feed].path
    }

    /// Charges watts to a queue.
    pub(crate) fn charge_queue(&mut self, queue: &str, watts: i64) {
        match self.queue_watts.get_mut(queue) {
            Some(sum) => {
                *sum += i128::from(watts);
                if *sum == 0 {
                    self.queue_watts.remove(queue);
                }
            }
            None if watts != 0 => {
                self.queue_watts.insert(queue.to_owned(), i128::from(watts));
            }
            None => {}
        }
    }

    /// How many devices of so many watts each a feed can still carry.
    pub(crate) fn devices(&self, feed: FeedIndex, watts_each: i64) -> u64 {
        if watts_each <= 0 {
            return u64::MAX;
        }
        self.feeds[feed]
            .path
            .iter()
            .filter_map(|&(at, factor)| {
                let headroom = self.domains.get(at)?.headroom_nano().max(0);
                let each = i128::from(watts_each).saturating_mul(factor).max(1);
                u64::try_from(headroom / each).ok()
            })
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Whether these loads together break a limit; the worst one that they break.
    pub(crate) fn shortage(&self, loads: &[(FeedIndex, i64)]) -> Option<PowerShortage> {
        if let [(feed, watts)] = loads {
            return self.worst(
                self.feeds[*feed]
                    .path
                    .iter()
                    .map(|&(at, factor)| (at, i128::from(*watts).saturating_mul(factor))),
            );
        }
        let mut added: BTreeMap<usize, i128> = BTreeMap::new();
        for &(feed, watts) in loads {
            for &(at, factor) in &self.feeds[feed].path {
                let sum = added.entry(at).or_default();
                *sum = sum.saturating_add(i128::from(watts).saturating_mul(factor));
            }
        }
        self.worst(added.into_iter())
    }

    fn worst(&self, added: impl Iterator<Item = (usize, i128)>) -> Option<PowerShortage> {
        let mut worst: Option<(i128, usize, i128)> = None;
        for (at, load) in added {
            let Some(domain) = self.domains.get(at) else {
                continue;
            };
            let missing = load - domain.headroom_nano();
            if load > 0 && missing > 0 && worst.is_none_or(|(most, _, _)| missing > most) {
                worst = Some((missing, at, load));
            }
        }
        let (_, at, load) = worst?;
        let (limit, headroom) = self.domains.get(at)?.tightest();
        Some(PowerShortage {
            limit,
            needed: Watts(up(load)),
            headroom: Watts(down(headroom)),
        })
    }

    /// Whether a queue has no room for so many watts.
    pub(crate) fn queue_shortage(&self, queue: &str, watts: i64) -> Option<PowerShortage> {
        let budgets = self.queue_budgets.get(queue)?;
        let (name, limit) = budgets.iter().min_by_key(|(_, limit)| *limit)?;
        let used = self.queue_watts.get(queue).copied().unwrap_or_default();
        let headroom = i128::from(*limit) - used;
        (watts > 0 && i128::from(watts) > headroom).then(|| PowerShortage {
            limit: PowerLimit::Budget(name.clone()),
            needed: Watts(watts),
            headroom: Watts(clamp(headroom)),
        })
    }

    /// Watts that a queue may still reserve; `None` without a limit.
    pub(crate) fn queue_headroom(&self, queue: &str) -> Option<i128> {
        let limit = self
            .queue_budgets
            .get(queue)?
            .iter()
            .map(|(_, limit)| *limit)
            .min()?;
        Some(i128::from(limit) - self.queue_watts.get(queue).copied().unwrap_or_default())
    }

    /// Raises a limit by so many watts; negative takes it back. For trying a fix.
    pub(crate) fn shift_limit(&mut self, limit: &PowerLimit, by: i64) {
        match limit {
            PowerLimit::Domain(name) => {
                if let Some(domain) = self
                    .by_name
                    .get(name)
                    .and_then(|&at| self.domains.get_mut(at))
                {
                    domain.usable += by;
                }
            }
            PowerLimit::Budget(name) => {
                let budgets = self
                    .domains
                    .iter_mut()
                    .flat_map(|d| d.budgets.iter_mut())
                    .chain(self.queue_budgets.values_mut().flatten());
                for (_, watts) in budgets.filter(|(budget, _)| budget == name) {
                    *watts += by;
                }
            }
        }
    }

    /// Every domain with its load, by name.
    pub(crate) fn domain_usage(&self) -> Vec<PowerUsage> {
        self.by_name
            .values()
            .filter_map(|&at| self.domains.get(at))
            .map(|domain| PowerUsage {
                name: domain.name.clone(),
                limit_watts: Watts(domain.usable),
                reserved_watts: Watts(up(domain.load_nano)),
            })
            .collect()
    }

    /// Every budget with what is reserved under it, by name.
    pub(crate) fn budget_usage(&self) -> Vec<PowerUsage> {
        self.budgets
            .iter()
            .map(|(name, scope, limit)| PowerUsage {
                name: name.clone(),
                limit_watts: Watts(*limit),
                reserved_watts: match scope {
                    BudgetScope::Queue(queue) => {
                        Watts(clamp(self.queue_watts.get(queue).copied().unwrap_or(0)))
                    }
                    BudgetScope::Domain(domain) => Watts(
                        self.by_name
                            .get(domain)
                            .and_then(|&at| self.domains.get(at))
                            .map_or(0, |d| up(d.load_nano)),
                    ),
                },
            })
            .collect()
    }
}

/// A charge cut to what can be summed safely.
pub(crate) fn chargeable(watts: i64) -> i64 {
    watts.clamp(0, MOST_WATTS)
}

fn up(nano: i128) -> i64 {
    clamp(nano.saturating_add(NANO - 1).div_euclid(NANO))
}

fn down(nano: i128) -> i64 {
    clamp(nano.div_euclid(NANO))
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Loads put on trial on top of what is charged.
pub(crate) struct PowerTrial<'a> {
    ledger: &'a PowerLedger,
    added: BTreeMap<usize, i128>,
    watts_each: i64,
}

impl<'a> PowerTrial<'a> {
    /// A trial for devices of so many watts.
    pub(crate) fn new(ledger: &'a PowerLedger, watts_each: i64) -> Self {
        Self {
            ledger,
            added: BTreeMap::new(),
            watts_each,
        }
    }

    /// Takes up to `replicas` replicas of `devices` devices at a feed and returns how many fit.
    pub(crate) fn take(&mut self, feed: FeedIndex, devices: u32, replicas: u64) -> u64 {
        if self.watts_each <= 0 {
            return replicas;
        }
        let path = &self.ledger.feeds[feed].path;
        let each = i128::from(self.watts_each).saturating_mul(i128::from(devices.max(1)));
        let fits = path
            .iter()
            .filter_map(|&(at, factor)| {
                let left = self.ledger.domains.get(at)?.headroom_nano()
                    - self.added.get(&at).copied().unwrap_or(0);
                u64::try_from(left.max(0) / each.saturating_mul(factor).max(1)).ok()
            })
            .fold(replicas, u64::min);
        if fits > 0 {
            for &(at, factor) in path {
                let sum = self.added.entry(at).or_default();
                *sum = sum
                    .saturating_add(each.saturating_mul(factor).saturating_mul(i128::from(fits)));
            }
        }
        fits
    }
}
