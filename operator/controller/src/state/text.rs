//! Reading text where a file may hold a number or a truth value, and metadata without what is not needed.

use std::collections::BTreeMap;
use std::fmt;

use ampacity_catalog::{driver_of_pod, is_kept_annotation};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Annotations that are kept: the others are large and say nothing about capacity.
const KEPT_ANNOTATIONS: [&str; 2] = ["batch.kubernetes.io/", "ampacity.dev/"];

/// At most so many characters of a text; one that is cut ends in an ellipsis: what others say is bounded before it is kept or told.
pub fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((end, _)) if text.len() > most => format!("{}…", text.get(..end).unwrap_or_default()),
        _ => text.to_owned(),
    }
}

/// A scalar as text: `8`, `"8"` and `true` are all read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl<'de> Visitor<'de> for Scalar {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number or a truth value")
            }
            fn visit_str<E>(self, v: &str) -> Result<Text, E> {
                Ok(Text(v.to_owned()))
            }
            fn visit_string<E>(self, v: String) -> Result<Text, E> {
                Ok(Text(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text::default())
            }
            fn visit_none<E>(self) -> Result<Text, E> {
                Ok(Text::default())
            }
            fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Text, D::Error> {
                Text::deserialize(d)
            }
            // A list or a map where text belongs is unreadable, not fatal: it becomes text that parses as nothing.
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text("[…]".to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text("{…}".to_owned()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

/// Reads a scalar as a `String`.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Text::deserialize(deserializer)?.0)
}

/// Reads a scalar as an optional `String`; null and empty are `None`.
pub(super) fn some_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = text(deserializer)?;
    Ok(Some(text).filter(|t| !t.is_empty()))
}

/// Reads a time; what is none counts as not said.
pub(super) fn some_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    Ok(text(deserializer)?.parse().ok())
}

/// Reads a map of scalars; null is empty.
pub(super) fn text_map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let map = Option::<BTreeMap<String, Text>>::deserialize(deserializer)?;
    Ok(map
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, value.0))
        .collect())
}

/// Reads an optional map of scalars: an absent one is told from an empty one.
pub(super) fn some_text_map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let map = Option::<BTreeMap<String, Text>>::deserialize(deserializer)?;
    Ok(map.map(|map| map.into_iter().map(|(key, value)| (key, value.0)).collect()))
}

/// Reads anything that may be null as its default.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    #[serde(deserialize_with = "some_text")]
    name: Option<String>,
    #[serde(deserialize_with = "some_text")]
    namespace: Option<String>,
    #[serde(deserialize_with = "some_text")]
    uid: Option<String>,
    #[serde(deserialize_with = "some_text")]
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    #[serde(deserialize_with = "or_default")]
    owner_references: Vec<OwnerReference>,
    #[serde(deserialize_with = "text_map")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "text_map")]
    annotations: BTreeMap<String, String>,
}

/// Reads metadata without managed fields, most owners, finalizers and most annotations: a watch holds thousands of them.
pub(super) fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let read = or_default::<D, Metadata>(deserializer)?;
    let annotations: BTreeMap<String, String> = read
        .annotations
        .into_iter()
        .filter_map(|(key, value)| {
            if KEPT_ANNOTATIONS.iter().any(|p| key.starts_with(p)) {
                Some((key, value))
            } else if is_kept_annotation(&key) {
                // The key says enough.
                Some((key, String::new()))
            } else {
                None
            }
        })
        .collect();
    // Only whose a driver's pod is says anything.
    let is_driver = read
        .name
        .as_deref()
        .is_some_and(|n| driver_of_pod(n).is_some());
    let owners = Some(read.owner_references).filter(|owners| is_driver && !owners.is_empty());
    Ok(ObjectMeta {
        owner_references: owners,
        name: read.name,
        namespace: read.namespace,
        uid: read.uid,
        resource_version: read.resource_version,
        generation: read.generation,
        creation_timestamp: read.creation_timestamp,
        deletion_timestamp: read.deletion_timestamp,
        labels: Some(read.labels).filter(|l| !l.is_empty()),
        annotations: Some(annotations).filter(|a| !a.is_empty()),
        ..ObjectMeta::default()
    })
}
