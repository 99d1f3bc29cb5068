//! The jobs of the continuous-multiple experiment (Narayanan et al., OSDI'20, section 7.1 and the released simulator).

use ampacity_placement::numerics::SplitMix64;

use super::throughputs::{Model, Rates};

/// Number of GPUs and how often it is asked for, in percent: the mix of sizes that Gavel takes from the Philly trace.
pub(super) const SIZE_PERCENT: [(u32, f64); 4] = [(1, 70.0), (2, 10.0), (4, 15.0), (8, 5.0)];
/// Part of the jobs that are short, and minutes as powers of ten: short ones from 10^1.5 to 10^3, long ones from 10^3 to 10^4.
const SHORT: f64 = 0.8;
const SHORT_POWERS: (f64, f64) = (1.5, 3.0);
const LONG_POWERS: (f64, f64) = (3.0, 4.0);

/// One job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    /// From 0, in order of arrival.
    pub(super) number: usize,
    /// Seconds after the start.
    pub(super) arrival_seconds: f64,
    /// GPUs.
    pub(super) gpus: u32,
    /// Steps to do.
    pub(super) steps: f64,
    /// Model and batch size.
    pub(super) model: String,
    /// Steps per second by worker type.
    pub(super) rates: Rates,
}

/// An endless sequence of jobs. Each quantity has its own random numbers, so that another rate of arrival means the same jobs at other times.
#[derive(Debug)]
pub(super) struct Jobs<'a> {
    models: &'a [Model],
    jobs_per_hour: f64,
    clock_seconds: f64,
    number: usize,
    arrival: SplitMix64,
    size: SplitMix64,
    duration: SplitMix64,
    model: SplitMix64,
}

impl<'a> Jobs<'a> {
    /// The sequence of a seed. `models` is not empty, `jobs_per_hour` is above 0.
    pub(super) fn new(models: &'a [Model], jobs_per_hour: f64, seed: u64) -> Self {
        let mut seeds = SplitMix64::new(seed);
        let mut next = || SplitMix64::new(seeds.next_u64());
        Self {
            models,
            jobs_per_hour,
            clock_seconds: 0.0,
            number: 0,
            arrival: next(),
            size: next(),
            duration: next(),
            model: next(),
        }
    }
}

/// Evenly between 0 and 1, 1 left out.
fn unit(random: &mut SplitMix64) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

impl Iterator for Jobs<'_> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        let gap_hours = -(1.0 - unit(&mut self.arrival)).ln() / self.jobs_per_hour;
        self.clock_seconds += gap_hours * 3600.0;
        let mut percent = unit(&mut self.size) * 100.0;
        let gpus = SIZE_PERCENT
            .into_iter()
            .find(|(_, share)| {
                percent -= share;
                percent < 0.0
            })
            .map_or(1, |(gpus, _)| gpus);
        let (least, most) = if unit(&mut self.duration) < SHORT {
            SHORT_POWERS
        } else {
            LONG_POWERS
        };
        let power = least + (most - least) * unit(&mut self.duration);
        let seconds = 60.0 * 10_f64.powf(power);
        // Some models run on one GPU only; every size that is drawn has a model unless the file has none.
        let fitting: Vec<&Model> = self
            .models
            .iter()
            .filter(|model| model.sizes.contains_key(&gpus))
            .collect();
        let (gpus, fitting) = if fitting.is_empty() {
            (1, self.models.iter().collect())
        } else {
            (gpus, fitting)
        };
        let model = fitting.get(self.model.below(fitting.len()))?;
        let rates = model.sizes.get(&gpus)?.clone();
        let number = self.number;
        self.number += 1;
        Some(Job {
            number,
            arrival_seconds: self.clock_seconds,
            gpus,
            steps: seconds * rates.first().copied().flatten()?,
            model: model.name.clone(),
            rates,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> Vec<Model> {
        let of = |name: &str, sizes: &[u32]| Model {
            name: name.into(),
            sizes: sizes
                .iter()
                .map(|&size| (size, vec![Some(2.0), None]))
                .collect(),
        };
        vec![of("one", &[1]), of("many", &[1, 2, 4, 8])]
    }

    #[test]
    fn the_mix_is_the_published_one() {
        let models = models();
        let jobs: Vec<Job> = Jobs::new(&models, 2.6, 0).take(20_000).collect();
        let share = |gpus: u32| jobs.iter().filter(|job| job.gpus == gpus).count() as f64 / 200.0;
        for (gpus, percent) in SIZE_PERCENT {
            assert!(
                (share(gpus) - percent).abs() < 1.5,
                "{gpus}: {}",
                share(gpus)
            );
        }
        let hours: Vec<f64> = jobs.iter().map(|job| job.steps / 2.0 / 3600.0).collect();
        // 0.8 × (10³ − 10^1.5) / (1.5 ln 10) + 0.2 × (10⁴ − 10³) / ln 10 minutes.
        let mean = hours.iter().sum::<f64>() / 20_000.0;
        assert!((mean - 16.77).abs() < 0.5, "{mean}");
        let short = hours.iter().filter(|&&hours| hours < 1000.0 / 60.0).count() as f64 / 200.0;
        assert!((short - 80.0).abs() < 1.5, "{short}");
        let rate = 20_000.0 / (jobs.last().unwrap().arrival_seconds / 3600.0);
        assert!((rate - 2.6).abs() < 0.1, "{rate}");
        assert!(jobs.iter().all(|job| job.gpus == 1 || job.model == "many"));
    }

    #[test]
    fn another_rate_means_the_same_jobs_at_other_times() {
        let models = models();
        let of = |rate: f64| Jobs::new(&models, rate, 7).take(50).collect::<Vec<Job>>();
        let (slow, fast) = (of(1.0), of(2.0));
        for (slow, fast) in slow.iter().zip(&fast) {
            assert_eq!((slow.gpus, slow.steps), (fast.gpus, fast.steps));
            assert!((slow.arrival_seconds - 2.0 * fast.arrival_seconds).abs() < 1e-3);
        }
    }
}
