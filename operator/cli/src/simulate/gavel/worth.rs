//! What an hour of each type of GPU is worth to the mix of jobs, so that a job leaves a type to those that gain more by it.
//!
//! The most jobs that a cluster could carry in the long run are a linear program: a share of each kind of job on each type,
//! within the GPUs there are. What an hour of a type is worth is its dual price. The dual asks for the prices at which the
//! cheapest way to do the mix costs most, with all GPUs together at a given price: a concave function, climbed by raising the
//! price of the types that are asked for too much.

use super::jobs::SIZE_PERCENT;
use super::throughputs::Model;

/// Steps uphill.
const STEPS: u32 = 4000;

/// The worth of an hour of each type, in the order of the models' rates; that of the first type is 1.
pub(super) fn of(models: &[Model], gpus: &[u32]) -> Vec<f64> {
    let loads = loads(models, gpus.len());
    let mut logs = vec![0.0_f64; gpus.len()];
    let mut means = vec![0.0_f64; gpus.len()];
    for step in 0..STEPS {
        let mut asked = vec![0.0_f64; gpus.len()];
        for load in &loads {
            let cheapest = load
                .iter()
                .zip(&logs)
                .enumerate()
                .filter_map(|(at, (load, log))| Some((load.as_ref()? * log.exp(), at)))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((_, at)) = cheapest
                && let (Some(asked), Some(Some(load))) = (asked.get_mut(at), load.get(at))
            {
                *asked += load;
            }
        }
        let per_gpu: Vec<f64> = asked
            .iter()
            .zip(gpus)
            .map(|(asked, gpus)| asked / f64::from(*gpus))
            .collect();
        let mean = per_gpu.iter().sum::<f64>() / per_gpu.len().max(1) as f64;
        let stride = 0.5 / f64::from(step + 1).sqrt();
        for ((log, mean_log), per_gpu) in logs.iter_mut().zip(&mut means).zip(per_gpu) {
            if mean > 0.0 {
                *log += stride * (per_gpu / mean - 1.0).clamp(-1.0, 1.0);
            }
            // Prices swing about the best ones in ever smaller steps: the mean of the later half lies closer.
            if step >= STEPS / 2 {
                *mean_log += *log / f64::from(STEPS / 2);
            }
        }
    }
    let first = means.first().copied().unwrap_or(0.0);
    means.iter().map(|log| (log - first).exp()).collect()
}

/// GPU time that each kind of job takes on each type for each unit of time that it takes on the first, times how often it comes.
fn loads(models: &[Model], types: usize) -> Vec<Vec<Option<f64>>> {
    let mut loads = Vec::new();
    for (gpus, percent) in SIZE_PERCENT {
        let fitting: Vec<_> = models
            .iter()
            .filter_map(|model| model.sizes.get(&gpus))
            .collect();
        for rates in &fitting {
            let Some(Some(first)) = rates.first() else {
                continue;
            };
            let often = percent / fitting.len() as f64 * f64::from(gpus);
            let load = |at: usize| Some(often * first / rates.get(at).copied().flatten()?);
            loads.push((0..types).map(load).collect());
        }
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(rates: &[Option<f64>]) -> Model {
        Model {
            name: "m".into(),
            sizes: [(1, rates.to_vec())].into(),
        }
    }

    #[test]
    fn a_type_is_worth_what_the_job_between_two_types_gains() {
        // Half of the work gains 10 times by the first type, the other half twice; as many GPUs of each. The second kind is on both
        // types, so that an hour of the first is worth two of the second.
        let models = [
            model(&[Some(10.0), Some(1.0)]),
            model(&[Some(2.0), Some(1.0)]),
        ];
        let worth = of(&models, &[20, 8]);
        assert!((worth[1] - 0.5).abs() < 0.02, "{worth:?}");
        // With so few of the first type that the first kind does not fit, a tenth.
        let worth = of(&models, &[4, 80]);
        assert!((worth[1] - 0.1).abs() < 0.01, "{worth:?}");
    }

    #[test]
    fn a_type_that_nothing_runs_on_is_worth_next_to_nothing() {
        let worth = of(&[model(&[Some(1.0), None])], &[8, 8]);
        assert!(worth[1] < 0.01, "{worth:?}");
        assert_eq!(of(&[model(&[Some(1.0)])], &[8]), [1.0]);
    }
}
