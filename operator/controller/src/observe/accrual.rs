//! Dollars and watt-hours from rates and times.

use ampacity_api::Decimal;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::state::ClockSteps;

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

/// Moves the accrued amounts from `*counted_to` to `now` at the meter's rates. Nothing is counted before `*counted_to` is
/// set, nor for a time by which the clock jumped, nor twice where it went back: a new leader's may be behind the last one's.
pub fn accrue(
    usd: &mut Option<Decimal>,
    watt_hours: &mut Option<i64>,
    counted_to: &mut Option<Time>,
    meter: Meter,
    steps: &ClockSteps,
    now: Timestamp,
) {
    let Some(since) = counted_to.as_ref().map(|t| steps.carried(t.0, now)) else {
        return;
    };
    let now = now.max(since);
    let spent = |rate: i64| whole_hourly(rate, now) - whole_hourly(rate, since);
    let add = |amount: i64, more: i128| {
        i64::try_from(i128::from(amount).saturating_add(more)).unwrap_or(i64::MAX)
    };
    // Where nothing ever had a price, nothing is known of what was spent: that is not 0.
    if usd.is_some() || meter.usd_micro_per_hour > 0 {
        *usd = Some(Decimal::from_micros(add(
            usd.map_or(0, |d| d.micros()),
            spent(meter.usd_micro_per_hour),
        )));
    }
    *watt_hours = Some(add(watt_hours.unwrap_or(0), spent(meter.watts)));
    *counted_to = Some(Time(now));
}

/// Whole units that `rate` per hour makes from the Unix epoch to `at`. Amounts are whole numbers in the API; as the
/// difference of two of these, what one period rounds off the next one counts, however often a status is written.
fn whole_hourly(rate: i64, at: Timestamp) -> i128 {
    (i128::from(rate.max(0)) * i128::from(at.as_second())).div_euclid(3600)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Accrues from the first of `seconds` to each of the others; dollars in millionths, watt-hours, counted to.
    fn total(meter: Meter, seconds: &[i64]) -> (i64, i64, i64) {
        let (mut usd, mut wh, mut to) = (None, None, Some(Time(at(seconds[0]))));
        for second in &seconds[1..] {
            accrue(
                &mut usd,
                &mut wh,
                &mut to,
                meter,
                &ClockSteps::default(),
                at(*second),
            );
        }
        (
            usd.map_or(0, |d| d.micros()),
            wh.unwrap_or(0),
            to.unwrap().0.as_second(),
        )
    }

    const GANG: Meter = Meter {
        usd_micro_per_hour: 80_400_000,
        watts: 40_800,
    };

    #[test]
    fn an_hour_costs_its_price_however_it_is_cut() {
        let start = 1_750_000_123;
        let minutes: Vec<i64> = (0..=60).map(|m| start + 60 * m).collect();
        let seconds: Vec<i64> = (0..=3600).map(|s| start + s).collect();
        for times in [&[start, start + 3600][..], &minutes, &seconds] {
            assert_eq!(
                total(GANG, times),
                (80_400_000, 40_800, start + 3600),
                "{} writes",
                times.len() - 1
            );
        }
    }

    #[test]
    fn a_small_device_is_not_rounded_away() {
        let five_minutes: Vec<i64> = (0..=12).map(|n| 1_000 + 300 * n).collect();
        let meter = Meter {
            usd_micro_per_hour: 7,
            watts: 10,
        };
        assert_eq!(total(meter, &five_minutes), (7, 10, 4_600));
    }

    #[test]
    fn a_clock_that_went_back_neither_takes_nor_counts_twice() {
        let straight = total(GANG, &[0, 3600, 7200]);
        assert_eq!(total(GANG, &[0, 3600, 3000, 3500, 7200]), straight);
    }

    #[test]
    fn nothing_is_counted_before_something_is_held() {
        let (mut usd, mut wh, mut to) = (None, None, None);
        accrue(
            &mut usd,
            &mut wh,
            &mut to,
            GANG,
            &ClockSteps::default(),
            at(1_000),
        );
        assert_eq!((usd, wh, to), (None, None, None));
    }

    #[test]
    fn what_has_no_price_costs_nobody_knows_what() {
        let (mut usd, mut wh, mut to) = (None, None, Some(Time(at(0))));
        let unpriced = Meter {
            usd_micro_per_hour: 0,
            watts: 100,
        };
        accrue(
            &mut usd,
            &mut wh,
            &mut to,
            unpriced,
            &ClockSteps::default(),
            at(3600),
        );
        assert_eq!((usd, wh), (None, Some(100)));
        accrue(
            &mut usd,
            &mut wh,
            &mut to,
            GANG,
            &ClockSteps::default(),
            at(7200),
        );
        accrue(
            &mut usd,
            &mut wh,
            &mut to,
            unpriced,
            &ClockSteps::default(),
            at(10_800),
        );
        assert_eq!(usd, Some(Decimal::from_micros(80_400_000)), "it stays");
    }

    #[test]
    fn amounts_stop_at_the_end_of_their_range() {
        let meter = Meter {
            usd_micro_per_hour: i64::MAX,
            watts: i64::MAX,
        };
        let (usd, wh, _) = total(meter, &[0, 1_000_000, 2_000_000]);
        assert_eq!(
            (usd, wh),
            (Decimal::from_micros(i64::MAX).micros(), i64::MAX)
        );
        let negative = Meter {
            usd_micro_per_hour: -5,
            watts: -5,
        };
        assert_eq!(total(negative, &[0, 7200]), (0, 0, 7200));
    }

    proptest! {
        #[test]
        fn amounts_never_fall_and_do_not_depend_on_how_often_they_are_written(
            start in 0_i64..2_000_000_000,
            pauses in prop::collection::vec(-500_i64..5_000, 1..40),
            usd in 0_i64..1_000_000_000,
            watts in 0_i64..1_000_000,
        ) {
            let meter = Meter { usd_micro_per_hour: usd, watts };
            let mut times = vec![start];
            for pause in pauses {
                times.push(times[times.len() - 1] + pause);
            }
            let mut last = (0, 0, start);
            for n in 1..=times.len() {
                let now = total(meter, &times[..n]);
                prop_assert!(now.0 >= last.0 && now.1 >= last.1 && now.2 >= last.2);
                last = now;
            }
            let latest = *times.iter().max().unwrap();
            prop_assert_eq!(last, total(meter, &[start, latest]));
        }
    }
}
