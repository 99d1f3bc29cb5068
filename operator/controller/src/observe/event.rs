//! What a change of a job's status tells a person: the events that `kubectl describe` lists. Pure: two statuses in,
//! happenings out. What cannot be told from the statuses did not happen; a status that is written again tells nothing.

use ampacity_api::conditions::find_condition;
use ampacity_api::inference_job::ReplicaPlacement;
use ampacity_api::{
    CapacityType, ConditionReason, ConditionType, InferenceJob, InferenceJobState,
    InferenceJobStatus, TrainingJob, TrainingJobState, TrainingJobStatus, Verdict,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::translate::device_name;

/// Longest note in bytes; the API server refuses longer ones (`NoteLengthLimit` of events.k8s.io/v1).
pub const MAX_NOTE_BYTES: usize = 1024;
/// Most events on placements that one change of an InferenceJob makes; the rest are counted in one more.
const MAX_PLACEMENT_EVENTS: usize = 8;

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HappeningType {
    /// All is well.
    Normal,
    /// Somebody may want to look.
    Warning,
}

impl HappeningType {
    /// The word that stands in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Whether somebody should look.
    pub type_: HappeningType,
    /// Why: the word of a [`ConditionReason`].
    pub reason: &'static str,
    /// What the operator did: `Check`, `Place`, `Run`, `Observe`, `Replace`, `Scale`, `Suspend`, `Resume` or `Finish`.
    pub action: &'static str,
    /// The same in words, at most [`MAX_NOTE_BYTES`] bytes.
    pub note: String,
}

/// Something that is wrong with an object of the platform team, in words.
pub fn wrong_fact(note: String) -> Happening {
    Happening {
        type_: HappeningType::Warning,
        reason: ConditionReason::Invalid.as_str(),
        action: "Check",
        note: bounded(note),
    }
}

/// What happened to a TrainingJob between two of its statuses, in the order in which it happened. `before` is `None` for
/// a job that had no status.
pub fn training_happenings(
    job: &TrainingJob,
    before: Option<&TrainingJobStatus>,
    after: &TrainingJobStatus,
) -> Vec<Happening> {
    let empty = TrainingJobStatus::default();
    let before = before.unwrap_or(&empty);
    if before.state.is_some_and(TrainingJobState::is_finished) {
        return Vec::new();
    }
    let change = Change {
        before: &before.conditions,
        after: &after.conditions,
    };
    let mut story = Story::default();
    let suspended = |status: &TrainingJobStatus| status.state == Some(TrainingJobState::Suspended);
    story.validity(&change);
    if suspended(before) && !suspended(after) {
        story.resumed();
    }
    let attempt = after.attempts;
    if attempt > before.attempts
        && let Some(placed) = &after.placement
    {
        let note = format!(
            "attempt {attempt} placed in cluster {}: {} × {} ({}), {} USD per hour, {} W",
            placed.cluster,
            placed.devices,
            device_name(
                &placed.accelerator_type,
                placed.mig_profile.as_deref(),
                placed.millidevices
            ),
            way(placed.capacity_type, &placed.alternative),
            placed.usd_per_hour,
            placed.watts,
        );
        story.normal(ConditionReason::Placed, "Place", note);
    }
    let cluster = after.placement.as_ref().map_or("", |p| p.cluster.as_str());
    if change.became_true(ConditionType::Running) {
        let note = format!("attempt {attempt}: all replicas run in cluster {cluster}");
        story.normal(ConditionReason::AllReplicasRunning, "Run", note);
    }
    if after.ended_attempts > before.ended_attempts {
        attempt_ended(&mut story, job, before, after);
    } else {
        story.unreachable(&change);
        if let Some(now) = change.now(ConditionType::Running, ConditionReason::Starting) {
            let ran = change.was_true(ConditionType::Running);
            let said = find_condition(change.before, ConditionType::Running)
                .is_some_and(|c| !c.message.is_empty());
            if ran {
                let note = format!("attempt {attempt}: not all replicas are ready any more");
                story.warning(ConditionReason::Starting, "Run", note);
            } else if !said && !now.message.is_empty() {
                let note = format!("attempt {attempt} waits to start: {}", now.message);
                story.warning(ConditionReason::Starting, "Run", note);
            }
        }
    }
    if suspended(after) && !suspended(before) {
        let held = after.ended_attempts > before.ended_attempts;
        story.suspended(held.then(|| format!("attempt {}", after.ended_attempts)));
    }
    let newly_ended = after.ended_attempts > before.ended_attempts;
    let verdict_before = before.verdict.as_ref().filter(|_| !newly_ended);
    story.no_candidate(&change, verdict_before, after.verdict.as_ref());
    story.happenings
}

fn attempt_ended(
    story: &mut Story,
    job: &TrainingJob,
    before: &TrainingJobStatus,
    after: &TrainingJobStatus,
) {
    let attempt = after.ended_attempts;
    let spent = format!(
        "{} USD and {} Wh in all",
        after.usd_accrued.unwrap_or_default(),
        after.watt_hours.unwrap_or(0)
    );
    let finished = find_condition(&after.conditions, ConditionType::Finished);
    match after.state {
        Some(TrainingJobState::Succeeded) => {
            let note = format!("all replicas of attempt {attempt} succeeded; {spent}");
            story.normal(ConditionReason::Succeeded, "Finish", note);
        }
        Some(TrainingJobState::Failed) => {
            let reason = finished.map_or(ConditionReason::Failed, reason_of);
            let message = finished.map_or("it failed", |c| c.message.as_str());
            story.warning(reason, "Finish", format!("{message}; {spent}"));
        }
        _ if after.restarts > before.restarts => {
            let running = find_condition(&after.conditions, ConditionType::Running);
            let placed = find_condition(&after.conditions, ConditionType::Placed);
            // A job that is suspended at the same time says so in both conditions; why the attempt ended is lost then.
            let reason = running
                .map(reason_of)
                .filter(|r| *r != ConditionReason::Suspended)
                .unwrap_or(ConditionReason::Failed);
            let said = placed
                .filter(|c| c.reason == ConditionReason::Replacing.as_str())
                .map_or_else(|| format!("attempt {attempt} ended"), |c| c.message.clone());
            let saved = after
                .checkpointed_share
                .filter(|share| share.micros() > 0)
                .map_or_else(String::new, |share| {
                    format!(" with {} % of the work saved", share.micros() / 10_000)
                });
            let note = format!(
                "{said}; restart {} of at most {}{saved}",
                after.restarts, job.spec.max_restarts
            );
            story.warning(reason, "Replace", note);
        }
        Some(TrainingJobState::Suspended) => {}
        _ if let Some(reason) = not_started(after) => {
            let said = find_condition(&after.conditions, ConditionType::Placed)
                .map_or_else(|| format!("attempt {attempt} ended"), |c| c.message.clone());
            let note = format!("{said}; it is placed again, and no restart is counted");
            story.warning(reason, "Replace", note);
        }
        _ => {
            let note = format!("attempt {attempt}: its Placement was deleted; it is placed again");
            story.warning(ConditionReason::Replacing, "Replace", note);
        }
    }
}

/// Why the last attempt ended before anything ran, if it did.
fn not_started(after: &TrainingJobStatus) -> Option<ConditionReason> {
    let running = find_condition(&after.conditions, ConditionType::Running)?;
    let replacing = find_condition(&after.conditions, ConditionType::Placed)
        .is_some_and(|c| c.reason == ConditionReason::Replacing.as_str());
    [
        ConditionReason::DispatchRefused,
        ConditionReason::Unschedulable,
    ]
    .into_iter()
    .find(|reason| replacing && running.reason == reason.as_str())
}

/// What happened to an InferenceJob between two of its statuses. `before` is `None` for a job that had no status.
pub fn inference_happenings(
    job: &InferenceJob,
    before: Option<&InferenceJobStatus>,
    after: &InferenceJobStatus,
) -> Vec<Happening> {
    let empty = InferenceJobStatus::default();
    let before = before.unwrap_or(&empty);
    let change = Change {
        before: &before.conditions,
        after: &after.conditions,
    };
    let mut story = Story::default();
    let suspended = |s: &InferenceJobStatus| s.state == Some(InferenceJobState::Suspended);
    story.validity(&change);
    if suspended(before) && !suspended(after) {
        story.resumed();
    }
    if suspended(after) && !suspended(before) {
        let held = before.placed_replicas > 0;
        story.suspended(held.then(|| format!("{} replicas", before.placed_replicas)));
    } else {
        story.placements(&before.placements, &after.placements);
    }
    if change.became(ConditionType::Placed, ConditionReason::ScaledToZero) {
        let note = "spec.replicas is 0; it holds nothing".to_owned();
        story.normal(ConditionReason::ScaledToZero, "Scale", note);
    }
    story.no_candidate(&change, before.verdict.as_ref(), after.verdict.as_ref());
    if change.became_true(ConditionType::Running) && job.spec.replicas > 0 {
        let note = format!(
            "{} of {} replicas are ready",
            after.ready_replicas, job.spec.replicas
        );
        story.normal(ConditionReason::AllReplicasRunning, "Run", note);
    }
    story.unreachable(&change);
    let refused = ConditionReason::DispatchRefused;
    if change.became(ConditionType::Running, refused)
        && let Some(now) = change.now(ConditionType::Running, refused)
    {
        story.warning(refused, "Run", now.message.clone());
    }
    // Fewer are ready than before though as many have a place: some replicas broke down.
    let broke_down = after.ready_replicas < before.ready_replicas
        && after.placed_replicas >= before.placed_replicas;
    if broke_down
        && let Some(now) = change.now(ConditionType::Running, ConditionReason::ReplicasNotReady)
    {
        story.warning(
            ConditionReason::ReplicasNotReady,
            "Run",
            now.message.clone(),
        );
    }
    story.happenings
}

/// Conditions before and after.
struct Change<'a> {
    before: &'a [Condition],
    after: &'a [Condition],
}

