//! Where the control plane's programs are.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// The folder of built programs (`etcd`, `kube-apiserver`, …), as `binaries/build.sh` leaves it.
#[derive(Debug, Clone)]
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// Programs a plane may need: all of them must be there, so that a test fails at once and not half-way.
    const REQUIRED: [&'static str; 5] = [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
    ];

    /// Finds the programs: in the folder `AMPACITY_BIN_DIR` names, else in the build cache.
    ///
    /// # Errors
    /// When a program is missing ([`Error::MissingProgram`], which says how to build them) or the build script cannot
    /// be asked for its folder ([`Error::LocatePrograms`]).
    pub fn locate() -> Result<Self> {
        let dir = match std::env::var_os("AMPACITY_BIN_DIR") {
            Some(dir) if !dir.is_empty() => PathBuf::from(dir),
            _ => Self::cache_dir()?,
        };
        Self::in_dir(dir)
    }

    /// Uses the programs in `dir`.
    ///
    /// # Errors
    /// [`Error::MissingProgram`] when one of them is not there.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Result<Self> {
        let found = Self { dir: dir.into() };
        for program in Self::REQUIRED {
            found.path(program)?;
        }
        Ok(found)
    }

    /// The folder the build script uses for this checkout's versions: it depends on a hash of the go.sum files, so the
    /// script is asked rather than its arithmetic repeated.
    fn cache_dir() -> Result<PathBuf> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("binaries/build.sh");
        let failed = |reason: String| Error::LocatePrograms {
            script: script.clone(),
            reason,
        };
        let output = Command::new("bash")
            .arg(&script)
            .arg("--print-dir")
            .output()
            .map_err(|e| failed(e.to_string()))?;
        if !output.status.success() {
            return Err(failed(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        Ok(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim(),
        ))
    }

    /// The folder the programs are in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of one program, `kubectl`, `helm` and `kueue` among them.
    ///
    /// # Errors
    /// [`Error::MissingProgram`] when it is not there.
    pub fn path(&self, program: &'static str) -> Result<PathBuf> {
        let path = self.dir.join(program);
        if path.is_file() {
            Ok(path)
        } else {
            Err(Error::MissingProgram {
                program,
                dir: self.dir.clone(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_how_to_build_it() {
        let empty = tempfile::tempdir().unwrap();
        let error = Binaries::in_dir(empty.path()).unwrap_err().to_string();
        assert!(error.contains("no etcd in"), "{error}");
        assert!(error.contains("make binaries"), "{error}");
    }

    #[test]
    fn an_optional_program_is_asked_for_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for program in Binaries::REQUIRED {
            std::fs::write(dir.path().join(program), "").unwrap();
        }
        let binaries = Binaries::in_dir(dir.path()).unwrap();
        assert_eq!(binaries.path("kwok").unwrap(), dir.path().join("kwok"));
        assert!(matches!(
            binaries.path("helm"),
            Err(Error::MissingProgram {
                program: "helm",
                ..
            })
        ));
    }
}
