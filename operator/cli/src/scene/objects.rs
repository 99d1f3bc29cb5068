//! The objects of a run, by kind and name.

use std::collections::BTreeMap;
use std::path::Path;

use ampacity_api::{
    AcceleratorType, MemberCluster, Placement, PowerBudget, PowerDomain, PriceSheet,
};
use ampacity_controller::kinds;
use ampacity_controller::state::{
    JobKey, SlimDeviceTaintRule, SlimNode, SlimPod, SlimResourceClaim, SlimResourceSlice, StoredJob,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::check::Kinds;
use crate::input::{BadInput, Document, FieldPath, Origin, Source, read_documents};

/// An object with where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Given<T> {
    pub(crate) object: T,
    pub(crate) origin: Origin,
}

/// Namespace (empty for cluster-scoped objects) and name.
pub(crate) type Name = (String, String);

/// Everything that was read.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) jobs: BTreeMap<JobKey, Given<StoredJob>>,
    pub(crate) placements: BTreeMap<Name, Given<Placement>>,
    pub(crate) clusters: BTreeMap<Name, Given<MemberCluster>>,
    pub(crate) accelerator_types: BTreeMap<Name, Given<AcceleratorType>>,
    pub(crate) price_sheets: BTreeMap<Name, Given<PriceSheet>>,
    pub(crate) power_domains: BTreeMap<Name, Given<PowerDomain>>,
    pub(crate) power_budgets: BTreeMap<Name, Given<PowerBudget>>,
    pub(crate) priority_classes: BTreeMap<String, i32>,
    pub(crate) nodes: Vec<Given<SlimNode>>,
    pub(crate) pods: Vec<Given<SlimPod>>,
    pub(crate) slices: Vec<Given<SlimResourceSlice>>,
    pub(crate) claims: Vec<Given<SlimResourceClaim>>,
    pub(crate) taint_rules: Vec<Given<SlimDeviceTaintRule>>,
    /// What was passed over, in words.
    pub(crate) notes: Vec<String>,
    ignored: BTreeMap<String, usize>,
    not_in_force: BTreeMap<String, usize>,
    /// Objects that could not be read so far.
    unreadable: usize,
    /// Where the first object of a kind and name stands, and what it says.
    first: BTreeMap<(String, Name), (String, Value)>,
}

impl Objects {
    /// PriorityClasses that every cluster has.
    const BUILT_IN_CLASSES: [(&str, i32); 2] = [
        ("system-cluster-critical", 2_000_000_000),
        ("system-node-critical", 2_000_001_000),
    ];

    /// Kinds of the API that nothing reads yet.
    const NOT_IN_FORCE: [&str; 2] = ["CapacityReservation", "JobQueue"];

    /// Objects that could not be read whose line is told: people read the first few.
    const MAX_LINES: usize = 20;

    /// No objects but those that every hub has.
    fn new() -> Self {
        Self {
            priority_classes: Self::BUILT_IN_CLASSES
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            ..Self::default()
        }
    }

    /// Takes an object in.
    ///
    /// # Errors
    /// What is wrong with it; objects of Kubernetes' own kinds are read leniently and become notes instead.
    fn add(&mut self, document: Document, kinds: &Kinds) -> Result<(), Vec<BadInput>> {
        let text = |name: &str| {
            let value = document.value.get(name).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if kind.is_empty() {
            return Err(vec![document.origin.bad(
                &FieldPath::default().key("kind"),
                "is missing; every object starts with apiVersion: and kind:",
            )]);
        }
        if let Some(problem) = kinds.version_problem(&api_version, &kind) {
            return Err(vec![document.origin.bad(&problem.field, &problem.message)]);
        }
        if Kinds::is_ours(&api_version) && Self::NOT_IN_FORCE.contains(&kind.as_str()) {
            *self.not_in_force.entry(kind).or_default() += 1;
            return Ok(());
        }
        if Kinds::is_ours(&api_version) {
            return self.add_ours(document, &kind, kinds);
        }
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind.as_str()) {
            ("", "Node") => {
                let unread = lenient(document, &mut self.nodes);
                self.note_unread(unread);
            }
            ("", "Pod") => {
                let unread = lenient(document, &mut self.pods);
                self.note_unread(unread);
            }
            ("resource.k8s.io", "ResourceSlice") => {
                let unread = lenient(document, &mut self.slices);
                self.note_unread(unread);
            }
            ("resource.k8s.io", "ResourceClaim") => {
                let unread = lenient(document, &mut self.claims);
                self.note_unread(unread);
            }
            ("resource.k8s.io", "DeviceTaintRule") => {
                let unread = lenient(document, &mut self.taint_rules);
                self.note_unread(unread);
            }
            ("scheduling.k8s.io", "PriorityClass") => return self.add_priority_class(&document),
            _ => {
                let what = if api_version.is_empty() {
                    kind
                } else {
                    format!("{kind} ({api_version})")
                };
                *self.ignored.entry(what).or_default() += 1;
            }
        }
        Ok(())
    }

