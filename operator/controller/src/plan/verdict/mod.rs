//! The engine's `Unplaced` as `status.verdict`, within its bounds.

mod duration;
mod fact;
mod fix;
mod quota;
mod reason;
mod reason_name;
mod refusal;
mod watts;

use std::collections::BTreeMap;

use ampacity_api::verdict::{Fix, MAX_DETAILS, MAX_MESSAGE, MAX_REASONS, Verdict, VerdictReason};
use ampacity_placement::{Reason, Refusal, Unplaced};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub use self::duration::duration;
pub use self::fact::{Fact, Facts, usd_number};
pub use self::fix::{FixAction, FixText, fix_text};
use self::fix::{try_again_text, wait_text};
pub use self::quota::quota_verdict;
pub use self::reason::{ReasonText, reason_text};
pub use self::reason_name::ReasonName;
pub use self::refusal::with_refusals;

/// Longest value of a `details` map, in characters (the schema's bound).
const MAX_DETAIL: usize = 256;

/// The verdict and one line for people: the first reason and the fix. `starts`: when it can start at the earliest. `avoided`:
/// clusters that the job keeps out of, and until when.
pub fn verdict(
    unplaced: &Unplaced,
    starts: Option<Timestamp>,
    avoided: &BTreeMap<String, Timestamp>,
) -> (Verdict, String) {
    let mut reasons: Vec<VerdictReason> = unplaced
        .reasons
        .iter()
        .take(MAX_REASONS)
        .map(|refusal| verdict_reason(refusal, avoided))
        .collect();
    // The rest is counted into the last, so that no refusal goes missing.
    let rest = unplaced
        .reasons
        .iter()
        .skip(MAX_REASONS)
        .fold(0_u64, |sum, refusal| sum.saturating_add(refusal.count));
    if let Some(last) = reasons.last_mut() {
        last.count = last.count.saturating_add(integer(rest));
    }
    let fix = shown_fix(unplaced, starts, avoided).map(|text| Fix {
        action: text.action.as_str().to_owned(),
        details: details(&text.details, &[]),
        message: Some(cut(&text.sentence, MAX_MESSAGE)),
    });
    let line = line(unplaced, fix.as_ref(), starts, avoided);
    let verdict = Verdict {
        reasons,
        fix,
        earliest_start_time: starts.map(Time),
    };
    (verdict, line)
}

/// The fix in words. Where a cluster is only avoided for a while, the job itself needs no correction.
fn shown_fix(
    unplaced: &Unplaced,
    starts: Option<Timestamp>,
    avoided: &BTreeMap<String, Timestamp>,
) -> Option<FixText> {
    use ampacity_placement::Fix as Engine;
    let again = || {
        let refused = unplaced.reasons.iter();
        let avoided = refused.filter_map(|refusal| Some((refusal, until(refusal, avoided)?)));
        let (refusal, until) = avoided.min_by_key(|(_, until)| *until)?;
        Some(try_again_text(refusal.cluster.as_deref()?, until))
    };
    match (&unplaced.fix, starts) {
        (Some(Engine::WaitUntil { .. }), Some(starts)) => Some(wait_text(starts)),
        (None, _) => again(),
        (Some(fix @ Engine::ChangeJob), _) => again().or_else(|| Some(fix_text(fix))),
        (Some(fix), _) => Some(fix_text(fix)),
    }
}

/// Until when a job keeps out of the cluster that a reason is about, where that is the reason.
fn until(refusal: &Refusal, avoided: &BTreeMap<String, Timestamp>) -> Option<Timestamp> {
    (refusal.reason == Reason::ClusterAvoided).then_some(())?;
    avoided.get(refusal.cluster.as_deref()?).copied()
}

/// A reason as it is shown, with the time that only the caller knows.
fn told(refusal: &Refusal, avoided: &BTreeMap<String, Timestamp>) -> ReasonText {
    let mut text = reason_text(&refusal.reason);
    if let Some(until) = until(refusal, avoided) {
        text.facts.push(("until", Fact::text(until.to_string())));
        text.clause
            .push_str(&format!("; it is tried again after {until}"));
    }
    text
}

