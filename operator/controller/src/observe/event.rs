//! What a change of an object's status tells a person: the events that `kubectl describe` lists. Pure: two statuses in,
//! happenings out. What cannot be told from the statuses did not happen; a status that is written again tells nothing.

use ampacity_api::conditions::find_condition;
use ampacity_api::{CapacityType, ConditionReason, ConditionType, Decimal, Verdict};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::runtime::{Happening, HappeningType};

/// Longest note in bytes; the API server refuses longer ones (`NoteLengthLimit` of events.k8s.io/v1).
pub const MAX_NOTE_BYTES: usize = 1024;

/// Something that is wrong with an object of the platform team, in words.
pub fn wrong_fact(note: String) -> Happening {
    Happening {
        type_: HappeningType::Warning,
        reason: ConditionReason::Invalid.as_str(),
        action: "Check",
        note: bounded(note),
    }
}

/// What something costs, in words.
pub fn price_text(usd_per_hour: Decimal) -> String {
    if usd_per_hour.is_zero() {
        "no price".to_owned()
    } else {
        format!("{usd_per_hour} USD per hour")
    }
}

/// Conditions before and after.
pub struct Change<'a> {
    /// Before.
    pub before: &'a [Condition],
    /// After.
    pub after: &'a [Condition],
}

impl<'a> Change<'a> {
    /// The condition as it is now, if this is its reason.
    pub fn now(&self, type_: ConditionType, reason: ConditionReason) -> Option<&'a Condition> {
        find_condition(self.after, type_).filter(|c| c.reason == reason.as_str())
    }

    /// Whether the condition has this reason now and had another, or was not there.
    pub fn became(&self, type_: ConditionType, reason: ConditionReason) -> bool {
        self.now(type_, reason).is_some()
            && find_condition(self.before, type_).is_none_or(|c| c.reason != reason.as_str())
    }

    /// Whether the condition was true.
    pub fn was_true(&self, type_: ConditionType) -> bool {
        find_condition(self.before, type_).is_some_and(|c| c.status == "True")
    }

    /// Whether the condition is true now and was not.
    pub fn became_true(&self, type_: ConditionType) -> bool {
        !self.was_true(type_)
            && find_condition(self.after, type_).is_some_and(|c| c.status == "True")
    }
}

/// Happenings in the making.
#[derive(Default)]
pub struct Story {
    /// In the order in which they happened.
    pub happenings: Vec<Happening>,
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

    /// All is well.
    pub fn normal(&mut self, reason: ConditionReason, action: &'static str, note: String) {
        self.add(HappeningType::Normal, reason, action, note);
    }

    /// Somebody may want to look.
    pub fn warning(&mut self, reason: ConditionReason, action: &'static str, note: String) {
        self.add(HappeningType::Warning, reason, action, note);
    }

    /// What was found wrong with the job, once for each thing that is.
    pub fn validity(&mut self, change: &Change<'_>) {
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

    /// It was suspended and is no more.
    pub fn resumed(&mut self) {
        let note = "resumed; it waits for its turn".to_owned();
        self.normal(ConditionReason::Queued, "Resume", note);
    }

    /// It is suspended now; `held`: what it held until then.
    pub fn suspended(&mut self, held: Option<String>) {
        let note = match held {
            Some(held) => format!("spec.suspend is true; {held} stopped, all is given back"),
            None => "spec.suspend is true; it waits".to_owned(),
        };
        self.normal(ConditionReason::Suspended, "Suspend", note);
    }

    /// A cluster that it runs in cannot be reached any more.
    pub fn unreachable(&mut self, change: &Change<'_>) {
        let reason = ConditionReason::ClusterUnreachable;
        if change.became(ConditionType::Running, reason)
            && let Some(now) = change.now(ConditionType::Running, reason)
        {
            self.warning(reason, "Observe", now.message.clone());
        }
    }

    /// Why there is no place, when it is first said and when something else is the first thing short. Numbers change all
    /// the time; they are in the status.
    pub fn no_candidate(
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
}

/// The alternative that was chosen, and how its nodes are paid for.
pub fn way(capacity_type: Option<CapacityType>, alternative: &str) -> String {
    match capacity_type {
        Some(capacity_type) => format!("{capacity_type}, alternative {alternative}"),
        None => format!("alternative {alternative}"),
    }
}

/// The reason of a condition as a word of the API; a word that is none there counts as a failure.
pub fn reason_of(condition: &Condition) -> ConditionReason {
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
