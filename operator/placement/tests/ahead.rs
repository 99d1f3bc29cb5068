//! Table cases: when a gang that waits can start, and who may use its room until then.

mod world;

use ampacity_placement::{
    Fix, Fleet, JobSpec, Kind, LabelSelector, NodeSpec, Operator, Plan, PlanOptions,
    PowerDomainSpec, PowerSpec, Reason, Refusal, Requirement, Reservation, Watts, Work,
};
use world::{H100, L4, cluster, devices, fleet, gang, node};

const NOW: i64 = 1_000_000;

/// What a job named `key` holds since before: `replicas` nodes of `nodes`, 8 devices each; it ends in `ends` seconds.
fn running(key: &str, nodes: &[&str], ends: Option<i64>) -> Reservation {
    let mut alone = fleet(nodes.iter().map(|name| node(name)));
    let replicas = u32::try_from(nodes.len()).unwrap_or(0);
    let plan = alone.plan(&[gang(key, replicas, 8)], &PlanOptions::default());
    Reservation {
        ends_seconds: ends.map(|seconds| NOW + seconds),
        ..plan.placements[0].reservation.clone()
    }
}

/// A gang of whole nodes that runs so many seconds; earlier letters come first.
fn job(key: &str, nodes: u32, seconds: i64) -> JobSpec {
    let mut job = gang(key, nodes, 8);
    job.submitted_seconds = i64::from(key.as_bytes()[0]);
    if let Kind::Training { work, .. } = &mut job.kind {
        *work = Work::DurationSeconds(seconds);
    }
    job
}

fn due(mut job: JobSpec, seconds: i64) -> JobSpec {
    if let Kind::Training {
        deadline_seconds, ..
    } = &mut job.kind
    {
        *deadline_seconds = Some(NOW + seconds);
    }
    job
}

fn plan(fleet: &mut Fleet, jobs: &[JobSpec], horizon_seconds: i64) -> Plan {
    let options = PlanOptions {
        now_seconds: NOW,
        horizon_seconds,
    };
    fleet.plan(jobs, &options)
}

/// Starts by job: in how many seconds; those that are unplaced with `?`, which is alone where nothing is known.
fn starts(plan: &Plan) -> Vec<String> {
    let placed = plan
        .placements
        .iter()
        .map(|d| format!("{} {}", d.job, d.start_seconds));
    let unplaced = plan.unplaced.iter().map(|u| {
        let known = u.earliest_start_seconds;
        format!(
            "{} {}?",
            u.job,
            known.map_or(String::new(), |s| s.to_string())
        )
    });
    let mut all: Vec<String> = placed.chain(unplaced).collect();
    all.sort();
    all
}

fn nodes(names: &[&str]) -> Vec<NodeSpec> {
    names.iter().map(|name| node(name)).collect()
}

