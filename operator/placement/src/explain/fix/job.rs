//! Changes to the job: a wider domain, another capacity type, more dollars, more time, another part of the device.

use super::trial::Trial;
use crate::fleet::Fleet;
use crate::model::{Fix, Kind, Level, MicroUsd, Reason};

impl Fleet {
    pub(super) fn relax_topology(&mut self, trial: Trial<'_>) -> Option<(i128, Fix)> {
        Level::ALL
            .into_iter()
            .filter(|level| *level > trial.job.topology.required)
            .find(|&level| self.fits_changed(trial, |job| job.topology.required = level))
            .map(|to| (to as i128, Fix::RelaxTopology { to }))
    }

    pub(super) fn allow_capacity_type(&mut self, trial: Trial<'_>) -> Option<(i128, Fix)> {
        let capacity_type = self.groups[trial.group].key.capacity_type;
        let works = self.fits_changed(trial, |job| job.capacity_types.push(capacity_type));
        works.then_some((
            capacity_type as i128,
            Fix::AllowCapacityType { capacity_type },
        ))
    }

    pub(super) fn raise_dollars(
        &mut self,
        trial: Trial<'_>,
        reason: &Reason,
    ) -> Option<(i128, Fix)> {
        match *reason {
            Reason::DollarBudgetExceeded { needed_usd: to, .. } => self
                .fits_changed(trial, |job| job.budget.max_usd = Some(to))
                .then(|| (i128::from(to.0), Fix::RaiseMaxUsd { to })),
            Reason::HourlyBudgetExceeded {
                needed_usd_per_hour: to,
                ..
            } => {
                // Rounding each part may add a micro-dollar a replica.
                let to = match trial.job.kind {
                    Kind::Inference { .. } => to + MicroUsd(i64::from(trial.shortfall.replicas)),
                    Kind::Training { .. } => to,
                };
                self.fits_changed(trial, |job| job.budget.max_usd_per_hour = Some(to))
                    .then(|| (i128::from(to.0), Fix::RaiseMaxUsdPerHour { to }))
            }
            _ => None,
        }
    }

    pub(super) fn extend_deadline(
        &mut self,
        trial: Trial<'_>,
        reason: &Reason,
    ) -> Option<(i128, Fix)> {
        let Reason::DeadlineMissed {
            late_seconds: by_seconds,
        } = *reason
        else {
            return None;
        };
        let works = self.fits_changed(trial, |job| {
            if let Kind::Training {
                deadline_seconds: Some(deadline),
                ..
            } = &mut job.kind
            {
                *deadline = deadline.saturating_add(by_seconds);
            }
        });
        works.then_some((i128::from(by_seconds), Fix::ExtendDeadline { by_seconds }))
    }

    /// The group's own part, where it has at least what the alternative asks for; the least first.
    pub(super) fn change_part(&mut self, trial: Trial<'_>) -> Option<(i128, Fix)> {
        let key = &self.groups[trial.group].key;
        let part = key.part.clone();
        let millionths = i128::from(key.share.of_amount(1_000_000));
        let works = trial.alternative.part.is_within(&part)
            && self.fits_changed(trial, |job| {
                if let Some(alternative) = job.alternatives.get_mut(trial.at) {
                    alternative.part = part.clone();
                }
            });
        works.then(|| {
            let alternative = trial.alternative.name.clone();
            (millionths, Fix::ChangePart { alternative, part })
        })
    }
}