impl<'a> Change<'a> {
    /// The condition as it is now, if this is its reason.
    fn now(&self, type_: ConditionType, reason: ConditionReason) -> Option<&'a Condition> {
        find_condition(self.after, type_).filter(|c| c.reason == reason.as_str())
    }

    /// Whether the condition has this reason now and had another, or was not there.
    fn became(&self, type_: ConditionType, reason: ConditionReason) -> bool {
        self.now(type_, reason).is_some()
            && find_condition(self.before, type_).is_none_or(|c| c.reason != reason.as_str())
    }

    fn was_true(&self, type_: ConditionType) -> bool {
        find_condition(self.before, type_).is_some_and(|c| c.status == "True")
    }

    fn became_true(&self, type_: ConditionType) -> bool {
        !self.was_true(type_)
            && find_condition(self.after, type_).is_some_and(|c| c.status == "True")
    }
}

/// Happenings in the making.
#[derive(Default)]
struct Story {
    happenings: Vec<Happening>,
}

impl Story {
    fn add(
        &mut self,
        type_: HappeningType,
        reason: ConditionReason,
        action: &'static str,
        note: String,
    ) {
        self.happenings.push(Happening {
            type_,
            reason: reason.as_str(),
            action,
            note: bounded(note),
        });
    }

    fn normal(&mut self, reason: ConditionReason, action: &'static str, note: String) {
        self.add(HappeningType::Normal, reason, action, note);
    }

