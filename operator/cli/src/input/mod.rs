//! Manifests from files, folders and standard input, as plain values that know where they came from.
//!
//! ```text
//!   PATH… ──► source (files, bounded) ──► document (YAML, JSON, List) ──► Document { origin, value }
//!                                                                            │ a field is wrong
//!                                             line ◄── lines (parses once more, with positions)
//! ```

mod document;
mod lines;
mod path;
mod source;

pub(crate) use document::{Document, Origin, read_documents};
#[cfg(test)]
pub(crate) use lines::LOOKUPS;
pub(crate) use path::{FieldPath, Segment};
pub(crate) use source::{Source, find_sources, folders_without_manifests};

/// Something in the input that cannot be used: where it is, what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub(crate) struct BadInput {
    /// File, document, line and field, as far as they are known.
    pub(crate) place: String,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl BadInput {
    /// Bad input at a place; control characters are escaped, since both may quote what was read.
    pub(crate) fn new(place: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Self {
            place: printable(place.as_ref()),
            message: printable(message.as_ref()),
        }
    }
}

/// The text without control characters, so that what was read cannot drive a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
