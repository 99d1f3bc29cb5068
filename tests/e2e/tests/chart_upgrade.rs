//! CRDs that the chart installed are upgraded by the command that people are told.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use ampacity_controlplane::{ControlPlane, apply_yaml};
use ampacity_e2e::helm::{install, root};
use anyhow::{Context as _, Result, ensure};

const NAMESPACE: &str = "ampacity-system";

fn succeeded(output: Output) -> Result<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The arguments of kubectl in the command that people are told to upgrade the CRDs by.
fn documented_upgrade() -> Result<Vec<String>> {
    let page = fs::read_to_string(root().join("docs/src/operations/install.md"))?;
    let command = page
        .lines()
        .find_map(|line| line.strip_prefix("ampacity crds | kubectl "))
        .context("install.md does not say how to upgrade the CRDs")?;
    Ok(command.split(' ').map(str::to_owned).collect())
}

#[tokio::test]
async fn the_documented_command_upgrades_crds_that_helm_installed() -> Result<()> {
    let plane = ControlPlane::builder("upgrade")
        .controller_manager(false)
        .scheduler(false)
        .kwok(false)
        .start()
        .await?;
    let kubeconfig = plane.dir().join("upgrade.kubeconfig");
    plane.write_kubeconfig(&kubeconfig)?;
    let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}");
    apply_yaml(&plane.client()?, &namespace).await?;
    install(&kubeconfig, NAMESPACE, &[])?;
    let kubectl = |arguments: &[String], input: &str| -> Result<Output> {
        let mut child = Command::new(plane.binaries().path("kubectl")?)
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(arguments)
            .env("HOME", plane.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child
            .stdin
            .take()
            .context("no input")?
            .write_all(input.as_bytes())?;
        Ok(child.wait_with_output()?)
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    // The chart of an older version wrote another description.
    let older = r#"[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema/description","value":"older"}]"#;
    let mut arguments =
        words("patch crd trainingjobs.ampacity.dev --type=json --field-manager=helm -p");
    arguments.push(older.to_owned());
    succeeded(kubectl(&arguments, "")?)?;

    let crds = ampacity_api::to_yaml(&ampacity_api::crds())?;
    let documented = documented_upgrade()?;
    let unforced: Vec<String> = documented
        .iter()
        .filter(|argument| *argument != "--force-conflicts")
        .cloned()
        .collect();
    let refused = kubectl(&unforced, &crds)?;
    let message = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && message.contains(r#"conflict with "helm""#),
        "nothing is in the way: {message}"
    );
    succeeded(kubectl(&documented, &crds)?)?;
    let description = "get crd trainingjobs.ampacity.dev -o jsonpath={.spec.versions[0].schema.openAPIV3Schema.description}";
    let description = succeeded(kubectl(&words(description), "")?)?;
    ensure!(description != "older", "the CRD was not upgraded");
    Ok(())
}