    fn warning(&mut self, reason: ConditionReason, action: &'static str, note: String) {
        self.add(HappeningType::Warning, reason, action, note);
    }

    /// What was found wrong with the job, once for each thing that is.
    fn validity(&mut self, change: &Change<'_>) {
        let of = |conditions| {
            find_condition(conditions, ConditionType::Valid).filter(|c| c.status == "False")
        };
        if let Some(now) = of(change.after)
            && of(change.before)
                .is_none_or(|c| (&c.reason, &c.message) != (&now.reason, &now.message))
        {
            self.warning(reason_of(now), "Check", now.message.clone());
        }
    }

    fn resumed(&mut self) {
        let note = "resumed; it waits for its turn".to_owned();
        self.normal(ConditionReason::Queued, "Resume", note);
    }

    fn suspended(&mut self, held: Option<String>) {
        let note = match held {
            Some(held) => format!("spec.suspend is true; {held} stopped, all is given back"),
            None => "spec.suspend is true; it waits".to_owned(),
        };
        self.normal(ConditionReason::Suspended, "Suspend", note);
    }

    fn unreachable(&mut self, change: &Change<'_>) {
        let reason = ConditionReason::ClusterUnreachable;
        if change.became(ConditionType::Running, reason)
            && let Some(now) = change.now(ConditionType::Running, reason)
        {
            self.warning(reason, "Observe", now.message.clone());
        }
    }

