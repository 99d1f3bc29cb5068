//! What a watch tells: objects that are new, changed or gone, or why it failed.

use super::key::ObjectKey;

/// What a watch delivers.
#[derive(Debug)]
pub enum Change<K> {
    /// Everything is about to be listed: what is known now, the list will know too.
    Listing,
    /// Everything there is: replaces what was known.
    All(Vec<K>),
    /// New or changed.
    Applied(Box<K>),
    /// Gone.
    Deleted(Box<K>),
    /// Gone, and it could not be read.
    Forgotten(ObjectKey),
}

impl<K> Change<K> {
    /// The objects that the change carries.
    pub fn objects(&self) -> &[K] {
        match self {
            Self::All(objects) => objects,
            Self::Applied(object) | Self::Deleted(object) => std::slice::from_ref(&**object),
            Self::Listing | Self::Forgotten(_) => &[],
        }
    }

    /// The same change of objects in another form.
    pub fn map<L>(self, mut form: impl FnMut(K) -> L) -> Change<L> {
        match self {
            Self::Listing => Change::Listing,
            Self::All(objects) => Change::All(objects.into_iter().map(form).collect()),
            Self::Applied(object) => Change::Applied(Box::new(form(*object))),
            Self::Deleted(object) => Change::Deleted(Box::new(form(*object))),
            Self::Forgotten(key) => Change::Forgotten(key),
        }
    }
}

/// Why a watch failed; it is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFailure {
    /// Kind of the objects.
    pub kind: String,
    /// Status code of the API server's answer, where there was one.
    pub code: Option<u16>,
    /// What happened.
    pub message: String,
}

impl WatchFailure {
    /// Whether the API server said that this may not be watched.
    pub fn is_refusal(&self) -> bool {
        matches!(self.code, Some(401 | 403))
    }
}
