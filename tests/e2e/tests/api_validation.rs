//! What a real API server says to good and bad manifests of every kind.
//!
//! `fixtures/manifests` holds whole manifests (`good`), tables of cases that each change a base (`cases`) and full
//! statuses (`status`). Everything is sent as `kubectl apply --validate=strict` sends it, the message that a user gets
//! is snapshotted, and a warning of the server is a failure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use ampacity_api::{
    AcceleratorType, InferenceJob, MemberCluster, Placement, PowerBudget, PowerDomain, PriceSheet,
    TrainingJob, crds,
};
use ampacity_controlplane::{ControlPlane, wait_until};
use anyhow::{Context as _, Result, ensure};
use kube::{
    Client,
    client::Body,
    core::{CustomResourceExt, Resource},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// What the server answered.
struct Answer {
    status: u16,
    warnings: Vec<String>,
    body: Value,
}

impl Answer {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What `kubectl` would print.
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    fn accepted(self, what: &str) -> Result<Value> {
        ensure!(
            self.is_success(),
            "{what}: {} {}",
            self.status,
            self.message()
        );
        ensure!(
            self.warnings.is_empty(),
            "{what}: the server warns: {:?}",
            self.warnings
        );
        Ok(self.body)
    }
}

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";

async fn send(
    client: &Client,
    method: &str,
    uri: &str,
    media_type: &str,
    body: Option<&Value>,
) -> Result<Answer> {
    let bytes = body
        .map(serde_json::to_vec)
        .transpose()?
        .unwrap_or_default();
    let header = if method == "GET" {
        "accept"
    } else {
        "content-type"
    };
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header(header, media_type)
        .body(Body::from(bytes))?;
    let response = client.send(request).await?;
    let warnings = response
        .headers()
        .get_all("warning")
        .iter()
        .map(|warning| String::from_utf8_lossy(warning.as_bytes()).into_owned())
        .collect();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await?;
    let body = serde_json::from_slice(&bytes)
        .with_context(|| String::from_utf8_lossy(&bytes).into_owned())?;
    Ok(Answer {
        status,
        warnings,
        body,
    })
}

/// Where objects of a kind live.
fn collection(manifest: &Value) -> Result<String> {
    let kind = manifest["kind"].as_str().context("no kind")?;
    let crd = crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == kind)
        .with_context(|| format!("unknown kind {kind}"))?;
    let plural = crd.spec.names.plural;
    let version = manifest["apiVersion"].as_str().context("no apiVersion")?;
    Ok(
        match manifest
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
        {
            Some(namespace) => format!("/apis/{version}/namespaces/{namespace}/{plural}"),
            None => format!("/apis/{version}/{plural}"),
        },
    )
}

fn object(manifest: &Value) -> Result<String> {
    let name = manifest
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .context("no name")?;
    Ok(format!("{}/{name}", collection(manifest)?))
}

async fn create(client: &Client, manifest: &Value, query: &str) -> Result<Answer> {
    let uri = format!("{}?fieldValidation=Strict{query}", collection(manifest)?);
    send(client, "POST", &uri, JSON, Some(manifest)).await
}

/// A server with all definitions installed, none of which made it warn or complain.
async fn server() -> Result<(ControlPlane, Client)> {
    let server = ControlPlane::builder("api").start().await?;
    let client = server.client()?;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for crd in crds() {
        let name = crd
            .metadata
            .name
            .clone()
            .context("a definition without a name")?;
        let uri = format!("{definitions}?fieldValidation=Strict");
        send(
            &client,
            "POST",
            &uri,
            JSON,
            Some(&serde_json::to_value(&crd)?),
        )
        .await?
        .accepted(&name)?;
        let uri = &format!("{definitions}/{name}");
        let established = wait_until(
            "the definition to be established",
            std::time::Duration::from_secs(30),
            || async {
                let found = send(&client, "GET", uri, JSON, None)
                    .await
                    .map(|answer| answer.body)
                    .unwrap_or_default();
                conditions(&found)
                    .get("Established")
                    .is_some_and(|status| status == "True")
            },
        );
        established.await?;
        let found = send(&client, "GET", uri, JSON, None)
            .await?
            .accepted(&name)?;
        let complaint = conditions(&found).remove("NonStructuralSchema");
        ensure!(
            complaint.is_none_or(|status| status != "True"),
            "{name} has no structural schema"
        );
    }
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "research" } });
    send(
        &client,
        "POST",
        "/api/v1/namespaces",
        JSON,
        Some(&namespace),
    )
    .await?
    .accepted("namespace")?;
    Ok((server, client))
}

