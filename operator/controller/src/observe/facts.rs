//! What is wrong with the facts of the platform team, told by events on the objects concerned: they have no status.

use kube::Resource;

use super::event::wrong_fact;
use crate::runtime::Operator;
use crate::state::{FactNote, FactObject};

/// Tells what is wrong with catalogue and prices and was not before.
pub fn tell_facts(operator: &Operator, before: &[FactNote]) {
    let new = |note: &&FactNote| !before.contains(note);
    for note in operator.state.fact_issues.notes.iter().filter(new) {
        tracing::warn!(note = %note.text, "platform facts");
        let hub = &operator.state.hub;
        let reference = match &note.object {
            Some(FactObject::AcceleratorType(name)) => {
                let object = hub.accelerator_types.named(name);
                object.map(|object| object.object_ref(&()))
            }
            Some(FactObject::PriceSheet(name)) => {
                let object = hub.price_sheets.named(name);
                object.map(|object| object.object_ref(&()))
            }
            None => None,
        };
        if let Some(reference) = reference {
            operator
                .recorder
                .record(reference, wrong_fact(note.text.clone()));
        }
    }
}
