//! Kueue, built from its module, run outside a pod with its default client limits (300 queries a second, bursts of 500).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ampacity_controlplane::{Binaries, ControlPlane, apply_file, apply_yaml, wait_until};
use anyhow::Context;
use kube::Client;

use crate::scenario::Process;

/// Starts Kueue with one queue that holds all devices of the nodes.
pub(crate) async fn start(
    plane: &ControlPlane,
    client: &Client,
    nodes: usize,
) -> anyhow::Result<Process> {
    let module = module_folder().await?;
    let bases = module.join("config/components/crd/bases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&bases)
        .with_context(|| format!("no CRDs in {}", bases.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "yaml"))
    {
        apply_file(client, file).await?;
    }
    apply_yaml(
        client,
        "{apiVersion: v1, kind: Namespace, metadata: {name: kueue-system}}",
    )
    .await?;
    let folder = tempfile::tempdir()?;
    let certificates = certificates(folder.path())?;
    let metrics_certificates = MetricsCertificates::place(&certificates)?;
    let port = free_port()?;
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, configuration(&certificates, port)?)?;
    let kubeconfig = folder.path().join("kubeconfig");
    plane.write_kubeconfig(&kubeconfig)?;
    let log_path = folder.path().join("kueue.log");
    let log = std::fs::File::create(&log_path)?;
    let child = tokio::process::Command::new(Binaries::locate()?.path("kueue")?)
        .arg("--config")
        .arg(&config)
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .env("KUBECONFIG", &kubeconfig)
        .env("POD_NAMESPACE", "kueue-system")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?;
    let process = Process {
        child,
        log: log_path.clone(),
        // It goes on watching its certificates.
        _files: Box::new((folder, metrics_certificates)),
    };
    wait_until(
        "Kueue to be ready",
        Duration::from_secs(60),
        || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
        },
    )
    .await
    .with_context(|| std::fs::read_to_string(&log_path).unwrap_or_default())?;
    apply_yaml(client, &queues(nodes)).await?;
    Ok(process)
}

async fn module_folder() -> anyhow::Result<PathBuf> {
    let go_module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../controlplane/binaries/kueue");
    let output = tokio::process::Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kueue"])
        .current_dir(&go_module)
        .output()
        .await
        .context("cannot run go")?;
    anyhow::ensure!(
        output.status.success(),
        "go list: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// A self-signed pair in the file names that controller-runtime expects.
fn certificates(folder: &Path) -> anyhow::Result<PathBuf> {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let certificates = folder.join("certificates");
    std::fs::create_dir(&certificates)?;
    std::fs::write(certificates.join("tls.crt"), pair.cert.pem())?;
    std::fs::write(
        certificates.join("tls.key"),
        pair.signing_key.serialize_pem(),
    )?;
    Ok(certificates)
}

/// The certificate of Kueue's metrics, in the one folder where v0.18 reads it: the path is fixed in its `main.go`.
/// Dropping this removes what it has put there.
struct MetricsCertificates {
    placed: Vec<PathBuf>,
}

impl MetricsCertificates {
    const FOLDER: &str = "/etc/kueue/metrics/certs";

    fn place(certificates: &Path) -> anyhow::Result<Self> {
        let folder = Path::new(Self::FOLDER);
        std::fs::create_dir_all(folder).with_context(|| {
            format!(
                "Kueue reads a certificate in {}, and this user may not create it: create the folder and make it yours",
                folder.display()
            )
        })?;
        let mut own = Self { placed: vec![] };
        for name in ["tls.crt", "tls.key"] {
            let to = folder.join(name);
            if !to.exists() {
                std::fs::copy(certificates.join(name), &to)
                    .with_context(|| format!("cannot write {}", to.display()))?;
                own.placed.push(to);
            }
        }
        Ok(own)
    }
}

impl Drop for MetricsCertificates {
    fn drop(&mut self) {
        for file in &self.placed {
            // Nothing depends on it: the next run takes the pair that is there.
            std::fs::remove_file(file).ok();
        }
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}

fn configuration(certificates: &Path, health_port: u16) -> anyhow::Result<String> {
    let (webhook_port, metrics_port) = (free_port()?, free_port()?);
    let folder = certificates.display();
    Ok(format!(
        "apiVersion: config.kueue.x-k8s.io/v1beta2
kind: Configuration
health: {{healthProbeBindAddress: '127.0.0.1:{health_port}'}}
metrics: {{bindAddress: '127.0.0.1:{metrics_port}'}}
webhook: {{port: {webhook_port}, host: 127.0.0.1, certDir: '{folder}'}}
leaderElection: {{leaderElect: false}}
internalCertManagement: {{enable: false}}
controller:
  groupKindConcurrency: {{Job.batch: 5, Pod: 5, Workload.kueue.x-k8s.io: 5, LocalQueue.kueue.x-k8s.io: 1, ClusterQueue.kueue.x-k8s.io: 1, ResourceFlavor.kueue.x-k8s.io: 1}}
clientConnection: {{qps: 300, burst: 500}}
integrations: {{frameworks: [batch/job]}}
featureGates: {{VisibilityOnDemand: false}} # its server wants a certificate in a folder of its own, and nothing here asks it
"
    ))
}

fn queues(nodes: usize) -> String {
    let (devices, cpu, memory) = (nodes * 8, nodes * 192, nodes * 2000);
    format!(
        "apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {{name: h100}}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {{name: bench}}
spec:
  namespaceSelector: {{}}
  resourceGroups:
  - coveredResources: [cpu, memory, nvidia.com/gpu]
    flavors:
    - name: h100
      resources:
      - {{name: cpu, nominalQuota: '{cpu}'}}
      - {{name: memory, nominalQuota: '{memory}Gi'}}
      - {{name: nvidia.com/gpu, nominalQuota: '{devices}'}}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {{name: bench, namespace: default}}
spec: {{clusterQueue: bench}}
"
    )
}
