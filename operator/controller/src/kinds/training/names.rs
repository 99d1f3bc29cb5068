//! Names of what a TrainingJob is made of: the same for the same job and attempt, and for nothing else.
//!
//! Those of the other kinds differ: their Placements and claim templates end in another way, and no Service of an InferenceJob
//! ends in [`GANG`]. A test of all kinds shows it.

use ampacity_api::Placement;

use crate::dispatch::{MAX_LABEL, bounded, bounded_subdomain};
use crate::kinds::GANG;

/// Name of the Placement of an attempt: `<job>-<attempt>`.
pub fn placement_name(job: &str, attempt: i32) -> String {
    bounded_subdomain(&format!("{job}-{attempt}"))
}

/// Name of the Job of a placement.
pub fn workload_name(placement: &Placement) -> String {
    let spec = &placement.spec;
    training_name(&spec.job_ref.name, spec.attempt, spec.replicas)
}

/// Name of the Job and of its claim template: `<job>-<attempt>`.
///
/// Short enough that `<name>-<rank>` is a host name (at most 63 characters) for every rank of `replicas`; the Job controller refuses
/// longer ones; and that the Service's is a label. A name that must be shortened or altered for that ends in a hash of the whole.
pub fn training_name(job: &str, attempt: i32, replicas: i32) -> String {
    let last_rank = replicas.saturating_sub(1).max(0).to_string();
    let behind = (last_rank.len() + 1).max(GANG.len());
    bounded(
        &format!("{job}-{attempt}"),
        MAX_LABEL.saturating_sub(behind),
    )
}

/// Name of the headless Service of a gang: its Job's, and [`GANG`]. An InferenceJob's Service is called as the job, and a
/// TrainingJob's attempt must not be: `llama-1` may be both.
pub fn service_name(workload: &str) -> String {
    format!("{workload}{GANG}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dispatch::is_label;

    #[test]
    fn a_name_that_fits_is_kept_and_one_that_does_not_ends_in_a_hash() {
        let longest = "a".repeat(52);
        let cases = [
            ("llama-8b", 1, 4, "llama-8b-1".to_owned()),
            ("llama-8b", 12, 1, "llama-8b-12".to_owned()),
            (&longest, 9999, 100_000, format!("{longest}-9999")),
            (&longest, 99_999, 1, format!("{longest}-99999")),
            (
                &longest,
                10_000,
                100_000,
                format!("{}-xf8dd0623d1d9", "a".repeat(43)),
            ),
            ("8b.llama", 1, 1, "j-8b-llama-1-xa03a89d2e0c4".to_owned()),
        ];
        for (job, attempt, replicas, expected) in cases {
            assert_eq!(training_name(job, attempt, replicas), expected, "{job}");
        }
        assert_eq!(service_name("llama-8b-1"), "llama-8b-1-gang");
    }

    proptest! {
        #[test]
        fn every_rank_gets_a_valid_host_name(job in "[a-zA-Z0-9._-]{0,253}", attempt in 0..i32::MAX, replicas in 1..100_000_i32) {
            let name = training_name(&job, attempt, replicas);
            let host = format!("{name}-{}", replicas - 1);
            prop_assert!(host.len() <= 63, "{host}");
            prop_assert!(is_label(&name), "{name}");
            let service = service_name(&name);
            prop_assert!(service.len() <= 63 && is_label(&service), "{service}");
        }

        #[test]
        fn attempts_never_share_a_name(job in "[a-z][a-z0-9-]{0,60}[a-z0-9]", a in 1..100_000_i32, b in 1..100_000_i32) {
            prop_assume!(a != b);
            prop_assert_ne!(training_name(&job, a, 10_000), training_name(&job, b, 10_000));
        }
    }
}
