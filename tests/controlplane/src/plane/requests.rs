//! Requests an API server has answered, from its own counter.

use std::collections::BTreeMap;

/// The labels of `apiserver_request_total` that say what was asked and how it went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RequestKind {
    /// `GET`, `LIST`, `WATCH`, `POST`, `PUT`, `PATCH`, `APPLY`, `DELETE`, `DELETECOLLECTION`, …
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural resource, such as `jobs`; empty for paths that are no resource.
    pub resource: String,
    /// Subresource, such as `status`, `binding`; mostly empty.
    pub subresource: String,
    /// HTTP status code.
    pub code: u16,
}

impl RequestKind {
    /// Whether it changes something in the store.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE" | "DELETECOLLECTION")
            // Reviews are posted but nothing is stored.
            && !matches!(self.group.as_str(), "authentication.k8s.io" | "authorization.k8s.io")
    }
}

/// How many requests of each kind an API server has answered since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestCounts {
    counts: BTreeMap<RequestKind, u64>,
}

impl RequestCounts {
    /// Reads the counter out of a `/metrics` page; other lines are passed over.
    pub(crate) fn parse(metrics: &str) -> Self {
        let mut counts = BTreeMap::new();
        for line in metrics.lines() {
            if let Some((kind, count)) = parse_line(line) {
                *counts.entry(kind).or_default() += count;
            }
        }
        Self { counts }
    }

    /// What came after `earlier`, which must be of the same API server process.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self
            .counts
            .iter()
            .map(|(kind, &count)| {
                (
                    kind.clone(),
                    count.saturating_sub(earlier.counts.get(kind).copied().unwrap_or(0)),
                )
            })
            .filter(|&(_, count)| count > 0)
            .collect();
        Self { counts }
    }

    /// Requests for which `wanted` holds.
    pub fn total(&self, mut wanted: impl FnMut(&RequestKind) -> bool) -> u64 {
        self.counts
            .iter()
            .filter(|(kind, _)| wanted(kind))
            .map(|(_, count)| count)
            .sum()
    }

    /// Requests that change the store and succeeded.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.total(|kind| kind.is_write() && (200..300).contains(&kind.code))
    }

    /// Every kind with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&RequestKind, u64)> {
        self.counts.iter().map(|(kind, &count)| (kind, count))
    }
}

/// `apiserver_request_total{code="201",…,verb="POST",version="v1"} 2000`; label values of this counter hold no quotes
/// or braces.
fn parse_line(line: &str) -> Option<(RequestKind, u64)> {
    let (labels, count) = line
        .strip_prefix("apiserver_request_total{")?
        .split_once("} ")?;
    let mut kind = RequestKind::default();
    for label in labels.split("\",") {
        let (name, value) = label.split_once("=\"")?;
        let value = value.trim_end_matches('"');
        match name {
            "verb" => kind.verb = value.to_owned(),
            "group" => kind.group = value.to_owned(),
            "resource" => kind.resource = value.to_owned(),
            "subresource" => kind.subresource = value.to_owned(),
            "code" => kind.code = value.parse().ok()?,
            _ => {}
        }
    }
    // Counters are written as floats once they are large: 1.000001e+06.
    let count: f64 = count.trim().parse().ok()?;
    (count.is_finite() && count >= 0.0).then_some((kind, count as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"# HELP apiserver_request_total [STABLE] Counter of apiserver requests.
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",component="apiserver",dry_run="",group="batch",resource="jobs",scope="resource",subresource="",verb="POST",version="v1"} 2000
apiserver_request_total{code="409",component="apiserver",dry_run="",group="batch",resource="jobs",scope="resource",subresource="status",verb="PUT",version="v1"} 7
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1"} 1.000001e+06
apiserver_request_total{code="201",component="apiserver",dry_run="",group="authentication.k8s.io",resource="tokenreviews",scope="resource",subresource="",verb="POST",version="v1"} 5
apiserver_request_duration_seconds_count{verb="POST"} 3
"#;

    #[test]
    fn counts_are_read_by_kind() {
        let counts = RequestCounts::parse(PAGE);
        assert_eq!(counts.iter().count(), 4);
        assert_eq!(
            counts.total(|k| k.verb == "LIST" && k.resource == "pods"),
            1_000_001
        );
        assert_eq!(
            counts.total(|k| k.subresource == "status" && k.code == 409),
            7
        );
    }

    #[test]
    fn writes_leave_out_refusals_and_reviews() {
        assert_eq!(RequestCounts::parse(PAGE).writes(), 2000);
    }

    #[test]
    fn a_difference_has_only_what_grew() {
        let before = RequestCounts::parse(PAGE);
        let after = RequestCounts::parse(&PAGE.replace("} 2000", "} 2010"));
        let grown = after.since(&before);
        assert_eq!(grown.writes(), 10);
        assert_eq!(grown.iter().count(), 1);
    }
}
