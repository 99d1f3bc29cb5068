//! The state that given objects describe: what the operator would know if hub and members showed them. From here on the commands
//! run the operator's own code, so that what is planned from files is what runs.
//!
//! ```text
//!   documents ──► objects ──► members ─┐
//!                    │                 ├──► State ──► the controller's inventory and plan ──► jobs for the engine
//!                    └─────► hub ──────┘
//! ```

mod jobs;
mod members;
mod objects;

use ampacity_api::{Placement, PlacementPhase};
use ampacity_controller::inventory::{refresh, refresh_facts};
use ampacity_controller::kinds::kinds;
use ampacity_controller::state::{Change, JobKey, State};
use jiff::Timestamp;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::core::ObjectMeta;

pub(crate) use self::jobs::{JobName, Jobs};
use self::members::add_members;
pub(crate) use self::objects::{Given, Objects, read};

/// What jobs are planned on.
pub(crate) struct Scene {
    pub(crate) state: State,
    pub(crate) notes: Vec<String>,
}

impl Scene {
    /// What the operator would know; everything odd becomes a note.
    pub(crate) fn new(objects: &Objects, now: Timestamp) -> Self {
        let mut state = State::new(kinds());
        let mut notes = Vec::new();
        add_platform(objects, &mut state);
        refresh_facts(&mut state, now);
        let issues = &state.fact_issues;
        notes.extend(issues.notes.iter().map(|note| note.text.clone()));
        notes.extend(issues.power.iter().map(ToString::to_string));
        add_members(objects, &mut state, &mut notes);
        add_jobs(objects, &mut state);
        refresh(&mut state, now);
        let members = state.members.values();
        notes.extend(members.flat_map(|m| m.notes.values().flatten().cloned()));
        Self { state, notes }
    }
}

/// What the platform team gives beside clusters.
fn add_platform(objects: &Objects, state: &mut State) {
    fn all<K: Clone, N>(given: &std::collections::BTreeMap<N, Given<K>>) -> Change<K> {
        Change::All(given.values().map(|given| given.object.clone()).collect())
    }
    let hub = &mut state.hub;
    hub.accelerator_types.apply(all(&objects.accelerator_types));
    hub.price_sheets.apply(all(&objects.price_sheets));
    hub.power_domains.apply(all(&objects.power_domains));
    hub.power_budgets.apply(all(&objects.power_budgets));
    let class = |(name, value): (&String, &i32)| PriorityClass {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        value: Some(*value),
        ..PriorityClass::default()
    };
    let classes = objects.priority_classes.iter().map(class).collect();
    hub.priority_classes.apply(Change::All(classes));
}

/// Jobs, and the placements that still hold what they name.
fn add_jobs(objects: &Objects, state: &mut State) {
    for (key, given) in &objects.jobs {
        let job = Box::new(given.object.clone());
        state.hub.apply_jobs(key.kind, Change::Applied(job));
    }
    let given = objects.placements.values();
    let in_force = given.filter(|given| holds(state, &given.object));
    let in_force: Vec<Placement> = in_force.map(|given| given.object.clone()).collect();
    for key in state.hub.placements.apply(Change::All(in_force)) {
        state.placement_changed(&key, None);
    }
}

/// Whether a Placement still holds what it names.
fn holds(state: &State, placement: &Placement) -> bool {
    let phase = placement.status.as_ref().and_then(|status| status.phase);
    let ended = matches!(
        phase,
        Some(PlacementPhase::Succeeded | PlacementPhase::Failed | PlacementPhase::Released)
    );
    let job = state.hub.job(&JobKey::of_placement(placement));
    !ended && placement.spec.attempt > job.map_or(0, |job| job.ended_attempts())
}
