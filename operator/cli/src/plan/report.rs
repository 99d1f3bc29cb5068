//! The plan as it is printed: the fields of `-o json`, in a fixed order.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ampacity_controller::plan::verdict::{
    Facts, FixAction, ReasonName, fix_text, reason_text, usd_number,
};
use ampacity_controller::state::PartFields;
use ampacity_placement::{
    DevicePart, MicroUsd, PlacementDecision, Plan, Proof, Reason, Refusal, Unplaced,
};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::input::{MAX_MESSAGE, shortened};
use crate::scene::{JobName, Jobs};

/// Most notes that are printed.
const MAX_NOTES: usize = 1000;

/// Everything that is printed.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Report {
    pub(super) placements: Vec<Placed>,
    pub(super) unplaced: Vec<NotPlaced>,
    pub(super) totals: Totals,
    pub(super) quality: Quality,
    pub(super) notes: Vec<String>,
}

/// A placement.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Placed {
    pub(super) job: String,
    pub(super) kind: &'static str,
    pub(super) alternative: String,
    pub(super) cluster: String,
    pub(super) accelerator_type: String,
    pub(super) capacity_type: &'static str,
    pub(super) devices_per_replica: u32,
    /// Which parts stand in for whole devices.
    #[serde(flatten)]
    pub(super) part: Part,
    pub(super) replicas: u32,
    pub(super) nodes: Vec<NodeReplicas>,
    /// Nodes to launch. There are no launchable pools yet, so there is nothing in it.
    pub(super) launch: [(); 0],
    pub(super) power_cap_watts: i64,
    pub(super) watts: i64,
    pub(super) usd_per_hour: Usd,
    pub(super) usd_total: Usd,
    pub(super) start_seconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duration_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) price_sheet: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) unpriced: bool,
}

/// The part of a device that a unit is; nothing is printed for whole devices.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mig_profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) millidevices: Option<i32>,
}

/// Replicas on a node.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct NodeReplicas {
    pub(super) name: String,
    pub(super) replicas: u32,
}

/// A job, or the rest of an inference job, without a place.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NotPlaced {
    pub(super) job: String,
    pub(super) kind: &'static str,
    /// Replicas missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replicas: Option<u32>,
    pub(super) reasons: Vec<ShownReason>,
    /// Whether there were more reasons than are listed: the last ones stand, with their count, for all of their kind.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) reasons_cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<ShownFix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) earliest_start_seconds: Option<i64>,
}

/// A reason: its name, where, and its numbers beside it.
#[derive(Clone, Debug)]
pub(super) struct ShownReason {
    name: ReasonName,
    cluster: Option<String>,
    alternative: Option<String>,
    facts: Facts,
    /// Candidates that it holds for.
    pub(super) count: u64,
    /// In words.
    pub(super) sentence: String,
}

impl ShownReason {
    /// Whether another one says the same.
    fn is_same(&self, other: &Self) -> bool {
        let said = |reason: &Self| (reason.name, reason.sentence.clone());
        said(self) == said(other) && self.facts == other.facts
    }
}

/// A fix.
#[derive(Clone, Debug)]
pub(super) struct ShownFix {
    action: FixAction,
    details: Facts,
    /// In words.
    pub(super) sentence: String,
}

/// How good the plan is known to be.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Quality {
    pub(super) proof: ProofName,
    /// No plan is cheaper by more than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gap_usd: Option<Usd>,
    /// Jobs without a place that another plan may place, highest priority first; nothing where it is proven that none is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) may_be_missing: Vec<MayBeMissing>,
}

/// What is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) enum ProofName {
    /// No better plan exists.
    Optimal,
    /// No plan places more, or the same for much less.
    GapAtMost,
    /// Nothing.
    StoppedAtLimit,
}

/// Jobs of a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct MayBeMissing {
    pub(super) priority: i32,
    pub(super) jobs: usize,
}