#[test]
fn who_comes_later_may_start_now_only_if_nobody_before_it_is_delayed() {
    // Nodes, what runs (nodes, seconds left), jobs in order, starts within no horizon.
    type Case<'a> = (
        &'a str,
        &'a [&'a str],
        Vec<Reservation>,
        Vec<JobSpec>,
        &'a [&'a str],
    );
    let urgent = |mut job: JobSpec| {
        job.priority = 1;
        job
    };
    let cases: Vec<Case<'_>> = vec![
        (
            "a big gang waits for two ends; a short job runs in its room, a long one does not",
            &["n1", "n2", "n3"],
            vec![
                running("r1", &["n1"], Some(100)),
                running("r2", &["n2"], Some(200)),
            ],
            vec![
                job("a-big", 3, 50),
                job("b-long", 1, 201),
                job("c-short", 1, 200),
            ],
            &["a-big 200?", "b-long 250?", "c-short 0"],
        ),
        (
            "whoever has the higher priority goes first, however long it runs",
            &["n1", "n2"],
            vec![running("r1", &["n1"], Some(100))],
            vec![job("a-big", 2, 50), urgent(job("b-long", 1, 900))],
            &["a-big 900?", "b-long 0"],
        ),
        (
            "of two promises, the sooner one binds",
            &["n1", "n2", "n3"],
            vec![
                running("r1", &["n1"], Some(100)),
                running("r2", &["n2"], Some(500)),
            ],
            vec![
                job("a-two", 2, 50),
                job("b-three", 3, 50),
                job("c-long", 1, 300),
                job("d-short", 1, 100),
            ],
            &["a-two 100?", "b-three 500?", "c-long 150?", "d-short 0"],
        ),
        (
            "an end that is not known is never assumed",
            &["n1", "n2"],
            vec![
                running("r1", &["n1"], None),
                running("r2", &["n2"], Some(100)),
            ],
            vec![
                job("a-big", 2, 50),
                job("b-one", 1, 50),
                job("c-one", 1, 50),
            ],
            &["a-big ?", "b-one 100?", "c-one 150?"],
        ),
        (
            "who is late is expected to be late by as much again",
            &["n1", "n2"],
            vec![running("r1", &["n1"], Some(-300))],
            vec![
                job("a-big", 2, 50),
                job("b-long", 1, 301),
                job("c-short", 1, 300),
            ],
            &["a-big 300?", "b-long 350?", "c-short 0"],
        ),
    ];
    for (name, all, held, jobs, expected) in cases {
        let mut fleet = fleet(nodes(all));
        for reservation in held {
            fleet.reserve(reservation);
        }
        let plan = plan(&mut fleet, &jobs, 0);
        assert_eq!(starts(&plan), expected, "{name}");
        for unplaced in &plan.unplaced {
            let wait = unplaced
                .earliest_start_seconds
                .map(|start_seconds| Fix::WaitUntil { start_seconds });
            assert!(
                wait.is_none() || unplaced.fix == wait,
                "{name}: {unplaced:?}"
            );
        }
        let now = plan.placements.iter().filter(|d| d.start_seconds == 0);
        assert!(
            now.clone()
                .all(|d| fleet.reservation(&d.reservation.key).is_some()),
            "{name}: what starts now is reserved"
        );
    }
}

#[test]
fn a_job_that_is_held_back_is_told_so() {
    let mut fleet = fleet(nodes(&["n1", "n2"]));
    fleet.reserve(running("r1", &["n1"], Some(100)));
    let plan = plan(&mut fleet, &[job("a-big", 2, 50), job("b-long", 1, 900)], 0);
    let first = |at: usize| &plan.unplaced[at].reasons[0].reason;
    let lacks = Reason::InsufficientDevices {
        needed: 16,
        available: 8,
    };
    assert_eq!(*first(0), lacks, "nothing is held against who comes first");
    assert_eq!(*first(1), Reason::Promised { gangs: 1 });
}

#[test]
fn watts_are_promised_as_devices_are() {
    // Two nodes' worth of watts for three nodes, of which one is in use: node `n2` cannot be turned on beside `big`.
    let powered = |name: &str| NodeSpec {
        feeds: vec!["hall".into()],
        ..node(name)
    };
    let each = 8 * (700 + 575);
    let mut fleet = fleet(["n1", "n2", "n3"].map(powered));
    fleet.set_power(PowerSpec {
        domains: vec![PowerDomainSpec {
            name: "hall".into(),
            usable_watts: Watts(2 * each),
            ..PowerDomainSpec::default()
        }],
        budgets: Vec::new(),
    });
    fleet.reserve(running("r1", &["n1"], Some(100)));
    let jobs = [
        job("a-big", 2, 50),
        job("b-long", 1, 101),
        job("c-short", 1, 100),
    ];
    let plan = plan(&mut fleet, &jobs, 0);
    assert_eq!(starts(&plan), ["a-big 100?", "b-long 150?", "c-short 0"]);
}

