//! The jobs that usually come, as far as those that run tell: replicas by accelerator type and devices.
//!
//! A node with 3 free devices is worth little where replicas have 4, and much where they have 3. What a choice of nodes
//! does to that is the gradient of fragmentation of Weng et al., *Beware of Fragmentation: Scheduling GPU-Sharing Workloads
//! with Fragmentation Gradient Descent* (USENIX ATC 2023), over whole devices.

use std::collections::BTreeMap;

use crate::model::{DevicePart, Reservation};
use crate::numerics::expected_loss;

/// Replicas by their devices.
pub(crate) type Sizes = BTreeMap<u32, u64>;

/// What is reserved in whole devices, by accelerator type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mix {
    by_type: BTreeMap<String, Sizes>,
}

/// No replicas.
static NONE: Sizes = Sizes::new();

impl Mix {
    /// Counts a reservation in.
    pub(crate) fn add(&mut self, reservation: &Reservation) {
        let Some(replicas) = counted(reservation) else {
            return;
        };
        let sizes = match self.by_type.get_mut(&reservation.accelerator_type) {
            Some(sizes) => sizes,
            None => self
                .by_type
                .entry(reservation.accelerator_type.clone())
                .or_default(),
        };
        let count = sizes.entry(reservation.devices_per_replica).or_default();
        *count = count.saturating_add(replicas);
    }

    /// Counts a reservation out again.
    pub(crate) fn remove(&mut self, reservation: &Reservation) {
        let sizes = self.by_type.get_mut(&reservation.accelerator_type);
        let (Some(replicas), Some(sizes)) = (counted(reservation), sizes) else {
            return;
        };
        let size = reservation.devices_per_replica;
        if let Some(count) = sizes.get_mut(&size) {
            *count = count.saturating_sub(replicas);
            if *count == 0 {
                sizes.remove(&size);
            }
        }
        if sizes.is_empty() {
            self.by_type.remove(&reservation.accelerator_type);
        }
    }

    /// Replicas of a type.
    pub(crate) fn of_type(&self, accelerator_type: &str) -> &Sizes {
        self.by_type.get(accelerator_type).unwrap_or(&NONE)
    }
}

fn counted(reservation: &Reservation) -> Option<u64> {
    let is_counted = reservation.part == DevicePart::Whole && reservation.devices_per_replica > 0;
    is_counted.then(|| {
        reservation
            .nodes
            .iter()
            .map(|share| u64::from(share.replicas))
            .sum()
    })
}

/// Of so many free devices of a node, those that replicas of the mix leave unused, summed over the replicas.
pub(crate) fn stranded(sizes: &Sizes, free: u32) -> u128 {
    let mix = sizes
        .iter()
        .map(|(&size, &replicas)| (size, u128::from(replicas)));
    expected_loss(mix, |size| u128::from(free % size.max(1)))
}