fn verdict_reason(refusal: &Refusal, avoided: &BTreeMap<String, Timestamp>) -> VerdictReason {
    let text = told(refusal, avoided);
    let number = |names: &[&str]| {
        text.facts
            .iter()
            .find(|(name, _)| names.contains(name))
            .and_then(|(_, fact)| fact.as_integer())
    };
    VerdictReason {
        reason: text.name.as_str().to_owned(),
        count: integer(refusal.count),
        cluster: refusal.cluster.as_deref().map(|c| cut(c, 253)),
        alternative: refusal.alternative.as_deref().map(|a| cut(a, 63)),
        needed: number(&NEEDED),
        available: number(&AVAILABLE),
        details: details(&text.facts, &["needed", "available", "message"]),
        message: Some(cut(&text.sentence(refusal), MAX_MESSAGE)),
    }
}

/// Facts that are `needed` in a status, whatever their unit.
const NEEDED: [&str; 5] = [
    "needed",
    "neededReplicas",
    "neededWatts",
    "neededUsd",
    "neededUsdPerHour",
];
/// Facts that are `available` in a status, whatever their unit.
const AVAILABLE: [&str; 5] = [
    "fittingReplicas",
    "available",
    "headroomWatts",
    "limitUsd",
    "limitUsdPerHour",
];

fn details(facts: &Facts, leave_out: &[&str]) -> BTreeMap<String, String> {
    facts
        .iter()
        .filter(|(name, _)| !leave_out.contains(name))
        .take(MAX_DETAILS)
        .map(|(name, fact): &(&str, Fact)| ((*name).to_owned(), cut(&fact.to_text(), MAX_DETAIL)))
        .collect()
}

fn line(
    unplaced: &Unplaced,
    fix: Option<&Fix>,
    starts: Option<Timestamp>,
    avoided: &BTreeMap<String, Timestamp>,
) -> String {
    let Some(first) = unplaced.reasons.first() else {
        return "no candidate".to_owned();
    };
    let mut line = told(first, avoided).sentence(first);
    let more = unplaced.reasons.len().saturating_sub(1);
    if more > 0 {
        line.push_str(&format!(
            " (and {more} more {})",
            if more == 1 { "reason" } else { "reasons" }
        ));
    }
    if let Some(message) = fix.and_then(|fix| fix.message.as_deref()) {
        line.push_str(". ");
        line.push_str(message);
    }
    let waits = matches!(
        unplaced.fix,
        Some(ampacity_placement::Fix::WaitUntil { .. })
    );
    if let Some(starts) = starts.filter(|_| !waits) {
        line.push_str(&format!(" Earliest start as it is: {starts}."));
    }
    cut(&line, MAX_MESSAGE)
}

