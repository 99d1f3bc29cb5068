//! The chart: what it renders and what it refuses.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use ampacity_e2e::helm::{IMAGE, chart, helm, helm_ok, root};
use anyhow::{Context as _, Result, ensure};

const NAMESPACE: &str = "ampacity-system";

fn template(settings: &[&str]) -> Result<String> {
    helm_template("1.37.1", &[&[IMAGE], settings].concat()).and_then(succeeded)
}

fn succeeded(output: Output) -> Result<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// What the chart renders for a cluster of a version.
fn helm_template(version: &str, settings: &[&str]) -> Result<Output> {
    let chart = chart();
    let chart = chart.to_str().context("the path is not UTF-8")?;
    let mut arguments = vec![
        "template",
        "ampacity",
        chart,
        "--namespace",
        NAMESPACE,
        "--kube-version",
        version,
    ];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    helm(&arguments)
}

#[test]
fn its_crds_are_the_generated_ones() -> Result<()> {
    let read = |folder: PathBuf| -> Result<Vec<(String, String)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to list {folder:?}"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            files.push((name.into_owned(), fs::read_to_string(&path)?));
        }
        files.sort();
        Ok(files)
    };
    let generated = read(root().join("crds/manifests"))?;
    let stale = generated != read(chart().join("crds"))?;
    ensure!(!stale, "charts/ampacity/crds is stale: run `make chart`");
    ensure!(!generated.is_empty());
    Ok(())
}

#[test]
fn lints_in_both_shapes() -> Result<()> {
    let chart = chart();
    let chart = chart.to_str().context("the path is not UTF-8")?;
    helm_ok(&["lint", "--strict", chart, "--set", IMAGE])?;
    helm_ok(&["lint", "--strict", chart, "--set", "memberOnly=true"])?;
    Ok(())
}

#[test]
fn renders_a_hub() -> Result<()> {
    insta::assert_snapshot!("chart_hub", template(&[])?);
    Ok(())
}

#[test]
fn renders_a_member() -> Result<()> {
    insta::assert_snapshot!("chart_member", template(&["memberOnly=true"])?);
    Ok(())
}

#[test]
fn renders_every_option() -> Result<()> {
    let everything = template(&[
        "replicas=2",
        "hubName=hub-a",
        "leaseNamespace=leases",
        "member.namespaces={research,serving}",
        "member.createNamespaces=true",
        "networkPolicy.enabled=true",
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.labels.release=prometheus",
        "alerts.enabled=true",
        "alerts.labels.release=prometheus",
        "alerts.loopLagSeconds=5",
        "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "imagePullSecrets[0]=registry",
        "serviceAccount.name=operator",
        "serviceAccount.annotations.team=platform",
        "priorityClassName=system-cluster-critical",
        "nodeSelector.pool=system",
        "tolerations[0].operator=Exists",
        "podLabels.team=platform",
        "podAnnotations.team=platform",
        "extraArgs[0]=--concurrency=8",
    ])?;
    insta::assert_snapshot!("chart_every_option", everything);
    Ok(())
}

#[test]
fn ships_its_dashboard_where_it_is_asked_for() -> Result<()> {
    let plain = template(&[])?;
    ensure!(!plain.contains("grafana_dashboard") && !plain.contains("PrometheusRule"));
    let rendered = template(&[
        "dashboards.enabled=true",
        "dashboards.annotations.grafana_folder=platform",
    ])?;
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&rendered)?;
    let found = documents.iter().find(|d| d["kind"] == "ConfigMap");
    let found = found.context("no ConfigMap")?;
    let metadata = &found["metadata"];
    ensure!(metadata["labels"]["grafana_dashboard"] == "1", "{metadata}");
    ensure!(
        metadata["annotations"]["grafana_folder"] == "platform",
        "{metadata}"
    );
    let text = found["data"]["ampacity.json"].as_str().context("no data")?;
    let file = fs::read_to_string(chart().join("dashboards/ampacity.json"))?;
    ensure!(
        text.trim() == file.trim(),
        "the dashboard is not what the file says"
    );
    Ok(())
}

