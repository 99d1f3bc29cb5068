//! Which watches of a member do not deliver, so that what they told last may be out of date.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::change::WatchFailure;

/// A watch is tried again within 5 s; failures further apart than this are two troubles.
const SERIES_GAP_SECONDS: i64 = 20;
/// How long a watch may fail before what it told counts as out of date: a server that starts anew closes all of them for a moment.
const HICCUP_SECONDS: i64 = 5;

/// A watch that fails.
#[derive(Clone, Debug)]
struct FailingWatch {
    first: Timestamp,
    last: Timestamp,
    failure: WatchFailure,
}

/// How the watches of a member are.
#[derive(Debug, Default)]
pub struct WatchHealth {
    failing: BTreeMap<String, FailingWatch>,
}

impl WatchHealth {
    /// The watch of a kind failed.
    pub fn failed(&mut self, failure: WatchFailure, now: Timestamp) {
        let known = self.failing.get(&failure.kind);
        let first = known
            .filter(|known| now.as_second() - known.last.as_second() < SERIES_GAP_SECONDS)
            .map_or(now, |known| known.first);
        let failing = FailingWatch {
            first,
            last: now,
            failure,
        };
        self.failing.insert(failing.failure.kind.clone(), failing);
    }

    /// The watch of a kind delivered something.
    pub fn delivered(&mut self, kind: &str) {
        self.failing.remove(kind);
    }

    /// A failure that still lasts, by which what is known of the member may be out of date. A refusal counts at once.
    pub fn failure(&self, now: Timestamp) -> Option<&WatchFailure> {
        let lasts = |watch: &&FailingWatch| {
            let since_last = now.as_second() - watch.last.as_second();
            let lasted = watch.last.as_second() - watch.first.as_second();
            since_last < SERIES_GAP_SECONDS
                && (watch.failure.is_refusal() || lasted >= HICCUP_SECONDS)
        };
        let mut failing = self.failing.values().filter(lasts);
        failing.next().map(|watch| &watch.failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn failure(kind: &str, code: u16) -> WatchFailure {
        WatchFailure {
            kind: kind.to_owned(),
            code: Some(code),
            message: String::new(),
        }
    }

    #[test]
    fn a_hiccup_is_none_and_what_lasts_is_told_until_it_is_over() {
        // Kind, code and second of each failure; the second asked at, and whether one lasts.
        type Failures = &'static [(&'static str, u16, i64)];
        let table: &[(Failures, i64, bool)] = &[
            (&[], 0, false),
            (&[("Node", 500, 0)], 1, false),
            (&[("Node", 500, 0), ("Node", 500, 4)], 4, false),
            (&[("Node", 500, 0), ("Node", 500, 6)], 7, true),
            (&[("Node", 500, 0), ("Node", 500, 6)], 27, false),
            (&[("Node", 500, 0), ("Node", 500, 30)], 31, false),
            (&[("Node", 500, 0), ("Pod", 500, 6)], 7, false),
            (&[("Node", 403, 0)], 0, true),
            (&[("Node", 403, 0)], 30, false),
        ];
        for (failures, asked, expected) in table {
            let mut health = WatchHealth::default();
            for (kind, code, second) in *failures {
                health.failed(failure(kind, *code), at(*second));
            }
            assert_eq!(
                health.failure(at(*asked)).is_some(),
                *expected,
                "{failures:?}"
            );
        }
        let mut health = WatchHealth::default();
        health.failed(failure("Node", 403), at(0));
        health.failed(failure("Pod", 403), at(0));
        health.delivered("Node");
        assert!(health.failure(at(1)).is_some(), "pods are still not read");
        health.delivered("Pod");
        assert!(health.failure(at(1)).is_none());
    }
}
