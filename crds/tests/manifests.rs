//! `crds/manifests` is what [`ampacity_api::crds`] returns, and every field says what it is.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use ampacity_api::{crds, to_yaml};
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

#[test]
fn manifests_are_up_to_date() {
    let wanted: BTreeMap<String, String> = crds()
        .iter()
        .map(|crd| {
            let name = format!("{}.yaml", crd.spec.names.plural);
            let yaml = to_yaml(std::slice::from_ref(crd)).unwrap();
            (name, yaml)
        })
        .collect();

    if env::var_os("UPDATE_CRDS").is_some() {
        fs::create_dir_all(folder()).unwrap();
        for entry in fs::read_dir(folder()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, yaml) in &wanted {
            fs::write(folder().join(name), yaml).unwrap();
        }
    }

    let found: BTreeMap<String, String> = fs::read_dir(folder())
        .map(|entries| {
            entries
                .map(|entry| {
                    let entry = entry.unwrap();
                    let name = entry.file_name().into_string().unwrap();
                    (name, fs::read_to_string(entry.path()).unwrap())
                })
                .collect()
        })
        .unwrap_or_default();
    let stale: Vec<&String> = wanted
        .iter()
        .filter(|(name, yaml)| found.get(*name) != Some(yaml))
        .map(|(name, _)| name)
        .chain(found.keys().filter(|name| !wanted.contains_key(*name)))
        .collect();
    assert!(
        stale.is_empty(),
        "crds/manifests is stale: {stale:?}. Regenerate it: UPDATE_CRDS=1 cargo test -p ampacity-api"
    );
}

/// Calls `visit` with the path and schema of every field below `schema`.
fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, field);
        walk(&path, field, visit);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            let path = format!("{path}{suffix}");
            visit(&path, &schema[key]);
            walk(&path, &schema[key], visit);
        }
    }
}

fn each_field(mut visit: impl FnMut(&str, &Value)) {
    for crd in crds() {
        let crd = serde_json::to_value(crd).unwrap_or_default();
        let kind = crd["spec"]["names"]["kind"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(!kind.is_empty(), "a definition without a kind");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            if schema["properties"][part].is_object() {
                walk(
                    &format!("{kind}.{part}"),
                    &schema["properties"][part],
                    &mut visit,
                );
            }
        }
    }
}

/// A list's items and a map's values are described by the field that holds them.
fn is_element(path: &str) -> bool {
    path.ends_with("[]") || path.ends_with("{}")
}

#[test]
fn every_field_is_described() {
    let mut bare = Vec::new();
    each_field(|path, field| {
        if !is_element(path)
            && field["description"]
                .as_str()
                .is_none_or(|text| text.len() < 8)
        {
            bare.push(path.to_owned());
        }
    });
    assert!(bare.is_empty(), "fields without a description: {bare:#?}");
}

/// Types that Kubernetes owns: their own words stay.
fn is_foreign(path: &str) -> bool {
    [
        ".env[]",
        ".claims[]",
        ".matchExpressions[]",
        ".template.",
        ".matchLabels",
    ]
    .iter()
    .any(|part| path.contains(part))
}

#[test]
fn every_spec_field_says_what_happens_without_it() {
    let mut silent = Vec::new();
    each_field(|path, field| {
        // A Placement is the operator's own: every field is filled in.
        let is_ours =
            path.contains(".spec.") && !path.starts_with("Placement.") && !is_foreign(path);
        let text = field["description"].as_str().unwrap_or_default();
        let says = ["Default: ", "Required.", "No default;"]
            .iter()
            .any(|phrase| text.contains(phrase));
        if is_ours && !is_element(path) && !says {
            silent.push(path.to_owned());
        }
        // A default in the schema and a default in words are the same.
        if let (true, Some(default)) = (is_ours, field["default"].as_str()) {
            assert!(
                text.contains(&format!("Default: {default}"))
                    || text.contains(&format!("Default: `{default}`")),
                "{path}: {text}"
            );
        }
    });
    assert!(
        silent.is_empty(),
        "fields that do not say their default: {silent:#?}"
    );
}

#[test]
fn everything_is_bounded() {
    let mut unbounded = Vec::new();
    each_field(|path, field| {
        let bounded = match field["type"].as_str() {
            Some("string") => {
                field["maxLength"].is_number()
                    || field["enum"].is_array()
                    || field["format"] == "date-time"
            }
            Some("array") => field["maxItems"].is_number(),
            Some("object") => {
                !field["additionalProperties"].is_object() || field["maxProperties"].is_number()
            }
            Some("integer") => {
                path.contains(".status.")
                    || (field["minimum"].is_number() && field["maximum"].is_number())
            }
            _ => true,
        };
        let is_env = path.contains(".env[].valueFrom");
        if !bounded
            && !is_env
            && !path.contains(".matchExpressions[]")
            && !path.contains(".claims[]")
            && !path.starts_with("Placement.spec")
        {
            unbounded.push(path.to_owned());
        }
    });
    assert!(
        unbounded.is_empty(),
        "fields without a bound: {unbounded:#?}"
    );
}

#[test]
fn no_schema_warns_or_allows_null() {
    each_field(|path, field| {
        assert!(field["nullable"].is_null(), "{path} is nullable");
        let format = field["format"].as_str().unwrap_or("date-time");
        assert_eq!(format, "date-time", "{path}");
        for value in field["enum"].as_array().into_iter().flatten() {
            assert!(value.is_string(), "{path}: {value}");
        }
    });
}
