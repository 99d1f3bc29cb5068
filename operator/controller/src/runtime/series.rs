//! Events that say the same again: counted up instead of written again, as client-go does.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::EventSeries;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::happening::Happening;

/// An event that repeats within this time is counted up instead of written again.
const SERIES_WITHIN: SignedDuration = SignedDuration::from_mins(6);
/// Most events that are remembered for counting up.
const MAX_REMEMBERED: usize = 1024;

/// Something to tell.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) reference: ObjectReference,
    pub(super) happening: Happening,
    pub(super) at: Timestamp,
}

/// What was written lately, for counting up what repeats.
#[derive(Default)]
pub(super) struct Remembered {
    written: HashMap<Key, Series>,
    oldest_first: VecDeque<Key>,
}

/// Two events with the same key say the same.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    happening: (&'static str, &'static str, &'static str, String),
}

impl Key {
    fn of(told: &Told) -> Self {
        let (object, happening) = (&told.reference, &told.happening);
        Self {
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
            happening: (
                happening.type_.as_str(),
                happening.reason,
                happening.action,
                happening.note.clone(),
            ),
        }
    }
}

struct Series {
    event: String,
    count: i32,
    last: Timestamp,
}

impl Remembered {
    /// The event that says the same and was written lately, and how often it has been said now.
    pub(super) fn again(&mut self, told: &Told) -> Option<(String, EventSeries)> {
        let series = self.written.get_mut(&Key::of(told))?;
        if told.at.duration_since(series.last) > SERIES_WITHIN {
            return None;
        }
        series.count = series.count.saturating_add(1);
        series.last = told.at;
        let counted = EventSeries {
            count: series.count,
            last_observed_time: MicroTime(told.at),
        };
        Some((series.event.clone(), counted))
    }

    pub(super) fn wrote(&mut self, told: &Told, event: String) {
        let key = Key::of(told);
        let series = Series {
            event,
            count: 1,
            last: told.at,
        };
        if self.written.insert(key.clone(), series).is_none() {
            self.oldest_first.push_back(key);
        }
        while self.oldest_first.len() > MAX_REMEMBERED {
            if let Some(key) = self.oldest_first.pop_front() {
                self.written.remove(&key);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::runtime::happening::HappeningType;

    pub fn told(name: &str, note: &str, second: i64) -> Told {
        Told {
            reference: ObjectReference {
                api_version: Some("ampacity.dev/v1alpha1".to_owned()),
                kind: Some("TrainingJob".to_owned()),
                namespace: Some("research".to_owned()),
                name: Some(name.to_owned()),
                uid: Some(format!("uid-of-{name}")),
                ..ObjectReference::default()
            },
            happening: Happening {
                type_: HappeningType::Warning,
                reason: "NodeFailed",
                action: "Replace",
                note: note.to_owned(),
            },
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn only_what_says_the_same_of_the_same_object_lately_is_counted_up() {
        let mut remembered = Remembered::default();
        remembered.wrote(&told("a", "gone", 0), "a.1".to_owned());
        let count = |remembered: &mut Remembered, told: Told| {
            remembered.again(&told).map(|(name, s)| (name, s.count))
        };
        let same = told("a", "gone", 300);
        assert_eq!(
            count(&mut remembered, same),
            Some(("a.1".to_owned(), 2)),
            "the same again"
        );
        assert_eq!(
            count(&mut remembered, told("a", "gone", 600)),
            Some(("a.1".to_owned(), 3)),
            "the time counts from the last"
        );
        let mut recreated = told("a", "gone", 600);
        recreated.reference.uid = Some("another".to_owned());
        for (what, other) in [
            ("another note", told("a", "late", 600)),
            ("another object", told("b", "gone", 600)),
            ("another object of that name", recreated),
            ("too long ago", told("a", "gone", 961)),
        ] {
            assert_eq!(count(&mut remembered, other), None, "{what}");
        }
    }

    #[test]
    fn little_is_remembered() {
        let mut remembered = Remembered::default();
        for n in 0..2 * MAX_REMEMBERED {
            remembered.wrote(&told(&n.to_string(), "", 0), n.to_string());
        }
        assert_eq!(remembered.written.len(), MAX_REMEMBERED);
        assert_eq!(remembered.oldest_first.len(), MAX_REMEMBERED);
        assert!(remembered.again(&told("0", "", 0)).is_none());
        assert!(remembered.again(&told("2047", "", 0)).is_some());
    }
}