/// At most `max` characters, cut between characters.
fn cut(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampacity_placement::{CapacityType, Level, Watts};

    fn refusal(reason: Reason, count: u64) -> Refusal {
        Refusal {
            reason,
            cluster: Some("aws-east".into()),
            alternative: None,
            count,
        }
    }

    fn unplaced(reasons: Vec<Refusal>, fix: Option<ampacity_placement::Fix>) -> Unplaced {
        Unplaced {
            job: "a/b".into(),
            replicas: 1,
            reasons,
            reasons_cut: false,
            fix,
            earliest_start_seconds: None,
        }
    }

    #[test]
    fn numbers_and_words_say_the_same() {
        let (verdict, line) = verdict(
            &unplaced(
                vec![
                    refusal(
                        Reason::InsufficientDevices {
                            needed: 64,
                            available: 40,
                        },
                        2,
                    ),
                    refusal(
                        Reason::PowerDomainExceeded {
                            domain: "hall-7".into(),
                            needed_watts: Watts(40_800),
                            headroom_watts: Watts(1000),
                        },
                        1,
                    ),
                ],
                Some(ampacity_placement::Fix::AddNodes {
                    cluster: "aws-east".into(),
                    pool: "p5.48xlarge".into(),
                    nodes: 3,
                    accelerator_type: "nvidia-h100-sxm5-80gb".into(),
                    devices_per_node: 8,
                    capacity_type: CapacityType::Spot,
                }),
            ),
            None,
            &BTreeMap::new(),
        );
        assert_eq!(
            line,
            "aws-east: 64 devices are needed, 40 free (and 1 more reason). Add 3 nodes like p5.48xlarge (8 × nvidia-h100-sxm5-80gb each, Spot) to cluster aws-east."
        );
        insta::assert_json_snapshot!(verdict);
    }

    #[test]
    fn a_start_is_told_by_the_clock() {
        let wait = ampacity_placement::Fix::WaitUntil { start_seconds: 60 };
        let reason = Reason::InsufficientDevices {
            needed: 64,
            available: 40,
        };
        let starts = Timestamp::from_second(1_750_000_060).unwrap();
        let (verdict, line) = verdict(
            &unplaced(vec![refusal(reason, 1)], Some(wait)),
            Some(starts),
            &BTreeMap::new(),
        );
        assert_eq!(verdict.earliest_start_time, Some(Time(starts)));
        assert_eq!(
            line,
            "aws-east: 64 devices are needed, 40 free. Wait until 2025-06-15T15:07:40Z: by then what holds the room should have ended."
        );
        let details = verdict.fix.unwrap().details;
        assert_eq!(details["startTime"], "2025-06-15T15:07:40Z");

        let extend = ampacity_placement::Fix::ExtendDeadline { by_seconds: 9 };
        let reason = Reason::DeadlineMissed { late_seconds: 9 };
        let (_, line) = super::verdict(
            &unplaced(vec![refusal(reason, 1)], Some(extend)),
            Some(starts),
            &BTreeMap::new(),
        );
        assert!(
            line.ends_with("by 9 s. Earliest start as it is: 2025-06-15T15:07:40Z."),
            "{line}"
        );
    }

    #[test]
    fn a_verdict_stays_within_its_bounds_and_loses_no_count() {
        let many = (0..100)
            .map(|_| {
                refusal(
                    Reason::TaintNotTolerated {
                        taint: "é".repeat(5000),
                        nodes: 1,
                    },
                    3,
                )
            })
            .collect();
        let (verdict, line) = verdict(&unplaced(many, None), None, &BTreeMap::new());
        assert_eq!(verdict.reasons.len(), MAX_REASONS);
        assert_eq!(verdict.reasons.iter().map(|r| r.count).sum::<i64>(), 300);
        assert!(line.chars().count() <= MAX_MESSAGE);
        for reason in &verdict.reasons {
            assert!(
                reason
                    .details
                    .values()
                    .all(|v| v.chars().count() <= MAX_DETAIL)
            );
        }
    }

    #[test]
    fn every_reason_has_a_clause_without_a_full_stop() {
        let reason = Reason::TopologyUnknown { level: Level::Rack };
        let text = reason_text(&reason);
        assert!(!text.clause.ends_with('.'));
        assert_eq!(text.name.as_str(), "TopologyUnknown");
    }

    #[test]
    fn a_cluster_that_is_avoided_says_until_when_and_needs_no_correction() {
        let until = Timestamp::from_second(1_750_000_060).unwrap();
        let avoided = [("aws-east".to_owned(), until)].into();
        let elsewhere = Refusal {
            cluster: Some("oslo".into()),
            ..refusal(Reason::ClusterNotSelected, 1)
        };
        let reasons = vec![refusal(Reason::ClusterAvoided, 1), elsewhere];
        let change = Some(ampacity_placement::Fix::ChangeJob);
        let (verdict, line) = verdict(&unplaced(reasons, change), None, &avoided);
        assert_eq!(verdict.reasons[0].reason, "ClusterAvoided");
        assert_eq!(verdict.reasons[0].details["until"], "2025-06-15T15:07:40Z");
        assert_eq!(
            line,
            "aws-east: the cluster refused the job's objects, or its scheduler found no node for a pod, a short while ago; it is tried again after 2025-06-15T15:07:40Z (and 1 more reason). Wait until 2025-06-15T15:07:40Z: cluster aws-east is tried again then."
        );
        let fix = verdict.fix.unwrap();
        assert_eq!(
            (fix.action.as_str(), fix.details["cluster"].as_str()),
            ("Wait", "aws-east")
        );
    }
}
