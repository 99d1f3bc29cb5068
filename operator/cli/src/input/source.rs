//! Which files are read, and how much of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::BadInput;

/// Most bytes of one file: larger dumps are to be split.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Deepest folder below a PATH.
const MAX_FOLDER_DEPTH: usize = 64;
/// Most files of one run.
const MAX_FILES: usize = 100_000;

/// One stream of manifests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// Bytes that are in memory already.
    Memory {
        /// The name shown to people.
        name: String,
        /// What would be in the file.
        bytes: Vec<u8>,
    },
}

impl Source {
    /// The name shown to people.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
            Self::Memory { name, .. } => name.clone(),
        }
    }

    /// The whole text, which is to be `wanted`, such as "a CSV file".
    ///
    /// # Errors
    /// When it cannot be read, is larger than [`MAX_FILE_BYTES`] or is not UTF-8.
    pub(crate) fn read(&self, wanted: &str) -> Result<String, BadInput> {
        let bad = |message: String| BadInput::new(self.name(), message);
        let bytes = self
            .bytes()
            .map_err(|error| bad(format!("cannot be read: {error}; give {wanted}")))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(bad(format!(
                "is larger than the {} MiB that one file may have; split it, or give a part of it",
                MAX_FILE_BYTES >> 20
            )));
        }
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..at).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            BadInput::new(
                format!("{}, line {line}", self.name()),
                "is not UTF-8 text; give YAML or JSON in UTF-8",
            )
        })
    }

    /// The first bytes, one more than a file may have.
    fn bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = MAX_FILE_BYTES + 1;
        match self {
            Self::File(path) => fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?,
            Self::Stdin => std::io::stdin()
                .lock()
                .take(limit)
                .read_to_end(&mut bytes)?,
            Self::Memory { bytes: given, .. } => {
                given.as_slice().take(limit).read_to_end(&mut bytes)?
            }
        };
        Ok(bytes)
    }
}

/// The files behind `paths`, each once, in order of name; standard input (`-`) last. Folders are read recursively for
/// `.yaml`, `.yml` and `.json`; hidden entries in them are passed over.
///
/// # Errors
/// When a path does not exist or cannot be listed.
pub(crate) fn find_sources(paths: &[PathBuf]) -> Result<Vec<Source>, BadInput> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        if path.as_os_str() == "-" {
            found.insert(Source::Stdin);
        } else {
            visit(path, true, 0, &mut seen, &mut found)?;
        }
    }
    Ok(found.into_iter().collect())
}

/// Those of `paths` that are folders and hold nothing that [`find_sources`] would read.
pub(crate) fn folders_without_manifests(paths: &[PathBuf]) -> impl Iterator<Item = &Path> {
    paths.iter().map(PathBuf::as_path).filter(|path| {
        let found = find_sources(&[path.to_path_buf()]);
        path.is_dir() && found.is_ok_and(|sources| sources.is_empty())
    })
}

fn visit(
    path: &Path,
    named: bool,
    depth: usize,
    seen: &mut BTreeSet<PathBuf>,
    found: &mut BTreeSet<Source>,
) -> Result<(), BadInput> {
    let bad = |message: String| BadInput::new(path.display().to_string(), message);
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        // A link to nothing inside a folder is nobody's manifest.
        Err(_) if !named => return Ok(()),
        Err(error) => {
            return Err(bad(format!(
                "cannot be opened: {error}; check the path given with -f"
            )));
        }
    };
    if !seen.insert(real) {
        return Ok(());
    }
    if !path.is_dir() {
        if named || is_manifest(path) {
            found.insert(Source::File(path.to_path_buf()));
        }
        if found.len() > MAX_FILES {
            return Err(bad(format!("more than {MAX_FILES} files; give fewer")));
        }
        return Ok(());
    }
    if depth > MAX_FOLDER_DEPTH {
        return Err(bad(format!(
            "folders are nested deeper than {MAX_FOLDER_DEPTH}"
        )));
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(|error| bad(format!("cannot be listed: {error}")))?;
    entries.sort();
    for entry in entries {
        let hidden = entry
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().first() == Some(&b'.'));
        if !hidden {
            visit(&entry, false, depth + 1, seen, found)?;
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_order_and_every_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("b")).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        for name in ["z.yaml", "b/a.json", "b/c.YML", "a.txt", ".git/x.yaml"] {
            fs::write(root.join(name), "").unwrap();
        }
        let sources = find_sources(&[root.join("z.yaml"), "-".into(), root.to_path_buf()]).unwrap();
        let names: Vec<_> = sources
            .iter()
            .map(|s| s.name().replace(&format!("{}/", root.display()), ""))
            .collect();
        assert_eq!(names, ["b/a.json", "b/c.YML", "z.yaml", "standard input"]);
    }
}
