//! Cycles in which what runs may make way.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use ampacity_placement::{
    BudgetScope, CapacityType, DevicePart, DollarBudget, Fleet, JobSpec, Kind, Level, NodeSpec,
    PlanOptions, PowerBudgetSpec, PowerSpec, Replan, Reservation, RunningJob, Topology, Watts,
    Work,
};
use proptest::prelude::*;
use world::{
    H100, L4, World, alternative, assert_within_limits, devices, fleet, gang, node, plan, price,
    seen, worlds,
};

/// A job of this priority.
fn of(priority: i32, job: JobSpec) -> JobSpec {
    JobSpec { priority, ..job }
}

/// What a running job is to a cycle: an hour is left where it is, and `redo_seconds` more wherever else it goes on.
fn running(fleet: &mut Fleet, job: JobSpec, redo_seconds: i64) -> RunningJob {
    let mut placed = plan(fleet, std::slice::from_ref(&job));
    let mut job = job;
    if let Kind::Training {
        work,
        restores,
        checkpoint_restore_seconds,
        ..
    } = &mut job.kind
    {
        (*work, *restores) = (Work::DurationSeconds(3600), true);
        *checkpoint_restore_seconds = redo_seconds;
    }
    RunningJob {
        job,
        decision: placed.placements.remove(0),
        left_seconds: 3600,
    }
}

fn replan(fleet: &mut Fleet, jobs: &[JobSpec], running: &[RunningJob]) -> Replan {
    fleet.replan(jobs, running, &PlanOptions::default())
}

fn started(replan: &Replan) -> Vec<&str> {
    replan.placements.iter().map(|d| d.job.as_str()).collect()
}

#[test]
fn the_last_in_order_make_way_and_no_more_than_have_to() {
    let mut fleet = fleet([node("n0"), node("n1"), node("n2")]);
    let jobs = [("low", 1), ("lowest", 0), ("same", 5)];
    let runs = jobs.map(|(key, priority)| running(&mut fleet, of(priority, gang(key, 1, 8)), 60));
    let outcome = replan(&mut fleet, &[of(5, gang("new", 1, 8))], &runs);
    assert_eq!(started(&outcome), ["new"]);
    assert_eq!(
        (outcome.stopped, outcome.waiting),
        (vec!["lowest".to_owned()], vec!["lowest".to_owned()])
    );
    // Two nodes' worth: both lower ones. Three: the one of the same priority never.
    for (nodes, stopped) in [(2, vec!["low", "lowest"]), (3, vec![])] {
        let mut fleet = world::fleet([node("n0"), node("n1"), node("n2")]);
        let runs =
            jobs.map(|(key, priority)| running(&mut fleet, of(priority, gang(key, 1, 8)), 60));
        let outcome = replan(&mut fleet, &[of(5, gang("new", nodes, 8))], &runs);
        assert_eq!(outcome.stopped, stopped);
    }
}

#[test]
fn small_jobs_that_are_not_in_the_way_run_on() {
    // Three of four nodes hold a small job each; to empty one node, one of them has to go, and the fourth is free.
    let mut fleet = fleet((0..3).map(|at| node(&format!("n{at}"))));
    let runs: Vec<RunningJob> = (0..6)
        .map(|at| running(&mut fleet, gang(&format!("r{at}"), 1, 4), 60))
        .collect();
    let outcome = replan(&mut fleet, &[of(1, gang("new", 1, 8))], &runs);
    assert_eq!(started(&outcome), ["new"]);
    assert_eq!(outcome.stopped.len(), 2);
    let held = &outcome.placements[0].reservation.nodes[0].name;
    for run in &runs {
        let was_there = run.decision.reservation.nodes[0].name == *held;
        assert_eq!(outcome.stopped.contains(&run.job.key), was_there);
    }
}

#[test]
fn only_one_rack_is_cleared_for_a_gang_that_needs_one() {
    let in_rack = |rack: &str, at: usize| NodeSpec {
        domains: BTreeMap::from([(Level::Rack, rack.to_owned())]),
        ..node(&format!("{rack}-{at}"))
    };
    let mut fleet = fleet((0..2).flat_map(|at| ["r0", "r1", "r2"].map(|rack| in_rack(rack, at))));
    let runs: Vec<RunningJob> = (0..6)
        .map(|at| running(&mut fleet, gang(&format!("r{at}"), 1, 8), 60))
        .collect();
    let mut new = of(1, gang("new", 2, 8));
    new.topology.required = Level::Rack;
    let outcome = replan(&mut fleet, &[new], &runs);
    assert_eq!(started(&outcome), ["new"]);
    assert_eq!(outcome.stopped.len(), 2);
}

