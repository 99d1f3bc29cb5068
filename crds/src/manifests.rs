//! The definitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{
    AcceleratorType, InferenceJob, MemberCluster, Placement, PowerBudget, PowerDomain, PriceSheet,
    TrainingJob,
};

/// API group of every kind.
pub const GROUP: &str = "ampacity.dev";
/// API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// Every definition, in order of name.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        AcceleratorType::crd(),
        InferenceJob::crd(),
        MemberCluster::crd(),
        Placement::crd(),
        PowerBudget::crd(),
        PowerDomain::crd(),
        PriceSheet::crd(),
        TrainingJob::crd(),
    ];
    for crd in &mut crds {
        for version in &mut crd.spec.versions {
            if let Some(schema) = version
                .schema
                .as_mut()
                .and_then(|schema| schema.open_api_v3_schema.as_mut())
            {
                refine(schema);
            }
        }
    }
    crds.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    crds
}

/// Makes a generated schema into one that people can use.
///
/// `Option` fields come out as `nullable`, which would let `budget: null` past the schema and into CEL rules as a
/// value: an absent field has one form here, not two.
fn refine(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    // A doc comment's line breaks are the source file's, not the reader's.
    if let Some(description) = &mut schema.description {
        *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    if let Some(values) = &mut schema.enum_ {
        values.retain(|JSON(value)| !value.is_null());
    }
    schema.default.take_if(|JSON(value)| value.is_null());
    // Sizes of numbers are said by minimum and maximum.
    schema
        .format
        .take_if(|format| format.starts_with("uint") || format.starts_with("int"));

    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        refine(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => refine(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(refine),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        refine(values);
    }
}

/// The definitions as one YAML stream, for `kubectl apply --server-side -f -`.
pub fn to_yaml(crds: &[CustomResourceDefinition]) -> Result<String, ManifestError> {
    let mut yaml = String::new();
    for crd in crds {
        let mut value = serde_json::to_value(crd)?;
        whole_numbers(&mut value);
        yaml.push_str("---\n");
        yaml.push_str(&serde_saphyr::to_string(&value)?);
    }
    Ok(yaml)
}

/// Why the definitions could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A definition is no JSON.
    #[error("failed to write a definition as JSON")]
    Json(#[from] serde_json::Error),
    /// A definition is no YAML.
    #[error("failed to write a definition as YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// Bounds are floating-point in the Kubernetes API: writes `80` instead of `80.0`.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Whole numbers up to 2^53 are exact in an f64.
            let whole = number
                .as_f64()
                .filter(|float| number.is_f64() && float.fract() == 0.0);
            if let Some(float) = whole.filter(|float| float.abs() <= 9_007_199_254_740_992.0) {
                *number = (float as i64).into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
