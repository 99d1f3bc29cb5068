//! Start windows: within the horizon, jobs start when it costs the least, against an exhaustive search.

#![allow(clippy::unwrap_used)] // A test that cannot go on is to fail.

mod world;

use ampacity_placement::{
    CapacityType, Fleet, JobSpec, Kind, MicroUsd, NodeSpec, Objective, Plan, PlanOptions, Proof,
    Reservation, Work,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use world::{L4, alternative, devices, fleet, gang, node, price};

fn plan(fleet: &mut Fleet, jobs: &[JobSpec], horizon_seconds: i64) -> Plan {
    let options = PlanOptions {
        now_seconds: 0,
        horizon_seconds,
    };
    fleet.plan(jobs, &options)
}

/// A node of 8 devices that is a group of its own: the first ones by capacity type, at so many dollars an hour.
fn machine(at: usize, usd: i64) -> NodeSpec {
    NodeSpec {
        capacity_type: Some(CapacityType::ALL[at]),
        price: price(usd * 1_000_000),
        ..node(&format!("n{at}"))
    }
}

/// Holds all of a node until then.
fn hold(fleet: &mut Fleet, at: usize, until: i64) {
    let mut alone = world::fleet([machine(at, 1)]);
    let held = alone
        .plan(&[gang(&format!("r{at}"), 1, 8)], &PlanOptions::default())
        .placements
        .remove(0)
        .reservation;
    fleet.reserve(Reservation {
        ends_seconds: Some(until),
        ..held
    });
}

/// One replica of so many devices for so long; earlier letters come first.
fn job(key: &str, devices: u32, seconds: i64) -> JobSpec {
    let mut job = gang(key, 1, devices);
    job.submitted_seconds = i64::from(key.as_bytes()[0]);
    if let Kind::Training { work, .. } = &mut job.kind {
        *work = Work::DurationSeconds(seconds);
    }
    job
}

/// Job, node and start of what is placed, by job.
fn starts(plan: &Plan) -> Vec<String> {
    let mut starts: Vec<String> = plan
        .placements
        .iter()
        .map(|d| {
            format!(
                "{} {} {}",
                d.job, d.reservation.nodes[0].name, d.start_seconds
            )
        })
        .collect();
    starts.sort();
    starts
}

#[test]
fn a_job_waits_for_cheaper_devices_within_the_horizon_and_no_longer() {
    // $10 an hour until 600 s from now in use, $90 an hour free.
    let two = || {
        let mut fleet = fleet([machine(0, 10), machine(1, 90)]);
        hold(&mut fleet, 0, 600);
        fleet
    };
    let a = job("a", 8, 3600);
    for (horizon, expected) in [(0, "a n1 0"), (599, "a n1 0"), (600, "a n0 600")] {
        let plan = plan(&mut two(), std::slice::from_ref(&a), horizon);
        assert_eq!(starts(&plan), [expected], "horizon {horizon}");
    }
    // Not if it is late then, or if it is the end that counts and that comes later.
    let mut due = a.clone();
    if let Kind::Training {
        deadline_seconds, ..
    } = &mut due.kind
    {
        *deadline_seconds = Some(600 + 3599);
    }
    assert_eq!(starts(&plan(&mut two(), &[due], 900)), ["a n1 0"]);
    let fast = JobSpec {
        objective: Objective::Time,
        ..a
    };
    assert_eq!(starts(&plan(&mut two(), &[fast], 900)), ["a n1 0"]);
}

#[test]
fn a_job_waits_for_faster_devices_if_it_ends_sooner_by_that() {
    let l4 = NodeSpec {
        devices: vec![devices(L4, 8)],
        ..node("slow")
    };
    let mut two = fleet([machine(0, 10), l4]);
    hold(&mut two, 0, 600);
    let mut fast = gang("a", 1, 8);
    fast.objective = Objective::Time;
    let mut slow = alternative("l4", L4, 1, 8);
    slow.throughput_micro = Some(500_000);
    fast.alternatives.push(slow);
    if let Kind::Training { work, .. } = &mut fast.kind {
        *work = Work::UnitsMicro(1_000_000_000);
    }
    // 2000 s from now, or 1000 s from 600 s on.
    assert_eq!(starts(&plan(&mut two, &[fast.clone()], 900)), ["a n0 600"]);
    let mut two = two.clone();
    two.release("a/0");
    hold(&mut two, 0, 1200);
    assert_eq!(starts(&plan(&mut two, &[fast], 1500)), ["a slow 0"]);
}

#[test]
fn what_is_left_by_who_waits_goes_to_the_others() {
    // The cheap node is in use. Both want it, the shorter one first, so that they wait less; what may not wait takes the dear one.
    let mut fleet = fleet([machine(0, 10), machine(1, 90)]);
    hold(&mut fleet, 0, 100);
    let mut urgent = job("c", 8, 50);
    if let Kind::Training {
        deadline_seconds, ..
    } = &mut urgent.kind
    {
        *deadline_seconds = Some(60);
    }
    let jobs = [job("a", 8, 300), job("b", 8, 200), urgent];
    let plan = plan(&mut fleet, &jobs, 1000);
    assert_eq!(starts(&plan), ["a n0 300", "b n0 100", "c n1 0"]);
    assert!(plan.unplaced.is_empty());
    assert_eq!(fleet.reservations().count(), 2, "what waits holds nothing");
    // All that any plan could save is what c would pay less on the cheap node: $80 an hour for 50 s.
    assert_eq!(plan.proof, Proof::GapAtMost(MicroUsd(1_111_111)));
}

#[test]
fn a_short_job_goes_first_where_a_long_one_can_wait_for_less() {
    // In order, a takes the cheap node at once and b, which would have to wait beyond the horizon, the dear one.
    let mut fleet = fleet([machine(0, 10), machine(1, 90)]);
    let jobs = [job("a", 8, 9000), job("b", 8, 1000)];
    let plan = plan(&mut fleet, &jobs, 2000);
    assert_eq!(starts(&plan), ["a n0 1000", "b n0 0"]);
}

const INSTANCES: usize = 1000;

/// Small instances: nodes with their price and the seconds for which they are in use; jobs with devices, seconds and priority.
#[derive(Clone, Debug)]
struct Instance {
    machines: Vec<(i64, i64)>,
    jobs: Vec<(u32, i64, i32)>,
    horizon: i64,
}

/// With so many priorities.
fn instances(priorities: i32) -> impl Strategy<Value = Instance> {
    let machines = prop::collection::vec((1..40_i64, prop_oneof![Just(0), 1..600_i64]), 1..4);
    let sizes = prop::sample::select(vec![8_u32, 8, 4, 2]);
    let jobs = prop::collection::vec((sizes, 100..900_i64, 0..priorities), 1..5);
    (machines, jobs, 0..1200_i64).prop_map(|(machines, jobs, horizon)| Instance {
        machines,
        jobs,
        horizon,
    })
}

/// Jobs that start within the horizon, negated and by priority, highest first; then micro-dollars. Least is best.
type Value = ([i64; 2], i64);

impl Instance {
    fn specs(&self) -> Vec<JobSpec> {
        let specs = self.jobs.iter().zip(["a", "b", "c", "d"]);
        specs
            .map(|(&(devices, seconds, priority), key)| JobSpec {
                priority,
                ..job(key, devices, seconds)
            })
            .collect()
    }

    fn fleet(&self) -> Fleet {
        let machines = self.machines.iter().enumerate();
        let mut fleet = fleet(machines.clone().map(|(at, &(usd, _))| machine(at, usd)));
        for (at, &(_, until)) in machines {
            if until > 0 {
                hold(&mut fleet, at, until);
            }
        }
        fleet
    }

    fn planned(&self) -> (Value, Proof) {
        let plan = plan(&mut self.fleet(), &self.specs(), self.horizon);
        let mut value = ([0, 0], 0);
        for decision in &plan.placements {
            let priority = self
                .specs()
                .iter()
                .find(|job| job.key == decision.job)
                .unwrap()
                .priority;
            value.0[usize::from(priority == 0)] -= 1;
            value.1 += decision.usd_total.0;
        }
        (value, plan.proof)
    }

    /// The best of all schedules in which every job starts as soon as it can after those before it in some order: no other
    /// schedule is better.
    fn best(&self) -> Value {
        let mut best = ([0, 0], 0);
        self.extend(
            &mut Vec::new(),
            &mut vec![false; self.jobs.len()],
            ([0, 0], 0),
            &mut best,
        );
        best
    }

    fn extend(
        &self,
        placed: &mut Vec<(usize, u32, i64, i64)>,
        used: &mut [bool],
        value: Value,
        best: &mut Value,
    ) {
        *best = value.min(*best);
        for (at, &(devices, seconds, priority)) in self.jobs.iter().enumerate() {
            if used[at] {
                continue;
            }
            for (machine, &(usd, until)) in self.machines.iter().enumerate() {
                let starts = placed.iter().filter(|p| p.0 == machine).map(|p| p.3);
                let fits = |start: i64| {
                    let during = |moment: i64| -> u32 {
                        let held = placed
                            .iter()
                            .filter(|p| p.0 == machine && p.2 <= moment && moment < p.3);
                        held.map(|p| p.1).sum()
                    };
                    let moments = placed.iter().filter(|p| p.0 == machine).map(|p| p.2);
                    std::iter::once(start)
                        .chain(moments.filter(|m| (start..start + seconds).contains(m)))
                        .all(|moment| during(moment) + devices <= 8)
                };
                let start = starts
                    .filter(|&end| end >= until)
                    .chain([until])
                    .filter(|&start| fits(start))
                    .min();
                let Some(start) = start.filter(|&start| start <= self.horizon.max(0)) else {
                    continue;
                };
                let mut next = value;
                next.0[usize::from(priority == 0)] -= 1;
                let hour = (usd * 1_000_000 * i64::from(devices) + 4) / 8;
                next.1 += (hour * seconds + 1800) / 3600;
                used[at] = true;
                placed.push((machine, devices, start, start + seconds));
                self.extend(placed, used, next, best);
                placed.pop();
                used[at] = false;
            }
        }
    }
}

#[test]
fn plans_are_the_best_schedules_or_close_to_them() {
    let mut runner = TestRunner::deterministic();
    let (mut equal, mut proven, mut fewer, mut above, mut worst) = (0, 0, 0, 0.0, 0.0_f64);
    for _ in 0..INSTANCES {
        let instance = instances(1).new_tree(&mut runner).unwrap().current();
        let ((value, proof), best) = (instance.planned(), instance.best());
        assert!(
            value >= best,
            "{instance:?}: {value:?} is better than the best, {best:?}"
        );
        match proof {
            Proof::Optimal => {
                assert_eq!(value, best, "{instance:?} is not the best");
                proven += 1;
            }
            Proof::GapAtMost(gap) => {
                assert_eq!(value.0, best.0, "{instance:?}");
                assert!(value.1 - best.1 <= gap.0, "{instance:?}: more than {gap:?}");
            }
            Proof::StoppedAtLimit => {}
        }
        equal += usize::from(value == best);
        if value.0 == best.0 {
            let gap = (value.1 - best.1) as f64 / best.1.max(1) as f64;
            above += gap;
            worst = worst.max(gap);
        } else {
            fewer += 1;
        }
    }
    let mean = above / INSTANCES as f64;
    println!(
        "{equal} of {INSTANCES} as the best, {fewer} with fewer jobs; dollars above: mean {mean:.5}, worst {worst:.3}"
    );
    assert!(equal * 100 >= INSTANCES * 98 && fewer * 200 <= INSTANCES);
    assert!(mean <= 0.001);
    assert!(
        proven * 4 >= INSTANCES,
        "only {proven} are known to be the best"
    );
}

#[test]
fn lower_priorities_cost_higher_ones_no_start() {
    let mut runner = TestRunner::deterministic();
    let mut fewer = 0;
    for _ in 0..INSTANCES {
        let instance = instances(2).new_tree(&mut runner).unwrap().current();
        let mut alone = instance.clone();
        alone.jobs.retain(|&(_, _, priority)| priority > 0);
        fewer += usize::from(instance.planned().0.0[0] > alone.best().0[0]);
    }
    assert!(fewer * 200 <= INSTANCES, "{fewer} of {INSTANCES}");
}
