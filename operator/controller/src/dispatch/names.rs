//! Names that are valid wherever they are used, and that two different objects never share.
//!
//! A name that can be used as it is stays as it is. One that cannot ends in a hash of the whole behind a mark, and no name that
//! looks like that is ever kept: so a shortened name is never another's own.

use sha2::{Digest, Sha256};

/// Longest DNS label, RFC 1035.
pub const MAX_LABEL: usize = 63;
/// Longest DNS subdomain, RFC 1123: the longest name of most objects.
const MAX_SUBDOMAIN: usize = 253;
/// What a hash begins with: numbers of attempts, which end names too, never do.
const HASH_MARK: char = 'x';
/// Hexadecimal digits that keep shortened names apart: 48 bits. Among 10,000 shortened names of one namespace two are the same
/// with a probability of 2 in 10 million.
const HASH_DIGITS: usize = 12;
/// Length of the hash with its mark and the dash before it.
const SUFFIX: usize = HASH_DIGITS + 2;

/// `name` where it is a DNS label of RFC 1035 (letter first, as Services want it) of at most `max` characters, else as much of
/// it as fits with a hash of the whole behind it. Different names give different ones, also for different `max`.
pub fn bounded(name: &str, max: usize) -> String {
    if name.len() <= max && is_label(name) && !is_shortened(name) {
        return name.to_owned();
    }
    shortened(name, max)
}

/// As much of `name` as fits into a DNS label of at most `max` characters with a hash of the whole behind it.
pub fn shortened(name: &str, max: usize) -> String {
    let mut head = ascii_of(name, |c| c.is_ascii_alphanumeric());
    if !head.starts_with(|c: char| c.is_ascii_lowercase()) {
        head.insert_str(0, "j-");
    }
    head.truncate(max.saturating_sub(SUFFIX));
    format!("{}-{}", head.trim_end_matches('-'), hash(name))
}

/// `name` where it fits into the name of an object, else as much of it as fits with a hash of the whole behind it.
pub fn bounded_subdomain(name: &str) -> String {
    if name.len() <= MAX_SUBDOMAIN && !is_shortened(name) {
        return name.to_owned();
    }
    let mut head = ascii_of(name, |c| c.is_ascii_alphanumeric() || c == '.');
    head.truncate(MAX_SUBDOMAIN.saturating_sub(SUFFIX));
    format!("{}-{}", head.trim_end_matches(['-', '.']), hash(name))
}

/// Whether a name looks as if it had been shortened.
pub fn is_shortened(name: &str) -> bool {
    let is_hash = |text: &str| {
        text.len() == HASH_DIGITS
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    name.rsplit_once('-')
        .and_then(|(_, last)| last.strip_prefix(HASH_MARK))
        .is_some_and(is_hash)
}

/// A name in lower case, with dashes for all that is not `kept`.
fn ascii_of(name: &str, kept: impl Fn(char) -> bool) -> String {
    let mapped = name.chars().map(|c| if kept(c) { c } else { '-' });
    mapped.collect::<String>().to_ascii_lowercase()
}

fn hash(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    let mut hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hash.truncate(HASH_DIGITS);
    format!("{HASH_MARK}{hash}")
}

pub fn is_label(name: &str) -> bool {
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
    fn what_looks_shortened_is_never_kept() {
        let once = bounded(&"a".repeat(64), MAX_LABEL);
        assert!(is_shortened(&once), "{once}");
        let twice = bounded(&once, MAX_LABEL);
        assert!(is_shortened(&twice), "{twice}");
        assert_ne!(once, twice, "another object may be called so");
        assert_eq!(bounded("llama-1", MAX_LABEL), "llama-1");
        for kept in [
            "x123456789abc",
            "a-x123456789ab",
            "a-y123456789abc",
            "a-123456789abcd",
        ] {
            assert_eq!(bounded_subdomain(kept), kept);
        }
    }

    proptest! {
        #[test]
        fn names_are_valid_at_every_length(name in ".{0,300}", max in 40..=MAX_LABEL) {
            let label = bounded(&name, max);
            prop_assert!(label.len() <= max && is_label(&label), "{label}");
            prop_assert!(bounded_subdomain(&name).len() <= MAX_SUBDOMAIN || name.len() <= MAX_SUBDOMAIN);
        }
    }
}
