//! Clusters that a job keeps out of for a while, because they refused what is made of it: the engine knows only that it does.

use ampacity_api::verdict::{MAX_MESSAGE, MAX_REASONS, Verdict, VerdictReason};

use super::{ReasonName, cut};

/// A verdict and its line, with what clusters said that refused the job's objects in front. For them the engine says that the
/// job left them out.
pub fn with_refusals<'a>(
    (mut verdict, line): (Verdict, String),
    refusals: impl Iterator<Item = (&'a String, &'a String)>,
) -> (Verdict, String) {
    let said: Vec<VerdictReason> = refusals
        .take(MAX_REASONS)
        .map(|(cluster, words)| VerdictReason {
            reason: ReasonName::DispatchRefused.as_str().to_owned(),
            count: 1,
            cluster: Some(cut(cluster, 253)),
            message: Some(cut(words, MAX_MESSAGE)),
            ..VerdictReason::default()
        })
        .collect();
    let Some(first) = said.first().and_then(|reason| reason.message.clone()) else {
        return (verdict, line);
    };
    let left_out = |reason: &VerdictReason| {
        reason.reason == ReasonName::ClusterAvoided.as_str()
            && said.iter().any(|said| said.cluster == reason.cluster)
    };
    verdict.reasons.retain(|reason| !left_out(reason));
    // The words of one cluster with the fix that they name; where others were tried too, why they did not do.
    let line = if verdict.reasons.is_empty() {
        first
    } else {
        format!("{first}. Elsewhere: {line}")
    };
    verdict.reasons.splice(0..0, said);
    verdict.reasons.truncate(MAX_REASONS);
    (verdict, cut(&line, MAX_MESSAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(reason: &str, cluster: &str) -> VerdictReason {
        VerdictReason {
            reason: reason.to_owned(),
            count: 1,
            cluster: Some(cluster.to_owned()),
            ..VerdictReason::default()
        }
    }

    #[test]
    fn what_a_cluster_said_comes_first_and_its_line_with_it() {
        let words =
            "cluster oslo has no namespace research: run `kubectl create namespace research`";
        let said = (&"oslo".to_owned(), &words.to_owned());
        let selected = || reason("ClusterAvoided", "oslo");
        let taken = || reason("InsufficientDevices", "bergen");
        for (reasons, expected, expected_line) in [
            (vec![selected()], &["DispatchRefused"][..], words.to_owned()),
            (
                vec![selected(), taken()],
                &["DispatchRefused", "InsufficientDevices"],
                format!("{words}. Elsewhere: too few"),
            ),
        ] {
            let verdict = Verdict {
                reasons,
                ..Verdict::default()
            };
            let (verdict, line) =
                with_refusals((verdict, "too few".to_owned()), [said].into_iter());
            let names: Vec<&str> = verdict.reasons.iter().map(|r| r.reason.as_str()).collect();
            assert_eq!(names, expected);
            assert_eq!(line, expected_line);
        }
        let verdict = Verdict {
            reasons: vec![selected()],
            ..Verdict::default()
        };
        let as_it_was = with_refusals((verdict.clone(), "line".to_owned()), std::iter::empty());
        assert_eq!(as_it_was, (verdict, "line".to_owned()));
    }
}