    /// A note that a path which was given holds nothing.
    fn note_empty(&mut self, path: &str) {
        self.notes
            .push(format!("{path}: there is no manifest in it (YAML or JSON)"));
    }

    /// A note that an object was passed over, with its line as long as there are few.
    fn note_unread(&mut self, unread: Result<(), Unread>) {
        let Err(Unread {
            origin,
            field,
            message,
        }) = unread
        else {
            return;
        };
        self.unreadable += 1;
        let bad = if self.unreadable <= Self::MAX_LINES {
            origin.bad(&field, &message)
        } else {
            origin.bad_without_line(&field, &message)
        };
        self.notes.push(bad.to_string());
    }

    /// Notes for what was passed over because of its kind.
    fn note_ignored(&mut self) {
        for (kind, count) in std::mem::take(&mut self.not_in_force) {
            let objects = if count == 1 { "object" } else { "objects" };
            self.notes.push(format!(
                "{count} {objects} of kind {kind} ignored: the kind is not in force yet"
            ));
        }
        for (kind, count) in std::mem::take(&mut self.ignored) {
            let objects = if count == 1 { "object" } else { "objects" };
            self.notes.push(format!(
                "{count} {objects} of kind {kind} ignored: a plan does not depend on it"
            ));
        }
    }

    fn add_priority_class(&mut self, document: &Document) -> Result<(), Vec<BadInput>> {
        let root = FieldPath::default();
        let bad = |field: FieldPath, message: &str| Err(vec![document.origin.bad(&field, message)]);
        let Some(name) = document
            .value
            .pointer("/metadata/name")
            .and_then(Value::as_str)
        else {
            return bad(
                root.key("metadata").key("name"),
                "is missing; it is required",
            );
        };
        let value = document.value.get("value").and_then(Value::as_i64);
        let Some(value) = value.and_then(|value| i32::try_from(value).ok()) else {
            return bad(
                root.key("value"),
                "must be a whole number of at most 32 bits",
            );
        };
        match self.priority_classes.insert(name.to_owned(), value) {
            Some(before) if before != value => bad(
                root.key("value"),
                &format!(
                    "PriorityClass {name:?} is given twice, with {before} and {value}; remove one"
                ),
            ),
            _ => Ok(()),
        }
    }

    fn add_ours(
        &mut self,
        document: Document,
        kind: &str,
        kinds: &Kinds,
    ) -> Result<(), Vec<BadInput>> {
        let Document { origin, mut value } = document;
        let problems = kinds.check(&mut value);
        if !problems.is_empty() {
            return Err(problems
                .iter()
                .map(|problem| origin.bad(&problem.field, &problem.message))
                .collect());
        }
        check_template(&value, &origin)?;
        let name = {
            let text = |at: &str| {
                let value = value.pointer(at).and_then(Value::as_str);
                value.unwrap_or_default().to_owned()
            };
            (text("/metadata/namespace"), text("/metadata/name"))
        };
        let identity = (kind.to_owned(), name);
        if let Some((place, before)) = self.first.get(&identity) {
            if *before == value {
                return Ok(());
            }
            return Err(vec![origin.bad(
                &FieldPath::default().key("metadata").key("name"),
                &format!(
                    "{kind} {:?} is given a second time with other contents (first in {place}); remove one",
                    identity.1.1
                ),
            )]);
        }
        self.first.insert(identity, (origin.name(), value.clone()));
        match kind {
            "Placement" => strict(value, origin, &mut self.placements),
            "MemberCluster" => strict(value, origin, &mut self.clusters),
            "AcceleratorType" => strict(value, origin, &mut self.accelerator_types),
            "PriceSheet" => strict(value, origin, &mut self.price_sheets),
            "PowerDomain" => strict(value, origin, &mut self.power_domains),
            "PowerBudget" => strict(value, origin, &mut self.power_budgets),
            _ => match kinds::read(kind, value) {
                Some(Ok((key, object))) => {
                    self.jobs.insert(key, Given { object, origin });
                    Ok(())
                }
                Some(Err(error)) => Err(vec![unusable(&error, &origin)]),
                None => Ok(()),
            },
        }
    }
}