fn conditions(object: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|condition| (text(&condition["type"]), text(&condition["status"])))
        .collect()
}

fn fixtures(folder: &str) -> Result<Vec<(String, PathBuf)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/manifests")
        .join(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .context("no name")?
            .to_string_lossy()
            .into_owned();
        files.push((name, path));
    }
    files.sort();
    Ok(files)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_saphyr::from_str(&fs::read_to_string(path)?).with_context(|| path.display().to_string())
}

/// JSON merge patch, RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, change) in patch {
        if change.is_null() {
            if let Some(target) = target.as_object_mut() {
                target.remove(key);
            }
        } else {
            merge(&mut target[key], change);
        }
    }
}

/// Every path that a value has, `spec.alternatives[].name`.
fn paths(prefix: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                paths(&format!("{prefix}.{key}"), field, into);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                paths(&format!("{prefix}[{index}]"), item, into);
            }
        }
        _ => {
            into.insert(prefix.to_owned());
        }
    }
}

/// Fails unless the Rust type keeps every field of an object that the server stored.
fn keeps_everything<K: Resource + DeserializeOwned + Serialize>(stored: &Value) -> Result<()> {
    let typed: K = serde_json::from_value(stored.clone())?;
    let again = serde_json::to_value(&typed)?;
    for part in ["spec", "status"] {
        let (mut had, mut has) = (BTreeSet::new(), BTreeSet::new());
        paths(part, &stored[part], &mut had);
        paths(part, &again[part], &mut has);
        ensure!(
            had == has,
            "fields differ: {:?}",
            had.symmetric_difference(&has).collect::<Vec<_>>()
        );
    }
    Ok(())
}

fn check_type(stored: &Value) -> Result<()> {
    let check = match stored["kind"].as_str() {
        Some("TrainingJob") => keeps_everything::<TrainingJob>,
        Some("InferenceJob") => keeps_everything::<InferenceJob>,
        Some("Placement") => keeps_everything::<Placement>,
        Some("MemberCluster") => keeps_everything::<MemberCluster>,
        Some("AcceleratorType") => keeps_everything::<AcceleratorType>,
        Some("PriceSheet") => keeps_everything::<PriceSheet>,
        Some("PowerDomain") => keeps_everything::<PowerDomain>,
        Some("PowerBudget") => keeps_everything::<PowerBudget>,
        other => anyhow::bail!("unknown kind {other:?}"),
    };
    check(stored).with_context(|| format!("{} as a Rust type", stored["kind"]))
}

/// A table of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    base: Value,
    accepted: Vec<Case>,
    refused: Vec<Case>,
    updates: Vec<Update>,
}

/// A manifest to be created.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    patch: Value,
}

/// A change to a stored object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    name: String,
    /// How the stored object differs from the base.
    #[serde(default)]
    from: Value,
    patch: Value,
    accepted: bool,
}

fn patched(base: &Value, patch: &Value) -> Value {
    let mut manifest = base.clone();
    if !patch.is_null() {
        merge(&mut manifest, patch);
    }
    manifest
}

