//! The name that was probably meant.

/// The candidate nearest to `word`, if it is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = word.to_ascii_lowercase();
    // Of words of this length, a third may be wrong; comparing very long ones would be slow and would say nothing.
    if folded.len() > 256 {
        return None;
    }
    let most = (folded.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&folded, &name.to_ascii_lowercase());
            (distance, name)
        })
        .filter(|(distance, name)| *distance <= most && *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let names = ["devicesPerReplica", "replicas", "image", "name"];
        assert_eq!(
            nearest("devicePerReplica", names),
            Some("devicesPerReplica")
        );
        assert_eq!(nearest("Replicas", names), Some("replicas"));
        assert_eq!(nearest("imgae", names), Some("image"));
        assert_eq!(nearest("tolerations", names), None);
    }
}
