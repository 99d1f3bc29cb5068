//! The engine beside an exact solver on the same random instances: for tests and benchmarks.

#![allow(clippy::unwrap_used, clippy::panic)] // A judge stops at the first fault.

pub mod instance;
pub mod program;

use std::time::{Duration, Instant};

use ampacity_placement::{MicroUsd, Plan, PlanOptions};

use instance::Instance;
use program::{Limits, Optimum, ROUNDING_USD, classes, optimum};

/// The engine's plan beside the solver's.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The solver's.
    pub optimum: Optimum,
    /// Jobs that the engine placed, by priority, highest first.
    pub placed: Vec<(i32, u64)>,
    /// Dollars of the engine's plan.
    pub usd: f64,
    /// The engine's plan.
    pub plan: Plan,
    /// Time that the engine took.
    pub time: Duration,
}

impl Comparison {
    /// Whether the engine placed as many jobs of every class.
    pub fn placed_as_many(&self) -> bool {
        self.placed == self.optimum.placed
    }

    /// Dollars above the optimum in percent of it, at most: against the solver's bound where it did not finish.
    pub fn gap_percent(&self) -> f64 {
        if self.optimum.usd_bound <= 0.0 {
            return 0.0;
        }
        (self.usd / self.optimum.usd_bound - 1.0) * 100.0
    }

    /// What would mean that the solver's model is wrong: the engine did better than what is said to be best.
    pub fn beats_the_oracle(&self) -> bool {
        let known = self.optimum.placed.len();
        self.placed.get(..known) > self.optimum.placed.get(..)
            || (self.placed_as_many() && self.usd < self.optimum.usd_bound - ROUNDING_USD)
    }
}

/// Plans an instance with both.
pub fn compare(instance: &Instance, limits: Limits) -> Comparison {
    let mut fleet = instance.fleet();
    let started = Instant::now();
    let plan = fleet.plan(&instance.jobs, &PlanOptions::default());
    let time = started.elapsed();
    let usd: MicroUsd = plan.placements.iter().map(|d| d.usd_total).sum();
    let placed: Vec<(i32, u64)> = classes(instance)
        .into_iter()
        .map(|class| {
            let of_class = |key: &str| {
                instance
                    .jobs
                    .iter()
                    .any(|job| job.key == key && job.priority == class)
            };
            let count = plan.placements.iter().filter(|d| of_class(&d.job)).count();
            (class, count as u64)
        })
        .collect();
    Comparison {
        optimum: optimum(instance, &placed, limits),
        placed,
        usd: usd.0 as f64 / 1e6,
        plan,
        time,
    }
}
