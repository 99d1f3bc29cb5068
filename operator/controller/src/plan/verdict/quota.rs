//! The verdict of a job that a ResourceQuota of its namespace keeps out.

use std::collections::BTreeMap;

use ampacity_api::verdict::{Fix, MAX_MESSAGE, Verdict, VerdictReason};

use super::{FixAction, ReasonName, cut};
use crate::state::QuotaShortage;

/// The verdict and one line for people.
pub fn quota_verdict(shortage: &QuotaShortage) -> (Verdict, String) {
    let QuotaShortage {
        namespace,
        quota,
        resource,
        needed,
        used,
        hard,
    } = shortage;
    let amount = |n: u64| resource.quantity(n);
    let sentence = format!(
        "ResourceQuota {namespace}/{quota} of the hub allows {resource}: {}; Placements of the namespace hold {} of it, and the job needs {}",
        amount(*hard),
        amount(*used),
        amount(*needed)
    );
    let raised = used.saturating_add(*needed);
    let advice = if needed > hard {
        "give the job an alternative that needs less"
    } else {
        "wait until other jobs of the namespace end"
    };
    let fix = format!(
        "Raise {resource} of ResourceQuota {namespace}/{quota} to {}, or {advice}.",
        amount(raised)
    );
    let integer = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let details = |more: [(&str, String); 2]| -> BTreeMap<String, String> {
        let common = [
            ("resourceQuota", quota.clone()),
            ("resource", resource.to_string()),
        ];
        let all = common.into_iter().chain(more);
        all.map(|(name, value)| (name.to_owned(), cut(&value, super::MAX_DETAIL)))
            .collect()
    };
    let line = cut(&format!("{sentence}. {fix}"), MAX_MESSAGE);
    let verdict = Verdict {
        reasons: vec![VerdictReason {
            reason: ReasonName::ResourceQuotaExceeded.as_str().to_owned(),
            count: 1,
            needed: Some(integer(*needed)),
            available: Some(integer(hard.saturating_sub(*used))),
            details: details([("used", amount(*used)), ("hard", amount(*hard))]),
            message: Some(cut(&sentence, MAX_MESSAGE)),
            ..VerdictReason::default()
        }],
        fix: Some(Fix {
            action: FixAction::RaiseResourceQuota.as_str().to_owned(),
            details: details([("namespace", namespace.clone()), ("to", amount(raised))]),
            message: Some(cut(&fix, MAX_MESSAGE)),
        }),
        earliest_start_time: None,
    };
    (verdict, line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::QuotaResource;

    fn shortage(resource: &str, needed: u64, used: u64, hard: u64) -> QuotaShortage {
        QuotaShortage {
            namespace: "research".to_owned(),
            quota: "gpus".to_owned(),
            resource: QuotaResource::new(resource),
            needed,
            used,
            hard,
        }
    }

    #[test]
    fn a_quota_is_told_with_numbers_and_a_fix() {
        let (verdict, line) = quota_verdict(&shortage("requests.nvidia.com/gpu", 8, 12, 16));
        assert_eq!(
            line,
            "ResourceQuota research/gpus of the hub allows requests.nvidia.com/gpu: 16; Placements of the namespace hold 12 of it, and the job needs 8. \
             Raise requests.nvidia.com/gpu of ResourceQuota research/gpus to 20, or wait until other jobs of the namespace end."
        );
        let reason = &verdict.reasons[0];
        assert_eq!(reason.reason, "ResourceQuotaExceeded");
        assert_eq!((reason.needed, reason.available), (Some(8), Some(4)));
        assert_eq!(verdict.fix.unwrap().action, "RaiseResourceQuota");
        let (_, line) = quota_verdict(&shortage("requests.cpu", 96_000, 500, 64_000));
        assert!(line.contains("allows requests.cpu: 64;"), "{line}");
        assert!(
            line.ends_with("to 96500m, or give the job an alternative that needs less."),
            "{line}"
        );
    }
}