/// Sums.
#[derive(Clone, Debug, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Totals {
    /// Jobs with all of their replicas placed.
    pub(super) placed: usize,
    /// Jobs without.
    pub(super) unplaced: usize,
    /// Of what starts now.
    pub(super) usd_per_hour: Usd,
    pub(super) usd_total: Usd,
    /// Of what starts now.
    pub(super) watts: i64,
}

/// Dollars, printed as a number with at most six decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usd(pub(super) MicroUsd);

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        usd_number(self.0).serialize(serializer)
    }
}

struct FactMap<'a>(&'a Facts);

impl Serialize for FactMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, fact) in self.0 {
            map.serialize_entry(name, &fact.to_json())?;
        }
        map.end()
    }
}

impl Serialize for ShownReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("reason", self.name.as_str())?;
        if let Some(cluster) = &self.cluster {
            map.serialize_entry("cluster", cluster)?;
        }
        if let Some(alternative) = &self.alternative {
            map.serialize_entry("alternative", alternative)?;
        }
        for (name, fact) in &self.facts {
            map.serialize_entry(name, &fact.to_json())?;
        }
        if self.count > 1 {
            map.serialize_entry("count", &self.count)?;
        }
        map.end()
    }
}

impl Serialize for ShownFix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("action", self.action.as_str())?;
        map.serialize_entry("details", &FactMap(&self.details))?;
        map.end()
    }
}

/// The report of a plan.
pub(super) fn report(plan: &Plan, jobs: &Jobs, notes: Vec<String>) -> Report {
    let mut placements: Vec<Placed> = plan
        .placements
        .iter()
        .filter_map(|decision| Some(placed(decision, jobs.names.get(&decision.job)?)))
        .collect();
    // Parts of one job keep the engine's order: the sort is stable.
    placements.sort_by(|a, b| (&a.job, a.kind).cmp(&(&b.job, b.kind)));
    let mut unplaced: Vec<NotPlaced> = plan
        .unplaced
        .iter()
        .filter_map(|unplaced| Some(not_placed(unplaced, jobs.names.get(&unplaced.job)?)))
        .collect();
    for (name, issue, _) in &jobs.invalid {
        let refusal = ampacity_placement::Refusal {
            reason: ampacity_placement::Reason::Invalid {
                message: issue.to_string(),
            },
            cluster: None,
            alternative: None,
            count: 1,
        };
        unplaced.push(not_placed(
            &Unplaced {
                job: String::new(),
                replicas: 0,
                reasons: vec![refusal],
                reasons_cut: false,
                fix: Some(ampacity_placement::Fix::ChangeJob),
                earliest_start_seconds: None,
            },
            name,
        ));
    }
    unplaced.sort_by(|a, b| (&a.job, a.kind).cmp(&(&b.job, b.kind)));

    let waiting: BTreeSet<(&str, &str)> =
        unplaced.iter().map(|u| (u.job.as_str(), u.kind)).collect();
    let all = jobs.names.len() + jobs.invalid.len();
    // What starts later does not draw at the same time as what runs before it.
    let now = || placements.iter().filter(|p| p.start_seconds == 0);
    let totals = Totals {
        placed: all.saturating_sub(waiting.len()),
        unplaced: waiting.len(),
        usd_per_hour: Usd(now().map(|p| p.usd_per_hour.0).sum()),
        usd_total: Usd(placements.iter().map(|p| p.usd_total.0).sum()),
        watts: now().fold(0, |sum: i64, p| sum.saturating_add(p.watts)),
    };
    Report {
        placements,
        unplaced,
        totals,
        quality: quality(plan, jobs),
        notes: bounded(notes),
    }
}

