//! Names that are valid wherever they are used.

use sha2::{Digest, Sha256};

/// Longest DNS label, RFC 1035.
pub const MAX_LABEL: usize = 63;
/// Hexadecimal digits that keep shortened names apart: 32 bits, among the jobs of one namespace.
const HASH_DIGITS: usize = 8;

/// `name` where it is a DNS label of RFC 1035 (letter first, as Services want it) of at most `max` characters, else as much of
/// it as fits with a hash of the whole behind it.
pub fn bounded(name: &str, max: usize) -> String {
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

pub fn is_label(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
