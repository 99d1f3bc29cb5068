//! What holds for every plan while jobs run whose ends are known, on random small worlds.

mod world;

use std::collections::BTreeMap;

use ampacity_placement::{
    Effort, Fix, Fleet, JobSpec, Kind, NodeSpec, PlacementDecision, Plan, PlanOptions,
    PowerDomainSpec, PowerSpec, Reason, Reservation, Watts, Work,
};
use proptest::prelude::*;
use world::{
    World, assert_gangs_whole, assert_within_limits, cluster, gang, node, release_all, seen, worlds,
};

/// Seconds within which everything ends.
const FAR: i64 = 1_000_000;
/// For ever, as far as a test is concerned.
const NEVER: i64 = 2 * FAR;

/// A world in which some jobs run.
#[derive(Clone, Debug)]
struct Scene {
    world: World,
    running: Vec<Reservation>,
}

impl Scene {
    fn fleet(&self) -> Fleet {
        let mut fleet = self.world.fleet();
        for reservation in &self.running {
            fleet.reserve(reservation.clone());
        }
        fleet
    }
}

/// Some of a world's jobs run and end at some time, or nobody knows when; the others come in an order of their own.
fn scenes() -> impl Strategy<Value = Scene> {
    let times = || prop::collection::vec((1..400_i64, 1..400_i64, any::<bool>(), 0..4_u8), 8);
    (worlds(), times()).prop_map(|(mut world, times)| {
        let mut fleet = world.fleet();
        let mut running = Vec::new();
        let mut waiting = Vec::new();
        for (mut job, (end, duration, runs, known)) in
            std::mem::take(&mut world.jobs).into_iter().zip(times)
        {
            if runs {
                let plan = fleet.plan(&[job], &PlanOptions::default());
                running.extend(plan.placements.into_iter().map(|d| Reservation {
                    ends_seconds: (known > 0).then_some(end),
                    ..d.reservation
                }));
            } else {
                if let Kind::Training { work, .. } = &mut job.kind {
                    *work = Work::DurationSeconds(duration);
                }
                waiting.push(job);
            }
        }
        world.jobs = waiting;
        Scene { world, running }
    })
}

/// Whole and half nodes of one kind, full of jobs that end: many wait, and for many different times.
fn crowds() -> impl Strategy<Value = Scene> {
    let sizes = (1..5_u32, any::<bool>(), 1..400_i64, 0..3_i32, 0..5_u8);
    let gangs = prop::collection::vec(sizes, 2..9);
    let ends = prop::collection::vec(0..300_i64, 2..6);
    (ends, gangs, 20_000..80_000_i64).prop_map(|(ends, gangs, usable_watts)| {
        let nodes = (0..ends.len()).map(|at| NodeSpec {
            feeds: vec!["hall".into()],
            ..node(&format!("n{at}"))
        });
        let mut world = World {
            clusters: vec![cluster("a"), cluster("b")],
            nodes: nodes.collect(),
            power: PowerSpec {
                domains: vec![PowerDomainSpec {
                    name: "hall".into(),
                    usable_watts: Watts(usable_watts),
                    ..PowerDomainSpec::default()
                }],
                budgets: Vec::new(),
            },
            jobs: Vec::new(),
        };
        let mut running = Vec::new();
        let mut fleet = world.fleet();
        for (at, end) in ends.into_iter().enumerate().filter(|(_, end)| *end > 100) {
            let plan = fleet.plan(&[gang(&format!("r{at}"), 1, 8)], &PlanOptions::default());
            running.extend(plan.placements.into_iter().map(|d| Reservation {
                ends_seconds: Some(end),
                ..d.reservation
            }));
        }
        for (at, (replicas, whole, duration, priority, hurry)) in gangs.into_iter().enumerate() {
            let mut job = gang(&format!("j{at}"), replicas, if whole { 8 } else { 4 });
            job.priority = priority;
            if let Kind::Training {
                work,
                deadline_seconds,
                ..
            } = &mut job.kind
            {
                *work = Work::DurationSeconds(duration);
                *deadline_seconds = (hurry == 0).then_some(duration + 200);
            }
            world.jobs.push(job);
        }
        Scene { world, running }
    })
}