fn quality(plan: &Plan, jobs: &Jobs) -> Quality {
    let (proof, gap_usd) = match plan.proof {
        Proof::Optimal => (ProofName::Optimal, None),
        Proof::GapAtMost(gap) => (ProofName::GapAtMost, Some(Usd(gap))),
        Proof::StoppedAtLimit => (ProofName::StoppedAtLimit, None),
    };
    let mut missing: BTreeMap<Reverse<i32>, usize> = BTreeMap::new();
    if proof == ProofName::StoppedAtLimit {
        // The engine proves nothing of these; those that are no job it can plan are missing from every plan.
        let waiting: BTreeSet<&str> = plan
            .unplaced
            .iter()
            .filter(|job| !job.reasons.iter().any(is_no_job))
            .map(|job| job.job.as_str())
            .collect();
        for spec in jobs
            .specs
            .iter()
            .filter(|s| waiting.contains(s.key.as_str()))
        {
            *missing.entry(Reverse(spec.priority)).or_default() += 1;
        }
    }
    Quality {
        proof,
        gap_usd,
        may_be_missing: missing
            .into_iter()
            .map(|(Reverse(priority), jobs)| MayBeMissing { priority, jobs })
            .collect(),
    }
}

fn is_no_job(refusal: &Refusal) -> bool {
    matches!(refusal.reason, Reason::Invalid { .. })
}

fn bounded(mut notes: Vec<String>) -> Vec<String> {
    for note in &mut notes {
        if let Cow::Owned(short) = shortened(note, MAX_MESSAGE) {
            *note = short;
        }
    }
    notes.sort();
    notes.dedup();
    let more = notes.len().saturating_sub(MAX_NOTES);
    notes.truncate(MAX_NOTES);
    if more > 0 {
        notes.push(format!("… and {more} more notes"));
    }
    notes
}

fn placed(decision: &PlacementDecision, job: &JobName) -> Placed {
    let held = &decision.reservation;
    Placed {
        job: job.name.clone(),
        kind: job.kind,
        alternative: decision.alternative.clone(),
        cluster: held.cluster.clone(),
        accelerator_type: held.accelerator_type.clone(),
        capacity_type: decision.capacity_type.as_str(),
        devices_per_replica: held.devices_per_replica,
        part: part(&held.part),
        replicas: decision.replicas(),
        nodes: held
            .nodes
            .iter()
            .map(|node| NodeReplicas {
                name: node.name.clone(),
                replicas: node.replicas,
            })
            .collect(),
        launch: [],
        power_cap_watts: decision.power_cap_watts.0,
        watts: held.watts.0,
        usd_per_hour: Usd(decision.usd_per_hour),
        usd_total: Usd(decision.usd_total),
        start_seconds: decision.start_seconds,
        duration_seconds: decision.duration_seconds,
        price_sheet: decision.price_sheet.clone(),
        unpriced: decision.unpriced,
    }
}

fn part(part: &DevicePart) -> Part {
    let fields = PartFields::of(part);
    Part {
        mig_profile: fields.mig_profile,
        millidevices: fields.millidevices,
    }
}

fn not_placed(unplaced: &Unplaced, job: &JobName) -> NotPlaced {
    let mut reasons: Vec<ShownReason> = Vec::new();
    for refusal in &unplaced.reasons {
        let text = reason_text(&refusal.reason);
        let reason = ShownReason {
            sentence: text.sentence(refusal),
            name: text.name,
            cluster: refusal.cluster.clone(),
            alternative: refusal.alternative.clone(),
            facts: text.facts,
            count: refusal.count,
        };
        match reasons.iter_mut().find(|known| known.is_same(&reason)) {
            Some(known) => known.count = known.count.saturating_add(reason.count),
            None => reasons.push(reason),
        }
    }
    let fix = unplaced.fix.as_ref().map(|fix| {
        let text = fix_text(fix);
        ShownFix {
            action: text.action,
            details: text.details,
            sentence: text.sentence,
        }
    });
    NotPlaced {
        job: job.name.clone(),
        kind: job.kind,
        replicas: (job.kind == "InferenceJob" && unplaced.replicas > 0)
            .then_some(unplaced.replicas),
        reasons,
        reasons_cut: unplaced.reasons_cut,
        fix,
        earliest_start_seconds: unplaced.earliest_start_seconds,
    }
}

impl Report {
    /// As JSON with a line break at the end.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// As YAML: the same fields in the same order.
    pub(crate) fn to_yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        serde_saphyr::to_string(self)
    }
}
