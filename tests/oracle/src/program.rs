//! The exact integer program of an instance, solved by branch and bound.
//!
//! ```text
//! y[j,a,g] = 1      job j runs its alternative a on group g (one cluster, type and capacity type)
//! n[j,a,p]          its replicas on pool p of that group: they sum to the gang, and may span pools
//! z[p,f,pattern]    nodes of pool p with f free devices that are cut as the pattern says
//! ```
//!
//! A pattern is a maximal multiset of replica sizes whose sum is at most `f`; per pool and size, the replicas are at most
//! what the patterns offer. Equal nodes are thus counted, not named, and nothing is relaxed: this is the node-level
//! problem itself (Gilmore and Gomory's formulation of cutting stock). Watts are one inequality per cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ampacity_placement::{AcceleratorRequirement, CapacityType, Kind, Work};
use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOptions, SolveOutcome, Variable};

use super::instance::{Instance, accelerator_of, watts_of};

/// Dollars that rounding to micro-dollars may make up, over all jobs of an instance.
pub const ROUNDING_USD: f64 = 0.001;

/// What stops the solver.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes of the search tree of one solve.
    pub nodes: Option<u64>,
    /// Time of one solve.
    pub time: Option<Duration>,
}

/// What the solver knows of the best plan.
#[derive(Clone, Debug)]
pub struct Optimum {
    /// Most jobs that can be placed, by priority, highest first, as far as that is known. A class is decided after those
    /// above it.
    pub placed: Vec<(i32, u64)>,
    /// Whether all of these are proven; if not, the last is a bound, and what follows is not known.
    pub placed_proven: bool,
    /// No plan that places so many costs less.
    pub usd_bound: f64,
    /// The cheapest such plan that the solver found.
    pub usd_found: Option<f64>,
    /// Time that the solver took.
    pub time: Duration,
    /// Whether the dollars are proven optimal.
    pub usd_proven: bool,
}

/// Replicas of one alternative of a job on one pool.
struct Part {
    pool: usize,
    devices: u32,
    count: Variable,
}

struct Program {
    /// Per job: its ways.
    ways: Vec<Vec<Variable>>,
    parts: Vec<Part>,
    problem: Problem,
    objective: Vec<f64>,
}

/// The optimum of an instance: first the most jobs, class by class, then the least dollars for them.
///
/// `known` says how many jobs of each class some plan places: where the solver stops at its limit, a bound that a plan
/// reaches is proven all the same. Where it stops without, nothing is said of what comes after.
pub fn optimum(instance: &Instance, known: &[(i32, u64)], limits: Limits) -> Optimum {
    let started = Instant::now();
    let mut placed: Vec<(i32, u64)> = Vec::new();
    for class in classes(instance) {
        let program = Program::new(instance, Some(class), &placed);
        let outcome = program.solve(limits);
        let of_class = instance.jobs.iter().filter(|job| job.priority == class);
        let bound = match outcome.stats().best_bound {
            // The program minimises minus the number of jobs.
            Some(bound) => whole(-bound),
            None => of_class.count() as u64,
        };
        let proven = outcome.is_optimal() || known.get(placed.len()) == Some(&(class, bound));
        placed.push((class, bound));
        if !proven {
            return Optimum {
                placed,
                placed_proven: false,
                usd_bound: 0.0,
                usd_found: None,
                time: started.elapsed(),
                usd_proven: false,
            };
        }
    }
    let program = Program::new(instance, None, &placed);
    let outcome = program.solve(limits);
    let usd_found = outcome.solution().map(microlp::Solution::objective);
    let usd_bound = if outcome.is_optimal() {
        usd_found.unwrap_or(0.0)
    } else {
        outcome.stats().best_bound.unwrap_or(0.0)
    };
    Optimum {
        placed,
        placed_proven: true,
        usd_bound,
        usd_found,
        time: started.elapsed(),
        usd_proven: outcome.is_optimal(),
    }
}

/// Priorities of an instance, highest first.
pub fn classes(instance: &Instance) -> Vec<i32> {
    let classes: BTreeSet<i32> = instance.jobs.iter().map(|job| job.priority).collect();
    classes.into_iter().rev().collect()
}

/// The largest whole number that is not above a bound, but for the solver's tolerance.
fn whole(bound: f64) -> u64 {
    (bound + 1e-6).floor().max(0.0) as u64
}

impl Program {
    /// With `class`: minus the number of its jobs that are placed. Without: dollars. Classes in `placed` are held to theirs.
    fn new(instance: &Instance, class: Option<i32>, placed: &[(i32, u64)]) -> Self {
        let mut program = Self {
            ways: Vec::new(),
            parts: Vec::new(),
            problem: Problem::new(OptimizationDirection::Minimize),
            objective: Vec::new(),
        };
        for at in 0..instance.jobs.len() {
            program.add_job(instance, at, class);
        }
        program.add_devices(instance);
        program.add_watts(instance);
        for &(class, count) in placed {
            let ways: Vec<(Variable, f64)> = instance
                .jobs
                .iter()
                .zip(&program.ways)
                .filter(|(job, _)| job.priority == class)
                .flat_map(|(_, ways)| ways.iter().map(|&way| (way, 1.0)))
                .collect();
            program
                .problem
                .add_constraint(ways, ComparisonOp::Ge, count as f64);
        }
        program
    }

    fn solve(&self, limits: Limits) -> SolveOutcome {
        let mut options = SolveOptions::default();
        options.node_limit = limits.nodes;
        options.time_limit = limits.time;
        self.problem.solve_with(options).unwrap()
    }