/// Either kind.
fn any_scene() -> impl Strategy<Value = Scene> {
    prop_oneof![scenes(), crowds()]
}

fn ahead(scene: &Scene, jobs: &[JobSpec], horizon_seconds: i64, effort: Effort) -> (Fleet, Plan) {
    let mut fleet = scene.fleet();
    let options = PlanOptions {
        now_seconds: 0,
        horizon_seconds,
    };
    let plan = fleet.plan_with(jobs, &options, effort);
    (fleet, plan)
}

/// When a decision holds what it reserves.
fn time(decision: &PlacementDecision) -> (i64, i64) {
    let start = decision.start_seconds;
    (
        start,
        decision.duration_seconds.map_or(NEVER, |d| start + d),
    )
}

/// Starts by job, placed or not.
fn starts(plan: &Plan) -> BTreeMap<&str, Option<i64>> {
    let placed = plan
        .placements
        .iter()
        .map(|d| (d.job.as_str(), Some(d.start_seconds)));
    let unplaced = plan
        .unplaced
        .iter()
        .map(|u| (u.job.as_str(), u.earliest_start_seconds));
    unplaced.chain(placed).collect()
}

/// In the order in which they are taken.
fn in_order(jobs: &[JobSpec]) -> Vec<JobSpec> {
    let mut jobs = jobs.to_vec();
    jobs.sort_by(|a, b| (b.priority, &a.key).cmp(&(a.priority, &b.key)));
    jobs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_promise_can_be_kept_beside_all_that_runs_by_then(scene in any_scene()) {
        let (fleet, plan) = ahead(&scene, &scene.world.jobs, FAR, Effort::default());
        assert_gangs_whole(&scene.world, &plan);
        let held = scene.running.iter().map(|r| ((0, r.ends_seconds.unwrap_or(NEVER)), r));
        let planned = plan.placements.iter().map(|d| (time(d), &d.reservation));
        let spans: Vec<_> = held.chain(planned).collect();
        for moment in spans.iter().map(|((start, _), _)| *start) {
            let active: Vec<&Reservation> = spans.iter()
                .filter(|((start, end), _)| *start <= moment && moment < *end)
                .map(|(_, reservation)| *reservation)
                .collect();
            assert_within_limits(&scene.world, &active);
        }
        // What starts later holds nothing yet.
        let now = plan.placements.iter().filter(|d| d.start_seconds == 0).count();
        prop_assert_eq!(fleet.reservations().count(), scene.running.len() + now);
    }

    #[test]
    fn verdicts_tell_of_the_watts_that_are_left_now(scene in any_scene()) {
        let (fleet, plan) = ahead(&scene, &scene.world.jobs, 0, Effort::default());
        let usage = fleet.domain_usage();
        for refusal in plan.unplaced.iter().flat_map(|unplaced| &unplaced.reasons) {
            if let Reason::PowerDomainExceeded { domain, needed_watts, headroom_watts } = &refusal.reason {
                let usage = usage.iter().find(|usage| usage.name == *domain).unwrap();
                prop_assert_eq!(*headroom_watts, usage.headroom_watts(), "of {}", domain);
                prop_assert!(needed_watts > headroom_watts);
            }
        }
    }

    #[test]
    fn nobody_is_delayed_by_who_comes_later(scene in any_scene()) {
        let jobs = in_order(&scene.world.jobs);
        let once = Effort { trials: 0 };
        let (_, plan) = ahead(&scene, &jobs, FAR, once);
        let all = starts(&plan);
        for count in 1..=jobs.len() {
            let (_, some) = ahead(&scene, &jobs[..count], FAR, once);
            // For who would be late nothing is held.
            let late = |job: &str| some.unplaced.iter().any(|u| {
                u.job == job && matches!(u.fix, Some(Fix::ExtendDeadline { .. }))
            });
            for (job, start) in starts(&some).into_iter().filter(|(job, _)| !late(job)) {
                let kind = &jobs.iter().find(|j| j.key == job).unwrap().kind;
                if matches!(kind, Kind::Training { .. }) {
                    prop_assert_eq!(all.get(job), Some(&start), "{} beside {:?}", job, &jobs[count..]);
                }
            }
        }
    }

    #[test]
    fn a_horizon_shows_what_is_promised_without_it(scene in any_scene()) {
        let jobs = &scene.world.jobs;
        // Without an effort to better it, nobody waits for something cheaper.
        let once = Effort { trials: 0 };
        let (_, far) = ahead(&scene, jobs, FAR, once);
        let (_, near) = ahead(&scene, jobs, 0, once);
        if scene.running.iter().any(|r| r.ends_seconds.is_some()) {
            prop_assert_eq!(starts(&near), starts(&far));
            let now: Vec<_> = far.placements.iter().filter(|d| d.start_seconds == 0).collect();
            prop_assert_eq!(near.placements.iter().collect::<Vec<_>>(), now);
        }
    }

    #[test]
    fn within_a_horizon_start_no_fewer_than_are_promised_a_start_without_it(scene in any_scene()) {
        let jobs = &scene.world.jobs;
        let (_, far) = ahead(&scene, jobs, FAR, Effort::default());
        let (_, near) = ahead(&scene, jobs, 0, Effort::default());
        let by_priority = |start: &dyn Fn(&str) -> bool| -> Vec<(i32, usize)> {
            let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
            for job in jobs.iter().filter(|job| matches!(job.kind, Kind::Training { .. })) {
                *counts.entry(job.priority).or_default() += usize::from(start(&job.key));
            }
            counts.into_iter().rev().collect()
        };
        let promised = starts(&near);
        let late = |job: &str| near.unplaced.iter().any(|u| {
            u.job == job && matches!(u.fix, Some(Fix::ExtendDeadline { .. }))
        });
        if scene.running.iter().any(|r| r.ends_seconds.is_some()) {
            let before = by_priority(&|job| promised.get(job).is_some_and(Option::is_some) && !late(job));
            let after = by_priority(&|job| far.placements.iter().any(|d| d.job == job));
            prop_assert!(after >= before, "{:?} {:?}", after, before);
        }
    }

    #[test]
    fn looking_ahead_leaves_no_trace(scene in any_scene()) {
        let before = seen(&scene.fleet());
        let (mut fleet, mut plan) = ahead(&scene, &scene.world.jobs, FAR, Effort::default());
        plan.placements.retain(|d| d.start_seconds == 0);
        release_all(&mut fleet, &plan);
        prop_assert_eq!(&seen(&fleet), &before);
        let held: Vec<&Reservation> = fleet.reservations().collect();
        prop_assert_eq!(held.len(), scene.running.len());
    }

    #[test]
    fn order_of_input_does_not_matter(scene in any_scene()) {
        let mut other = scene.clone();
        other.world.nodes.reverse();
        other.world.jobs.reverse();
        other.running.reverse();
        let (_, one) = ahead(&scene, &scene.world.jobs, 100, Effort::default());
        let (_, two) = ahead(&other, &other.world.jobs, 100, Effort::default());
        prop_assert_eq!(one, two);
    }

    #[test]
    fn without_known_ends_nobody_is_held_back(scene in any_scene()) {
        let mut scene = scene;
        for reservation in &mut scene.running {
            reservation.ends_seconds = None;
        }
        let (mut fleet, plan) = ahead(&scene, &scene.world.jobs, 0, Effort::default());
        for unplaced in &plan.unplaced {
            let job = scene.world.jobs.iter().find(|j| j.key == unplaced.job).unwrap().clone();
            if matches!(job.kind, Kind::Training { .. }) {
                let again = fleet.plan(&[job], &PlanOptions::default());
                prop_assert!(again.placements.iter().all(|d| d.start_seconds > 0));
            }
        }
    }
}
