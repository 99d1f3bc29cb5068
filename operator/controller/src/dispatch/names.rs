//! Names of objects in a member cluster: the same for the same job and attempt, and valid wherever they are used.

use sha2::{Digest, Sha256};

/// Longest DNS label, RFC 1035.
const MAX_LABEL: usize = 63;
/// Hexadecimal digits that keep shortened names apart: 32 bits, among the jobs of one namespace.
const HASH_DIGITS: usize = 8;

/// Name of the Job, of its headless Service and of its claim template: `<job>-<attempt>`.
///
/// Short enough that `<name>-<rank>` is a host name (at most 63 characters) for every rank of `replicas`; the Job controller refuses
/// longer ones. A name that must be shortened or altered for that ends in a hash of the whole.
pub fn training_name(job: &str, attempt: i32, replicas: i32) -> String {
    let last_rank = replicas.saturating_sub(1).max(0).to_string();
    bounded(
        &format!("{job}-{attempt}"),
        MAX_LABEL.saturating_sub(last_rank.len() + 1),
    )
}

/// Name of the Deployment and of its claim template: the placement's, as far as it fits a pod's host name.
pub fn inference_name(placement: &str) -> String {
    // `<name>-<ReplicaSet hash, up to 10>-<5>` stays a host name.
    bounded(placement, MAX_LABEL - 17)
}

/// Name of the Service that all of an inference job's replicas in a cluster share: the job's.
pub fn service_name(job: &str) -> String {
    bounded(job, MAX_LABEL)
}

/// `name` where it is a DNS label of RFC 1035 (letter first, as Services want it) of at most `max` characters, else as much of
/// it as fits with a hash of the whole behind it.
pub(crate) fn bounded(name: &str, max: usize) -> String {
    if name.len() <= max && is_label(name) {
        return name.to_owned();
    }
    let digest = Sha256::digest(name.as_bytes());
    let mut hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hash.truncate(HASH_DIGITS);
    let mut head: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    if !head.starts_with(|c: char| c.is_ascii_lowercase()) {
        head.insert_str(0, "j-");
    }
    head.truncate(max.saturating_sub(HASH_DIGITS + 1));
    format!("{}-{hash}", head.trim_end_matches('-'))
}

fn is_label(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_fits_is_kept_and_one_that_does_not_ends_in_a_hash() {
        let longest = "a".repeat(52);
        let cases = [
            ("llama-8b", 1, 4, "llama-8b-1".to_owned()),
            ("llama-8b", 12, 1, "llama-8b-12".to_owned()),
            (&longest, 9999, 100_000, format!("{longest}-9999")),
            (
                &longest,
                10_000,
                100_000,
                format!("{}-f8dd0623", "a".repeat(48)),
            ),
            ("8b.llama", 1, 1, "j-8b-llama-1-a03a89d2".to_owned()),
        ];
        for (job, attempt, replicas, expected) in cases {
            assert_eq!(training_name(job, attempt, replicas), expected, "{job}");
        }
    }

    proptest! {
        #[test]
        fn every_rank_gets_a_valid_host_name(job in "[a-zA-Z0-9._-]{0,253}", attempt in 0..i32::MAX, replicas in 1..100_000_i32) {
            let name = training_name(&job, attempt, replicas);
            let host = format!("{name}-{}", replicas - 1);
            prop_assert!(host.len() <= 63, "{host}");
            prop_assert!(is_label(&name), "{name}");
        }

        #[test]
        fn attempts_never_share_a_name(job in "[a-z][a-z0-9-]{0,60}[a-z0-9]", a in 1..100_000_i32, b in 1..100_000_i32) {
            prop_assume!(a != b);
            prop_assert_ne!(training_name(&job, a, 10_000), training_name(&job, b, 10_000));
        }
    }
}