    /// Why there is no place, when it is first said and when something else is the first thing short. Numbers change all
    /// the time; they are in the status.
    fn no_candidate(
        &mut self,
        change: &Change<'_>,
        before: Option<&Verdict>,
        after: Option<&Verdict>,
    ) {
        let Some(after) = after else {
            return;
        };
        let Some(now) = find_condition(change.after, ConditionType::Placed).filter(|c| {
            c.reason == ConditionReason::NoCandidate.as_str()
                || c.reason == ConditionReason::PartlyPlaced.as_str()
        }) else {
            return;
        };
        let first = |verdict: &Verdict| verdict.reasons.first().map(|r| r.reason.clone());
        if before.is_none_or(|before| first(before) != first(after)) {
            self.warning(reason_of(now), "Place", now.message.clone());
        }
    }

    /// New, larger, smaller and removed placements of an inference job.
    fn placements(&mut self, before: &[ReplicaPlacement], after: &[ReplicaPlacement]) {
        let mut told = 0;
        let mut more = 0;
        let mut tell = |story: &mut Self, reason, action, note: String| {
            if told < MAX_PLACEMENT_EVENTS {
                told += 1;
                story.normal(reason, action, note);
            } else {
                more += 1;
            }
        };
        for now in after {
            match before.iter().find(|old| old.name == now.name) {
                None => tell(self, ConditionReason::Placed, "Place", placed(now)),
                Some(old) if old.replicas != now.replicas => {
                    let note = format!(
                        "{} to {} replicas in cluster {} on {}, {} USD per hour, {} W",
                        old.replicas,
                        now.replicas,
                        now.cluster,
                        now.accelerator_type,
                        now.usd_per_hour,
                        now.watts
                    );
                    let reason = if now.replicas < old.replicas {
                        ConditionReason::Released
                    } else {
                        ConditionReason::Placed
                    };
                    tell(self, reason, "Scale", note);
                }
                Some(_) => {}
            }
        }
        for old in before {
            if after.iter().all(|now| now.name != old.name) {
                let note = format!(
                    "{} replicas in cluster {} on {} are given back",
                    old.replicas, old.cluster, old.accelerator_type
                );
                tell(self, ConditionReason::Released, "Scale", note);
            }
        }
        if more > 0 {
            let note = format!("{more} more placements changed");
            self.normal(ConditionReason::Placed, "Scale", note);
        }
    }
}

fn placed(now: &ReplicaPlacement) -> String {
    format!(
        "{} replicas placed in cluster {} on {} ({}), {} USD per hour, {} W",
        now.replicas,
        now.cluster,
        device_name(
            &now.accelerator_type,
            now.mig_profile.as_deref(),
            now.millidevices
        ),
        way(now.capacity_type, &now.alternative),
        now.usd_per_hour,
        now.watts
    )
}

/// The alternative that was chosen, and how its nodes are paid for.
fn way(capacity_type: Option<CapacityType>, alternative: &str) -> String {
    match capacity_type {
        Some(capacity_type) => format!("{capacity_type}, alternative {alternative}"),
        None => format!("alternative {alternative}"),
    }
}

/// The reason of a condition as a word of the API; a word that is none there counts as a failure.
fn reason_of(condition: &Condition) -> ConditionReason {
    condition.reason.parse().unwrap_or(ConditionReason::Failed)
}

/// At most [`MAX_NOTE_BYTES`] bytes, cut between characters.
fn bounded(mut note: String) -> String {
    const CUT: &str = "…";
    if note.len() > MAX_NOTE_BYTES {
        note.truncate(note.floor_char_boundary(MAX_NOTE_BYTES - CUT.len()));
        note.push_str(CUT);
    }
    note
}
