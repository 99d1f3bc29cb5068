//! Manifests from files, folders and standard input, as plain values that know where they came from.
//!
//! ```text
//!   PATH… ──► source (files, bounded) ──► document (YAML, JSON, List) ──► Document { origin, value }
//!                                                                            │ a field is wrong
//!                                             line ◄── lines (parses the source once more, with positions)
//! ```

mod document;
pub(crate) mod json;
pub(crate) mod limits;
mod lines;
mod path;
mod source;

pub(crate) use document::{Document, Origin, read_documents};
#[cfg(test)]
pub(crate) use lines::READINGS;
pub(crate) use path::{FieldPath, Segment};
pub(crate) use source::{Source, find_sources, folders_without_manifests};

use std::borrow::Cow;

/// Most characters of a place, and of a message: a file may be one line of 100 MB.
pub(crate) const MAX_MESSAGE: usize = 2000;
/// Most characters of what was read that a message quotes.
pub(crate) const MAX_QUOTE: usize = 60;

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
    /// Bad input at a place. Both may quote what was read, so control characters are escaped and what is long is cut.
    pub(crate) fn new(place: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Self {
            place: printable(&shortened(place.as_ref(), MAX_MESSAGE)),
            message: printable(&shortened(message.as_ref(), MAX_MESSAGE)),
        }
    }
}

/// The text, or its first characters where there are more than `most`.
pub(crate) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
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
