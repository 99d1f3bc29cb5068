//! When reservations end, in order of time.

use std::collections::{BTreeMap, BTreeSet};

use crate::arena::ReservationIndex;
use crate::model::Reservation;

/// Ends in Unix seconds, earliest first.
type InOrder = BTreeSet<(i64, ReservationIndex)>;

/// Reservations whose end is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    all: InOrder,
    /// By cluster and accelerator type: what gives devices back there.
    by_type: BTreeMap<String, BTreeMap<String, InOrder>>,
}

impl Ends {
    /// Takes a reservation in, if its end is known.
    pub(super) fn add(&mut self, reservation: &Reservation, index: ReservationIndex) {
        let Some(ends) = reservation.ends_seconds else {
            return;
        };
        self.all.insert((ends, index));
        self.by_type
            .entry(reservation.cluster.clone())
            .or_default()
            .entry(reservation.accelerator_type.clone())
            .or_default()
            .insert((ends, index));
    }

    /// Forgets a reservation.
    pub(super) fn remove(&mut self, reservation: &Reservation, index: ReservationIndex) {
        let Some(ends) = reservation.ends_seconds else {
            return;
        };
        self.all.remove(&(ends, index));
        let of_cluster = self.by_type.get_mut(&reservation.cluster);
        if let Some(of_type) =
            of_cluster.and_then(|types| types.get_mut(&reservation.accelerator_type))
        {
            of_type.remove(&(ends, index));
        }
    }

    /// Whether no end is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Every known end.
    pub(crate) fn all(&self) -> &InOrder {
        &self.all
    }

    /// Ends of reservations of an accelerator type in a cluster.
    pub(crate) fn of_type(&self, cluster: &str, accelerator_type: &str) -> Option<&InOrder> {
        self.by_type.get(cluster)?.get(accelerator_type)
    }
}