/// The messages of one table, in its order.
async fn messages(client: &Client, table: &Table) -> Result<String> {
    create(client, &table.base, "&dryRun=All")
        .await?
        .accepted("the base")?;
    for case in &table.accepted {
        let answer = create(client, &patched(&table.base, &case.patch), "&dryRun=All").await?;
        check_type(&answer.accepted(&case.name)?).with_context(|| case.name.clone())?;
    }
    let mut log = String::new();
    for case in &table.refused {
        let answer = create(client, &patched(&table.base, &case.patch), "&dryRun=All").await?;
        ensure!(
            (400..500).contains(&answer.status),
            "{}: {} {}",
            case.name,
            answer.status,
            answer.message()
        );
        writeln!(log, "# {}\n{}\n", case.name, answer.message().trim_end())?;
    }
    for update in &table.updates {
        let stored = patched(&table.base, &update.from);
        create(client, &stored, "").await?.accepted(&update.name)?;
        let uri = format!("{}?fieldValidation=Strict&dryRun=All", object(&stored)?);
        let answer = send(client, "PATCH", &uri, MERGE_PATCH, Some(&update.patch)).await?;
        if update.accepted {
            answer.accepted(&update.name)?;
        } else {
            ensure!(
                answer.status == 422,
                "{}: {} {}",
                update.name,
                answer.status,
                answer.message()
            );
            writeln!(
                log,
                "# update: {}\n{}\n",
                update.name,
                answer.message().trim_end()
            )?;
        }
        send(client, "DELETE", &object(&stored)?, JSON, None)
            .await?
            .accepted(&update.name)?;
    }
    Ok(log)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_what_is_wrong() -> Result<()> {
    let (_server, client) = server().await?;
    let (mut kinds, mut count) = (BTreeSet::new(), 0);
    for (name, path) in fixtures("cases")? {
        let table: Table = read(&path)?;
        kinds.insert(table.base["kind"].as_str().context("no kind")?.to_owned());
        count += table.accepted.len() + table.refused.len() + table.updates.len();
        let log = messages(&client, &table)
            .await
            .with_context(|| format!("cases of {name}"))?;
        insta::assert_snapshot!(name, log);
    }
    ensure!(
        kinds.len() == crds().len(),
        "a kind has no cases: {kinds:?}"
    );
    ensure!(count >= 60, "only {count} cases are left");
    Ok(())
}

/// Rows as `kubectl get -o wide` shows them, without their age.
async fn columns(client: &Client, manifest: &Value) -> Result<String> {
    let table = send(client, "GET", &object(manifest)?, TABLE, None)
        .await?
        .accepted("table")?;
    let definitions = table["columnDefinitions"]
        .as_array()
        .context("no columns")?;
    let cells = table
        .pointer("/rows/0/cells")
        .and_then(Value::as_array)
        .context("no row")?;
    let mut text = String::new();
    for (definition, cell) in definitions.iter().zip(cells) {
        let name = definition["name"].as_str().context("no name")?;
        let is_time = definition["type"] == "date";
        let wide = if definition["priority"] == 0 {
            ""
        } else {
            " (wide)"
        };
        let cell = if is_time {
            "(time)".to_owned()
        } else {
            cell.as_str().map_or(cell.to_string(), str::to_owned)
        };
        writeln!(text, "{name}{wide}: {cell}")?;
    }
    Ok(text)
}

/// Names of the status fields that a definition has.
fn status_fields<K: CustomResourceExt>() -> BTreeSet<String> {
    let crd = serde_json::to_value(K::crd()).unwrap_or_default();
    let pointer = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    crd.pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn good_manifests_are_kept_whole_and_shown() -> Result<()> {
    let (_server, client) = server().await?;
    let statuses: BTreeMap<String, PathBuf> = fixtures("status")?.into_iter().collect();
    let mut tables = String::new();
    for (name, path) in fixtures("good")? {
        let manifest: Value = read(&path)?;
        let stored = create(&client, &manifest, "").await?.accepted(&name)?;
        check_type(&stored).with_context(|| name.clone())?;
        if name == "training_job_small" {
            insta::assert_json_snapshot!("defaults", stored["spec"]);
        }

        if let Some(path) = statuses.get(&name) {
            let status: Value = read(path)?;
            let given: BTreeSet<String> = status
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, _)| key.clone())
                .collect();
            let known = match name.as_str() {
                "training_job" => status_fields::<TrainingJob>(),
                "inference_job" => status_fields::<InferenceJob>(),
                "placement" => status_fields::<Placement>(),
                "member_cluster" => status_fields::<MemberCluster>(),
                "power_domain" => status_fields::<PowerDomain>(),
                "power_budget" => status_fields::<PowerBudget>(),
                other => anyhow::bail!("a status of {other}"),
            };
            ensure!(
                given == known,
                "status/{name}.yaml lacks or has more than {known:?}"
            );
            let uri = format!("{}/status?fieldValidation=Strict", object(&manifest)?);
            let patch = json!({ "status": status });
            let stored = send(&client, "PATCH", &uri, MERGE_PATCH, Some(&patch))
                .await?
                .accepted(&name)?;
            ensure!(
                stored["status"] == status,
                "{name}: the server changed the status to {}",
                stored["status"]
            );
            check_type(&stored).with_context(|| name.clone())?;
        }
        writeln!(tables, "# {name}\n{}", columns(&client, &manifest).await?)?;
    }
    insta::assert_snapshot!("columns", tables);

    // Autoscalers and `kubectl scale` speak to the scale subresource.
    let scale_uri = "/apis/ampacity.dev/v1alpha1/namespaces/research/inferencejobs/chat/scale";
    let scale = send(&client, "GET", scale_uri, JSON, None)
        .await?
        .accepted("scale")?;
    assert_eq!(scale["spec"]["replicas"], 6);
    assert_eq!(
        scale["status"],
        json!({ "replicas": 6, "selector": "ampacity.dev/job-name=chat" })
    );
    let patch = json!({ "spec": { "replicas": 9 } });
    let scale = send(&client, "PATCH", scale_uri, MERGE_PATCH, Some(&patch))
        .await?
        .accepted("scale")?;
    assert_eq!(scale["spec"]["replicas"], 9);
    Ok(())
}
