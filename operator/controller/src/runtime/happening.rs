//! What an Event tells.

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HappeningType {
    /// All is well.
    Normal,
    /// Somebody may want to look.
    Warning,
}

impl HappeningType {
    /// The word that stands in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Whether somebody should look.
    pub type_: HappeningType,
    /// Why: the word of a [`ConditionReason`].
    pub reason: &'static str,
    /// What the operator did: `Check`, `Place`, `Run`, `Observe`, `Replace`, `Scale`, `Suspend`, `Resume` or `Finish`.
    pub action: &'static str,
    /// The same in words, at most [`MAX_NOTE_BYTES`] bytes.
    pub note: String,
}
