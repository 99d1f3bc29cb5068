//! What happens to an InferenceJob, for people.

use ampacity_api::conditions::find_condition;
use ampacity_api::inference_job::ReplicaPlacement;
use ampacity_api::{
    ConditionReason, ConditionType, InferenceJob, InferenceJobState, InferenceJobStatus,
};

use crate::observe::{Change, Story, price_text, way};
use crate::runtime::Happening;
use crate::state::device_name;

/// Most events on placements that one change of an InferenceJob makes; the rest are counted in one more.
const MAX_PLACEMENT_EVENTS: usize = 8;

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
        story.suspended(held.then(|| replicas(before.placed_replicas)));
    } else {
        placements(&mut story, &before.placements, &after.placements);
    }
    if change.became(ConditionType::Placed, ConditionReason::ScaledToZero) {
        let note = "spec.replicas is 0; it holds nothing".to_owned();
        story.normal(ConditionReason::ScaledToZero, "Scale", note);
    }
    story.no_candidate(&change, before.verdict.as_ref(), after.verdict.as_ref());
    if change.became_true(ConditionType::Running) && job.spec.replicas > 0 {
        let wanted = job.spec.replicas;
        let are = if wanted == 1 {
            "replica is"
        } else {
            "replicas are"
        };
        let note = format!("{} of {wanted} {are} ready", after.ready_replicas);
        story.normal(ConditionReason::AllReplicasRunning, "Run", note);
    }
    story.unreachable(&change);
    let refused = ConditionReason::DispatchRefused;
    if change.became(ConditionType::Running, refused)
        && let Some(now) = change.now(ConditionType::Running, refused)
    {
        story.warning(refused, "Run", now.message.clone());
    }
    // Something keeps replicas from running, and nothing did before.
    let hindered = |conditions| {
        find_condition(conditions, ConditionType::Running)
            .filter(|c| c.reason == ConditionReason::ReplicasNotReady.as_str())
            .and_then(|c| c.message.split_once("; "))
    };
    if let (Some((_, trouble)), None) = (hindered(change.after), hindered(change.before)) {
        let reason = ConditionReason::ReplicasNotReady;
        story.warning(reason, "Run", trouble.to_owned());
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

/// New, larger, smaller and removed placements of an inference job.
fn placements(story: &mut Story, before: &[ReplicaPlacement], after: &[ReplicaPlacement]) {
    let mut told = 0;
    let mut more = 0;
    let mut tell = |story: &mut Story, reason, action, note: String| {
        if told < MAX_PLACEMENT_EVENTS {
            told += 1;
            story.normal(reason, action, note);
        } else {
            more += 1;
        }
    };
    for now in after {
        match before.iter().find(|old| old.name == now.name) {
            None => tell(story, ConditionReason::Placed, "Place", placed(now)),
            Some(old) if old.replicas != now.replicas => {
                let note = format!(
                    "{} to {} in cluster {} on {}, {}, {} W",
                    old.replicas,
                    replicas(now.replicas),
                    now.cluster,
                    now.accelerator_type,
                    price_text(now.usd_per_hour),
                    now.watts
                );
                let reason = if now.replicas < old.replicas {
                    ConditionReason::Released
                } else {
                    ConditionReason::Placed
                };
                tell(story, reason, "Scale", note);
            }
            Some(_) => {}
        }
    }
    for old in before {
        if after.iter().all(|now| now.name != old.name) {
            let note = format!(
                "{} in cluster {} on {} {} given back",
                replicas(old.replicas),
                old.cluster,
                old.accelerator_type,
                if old.replicas == 1 { "is" } else { "are" }
            );
            tell(story, ConditionReason::Released, "Scale", note);
        }
    }
    if more > 0 {
        let note = format!("{more} more placements changed");
        story.normal(ConditionReason::Placed, "Scale", note);
    }
}

fn placed(now: &ReplicaPlacement) -> String {
    format!(
        "{} placed in cluster {} on {} ({}), {}, {} W",
        replicas(now.replicas),
        now.cluster,
        device_name(
            &now.accelerator_type,
            now.mig_profile.as_deref(),
            now.millidevices
        ),
        way(now.capacity_type, &now.alternative),
        price_text(now.usd_per_hour),
        now.watts
    )
}

/// `1 replica`, `2 replicas`.
fn replicas(count: i32) -> String {
    format!(
        "{count} {}",
        if count == 1 { "replica" } else { "replicas" }
    )
}
