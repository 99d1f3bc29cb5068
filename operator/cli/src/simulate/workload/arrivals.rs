//! When jobs come: a CSV file, or the jobs' own creation times.

use std::collections::BTreeMap;

use super::given::GivenJob;
use crate::input::{BadInput, MAX_QUOTE, Source, shortened};
use crate::simulate::sheet::Sheet;
use crate::simulate::timeline::Arrival;

/// Most arrivals of one run.
const MAX_ARRIVALS: usize = 200_000;
/// Latest arrival: a hundred years.
const MAX_SECONDS: u64 = 100 * 365 * 86_400;

/// Arrivals from a CSV file with the columns `job` (name, or namespace/name) and `arrival_seconds`, whole seconds after the start. A
/// job that is named several times arrives several times; each time is a job of its own, called `name#2`, `name#3` and so on. Jobs
/// that are not named do not arrive: their number is in a note.
///
/// # Errors
/// All that is wrong with the file, bounded in number.
pub(super) fn from_file(
    source: &Source,
    jobs: &[GivenJob],
    notes: &mut Vec<String>,
) -> Result<Vec<Arrival>, Vec<BadInput>> {
    let sheet = Sheet::read(source, &["job", "arrival_seconds"], MAX_ARRIVALS)
        .map_err(|error| vec![error])?;
    let by_name: BTreeMap<&str, &GivenJob> =
        jobs.iter().map(|job| (job.name.as_str(), job)).collect();
    let mut rows: Vec<(&GivenJob, i64)> = sheet.each(|row| {
        let name = row.text("job");
        let full = if name.contains('/') {
            name.to_owned()
        } else {
            format!("default/{name}")
        };
        let job = by_name.get(full.as_str()).ok_or_else(|| {
            row.bad(
                "job",
                &format!(
                    "names TrainingJob {:?}, which is not among the files; add it or correct the name",
                    shortened(&full, MAX_QUOTE)
                ),
            )
        })?;
        let seconds = row.whole("arrival_seconds", 0..=MAX_SECONDS)?;
        Ok((*job, i64::try_from(seconds).unwrap_or(i64::MAX)))
    })?;
    // Numbers follow time, so the order of the rows does not matter.
    rows.sort_by(|a, b| (a.1, &a.0.name).cmp(&(b.1, &b.0.name)));
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut arrivals: Vec<Arrival> = rows
        .into_iter()
        .map(|(job, seconds)| {
            let time = times.entry(&job.name).or_default();
            *time += 1;
            let mut arrival = Arrival {
                name: job.name.clone(),
                seconds,
                job: job.spec.clone(),
            };
            if *time > 1 {
                arrival.name.push_str(&format!("#{time}"));
                arrival.job.key.push_str(&format!("#{time}"));
            }
            arrival
        })
        .collect();
    sort(&mut arrivals);
    let absent = jobs.len() - times.len();
    if absent > 0 {
        notes.push(format!(
            "{absent} of {} TrainingJobs have no row in {} and do not arrive",
            jobs.len(),
            source.name()
        ));
    }
    Ok(arrivals)
}

/// Arrivals at `metadata.creationTimestamp`; jobs without, or from before the start, come at the start.
pub(super) fn from_creation(
    jobs: Vec<GivenJob>,
    start_unix_seconds: i64,
    notes: &mut Vec<String>,
) -> Vec<Arrival> {
    let undated = jobs
        .iter()
        .filter(|job| job.created_seconds.is_none())
        .count();
    if undated > 0 {
        notes.push(format!(
            "{undated} of {} TrainingJobs have no metadata.creationTimestamp and arrive at the start; --arrivals FILE says otherwise",
            jobs.len()
        ));
    }
    let mut arrivals: Vec<Arrival> = jobs
        .into_iter()
        .map(|job| Arrival {
            name: job.name,
            seconds: job.created_seconds.map_or(0, |created| {
                created.saturating_sub(start_unix_seconds).max(0)
            }),
            job: job.spec,
        })
        .collect();
    sort(&mut arrivals);
    arrivals
}

/// In order of time, then by name.
fn sort(arrivals: &mut [Arrival]) {
    arrivals.sort_by(|a, b| (a.seconds, &a.name).cmp(&(b.seconds, &b.name)));
}