#[test]
fn promised_watts_are_told_as_a_promise_and_never_as_watts_below_zero() {
    let powered = |name: &str| NodeSpec {
        feeds: vec!["hall".into()],
        ..node(name)
    };
    let each = 8 * (700 + 575);
    let mut fleet = fleet(["n1", "n2", "n3"].map(powered));
    fleet.set_power(PowerSpec {
        domains: vec![PowerDomainSpec {
            name: "hall".into(),
            usable_watts: Watts(2 * each),
            ..PowerDomainSpec::default()
        }],
        budgets: Vec::new(),
    });
    fleet.reserve(running("r1", &["n1"], Some(100)));
    let jobs = [
        job("a-big", 2, 50),
        job("b-long", 1, 101),
        job("c-two", 2, 900),
    ];
    let plan = plan(&mut fleet, &jobs, 0);
    // One node's worth of watts is free until `a-big` starts.
    let short = |needed_watts| Reason::PowerDomainExceeded {
        domain: "hall".into(),
        needed_watts: Watts(needed_watts),
        headroom_watts: Watts(each),
    };
    let reasons: Vec<&Reason> = plan.unplaced.iter().map(|u| &u.reasons[0].reason).collect();
    assert_eq!(
        reasons,
        [
            &short(2 * each),
            &Reason::Promised { gangs: 1 },
            &short(2 * each)
        ]
    );
    // To free what others were promised is no advice: it starts when its own promise is due.
    for unplaced in plan.unplaced.iter().skip(1) {
        assert!(
            matches!(unplaced.fix, Some(Fix::WaitUntil { .. })),
            "{unplaced:?}"
        );
    }
}

#[test]
fn a_cluster_that_is_avoided_is_not_called_unselected() {
    let mut fleet = fleet([node("n1")]);
    let reason = |fleet: &mut Fleet, job| {
        let plan = plan(fleet, &[job], 0);
        plan.unplaced[0].reasons[0].reason.clone()
    };
    let mut avoiding = job("a", 1, 50);
    avoiding.excluded_clusters = vec!["a".into()];
    assert_eq!(
        reason(&mut fleet, avoiding.clone()),
        Reason::ClusterAvoided,
        "it would be tried again by itself"
    );
    avoiding.clusters = LabelSelector(vec![Requirement {
        key: "tier".into(),
        operator: Operator::Exists,
        values: Vec::new(),
    }]);
    assert_eq!(
        reason(&mut fleet, avoiding),
        Reason::ClusterNotSelected,
        "it would not be tried again"
    );
}

#[test]
fn watts_that_are_short_are_waited_for_wherever_they_are_drawn() {
    let in_cluster = |name: &str, cluster: &str| NodeSpec {
        cluster: cluster.into(),
        feeds: vec!["site".into()],
        ..node(name)
    };
    let mut fleet = fleet([in_cluster("n1", "a"), in_cluster("n2", "b")]);
    fleet.set_cluster(cluster("b"));
    fleet.set_power(PowerSpec {
        domains: vec![PowerDomainSpec {
            name: "site".into(),
            usable_watts: Watts(8 * (700 + 575)),
            ..PowerDomainSpec::default()
        }],
        budgets: Vec::new(),
    });
    fleet.reserve(running("r1", &["n1"], Some(100)));
    let mut elsewhere = job("a", 1, 50);
    elsewhere.excluded_clusters = vec!["a".into()];
    assert_eq!(starts(&plan(&mut fleet, &[elsewhere], 0)), ["a 100?"]);
}

#[test]
fn a_promise_in_one_cluster_leaves_others_alone() {
    let mut fleet = fleet([
        node("n1"),
        node("n2"),
        NodeSpec {
            cluster: "b".into(),
            ..node("n3")
        },
    ]);
    fleet.set_cluster(cluster("b"));
    fleet.reserve(running("r1", &["n1"], Some(100)));
    let jobs = [job("a-big", 2, 50), job("b-long", 1, 900)];
    let plan = plan(&mut fleet, &jobs, 0);
    assert_eq!(starts(&plan), ["a-big 100?", "b-long 0"]);
    assert_eq!(plan.placements[0].reservation.cluster, "b");
}