    fn add_job(&mut self, instance: &Instance, at: usize, class: Option<i32>) {
        let job = &instance.jobs[at];
        let Kind::Training {
            work: Work::UnitsMicro(units),
            ..
        } = job.kind
        else {
            unreachable!("instances have work in units");
        };
        let mut ways = Vec::new();
        for alternative in &job.alternatives {
            let AcceleratorRequirement::Named(name) = &alternative.accelerator else {
                unreachable!("instances name their types");
            };
            let accelerator = accelerator_of(name);
            let seconds = (units as f64 / alternative.throughput_micro.unwrap() as f64).round();
            let mut groups: BTreeMap<(usize, CapacityType), Vec<usize>> = BTreeMap::new();
            for (at, pool) in instance.pools.iter().enumerate() {
                if pool.accelerator == accelerator
                    && pool.devices >= alternative.devices_per_replica
                {
                    groups
                        .entry((pool.cluster, pool.capacity_type))
                        .or_default()
                        .push(at);
                }
            }
            for pools in groups.into_values() {
                let worth = if class == Some(job.priority) {
                    -1.0
                } else {
                    0.0
                };
                let gang = f64::from(alternative.replicas);
                let way = self.variable(worth, None);
                let mut sum = vec![(way, -gang)];
                for pool in pools {
                    let facts = &instance.pools[pool];
                    let usd_each = facts.usd_per_node_hour as f64 / 1e6
                        * f64::from(alternative.devices_per_replica)
                        / f64::from(facts.devices)
                        * seconds
                        / 3600.0;
                    let most = i32::try_from(alternative.replicas).unwrap();
                    let count =
                        self.variable(if class.is_none() { usd_each } else { 0.0 }, Some(most));
                    sum.push((count, 1.0));
                    self.parts.push(Part {
                        pool,
                        devices: alternative.devices_per_replica,
                        count,
                    });
                }
                self.problem.add_constraint(sum, ComparisonOp::Eq, 0.0);
                ways.push(way);
            }
        }
        let once: Vec<(Variable, f64)> = ways.iter().map(|&way| (way, 1.0)).collect();
        self.problem.add_constraint(once, ComparisonOp::Le, 1.0);
        self.ways.push(ways);
    }

    fn variable(&mut self, worth: f64, most: Option<i32>) -> Variable {
        self.objective.push(worth);
        match most {
            None => self.problem.add_binary_var(worth),
            Some(most) => self.problem.add_integer_var(worth, (0, most)),
        }
    }

    fn add_devices(&mut self, instance: &Instance) {
        for (at, pool) in instance.pools.iter().enumerate() {
            let sizes: BTreeSet<u32> = self
                .parts
                .iter()
                .filter(|part| part.pool == at)
                .map(|part| part.devices)
                .collect();
            let mut nodes: BTreeMap<u32, i32> = BTreeMap::new();
            for &free in &pool.free {
                *nodes.entry(free).or_default() += 1;
            }
            let mut offered: BTreeMap<u32, Vec<(Variable, f64)>> = BTreeMap::new();
            for (free, count) in nodes {
                let mut all = Vec::new();
                for pattern in patterns(free, &sizes) {
                    let cut = self.variable(0.0, Some(count));
                    all.push((cut, 1.0));
                    for (size, times) in pattern {
                        offered
                            .entry(size)
                            .or_default()
                            .push((cut, -f64::from(times)));
                    }
                }
                self.problem
                    .add_constraint(all, ComparisonOp::Le, f64::from(count));
            }
            for &size in &sizes {
                let taken = self
                    .parts
                    .iter()
                    .filter(|part| part.pool == at && part.devices == size)
                    .map(|part| (part.count, 1.0));
                let row: Vec<(Variable, f64)> = taken
                    .chain(offered.remove(&size).unwrap_or_default())
                    .collect();
                self.problem.add_constraint(row, ComparisonOp::Le, 0.0);
            }
            // Implied, but it tightens the relaxation: devices in all.
            let row: Vec<(Variable, f64)> = self
                .parts
                .iter()
                .filter(|part| part.pool == at)
                .map(|part| (part.count, f64::from(part.devices)))
                .collect();
            let free: u32 = pool.free.iter().sum();
            self.problem
                .add_constraint(row, ComparisonOp::Le, f64::from(free));
        }
    }

    fn add_watts(&mut self, instance: &Instance) {
        for (cluster, watts) in instance.watts.iter().enumerate() {
            let Some(watts) = watts else { continue };
            // In hundreds of watts, which keeps coefficients close to each other.
            let row: Vec<(Variable, f64)> = self
                .parts
                .iter()
                .filter(|part| instance.pools[part.pool].cluster == cluster)
                .map(|part| {
                    let each = watts_of(instance.pools[part.pool].accelerator);
                    (part.count, f64::from(part.devices) * each as f64 / 100.0)
                })
                .collect();
            self.problem
                .add_constraint(row, ComparisonOp::Le, *watts as f64 / 100.0);
        }
    }
}

/// Every maximal way to cut `free` devices into replicas of these sizes: how many of each size.
fn patterns(free: u32, sizes: &BTreeSet<u32>) -> Vec<Vec<(u32, u32)>> {
    let sizes: Vec<u32> = sizes
        .iter()
        .rev()
        .copied()
        .filter(|&size| size <= free)
        .collect();
    let mut found = Vec::new();
    let mut open = vec![(0_usize, free, Vec::new())];
    while let Some((at, left, pattern)) = open.pop() {
        match sizes.get(at) {
            None => {
                // Maximal: not even the smallest size fits in what is left.
                if sizes.last().is_some_and(|least| left < *least) {
                    found.push(pattern);
                }
            }
            Some(&size) => {
                for times in 0..=left / size {
                    let mut longer = pattern.clone();
                    if times > 0 {
                        longer.push((size, times));
                    }
                    open.push((at + 1, left - times * size, longer));
                }
            }
        }
    }
    found
}