#[test]
fn refuses_values_it_does_not_know() -> Result<()> {
    for (setting, named) in [
        ("replica=2", "replica"),
        ("replicas=-1", "replicas"),
        ("image.repository=", "repository"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("image.digest=sha256:abc", "digest"),
        ("metrics.port=80", "port"),
        ("resources.request.cpu=1", "request"),
        ("networkPolicy.apiServerPorts[0]=0", "apiServerPorts"),
        ("memberOnly=perhaps", "memberOnly"),
        ("dashboards.enable=true", "enable"),
        ("alerts.waitingSeconds=0", "waitingSeconds"),
        ("member.namespaces[0]=Research", "namespaces"),
        ("hubName=-hub", "hubName"),
        ("leaseNamespace=", "leaseNamespace"),
        ("admissionPolicy.enable=false", "admissionPolicy"),
        // What the chart sets itself, or what its roles are bound to.
        ("extraArgs[0]=--lease-name=other", "extraArgs"),
        ("extraArgs[0]=--namespace=other", "extraArgs"),
        ("extraArgs[0]=--listen", "extraArgs"),
        ("extraArgs[0]=--hub-name=other", "extraArgs"),
        ("extraArgs[0]=--lease-namespace=other", "extraArgs"),
    ] {
        let output = helm_template("1.37.1", &[IMAGE, setting])?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "--set {setting} was accepted");
        ensure!(message.contains(named), "--set {setting}: {message}");
    }
    Ok(())
}

#[test]
fn what_is_opted_in_or_out_of_is_there_or_not() -> Result<()> {
    let create_namespaces = "    resources: [namespaces]\n    verbs: [create]";
    for (settings, text, is_there) in [
        (&[][..], "kind: ValidatingAdmissionPolicy\n", true),
        (
            &["admissionPolicy.enabled=false"],
            "ValidatingAdmissionPolicy",
            false,
        ),
        (&["memberOnly=true"], "ValidatingAdmissionPolicy", false),
        (&[], "aggregate-to-edit", true),
        (&["rbac.aggregate=false"], "aggregate-to-", false),
        (&["memberOnly=true"], "aggregate-to-", false),
        (&[], "--hub-name", false),
        (&["hubName=hub-a"], "- --hub-name=hub-a\n", true),
        (&[], "- --lease-namespace=kube-system\n", true),
        (&[], create_namespaces, false),
        (&["memberOnly=true"], create_namespaces, false),
        (
            &["memberOnly=true", "member.createNamespaces=true"],
            create_namespaces,
            true,
        ),
        (
            &[
                "memberOnly=true",
                "member.createNamespaces=true",
                "member.namespaces={research}",
            ],
            create_namespaces,
            false,
        ),
    ] {
        let rendered = template(settings)?;
        ensure!(
            rendered.contains(text) == is_there,
            "{settings:?}: {text:?} should be there: {is_there}"
        );
    }
    Ok(())
}

#[test]
fn says_that_a_hub_needs_an_image() -> Result<()> {
    let output = helm_template("1.37.1", &[])?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success());
    ensure!(
        message.contains("image.repository is needed: no image is published yet"),
        "{message}"
    );
    succeeded(helm_template("1.37.1", &["memberOnly=true"])?)?;
    Ok(())
}

#[test]
fn a_member_may_be_older_than_a_hub() -> Result<()> {
    let output = helm_template("1.33.4", &[IMAGE])?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success());
    ensure!(
        message.contains("the hub must run Kubernetes 1.34 or newer, this cluster runs v1.33.4"),
        "{message}"
    );
    for version in ["1.30.2", "1.33.4-eks-1234567", "1.34.0-gke.100"] {
        succeeded(helm_template(version, &["memberOnly=true"])?)?;
    }
    succeeded(helm_template("1.34.0-gke.100", &[IMAGE])?)?;
    let output = helm_template("1.29.9", &["memberOnly=true"])?;
    ensure!(!output.status.success());
    Ok(())
}