#[test]
fn a_deadline_is_counted_from_the_earliest_start() {
    let held = |ends| {
        let mut fleet = fleet([node("n1")]);
        fleet.reserve(running("r1", &["n1"], ends));
        fleet
    };
    let late = |late_seconds| Reason::DeadlineMissed { late_seconds };
    let extend = |by_seconds| Some(Fix::ExtendDeadline { by_seconds });
    // Seconds until the node is free, job, the first reason, the fix.
    let cases = [
        (
            Some(100),
            due(job("a", 1, 50), 150),
            None,
            Some(Fix::WaitUntil { start_seconds: 100 }),
        ),
        (
            Some(100),
            due(job("a", 1, 50), 149),
            Some(late(1)),
            extend(1),
        ),
        // Late even if it started now, and nobody knows when it can.
        (None, due(job("a", 1, 50), 20), Some(late(30)), None),
    ];
    for (ends, job, reason, fix) in cases {
        let plan = plan(&mut held(ends), &[job], 0);
        let unplaced = &plan.unplaced[0];
        let missed = |r: &&Refusal| matches!(r.reason, Reason::DeadlineMissed { .. });
        let first = unplaced.reasons.iter().find(missed);
        assert_eq!(first.map(|r| r.reason.clone()), reason, "{unplaced:?}");
        assert!(
            reason.is_none_or(|reason| unplaced.reasons[0].reason == reason),
            "{unplaced:?}"
        );
        if fix.is_some() {
            assert_eq!(unplaced.fix, fix);
        }
    }
    // Who would be late anyhow keeps nobody waiting.
    let mut fleet = fleet(nodes(&["n1", "n2"]));
    fleet.reserve(running("r1", &["n1"], Some(100)));
    let jobs = [due(job("a-late", 2, 50), 149), job("b-long", 1, 900)];
    assert_eq!(
        starts(&plan(&mut fleet, &jobs, 0)),
        ["a-late 900?", "b-long 0"]
    );
}

#[test]
fn within_the_horizon_a_chain_of_jobs_is_placed_one_after_the_other() {
    let jobs = [job("a", 1, 100), job("b", 1, 200), job("c", 1, 300)];
    for (horizon, expected) in [
        (0, ["a 0", "b 100?", "c 300?"]),
        (100, ["a 0", "b 100", "c 300?"]),
        (299, ["a 0", "b 100", "c 300?"]),
        (300, ["a 0", "b 100", "c 300"]),
    ] {
        let mut fleet = fleet([node("n1")]);
        let plan = plan(&mut fleet, &jobs, horizon);
        assert_eq!(starts(&plan), expected, "horizon {horizon}");
        assert_eq!(
            fleet.reservations().count(),
            1,
            "only what starts now is held"
        );
        let ends = plan.placements.iter().map(|d| d.reservation.ends_seconds);
        let expected = [100, 300, 600].map(|end| Some(NOW + end));
        assert!(ends.eq(expected[..plan.placements.len()].iter().copied()));
    }
}

// Watts of one breaker are given back by whoever draws them, on whatever devices.
#[test]
fn watts_of_a_breaker_are_waited_for_wherever_they_are_drawn() {
    let fed = |name: &str, devices_of: &str| NodeSpec {
        feeds: vec!["hall".into()],
        devices: vec![devices(devices_of, 8)],
        ..node(name)
    };
    let limited = |watts| PowerSpec {
        domains: vec![PowerDomainSpec {
            name: "hall".into(),
            usable_watts: Watts(watts),
            ..PowerDomainSpec::default()
        }],
        budgets: Vec::new(),
    };
    // 8 × 1275 W on h1 and on h2; 8 × 132 W on l1.
    let on_l4 = Reservation {
        accelerator_type: L4.into(),
        watts: Watts(1056),
        ..running("small", &["l1"], Some(3600))
    };
    let mut fleet = fleet([fed("h1", H100), fed("h2", H100), fed("l1", L4)]);
    assert_eq!(fleet.set_power(limited(21_000)), []);
    fleet.reserve(running("large", &["h1"], Some(7200)));
    fleet.reserve(on_l4);
    // 11,256 W are drawn, 9,744 left; 10,200 are needed.
    let found = plan(&mut fleet.clone(), &[job("a", 1, 600)], 0);
    assert_eq!(starts(&found), ["a 3600?"]);
    let found = plan(&mut fleet, &[job("a", 1, 600)], 3600);
    assert_eq!(starts(&found), ["a 3600"]);
}
