//! Measured throughputs in the format of Gavel (github.com/stanford-futuredata/gavel, `simulation_throughputs.json`):
//! `{worker type: {"('model (batch size n)', GPUs)": {"null": steps per second alone, …}}}`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::input::{BadInput, FieldPath, Source, json};
use crate::simulate::MAX_ERRORS;

/// GPUs that a job may ask for in the experiment.
pub(super) const SIZES: [u32; 4] = [1, 2, 4, 8];

/// Most values of a file; the published one has some 40,000.
const MAX_VALUES: usize = 2_000_000;

/// Steps per second of a model at a number of GPUs, in the order of the worker types that were asked for. `None`: it does not run there.
pub(super) type Rates = Vec<Option<f64>>;

/// A model at one batch size.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Model {
    pub(super) name: String,
    /// By number of GPUs; every model runs on 1.
    pub(super) sizes: BTreeMap<u32, Rates>,
}

/// Reads the models that run on one GPU of the first of `types`, by name.
///
/// # Errors
/// Where the file cannot be read or is not of that format; all that is wrong with the figures, in order.
pub(super) fn read(source: &Source, types: &[&str]) -> Result<Vec<Model>, Vec<BadInput>> {
    let text = source
        .read("Gavel's simulation_throughputs.json")
        .map_err(|error| vec![error])?;
    parse(&source.name(), &text, types)
}

fn parse(name: &str, text: &str, types: &[&str]) -> Result<Vec<Model>, Vec<BadInput>> {
    let whole = json::read_one(text, MAX_VALUES).map_err(|error| {
        let what = if json::is_too_many(&error) {
            format!("has more than {MAX_VALUES} values")
        } else {
            format!("is not valid JSON: {error}")
        };
        vec![BadInput::new(
            format!("{name}, line {}", error.line()),
            format!("{what}; give Gavel's simulation_throughputs.json"),
        )]
    })?;
    let mut tables = Vec::new();
    for worker in types {
        let Some(table) = whole.get(worker).and_then(Value::as_object) else {
            return Err(vec![BadInput::new(
                format!("{name}, {worker}"),
                "is missing or no object; the file needs one of this name with the throughput of each job, or leave the type out of --cluster",
            )]);
        };
        tables.push(table);
    }
    let mut errors = Vec::new();
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    for key in tables.first().copied().into_iter().flat_map(Map::keys) {
        if errors.len() > MAX_ERRORS {
            break;
        }
        let at = |worker: &str| format!("{name}, {}", FieldPath::default().key(worker).key(key));
        let Some((model, gpus)) = split(key) else {
            errors.push(BadInput::new(
                at(types.first().copied().unwrap_or_default()),
                "is no job; a job is written ('model (batch size 16)', 1)",
            ));
            continue;
        };
        if !SIZES.contains(&gpus) {
            continue;
        }
        let mut rates = Vec::new();
        for (worker, table) in types.iter().zip(&tables) {
            let alone = table
                .get(key)
                .map(|pairs| pairs.get("null").and_then(Value::as_f64));
            match alone {
                // 0 stands for a job that does not fit in memory.
                Some(Some(rate)) if (0.0..1e9).contains(&rate) => {
                    rates.push((rate >= 1e-6).then_some(rate));
                }
                None => rates.push(None),
                Some(_) => errors.push(BadInput::new(
                    format!("{}.null", at(worker)),
                    "is no throughput; give steps per second, 0 or more and below 10⁹",
                )),
            }
        }
        // Sizes of jobs are set by the time they take on the first type.
        if rates.first().is_some_and(Option::is_some) {
            models
                .entry(model.clone())
                .or_insert(Model {
                    name: model,
                    sizes: BTreeMap::new(),
                })
                .sizes
                .insert(gpus, rates);
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let models: Vec<Model> = models
        .into_values()
        .filter(|model| model.sizes.contains_key(&1))
        .collect();
    if models.is_empty() {
        return Err(vec![BadInput::new(
            format!("{name}, {}", types.first().copied().unwrap_or_default()),
            "has no job for one GPU; the sizes of jobs are drawn in GPUs from 1",
        )]);
    }
    Ok(models)
}

/// `('LM (batch size 5)', 8)` → `LM (batch size 5)` and 8.
fn split(key: &str) -> Option<(String, u32)> {
    let (model, gpus) = key
        .strip_prefix("('")?
        .strip_suffix(')')?
        .rsplit_once("', ")?;
    Some((model.to_owned(), gpus.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_by_model_and_size() {
        let text = r#"{
            "v100": {"('A', 1)": {"null": 2.5, "('B', 1)": [1, 2]}, "('A', 8)": {"null": 9}, "('A', 16)": {"null": 9}, "('B', 1)": {"null": 0.0}},
            "k80": {"('A', 1)": {"null": 0.5}, "('A', 8)": {"null": 0.0}},
            "other": 7
        }"#;
        let models = parse("f", text, &["v100", "k80"]).unwrap();
        let sizes = [(1, vec![Some(2.5), Some(0.5)]), (8, vec![Some(9.0), None])];
        assert_eq!(
            models,
            [Model {
                name: "A".into(),
                sizes: sizes.into()
            }]
        );
    }

    #[test]
    fn every_mistake_names_its_place() {
        for (text, error) in [
            (
                "{",
                "f, line 1: is not valid JSON: EOF while parsing an object at line 1 column 1; give Gavel's simulation_throughputs.json",
            ),
            (
                "[]",
                "f, v100: is missing or no object; the file needs one of this name with the throughput of each job, or leave the type out of --cluster",
            ),
            (
                r#"{"v100": {"A": {}}}"#,
                "f, v100.A: is no job; a job is written ('model (batch size 16)', 1)",
            ),
            (
                r#"{"v100": {"('A', 1)": {"null": -1}}}"#,
                "f, v100[\"('A', 1)\"].null: is no throughput; give steps per second, 0 or more and below 10⁹",
            ),
            (
                r#"{"v100": {"('A', 2)": {"null": 1}}}"#,
                "f, v100: has no job for one GPU; the sizes of jobs are drawn in GPUs from 1",
            ),
        ] {
            let errors = parse("f", text, &["v100"]).unwrap_err();
            assert_eq!(errors[0].to_string(), error);
        }
    }
}