#[test]
fn who_made_way_goes_on_elsewhere_where_there_is_room() {
    let l4 = NodeSpec {
        devices: vec![devices(L4, 8)],
        price: price(90_000_000),
        ..node("l4")
    };
    let mut fleet = fleet([node("h100"), l4]);
    let mut flexible = gang("flexible", 1, 8);
    flexible.alternatives.push(alternative("l4", L4, 1, 8));
    let runs = [running(&mut fleet, flexible, 60)];
    assert_eq!(runs[0].decision.alternative, "h100");
    let outcome = replan(&mut fleet, &[of(1, gang("new", 1, 8))], &runs);
    assert_eq!(started(&outcome), ["new", "flexible"]);
    assert_eq!(outcome.stopped, ["flexible"]);
    assert_eq!(outcome.placements[1].duration_seconds, Some(3660));
    assert_eq!(outcome.placements[1].reservation.ends_seconds, Some(3660));
    assert!(outcome.waiting.is_empty());
}

#[test]
fn a_job_moves_to_a_cheaper_place_only_if_that_is_worth_the_restart() {
    // It costs $80 where it is, and from $40 where it could be.
    for (redo_seconds, moves) in [(0, true), (3000, true), (3700, false)] {
        let mut fleet = fleet([node("dear")]);
        let runs = [running(&mut fleet, gang("runs", 1, 8), redo_seconds)];
        fleet.set_node(NodeSpec {
            price: price(40_000_000),
            ..node("cheap")
        });
        let outcome = replan(&mut fleet, &[], &runs);
        assert_eq!(outcome.stopped.len(), usize::from(moves), "{redo_seconds}");
        assert_eq!(outcome.placements.len(), usize::from(moves));
        assert!(outcome.waiting.is_empty());
    }
}

#[test]
fn watts_are_taken_from_whoever_holds_them() {
    let l4 = NodeSpec {
        devices: vec![devices(L4, 8)],
        ..node("l4")
    };
    let mut fleet = fleet([node("h100"), l4]);
    let budget = PowerBudgetSpec {
        name: "budget".into(),
        scope: BudgetScope::Queue("q".into()),
        limit_watts: Watts(8 * 1275),
    };
    let spec = PowerSpec {
        domains: Vec::new(),
        budgets: vec![budget],
    };
    assert!(fleet.set_power(spec).is_empty());
    let mut small = gang("small", 1, 8);
    small.alternatives = vec![alternative("l4", L4, 1, 8)];
    let runs = [running(&mut fleet, small, 60)];
    let outcome = replan(&mut fleet, &[of(1, gang("new", 1, 8))], &runs);
    assert_eq!(started(&outcome), ["new"]);
    assert_eq!(outcome.stopped, ["small"]);
}

#[test]
fn what_cannot_be_judged_is_left_alone() {
    let mut fleet = fleet([node("n0")]);
    let run = running(&mut fleet, gang("runs", 1, 8), 60);
    // Its alternative is gone from the job, and a second job has its key.
    let mut odd = run.clone();
    odd.job.alternatives[0].name = "renamed".into();
    // Another end is recorded than was decided.
    let held = &run.decision.reservation;
    fleet.reserve(Reservation {
        ends_seconds: Some(7),
        ..held.clone()
    });
    let outcome = replan(&mut fleet, &[], std::slice::from_ref(&run));
    assert_eq!(outcome, Replan::default());
    let mut nothing = gang("nothing", 1, 8);
    nothing.alternatives.clear();
    let jobs = [of(9, gang("runs", 1, 1)), nothing, of(9, gang("new", 1, 8))];
    let outcome = replan(&mut fleet, &jobs, &[odd]);
    assert!(outcome.placements.is_empty() && outcome.stopped.is_empty());
    assert_eq!(
        outcome
            .waiting
            .iter()
            .map(String::as_str)
            .collect::<BTreeSet<_>>(),
        BTreeSet::from(["runs", "nothing", "new"])
    );
    assert!(fleet.reservation(&run.decision.reservation.key).is_some());
}

/// A world whose first jobs run already, with another priority than they had then. In most worlds jobs ask for little, so that they
/// are in each other's way and in nobody else's.
fn scenes() -> impl Strategy<Value = (World, Vec<i32>, usize, i64)> {
    let eased = (worlds(), 0..4_usize).prop_map(|(mut world, strict)| {
        if strict == 0 {
            return world;
        }
        world.nodes.truncate(4);
        for node in &mut world.nodes {
            let plain = world::node(&node.name);
            node.fault = None;
            node.devices = vec![devices(H100, 4)];
            (node.cpu_milli, node.memory_mib, node.pod_slots) =
                (plain.cpu_milli, plain.memory_mib, plain.pod_slots);
        }
        for job in &mut world.jobs {
            job.budget = DollarBudget::default();
            job.capacity_types = CapacityType::ALL.to_vec();
            for alternative in &mut job.alternatives {
                alternative.part = DevicePart::Whole;
                alternative.replicas = alternative.replicas % 3 + 1;
                alternative.devices_per_replica = alternative.devices_per_replica.min(4);
            }
            if strict > 2 {
                job.topology = Topology::default();
            }
        }
        if strict > 1 {
            world.power = PowerSpec::default();
            world.nodes.iter_mut().for_each(|node| node.feeds.clear());
        }
        world
    });
    (
        eased,
        prop::collection::vec(0..4_i32, 8),
        0..9_usize,
        0..7200_i64,
    )
}