/// Reads everything; all errors of all files are found before giving up. `empty`: folders that were given and hold no manifest.
/// Reading ends early after `most_errors`.
///
/// # Errors
/// What is wrong with the documents.
pub(crate) fn read(
    sources: &[Source],
    kinds: &Kinds,
    empty: &[&Path],
    most_errors: usize,
) -> Result<Objects, Vec<BadInput>> {
    let mut objects = Objects::new();
    for folder in empty {
        objects.note_empty(&folder.display().to_string());
    }
    let mut errors = Vec::new();
    for source in sources {
        let documents = match read_documents(source) {
            Ok(documents) => documents,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        if documents.is_empty() {
            objects.note_empty(&source.name());
        }
        for document in documents {
            if errors.len() > most_errors {
                break;
            }
            if let Err(more) = objects.add(document, kinds) {
                errors.extend(more);
            }
        }
    }
    objects.note_ignored();
    if errors.is_empty() {
        Ok(objects)
    } else {
        Err(errors)
    }
}

/// The pod template, which our schema keeps as it is: unknown fields and wrong types.
fn check_template(value: &Value, origin: &Origin) -> Result<(), Vec<BadInput>> {
    let Some(template) = value.pointer("/spec/template").cloned() else {
        return Ok(());
    };
    let at = FieldPath::default().key("spec").key("template");
    let mut unknown = Vec::new();
    let read: Result<PodTemplateSpec, _> = {
        let mut track = serde_path_to_error::Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(template, &mut track);
        serde_ignored::deserialize(deserializer, |path| unknown.push(path.to_string()))
            .map_err(|error: serde_json::Error| (track.path().to_string(), error))
    };
    let mut bad: Vec<BadInput> = unknown
        .iter()
        .map(|path| {
            // serde_ignored writes `?` for the inside of an optional field and list indexes as steps.
            let mut field = at.clone();
            for step in path.split('.').filter(|step| *step != "?") {
                field = match step.parse() {
                    Ok(index) => field.index(index),
                    Err(_) => field.key(step),
                };
            }
            origin.bad(
                &field,
                "is an unknown field of a pod template; remove or correct it",
            )
        })
        .collect();
    if let Err((path, error)) = read {
        let mut field = at;
        field.0.extend(FieldPath::parse(&path).0);
        bad.push(origin.bad(
            &field,
            &format!("cannot be used in a pod template: {error}"),
        ));
    }
    if bad.is_empty() { Ok(()) } else { Err(bad) }
}

/// An object that passed its schema; what the types still refuse is reported with its field.
fn strict<T: DeserializeOwned + ResourceExt>(
    value: Value,
    origin: Origin,
    into: &mut BTreeMap<Name, Given<T>>,
) -> Result<(), Vec<BadInput>> {
    let object: T =
        serde_path_to_error::deserialize(value).map_err(|error| vec![unusable(&error, &origin)])?;
    let name = (object.namespace().unwrap_or_default(), object.name_any());
    into.insert(name, Given { object, origin });
    Ok(())
}

fn unusable(error: &serde_path_to_error::Error<serde_json::Error>, origin: &Origin) -> BadInput {
    let field = FieldPath::parse(&error.path().to_string());
    origin.bad(&field, &format!("cannot be used: {}", error.inner()))
}

/// An object that cannot be read.
struct Unread {
    origin: Origin,
    field: FieldPath,
    message: String,
}

/// An object of Kubernetes' own, read leniently.
fn lenient<T: DeserializeOwned>(
    document: Document,
    into: &mut Vec<Given<T>>,
) -> Result<(), Unread> {
    let Document { origin, value } = document;
    match serde_path_to_error::deserialize(value) {
        Ok(object) => {
            into.push(Given { object, origin });
            Ok(())
        }
        Err(error) => Err(Unread {
            origin,
            field: FieldPath::parse(&error.path().to_string()),
            message: format!("{}; the object is passed over", error.inner()),
        }),
    }
}
