//! The fleet and the jobs, read exactly as `ampacity plan` reads them.

use ampacity_api::JobKind;
use ampacity_placement::{Fleet, JobSpec, Kind, Reservation};
use jiff::Timestamp;

use crate::check::Kinds;
use crate::input::{BadInput, Source};
use crate::scene::{Jobs, Scene, read as read_objects};
use crate::simulate::MAX_ERRORS;

/// A training job that waits for its arrival.
#[derive(Clone, Debug)]
pub(super) struct GivenJob {
    /// `namespace/name`.
    pub(super) name: String,
    /// `metadata.creationTimestamp`, Unix seconds.
    pub(super) created_seconds: Option<i64>,
    /// The job.
    pub(super) spec: JobSpec,
}

/// What is played.
pub(super) struct Given {
    pub(super) fleet: Fleet,
    /// Devices of all clusters.
    pub(super) devices: u64,
    pub(super) clusters: usize,
    pub(super) jobs: Vec<GivenJob>,
    /// When the simulation starts.
    pub(super) start: Timestamp,
    pub(super) notes: Vec<String>,
}

/// Reads everything. The start is `at`, else the earliest creation of a TrainingJob, else the latest time from which a PriceSheet
/// holds, else 1970: never the clock of the machine, so that a run can be repeated.
///
/// # Errors
/// What is wrong with the documents.
pub(super) fn read(
    sources: &[Source],
    kinds: &Kinds,
    at: Option<Timestamp>,
) -> Result<Given, Vec<BadInput>> {
    let objects = read_objects(sources, kinds, &[], MAX_ERRORS)?;
    let training = objects.jobs.iter();
    let training = training.filter(|(key, _)| key.kind == JobKind::TrainingJob);
    let created = training
        .filter_map(|(_, given)| given.object.job().metadata().creation_timestamp.as_ref())
        .map(|created| created.0);
    let sheets = objects
        .price_sheets
        .values()
        .map(|given| given.object.spec.effective_from.0);
    let (start, because) = match (at, created.min(), sheets.max()) {
        (Some(at), ..) => (at, "as --at says"),
        (_, Some(created), _) => (created, "the earliest creationTimestamp of a TrainingJob"),
        (_, _, Some(sheet)) => (sheet, "the latest effectiveFrom of a PriceSheet"),
        _ => (
            Timestamp::UNIX_EPOCH,
            "since nothing given says when; deadlines are far away",
        ),
    };
    let mut scene = Scene::new(&objects, start);
    let fleet = &mut scene.state.fleet;
    // What runs already holds its devices throughout, so nobody is promised its end.
    let held: Vec<Reservation> = fleet.reservations().cloned().collect();
    for reservation in held {
        fleet.reserve(Reservation {
            ends_seconds: None,
            ..reservation
        });
    }
    let jobs = Jobs::collect(&objects, &scene, start);
    if !jobs.invalid.is_empty() {
        return Err(jobs.bad_input(MAX_ERRORS + 1));
    }
    let mut notes = objects.notes;
    notes.append(&mut scene.notes);
    notes.extend(jobs.notes);
    notes.push(format!("the simulation starts at {start}, {because}"));

    let mut given = Vec::new();
    let mut inference = 0;
    for spec in jobs.specs {
        let Some(name) = jobs.names.get(&spec.key) else {
            continue;
        };
        if matches!(spec.kind, Kind::Inference { .. }) {
            inference += 1;
            continue;
        }
        let created_seconds = (spec.submitted_seconds != 0).then_some(spec.submitted_seconds);
        given.push(GivenJob {
            name: name.name.clone(),
            created_seconds,
            spec,
        });
    }
    if inference > 0 {
        notes.push(format!(
            "{inference} of kind InferenceJob left out: only TrainingJobs end. Give Placements or pods for what they hold"
        ));
    }
    notes.sort();
    notes.dedup();
    let (fleet, clusters) = (scene.state.fleet, scene.state.members);
    let devices = clusters
        .keys()
        .flat_map(|cluster| fleet.devices(cluster).into_values())
        .map(|count| count.total)
        .fold(0, u64::saturating_add);
    Ok(Given {
        fleet,
        devices,
        clusters: clusters.len(),
        jobs: given,
        start,
        notes,
    })
}
