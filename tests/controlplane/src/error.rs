//! What can go wrong around a control plane.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a control plane could not be started, asked or changed.
///
/// Its debug form is the message with its causes: tests unwrap, and `unwrap` prints that form.
#[derive(thiserror::Error)]
pub enum Error {
    /// The programs are not built; names the folder that was searched and the first missing program.
    #[error(
        "no {program} in {}: run `make binaries` (or tests/controlplane/binaries/build.sh), \
         or set AMPACITY_BIN_DIR to a folder that has it",
        dir.display()
    )]
    MissingProgram {
        /// The program that is not there.
        program: &'static str,
        /// The folder that was searched.
        dir: PathBuf,
    },

    /// The build script, which knows the folder of the programs, did not answer.
    #[error("failed to ask {} for the programs' folder: {reason}; set AMPACITY_BIN_DIR to name it", script.display())]
    LocatePrograms {
        /// The script that was run.
        script: PathBuf,
        /// What it said.
        reason: String,
    },

    /// A file or folder of the plane could not be read or written.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A program could not be started or signalled.
    #[error("failed to {action} {program}")]
    Process {
        /// What was tried, as a verb.
        action: &'static str,
        /// The program.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A program ended while it was being waited for.
    #[error(
        "{program} ended ({status}) instead of becoming ready; the end of its log:\n{log_tail}"
    )]
    Exited {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: String,
        /// The last lines of its log.
        log_tail: String,
    },

    /// A component that is not running was asked for something only a running one can do.
    #[error("{program} of control plane {plane} is not running")]
    NotRunning {
        /// The program.
        program: &'static str,
        /// The plane's name.
        plane: String,
    },

    /// Something did not happen in time.
    #[error("waited {timeout:?} for {what}{}", last.as_ref().map(|l| format!("; last seen: {l}")).unwrap_or_default())]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        timeout: Duration,
        /// What the last look showed, where it showed anything.
        last: Option<String>,
    },

    /// No free loopback port was found.
    #[error("found no free loopback port between {first} and {last}")]
    NoFreePort {
        /// Lowest port tried.
        first: u16,
        /// Highest port tried.
        last: u16,
    },

    /// A port that must be had is in use, most likely by an earlier run that still lives.
    #[error(
        "port {port} on 127.0.0.1 is in use; is another control plane running from the same folder?"
    )]
    PortInUse {
        /// The port.
        port: u16,
    },

    /// Another process runs a plane from the same folder.
    #[error("{} is in use by another running control plane", dir.display())]
    FolderInUse {
        /// The folder.
        dir: PathBuf,
    },

    /// A user the plane does not know.
    #[error("control plane {plane} has no user {user}")]
    UnknownUser {
        /// The plane's name.
        plane: String,
        /// The user asked for.
        user: String,
    },

    /// Certificates or keys could not be made.
    #[error("failed to make the certificates of a control plane")]
    Certificates(#[from] rcgen::Error),

    /// A manifest is not YAML, or lacks what every object has.
    #[error("manifest document {index}: {reason}")]
    Manifest {
        /// Position of the document, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },

    /// The API server refused or could not be reached.
    #[error("failed to {action}")]
    Api {
        /// What was tried, as a verb phrase with the object's name.
        action: String,
        /// The client's reason.
        source: Box<kube::Error>,
    },

    /// An answer or a log could not be understood.
    #[error("failed to read {what}: {reason}")]
    Unreadable {
        /// What was being read.
        what: String,
        /// Why it could not be.
        reason: String,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    pub(crate) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api {
            action,
            source: Box::new(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unwrapped_error_says_what_was_tried_and_why_it_failed() {
        let missing =
            std::fs::read("/nonexistent/file").map_err(Error::file("read", "/nonexistent/file"));
        let text = format!("{:?}", missing.unwrap_err());
        assert!(
            text.starts_with("failed to read /nonexistent/file: No such file"),
            "{text}"
        );
    }
}
