//! Schemas of fields whose Rust type is Kubernetes' own, with the bounds and list types that the API
//! server wants and `k8s-openapi` does not give.

use k8s_openapi::{
    api::core::v1::{EnvVar, ResourceClaim},
    apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement,
};
use schemars::{Schema, SchemaGenerator, json_schema};

/// A DNS label, RFC 1123: names of alternatives and vendors.
pub const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A DNS subdomain, RFC 1123: names of Kubernetes objects.
pub const DNS_SUBDOMAIN: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A label's or an extended resource's key: an optional DNS prefix, a slash and a name.
pub const QUALIFIED_NAME: &str =
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// A label's value; empty is one.
pub const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
/// A MIG profile as NVIDIA writes it, `1g.10gb`: compute slices and memory of the instance, with a compute instance in it before
/// (`1c.3g.20gb`) and attributes after (`1g.10gb+me`, or `1g.10gb.me` as in resource names).
pub const MIG_PROFILE: &str = r"^([1-9]c\.)?[1-9]g\.[1-9][0-9]{0,2}gb([.+-][a-z]+){0,2}$";
/// A provider and a region, `aws/us-east-1`.
pub const LOCATION: &str =
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";

/// `[]metav1.Condition`, a map by type, at most 16.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "description": "Which question the condition answers, in CamelCase.",
                    "type": "string",
                    "maxLength": 316,
                },
                "status": {
                    "description": "The answer: True, False or Unknown.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "description": "Why, as one CamelCase word that programs may rely on.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "description": "Why, in words for people; may be empty.",
                    "type": "string",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "description": "The metadata.generation that the condition was worked out from.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "description": "When the status last changed, RFC 3339.",
                    "type": "string",
                    "format": "date-time",
                },
            },
        },
    })
}

/// `metav1.LabelSelector` with bounds.
pub fn label_selector(generator: &mut SchemaGenerator) -> Schema {
    let mut expression = generator.subschema_for::<LabelSelectorRequirement>();
    if let Some(values) = expression
        .pointer_mut("/properties/values")
        .and_then(|values| values.as_object_mut())
    {
        values.insert("maxItems".into(), 64.into());
        values.insert(
            "items".into(),
            serde_json::json!({ "type": "string", "maxLength": 63, "pattern": LABEL_VALUE }),
        );
        values.insert("x-kubernetes-list-type".into(), "atomic".into());
    }
    if let Some(operator) = expression
        .pointer_mut("/properties/operator")
        .and_then(|value| value.as_object_mut())
    {
        operator.insert(
            "enum".into(),
            serde_json::json!(["In", "NotIn", "Exists", "DoesNotExist"]),
        );
    }
    if let Some(key) = expression
        .pointer_mut("/properties/key")
        .and_then(|value| value.as_object_mut())
    {
        key.insert("maxLength".into(), 317.into());
        key.insert("pattern".into(), QUALIFIED_NAME.into());
    }
    if let Some(expression) = expression.as_object_mut() {
        let rule =
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)";
        let message = "operators In and NotIn need values, Exists and DoesNotExist take none";
        expression.insert(
            "x-kubernetes-validations".into(),
            serde_json::json!([{ "rule": rule, "message": message }]),
        );
    }
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "description": "Labels that must all have these values; at most 32. Default: none.",
                "type": "object",
                "maxProperties": 32,
                "additionalProperties": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
            },
            "matchExpressions": {
                "description": "Requirements that must all hold; at most 32. Default: none.",
                "type": "array",
                "maxItems": 32,
                "x-kubernetes-list-type": "atomic",
                "items": expression,
            },
        },
    })
}

/// Labels of an object: at most 64 keys, values of at most 63 characters.
pub fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 63 },
    })
}

/// Facts by name: at most 16 entries of at most 256 characters.
pub fn details(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 256 },
    })
}

/// `PodTemplateSpec`. Only what Ampacity itself relies on is in the schema; the member cluster's API
/// server, which knows its own version of a pod, checks the rest.
pub fn pod_template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "metadata": {
                "description": "Labels and annotations of the pods. Default: none.",
                "type": "object",
                "properties": {
                    "labels": {
                        "description": "Labels of the pods; at most 64, none under ampacity.dev/. Default: none.",
                        "type": "object",
                        "maxProperties": 64,
                        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
                        "x-kubernetes-validations": [{
                            "rule": "self.all(key, !key.startsWith('ampacity.dev/'))",
                            "message": "keys under ampacity.dev/ are Ampacity's own",
                        }],
                    },
                    "annotations": {
                        "description": "Annotations of the pods; at most 64. Default: none.",
                        "type": "object",
                        "maxProperties": 64,
                        "additionalProperties": { "type": "string", "maxLength": 65536 },
                    },
                },
            },
            "spec": {
                "description": "PodSpec of the pods, as in a Deployment. The first container is the one that \
                    gets the accelerators and the chosen alternative's image, env, args and resources.",
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "required": ["containers"],
                "properties": {
                    "restartPolicy": {
                        "description": "Never for a TrainingJob, whose gang is placed again when a replica fails; Always for an \
                            InferenceJob. Default: that.",
                        "type": "string",
                        "enum": ["Always", "OnFailure", "Never"],
                    },
                    "containers": {
                        "description": "Containers of each pod, 1 to 16.",
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 16,
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": true,
                            "required": ["name"],
                            "properties": {
                                "name": {
                                    "description": "Name of the container, a DNS label.",
                                    "type": "string",
                                    "maxLength": 63,
                                    "pattern": DNS_LABEL,
                                },
                                "image": {
                                    "description": "Image of the container. Default for the first container: the \
                                        chosen alternative's.",
                                    "type": "string",
                                    "maxLength": 512,
                                },
                            },
                        },
                    },
                },
            },
        },
    })
}

/// `[]EnvVar`, a map by name, at most 128.
pub fn env(generator: &mut SchemaGenerator) -> Schema {
    let mut variable = generator.subschema_for::<EnvVar>();
    for (field, max_length) in [("/properties/name", 256), ("/properties/value", 32_768)] {
        if let Some(field) = variable
            .pointer_mut(field)
            .and_then(|field| field.as_object_mut())
        {
            field.insert("maxLength".into(), max_length.into());
        }
    }
    json_schema!({
        "type": "array",
        "maxItems": 128,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": variable,
    })
}

/// `ResourceRequirements` of a container, with bounds.
pub fn resources(generator: &mut SchemaGenerator) -> Schema {
    let claim = generator.subschema_for::<ResourceClaim>();
    let quantity = serde_json::json!({
        "x-kubernetes-int-or-string": true,
        "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        "maxLength": 32,
    });
    json_schema!({
        "type": "object",
        "properties": {
            "requests": {
                "description": "What a replica needs at least, by resource, as Kubernetes quantities. Accelerators are \
                    filled in and need not be named. Default: the template's.",
                "type": "object",
                "maxProperties": 32,
                "additionalProperties": quantity,
            },
            "limits": {
                "description": "What a replica may use at most, by resource, as Kubernetes quantities. Default: the template's.",
                "type": "object",
                "maxProperties": 32,
                "additionalProperties": quantity,
            },
            "claims": {
                "description": "DRA claims of the pod that the container uses; at most 16. Default: the template's.",
                "type": "array",
                "maxItems": 16,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": claim,
            },
        },
    })
}
