//! Every Ampacity kind with its schema and rules.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use ampacity_api::{GROUP, VERSION};
use kube_cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde_json::{Value, json};

use super::structural::{check, unknown_field};
use super::{Problem, nearest::nearest};
use crate::input::FieldPath;

/// What is known about the kinds.
pub(crate) struct Kinds {
    kinds: BTreeMap<String, Kind>,
    validator: Validator,
}

struct Kind {
    schema: Value,
    /// Compiled when the first object of the kind is checked: it takes longer than everything else.
    rules: OnceCell<CompiledSchema>,
    namespaced: bool,
}

impl Kinds {
    /// Every kind that has a CustomResourceDefinition.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut kinds = BTreeMap::new();
        for crd in ampacity_api::crds() {
            let version = crd
                .spec
                .versions
                .iter()
                .find(|version| version.name == VERSION);
            let schema = version
                .and_then(|version| version.schema.as_ref())
                .and_then(|schema| schema.open_api_v3_schema.as_ref());
            let schema = serde_json::to_value(schema)?;
            kinds.insert(
                crd.spec.names.kind,
                Kind {
                    rules: OnceCell::new(),
                    schema,
                    namespaced: crd.spec.scope == "Namespaced",
                },
            );
        }
        Ok(Self {
            kinds,
            validator: Validator::new(),
        })
    }

    /// Whether objects of this API version and kind are ours to check: the group is.
    pub(crate) fn is_ours(api_version: &str) -> bool {
        api_version == GROUP || api_version.starts_with(&format!("{GROUP}/"))
    }

    /// What is wrong with the API version of an object of ours: another version of our group, or one of our kinds in no group or
    /// in one whose name is nearly ours. Other groups may have kinds of the same name.
    pub(crate) fn version_problem(&self, api_version: &str, kind: &str) -> Option<Problem> {
        let expected = format!("{GROUP}/{VERSION}");
        let is_kind = self.kinds.contains_key(kind);
        let group = api_version.split_once('/').map(|(group, _)| group);
        let is_meant = Self::is_ours(api_version)
            || (is_kind && group.is_none_or(|group| nearest(group.trim(), [GROUP]).is_some()));
        if api_version == expected || !is_meant {
            return None;
        }
        let what = if api_version.is_empty() {
            "is missing".to_owned()
        } else {
            format!("{api_version:?} does not exist")
        };
        Some(Problem {
            field: FieldPath::default().key("apiVersion"),
            message: format!("{what}; use {expected}"),
        })
    }

    /// Fills in defaults (the namespace too) and returns what is wrong with an object of our group.
    pub(crate) fn check(&self, object: &mut Value) -> Vec<Problem> {
        let root = FieldPath::default();
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = text("kind").to_owned();
        let Some(kind) = self.kinds.get(&name) else {
            let known = self.kinds.keys().map(String::as_str);
            let advice = match nearest(&name, known.clone()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("use one of {}", known.collect::<Vec<_>>().join(", ")),
            };
            return vec![Problem {
                field: root.key("kind"),
                message: format!("no kind of {GROUP} is named {name:?}; {advice}"),
            }];
        };
        let mut problems = Vec::new();
        kind.check_metadata(object, &mut problems);
        kind.check_fields(object, &mut problems);
        if problems.is_empty() {
            self.check_rules(kind, object, &mut problems);
        }
        problems
    }

    /// The CEL rules. A rule that cannot be run here is left to the API server.
    fn check_rules(&self, kind: &Kind, object: &Value, problems: &mut Vec<Problem>) {
        let rules = kind.rules.get_or_init(|| compile_schema(&kind.schema));
        let Err(errors) = self.validator.validate_compiled(rules, object, None) else {
            return;
        };
        for error in errors.as_slice() {
            if error.kind == ErrorKind::ValidationFailure {
                // A rule about metadata can stand only at the root, from where an API server lets it point nowhere.
                let of_name = error.message.strip_prefix("metadata.name ");
                let (field, message) = match of_name.filter(|_| error.field_path.is_empty()) {
                    Some(rest) => ("metadata.name", rest),
                    None => (error.field_path.as_str(), error.message.as_str()),
                };
                problems.push(Problem {
                    field: FieldPath::parse(field),
                    message: message.to_owned(),
                });
            }
        }
    }
}

impl Kind {
    fn check_metadata(&self, object: &mut Value, problems: &mut Vec<Problem>) {
        let at = FieldPath::default().key("metadata");
        let text = json!({"type": "string"});
        let texts = json!({"type": "object", "additionalProperties": text});
        let name = json!({
            "type": "string", "minLength": 1, "maxLength": 253,
            "pattern": ampacity_api::schema::DNS_SUBDOMAIN,
        });
        let namespace = json!({
            "type": "string", "minLength": 1, "maxLength": 63,
            "pattern": ampacity_api::schema::DNS_LABEL, "default": "default",
        });
        let any = json!({"x-kubernetes-preserve-unknown-fields": true});
        let mut schema = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": name, "labels": texts, "annotations": texts, "generateName": text, "uid": text,
                "resourceVersion": text, "generation": {"type": "integer"}, "selfLink": text,
                "creationTimestamp": {"type": "string", "format": "date-time"},
                "deletionTimestamp": {"type": "string", "format": "date-time"},
                "deletionGracePeriodSeconds": {"type": "integer"},
                "finalizers": {"type": "array", "items": text},
                "ownerReferences": {"type": "array", "items": any}, "managedFields": any,
            },
        });
        if let Some(metadata) = object.as_object_mut() {
            let metadata = metadata.entry("metadata").or_insert_with(|| json!({}));
            // `kubectl create --dry-run` writes it so.
            if let Some(metadata) = metadata.as_object_mut() {
                if metadata
                    .get("creationTimestamp")
                    .is_some_and(Value::is_null)
                {
                    metadata.remove("creationTimestamp");
                }
                if !self.namespaced {
                    metadata.remove("namespace");
                }
            }
            if self.namespaced
                && let Some(properties) = schema
                    .pointer_mut("/properties")
                    .and_then(Value::as_object_mut)
            {
                properties.insert("namespace".to_owned(), namespace);
            }
            check(&schema, metadata, &at, problems);
        }
    }

    fn check_fields(&self, object: &mut Value, problems: &mut Vec<Problem>) {
        let root = FieldPath::default();
        let Some(fields) = object.as_object_mut() else {
            return;
        };
        let properties = self.schema.get("properties").and_then(Value::as_object);
        for name in fields.keys() {
            let standard = ["apiVersion", "kind", "metadata"].contains(&name.as_str());
            if !standard && properties.is_none_or(|properties| !properties.contains_key(name)) {
                let known = properties
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.as_str());
                problems.push(Problem {
                    field: root.key(name),
                    message: unknown_field(name, known.chain(["metadata"])),
                });
            }
        }
        if let Some(spec) = properties.and_then(|properties| properties.get("spec")) {
            match fields.get_mut("spec") {
                Some(value) => check(spec, value, &root.key("spec"), problems),
                None => problems.push(Problem {
                    field: root.key("spec"),
                    message: "is missing; it is required".to_owned(),
                }),
            }
        }
        // A status is what an operator wrote, perhaps an older one: what cannot be read of it is no user's mistake.
        if let (Some(status), Some(value)) = (
            properties.and_then(|properties| properties.get("status")),
            fields.get_mut("status"),
        ) {
            let mut ignored = Vec::new();
            check(status, value, &root.key("status"), &mut ignored);
            if !ignored.is_empty() {
                fields.remove("status");
            }
        }
    }
}
