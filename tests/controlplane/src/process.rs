//! One child process that never outlives its parent.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result};

/// Waits until its standard input ends (the parent died, however it died), then kills the process it guards and
/// removes the plane's folder where one is named. Standard `sh`, so it works wherever the tests do.
const WATCHDOG: &str = r#"trap "" INT TERM HUP QUIT
while read -r _; do :; done
kill -KILL "$1" 2>/dev/null
if [ -n "$2" ]; then rm -rf "$2"; fi"#;

/// A running program, its log file, and the watchdog that kills it when this process dies.
#[derive(Debug)]
pub(crate) struct Process {
    program: &'static str,
    child: Child,
    watchdog: Child,
    log: PathBuf,
}

/// Memory of a process, from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident bytes now.
    pub resident_bytes: u64,
    /// Most resident bytes so far.
    pub peak_bytes: u64,
}

impl Process {
    /// Starts `path` with `args`, output appended to `log`, in a clean environment with `home` as its home.
    ///
    /// `remove_with` is removed should this process die before it can do so itself.
    pub(crate) fn spawn(
        program: &'static str,
        path: &Path,
        args: &[OsString],
        home: &Path,
        log: PathBuf,
        remove_with: Option<&Path>,
    ) -> Result<Self> {
        let failed = |source| Error::Process {
            action: "start",
            program: program.to_owned(),
            source,
        };
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(Error::file("open", &log))?;
        let errors = output.try_clone().map_err(Error::file("open", &log))?;
        let mut child = Command::new(path)
            .args(args)
            // Nothing of the caller's surroundings (KUBECONFIG, ETCD_*, proxies) may change what a plane does.
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", home)
            .env("TMPDIR", std::env::temp_dir())
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Its own group: Ctrl-C reaches the parent alone, which then ends its children in order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", &child.id().to_string()])
            .arg(remove_with.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match watchdog {
            Ok(watchdog) => Ok(Self {
                program,
                child,
                watchdog,
                log,
            }),
            Err(source) => {
                // Unguarded, it could outlive us.
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(source))
            }
        }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, or `None` while it runs.
    pub(crate) fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        let program = self.program;
        self.child.try_wait().map_err(|source| Error::Process {
            action: "look after",
            program: program.to_owned(),
            source,
        })
    }

    /// An error with the end of the log when the process has ended.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        match self.exit_status()? {
            None => Ok(()),
            Some(status) => Err(Error::Exited {
                program: self.program,
                status: status.to_string(),
                log_tail: last_lines(&self.log, 20),
            }),
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let failed = |source| Error::Process {
            action: "signal",
            program: self.program.to_owned(),
            source,
        };
        // The child is not reaped yet, so its id cannot have passed to another process.
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| failed(io::Error::from(io::ErrorKind::InvalidInput)))?;
        kill_process(pid, signal).map_err(|errno| failed(errno.into()))
    }

    /// The process's memory. Linux only: read from `/proc`.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let path = PathBuf::from(format!("/proc/{}/status", self.child.id()));
        let status = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| {
                    line.strip_prefix(name)?
                        .trim()
                        .strip_suffix("kB")?
                        .trim()
                        .parse::<u64>()
                        .ok()
                })
                .map(|kib| kib * 1024)
                .ok_or_else(|| Error::Unreadable {
                    what: path.display().to_string(),
                    reason: format!("no {name} line; has {} ended?", self.program),
                })
        };
        Ok(Memory {
            resident_bytes: field("VmRSS:")?,
            peak_bytes: field("VmHWM:")?,
        })
    }

    /// Kills the process at once and waits for its end. Also ends a stopped (paused) one.
    pub(crate) fn kill(&mut self) {
        // The watchdog first: it must not act on an id that is about to be freed.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last `count` lines of a file, or why it cannot be read.
fn last_lines(path: &Path, count: usize) -> String {
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines
                .iter()
                .skip(lines.len().saturating_sub(count))
                .copied()
                .collect::<Vec<_>>()
                .join("\n")
        }
        Err(error) => format!("({}: {error})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(dir: &Path, remove_with: Option<&Path>) -> Process {
        let args = ["-c".into(), "echo started; exec sleep 600".into()];
        Process::spawn(
            "sh",
            Path::new("/bin/sh"),
            &args,
            dir,
            dir.join("log"),
            remove_with,
        )
        .unwrap()
    }

    /// Whether there is such a process and it is no zombie.
    fn runs(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state follows the name, which may hold anything; see proc_pid_stat(5).
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    #[test]
    fn dropping_ends_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let process = sleeper(dir.path(), None);
        let pid = process.id();
        assert!(runs(pid));
        drop(process);
        assert!(!runs(pid));
    }

    #[test]
    fn the_watchdog_ends_the_process_and_its_folder_when_the_parent_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let mut process = sleeper(dir.path(), Some(&scratch));
        // What the system does to our end of the pipe when we die.
        drop(process.watchdog.stdin.take());
        process.child.wait().unwrap();
        process.watchdog.wait().unwrap();
        assert!(!scratch.exists());
    }

    #[test]
    fn an_ended_process_is_reported_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let args = ["-c".into(), "echo no space left on moon >&2; exit 3".into()];
        let mut process = Process::spawn(
            "sh",
            Path::new("/bin/sh"),
            &args,
            dir.path(),
            dir.path().join("log"),
            None,
        )
        .unwrap();
        process.child.wait().unwrap();
        let error = process.check_running().unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("no space left on moon"),
            "{error}"
        );
    }

    #[test]
    fn memory_is_read_from_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let memory = sleeper(dir.path(), None).memory().unwrap();
        assert!(
            memory.resident_bytes > 0 && memory.peak_bytes >= memory.resident_bytes,
            "{memory:?}"
        );
    }
}
