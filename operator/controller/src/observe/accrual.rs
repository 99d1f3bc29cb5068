//! Dollars and watt-hours from rates and times.

use ampacity_api::Decimal;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Longest that an accrual may be out of date, in seconds, while nothing else changes.
pub const ACCRUE_EVERY_SECONDS: i64 = 300;

/// What is being spent while something is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Price in millionths of a dollar per hour.
    pub usd_micro_per_hour: i64,
    /// Watts.
    pub watts: i64,
}

/// Moves the accrued amounts from `*counted_to` to `now` at the meter's rates.
pub fn accrue(
    usd: &mut Option<Decimal>,
    watt_hours: &mut Option<i64>,
    counted_to: &mut Option<Time>,
    meter: Meter,
    now: Timestamp,
) {
    let Some(since) = counted_to.as_ref() else {
        return;
    };
    let seconds = i128::from((now.as_second() - since.0.as_second()).max(0));
    let hourly = |rate: i64| i64::try_from(i128::from(rate) * seconds / 3600).unwrap_or(i64::MAX);
    // Watt-hours are whole numbers in the API. Only what makes a whole one is counted, so nothing is lost by rounding
    // when the period is long; periods are minutes.
    *usd = Some(Decimal::from_micros(
        usd.map_or(0, |d| d.micros())
            .saturating_add(hourly(meter.usd_micro_per_hour)),
    ));
    *watt_hours = Some(watt_hours.unwrap_or(0).saturating_add(hourly(meter.watts)));
    *counted_to = Some(Time(now));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_costs_its_price() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let (mut usd, mut wh, mut to) = (None, None, Some(Time(at(1000))));
        let meter = Meter {
            usd_micro_per_hour: 80_400_000,
            watts: 40_800,
        };
        for minute in 1..=12 {
            accrue(&mut usd, &mut wh, &mut to, meter, at(1000 + 300 * minute));
        }
        assert_eq!(
            (usd.unwrap().to_string().as_str(), wh),
            ("80.4", Some(40_800))
        );
        accrue(&mut usd, &mut wh, &mut to, meter, at(0));
        assert_eq!(
            wh,
            Some(40_800),
            "a clock that went back takes nothing away"
        );
    }
}