/// The world's fleet with some of its gangs running, and the jobs that wait.
fn begin(
    (world, priorities, runs, redo_seconds): &(World, Vec<i32>, usize, i64),
    distinct: bool,
) -> (Fleet, Vec<RunningJob>, Vec<JobSpec>) {
    let mut fleet = world.fleet();
    let mut run = Vec::new();
    let mut waiting = Vec::new();
    for (at, job) in world.jobs.iter().enumerate() {
        let priority = if distinct {
            [0, 5, 2, 7, 4, 1, 6, 3][at]
        } else {
            priorities[at]
        };
        let job = of(priority, job.clone());
        let is_gang = matches!(job.kind, Kind::Training { .. });
        let mut trial = fleet.clone();
        let starts = is_gang
            && at < *runs
            && plan(&mut trial, std::slice::from_ref(&job))
                .unplaced
                .is_empty();
        if starts {
            run.push(running(&mut fleet, job, *redo_seconds));
        } else {
            waiting.push(job);
        }
    }
    (fleet, run, waiting)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nothing_is_exceeded_and_nobody_is_lost(scene in scenes()) {
        let (mut fleet, runs, waiting) = begin(&scene, false);
        let world = &scene.0;
        let outcome = replan(&mut fleet, &waiting, &runs);
        let held: Vec<Reservation> = fleet.reservations().cloned().collect();
        assert_within_limits(world, &held.iter().collect::<Vec<_>>());
        let places = |key: &String| outcome.placements.iter().filter(|d| d.job == *key).count();
        let waits = |key: &String| outcome.waiting.iter().filter(|waits| *waits == key).count();
        for job in waiting.iter().filter(|job| matches!(job.kind, Kind::Training { .. })) {
            prop_assert_eq!(places(&job.key) + waits(&job.key), 1, "{}", job.key);
            prop_assert!(!outcome.stopped.contains(&job.key));
        }
        for run in &runs {
            let key = &run.job.key;
            let is_stopped = outcome.stopped.contains(key);
            let runs_on = fleet.reservation(&run.decision.reservation.key) == Some(&run.decision.reservation);
            prop_assert_eq!(places(key) + waits(key), usize::from(is_stopped), "{}", key);
            prop_assert_eq!(runs_on, !is_stopped, "{}", key);
            if waits(key) == 1 {
                let above = |key: &String| waiting.iter().chain(runs.iter().map(|r| &r.job)).find(|j| j.key == *key).map(|j| j.priority);
                prop_assert!(outcome.placements.iter().any(|d| above(&d.job) > Some(run.job.priority)), "{} was stopped for nobody", key);
            }
        }
        for decision in &outcome.placements {
            prop_assert_eq!(fleet.reservation(&decision.reservation.key), Some(&decision.reservation));
        }
        // Counting out and in has left nothing behind.
        let mut afresh = world.fleet();
        for reservation in held {
            afresh.reserve(reservation);
        }
        prop_assert_eq!(format!("{:?}", seen(&fleet)), format!("{:?}", seen(&afresh)));
    }

    #[test]
    fn nobody_waits_for_room_that_lower_ones_have(scene in scenes()) {
        let (mut fleet, runs, waiting) = begin(&scene, true);
        let outcome = replan(&mut fleet, &waiting, &runs);
        let all: Vec<&JobSpec> = waiting.iter().chain(runs.iter().map(|r| &r.job)).collect();
        for key in &outcome.waiting {
            let job = all.iter().find(|job| job.key == *key).unwrap();
            if matches!(job.kind, Kind::Inference { .. }) {
                continue;
            }
            let mut without = fleet.clone();
            for other in all.iter().filter(|other| other.priority < job.priority && matches!(other.kind, Kind::Training { .. })) {
                without.release(&format!("{}/0", other.key));
            }
            let alone = plan(&mut without, &[(*job).clone()]);
            prop_assert_eq!(alone.unplaced.len(), 1, "{} waits behind lower ones", key);
        }
    }

    #[test]
    fn the_order_of_what_is_given_does_not_matter(scene in scenes()) {
        let (fleet, mut runs, mut waiting) = begin(&scene, false);
        let one = replan(&mut fleet.clone(), &waiting, &runs);
        runs.reverse();
        waiting.reverse();
        prop_assert_eq!(one, replan(&mut fleet.clone(), &waiting, &runs));
    }
}
