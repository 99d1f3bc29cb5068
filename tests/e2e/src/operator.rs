//! The operator as a process: started, killed, started again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};

use crate::helm::root;

/// A running `ampacity operator`. Dropping it kills it.
#[derive(Debug)]
pub struct OperatorProcess {
    child: Child,
    log: PathBuf,
}

impl OperatorProcess {
    /// Starts one with further arguments and environment; its log goes to the end of `log`.
    ///
    /// # Errors
    /// When the program is missing, older than its sources, or cannot be started.
    pub fn start(
        kubeconfig: &Path,
        log: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program()?)
            .args(["operator", "--kubeconfig"])
            .arg(kubeconfig)
            .args(arguments)
            .env_remove("KUBECONFIG")
            .env_remove("AMPACITY_FAILPOINT")
            .env("RUST_LOG", "info")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start ampacity")?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Ends it at once, as a crash would.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Stalls it (SIGSTOP): its connections stay open, and it does nothing.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn pause(&self) -> Result<()> {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Lets a stalled one go on.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn resume(&self) -> Result<()> {
        self.signal(rustix::process::Signal::CONT)
    }

    fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        let id = i32::try_from(self.child.id())?;
        let id = rustix::process::Pid::from_raw(id).context("no process id")?;
        Ok(rustix::process::kill_process(id, signal)?)
    }

    /// Asks it to stop (SIGTERM, as Kubernetes does) and waits.
    ///
    /// # Errors
    /// When it has not ended after `patience`.
    pub async fn stop(mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(rustix::process::Signal::TERM)?;
        let until = tokio::time::Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if tokio::time::Instant::now() >= until {
                bail!(
                    "still running {patience:?} after SIGTERM\n{}",
                    self.log_end()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_end(&self) -> String {
        log_end(&self.log)
    }
}

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a log.
#[must_use]
pub fn log_end(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(60);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// The program under test: the one that `AMPACITY_PROGRAM` names, else the one beside this test's own folder in the target
/// directory, which `cargo test --workspace` builds.
fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("AMPACITY_PROGRAM") {
        return Ok(PathBuf::from(program));
    }
    let test = std::env::current_exe()?;
    let folder = test
        .parent()
        .and_then(Path::parent)
        .context("no target directory")?;
    let program = folder.join("ampacity");
    ensure!(
        program.exists(),
        "{} is missing: run `cargo build -p ampacity`, or test the whole workspace",
        program.display()
    );
    let built = program.metadata()?.modified()?;
    let changed = newest(&root().join("operator"))?.max(newest(&root().join("crds/src"))?);
    ensure!(
        changed <= built,
        "{} is older than its sources: run `cargo build -p ampacity`, or test the whole workspace",
        program.display()
    );
    Ok(program)
}

/// When a Rust source under a folder's `src` was last changed. Tests and examples of the crates do not matter.
fn newest(folder: &Path) -> Result<SystemTime> {
    let mut latest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("tests") && !path.ends_with("examples") {
            latest = latest.max(newest(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            latest = latest.max(path.metadata()?.modified()?);
        }
    }
    Ok(latest)
}
