//! From what the members show to conditions, states and accrued cost. Pure: facts and a time in, a status out.

mod accrual;
mod event;
mod inference;
mod outcome;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod training;

pub use accrual::{ACCRUE_EVERY_SECONDS, Meter, accrue};
pub use event::{
    Happening, HappeningType, MAX_NOTE_BYTES, inference_happenings, training_happenings, wrong_fact,
};
pub use inference::{InferenceFacts, ReplicaView, inference_status, resize};
pub use outcome::{MemberView, Outcome, Patience, PlacementView, outcome};
pub use training::{TrainingFacts, expected_end, next_training_status, work_seconds};
