//! What happens to a TrainingJob, for people.

use ampacity_api::conditions::find_condition;
use ampacity_api::{
    ConditionReason, ConditionType, TrainingJob, TrainingJobState, TrainingJobStatus,
};

use crate::observe::{Change, Story, price_text, reason_of, way};
use crate::runtime::Happening;
use crate::state::device_name;

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
    let held = after.placement.as_ref().or(after.last_placement.as_ref());
    if attempt > before.attempts
        && let Some(placed) = held
    {
        let note = format!(
            "attempt {attempt} placed in cluster {}: {} × {} ({}), {}, {} W",
            placed.cluster,
            placed.devices,
            device_name(
                &placed.accelerator_type,
                placed.mig_profile.as_deref(),
                placed.millidevices
            ),
            way(placed.capacity_type, &placed.alternative),
            price_text(placed.usd_per_hour),
            placed.watts,
        );
        story.normal(ConditionReason::Placed, "Place", note);
    }
    let cluster = held.map_or("", |p| p.cluster.as_str());
    if change.became_true(ConditionType::Running) {
        let note = format!("attempt {attempt}: all replicas run in cluster {cluster}");
        story.normal(ConditionReason::AllReplicasRunning, "Run", note);
    }
    if after.ended_attempts > before.ended_attempts {
        attempt_ended(&mut story, job, before, after);
    } else {
        story.unreachable(&change);
        let starting = [ConditionReason::Dispatching, ConditionReason::Starting];
        let starts = starting
            .iter()
            .find_map(|reason| change.now(ConditionType::Running, *reason));
        if let Some(now) = starts {
            let ran = change.was_true(ConditionType::Running);
            let said = find_condition(change.before, ConditionType::Running)
                .is_some_and(|c| !c.message.is_empty());
            if ran {
                let note = format!("attempt {attempt}: not all replicas are ready any more");
                story.warning(ConditionReason::Starting, "Run", note);
            }
            if !said && !now.message.is_empty() {
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
    let watt_hours = after.watt_hours.unwrap_or(0);
    let spent = match after.usd_accrued {
        Some(usd) => format!("{usd} USD and {watt_hours} Wh in all"),
        None => format!("{watt_hours} Wh in all, no price"),
    };
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
            let note = format!(
                "{said}; restart {} of at most {}{}",
                after.restarts,
                job.spec.max_restarts,
                saved(after)
            );
            story.warning(reason, "Replace", note);
        }
        Some(TrainingJobState::Suspended) => {}
        _ if let Some(reason) = not_counted(after) => {
            let said = find_condition(&after.conditions, ConditionType::Placed)
                .map_or_else(|| format!("attempt {attempt} ended"), |c| c.message.clone());
            let note = format!(
                "{said}; it is placed again{}, and no restart is counted",
                saved(after)
            );
            story.warning(reason, "Replace", note);
        }
        _ => {
            let note = format!("attempt {attempt}: its Placement was deleted; it is placed again");
            story.warning(ConditionReason::Replacing, "Replace", note);
        }
    }
}

/// How much of the work is saved, in words.
fn saved(after: &TrainingJobStatus) -> String {
    let share = after.checkpointed_share.filter(|share| share.micros() > 0);
    share.map_or_else(String::new, |share| {
        format!(" with {} % of the work saved", share.micros() / 10_000)
    })
}

/// Why the last attempt ended, where that was none of its program's doing.
fn not_counted(after: &TrainingJobStatus) -> Option<ConditionReason> {
    let running = find_condition(&after.conditions, ConditionType::Running)?;
    let replacing = find_condition(&after.conditions, ConditionType::Placed)
        .is_some_and(|c| c.reason == ConditionReason::Replacing.as_str());
    [
        ConditionReason::DispatchRefused,
        ConditionReason::Unschedulable,
        ConditionReason::StartFailed,
        ConditionReason::PodsNotMade,
        ConditionReason::NodeRefused,
        ConditionReason::NodeFailed,
        ConditionReason::ClusterUnreachable,
        ConditionReason::UnknownCluster,
        ConditionReason::Lost,
    ]
    .into_iter()
    .find(|reason| replacing && running.reason == reason.as_str())
}
