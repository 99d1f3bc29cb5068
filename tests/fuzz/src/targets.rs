//! The targets: what is done with the bytes.

// A target is to stop at the first fault.
#![allow(clippy::expect_used, clippy::panic)]

use ampacity::in_memory::{self, Answer, Checks};
use ampacity_packing::PolicyName;
use jiff::Timestamp;

/// What stands between the files that one input is made of.
pub const SEPARATOR: &str = "\n=====\n";

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [Target; 4] = [
    ("plan", plan),
    ("workload", workload),
    ("openb", openb),
    ("gavel", gavel),
];

/// 1 July 2026: prices and deadlines of the fixtures are read as of then.
const NOW_SECONDS: i64 = 1_782_864_000;
/// Most looks of a task at a node in one replay.
const MOST_LOOKS: f64 = 300_000.0;

thread_local! {
    static CHECKS: Checks = Checks::new().expect("the schemas of our own kinds can be written as JSON");
}

/// Documents for `ampacity plan`; every other length is planned with a horizon of a day.
pub fn plan(bytes: &[u8]) {
    let now = Timestamp::from_second(NOW_SECONDS).expect("a time of this century");
    let horizon_seconds = if bytes.len().is_multiple_of(2) {
        0
    } else {
        86_400
    };
    let answer = CHECKS.with(|checks| checks.plan(bytes.to_vec(), now, horizon_seconds));
    check(answer);
}

/// Documents and, behind a separator, arrivals for `ampacity simulate workload`.
pub fn workload(bytes: &[u8]) {
    let (documents, arrivals) = split(bytes);
    let arrivals = arrivals.map(<[u8]>::to_vec);
    check(CHECKS.with(|checks| checks.workload(documents.to_vec(), arrivals)));
}

/// A byte that says who places and how much arrives, then nodes and, behind a separator, tasks for `ampacity simulate openb`.
pub fn openb(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else {
        return;
    };
    let (nodes, pods) = split(rest);
    let policies = PolicyName::ALL;
    let policy = policies
        .get(usize::from(first) % policies.len())
        .copied()
        .unwrap_or(PolicyName::Ampacity);
    let tune = [0.1, 1.3, 10.0]
        .get(usize::from(first) / policies.len() % 3)
        .copied()
        .unwrap_or(1.3);
    let pods = pods.unwrap_or_default();
    check(in_memory::openb(
        nodes.to_vec(),
        pods.to_vec(),
        policy,
        tune,
        42,
        MOST_LOOKS,
    ));
}

/// A byte that says how jobs are put to the engine, then throughputs for `ampacity simulate gavel`.
pub fn gavel(bytes: &[u8]) {
    let Some((&first, throughputs)) = bytes.split_first() else {
        return;
    };
    let of = |words: &[&'static str], at: u8| {
        let at = usize::from(first >> at) % words.len().max(1);
        words.get(at).copied().unwrap_or_default()
    };
    let arguments = [
        "--measure",
        "3-9",
        "--policy",
        of(&["ampacity", "fifo"], 0),
        "--objective",
        of(&["cost", "time"], 1),
        "--order",
        of(&["arrival", "shortest", "due"], 2),
        "--gpus-per-node",
        of(&["1", "4", "1024"], 4),
        "--lambda",
        of(&["2.6", "1000000", "0.000001"], 6),
    ];
    check(in_memory::gavel(throughputs.to_vec(), &arguments));
}

fn split(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let separator = SEPARATOR.as_bytes();
    let at = bytes
        .windows(separator.len())
        .position(|window| window == separator);
    match at {
        Some(at) => {
            let (first, rest) = bytes.split_at(at);
            (first, rest.get(separator.len()..))
        }
        None => (bytes, None),
    }
}

/// An answer is something that can be printed, or says what is wrong without driving the terminal.
fn check(answer: anyhow::Result<Answer>) {
    match answer.expect("an answer can be written down") {
        Ok(text) => assert!(!text.is_empty(), "nothing was printed"),
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            for error in errors {
                assert!(
                    !error.chars().any(char::is_control),
                    "an error with control characters: {error:?}"
                );
            }
        }
    }
}
