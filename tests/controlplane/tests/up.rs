//! The `ampacity-controlplane up` program: what the demo starts and stops. Needs the programs (`make binaries`).

// Everything here is a test or set-up for one: a failed set-up should say so at once.
#![allow(clippy::unwrap_used)]

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use ampacity_controlplane::{wait_for, wait_until};

const TIMEOUT: Duration = Duration::from_secs(120);

/// Store and API server alone: what is tested here is who ends whom.
fn up(dir: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ampacity-controlplane"))
        .args([
            "up",
            "--name",
            "hub",
            "--no-scheduler",
            "--no-controller-manager",
            "--no-kwok",
            "--dir",
        ])
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for the file that says the plane is ready, and returns the address in it.
async fn ready(child: &mut Child, dir: &Path) -> String {
    let text = wait_for("the ready file", TIMEOUT, || {
        let ended: Option<ExitStatus> = child.try_wait().unwrap();
        let text = std::fs::read_to_string(dir.join("ready")).ok();
        async move {
            assert!(ended.is_none(), "it ended: {ended:?}");
            Ok::<_, String>(text.filter(|text| text.ends_with('\n')))
        }
    })
    .await
    .unwrap();
    text.trim().trim_start_matches("https://").to_owned()
}

async fn nobody_listens(address: &str) {
    wait_until(format!("{address} to be free"), TIMEOUT, || async {
        TcpStream::connect(address).is_err()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn it_says_when_it_is_ready_survives_a_crash_and_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = up(dir.path());
    let address = ready(&mut first, dir.path()).await;
    TcpStream::connect(&address).unwrap();

    // As the out-of-memory killer would: no handler runs, the watchdogs do.
    first.kill().unwrap();
    first.wait().unwrap();
    nobody_listens(&address).await;

    // The crash left its `ready` file behind; the next run takes it away first, and keeps the address.
    let kubeconfig = std::fs::read_to_string(dir.path().join("kubeconfig")).unwrap();
    std::fs::write(dir.path().join("ready"), "stale").unwrap();
    let mut second = up(dir.path());
    assert_eq!(ready(&mut second, dir.path()).await, address);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("kubeconfig")).unwrap(),
        kubeconfig
    );

    let terminated = Command::new("kill")
        .arg(second.id().to_string())
        .status()
        .unwrap();
    assert!(terminated.success());
    assert!(second.wait().unwrap().success());
    assert!(!dir.path().join("ready").exists());
    nobody_listens(&address).await;
}
