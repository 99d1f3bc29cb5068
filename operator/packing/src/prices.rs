//! What a share of a device is worth: the dual prices of packing the usual mix into the fewest devices.
//!
//! The fluid form of the packing is Gilmore and Gomory's cutting stock problem (1961): choose how many devices carry each pattern (a
//! multiset of shares that adds up to at most one device) so that every share of the mix is carried and devices are fewest. The dual of a
//! share is the part of a device it costs when everything is packed as well as it can be; 190 left beside an 810 is worth nothing
//! if shares of 160 are few, and half a device is worth half when 470 and 460 keep coming.

use ampacity_placement::numerics::BasisInverse;

/// Prices are found for shares in steps of this many thousandths; sizes are rounded up, holes down.
const STEP: usize = 10;
const SLOTS: usize = 1000 / STEP;

/// The worth of shares and holes, in devices.
#[derive(Debug, Clone)]
pub struct SharePrices {
    /// Share in slots and its dual price, ascending in size.
    sizes: Vec<(usize, f64)>,
    /// Best use of a hole by its slots.
    holes: [f64; SLOTS + 1],
}

impl SharePrices {
    /// Prices for a demand: share in thousandths (1..1000) and its weight. Shares outside, and weights that are not positive, are left out.
    pub fn of(demand: impl IntoIterator<Item = (u16, f64)>) -> Self {
        let mut weights = [0.0; SLOTS + 1];
        for (share, weight) in demand {
            if let Some(slot) = weights.get_mut(usize::from(share).div_ceil(STEP)) {
                *slot += if weight > 0.0 { weight } else { 0.0 };
            }
        }
        let wanted = weights
            .iter()
            .enumerate()
            .take(SLOTS)
            .skip(1)
            .filter(|&(_, &weight)| weight > 0.0);
        let (sizes, weights): (Vec<usize>, Vec<f64>) =
            wanted.map(|(slots, &weight)| (slots, weight)).unzip();
        let duals = duals(&sizes, &weights);
        let sizes: Vec<(usize, f64)> = sizes.into_iter().zip(duals).collect();
        let holes = best_fill(&sizes).0;
        Self { sizes, holes }
    }

    /// What the best fill of a hole is worth, in devices; a whole device is worth 1.
    pub fn hole(&self, free_milli: u16) -> f64 {
        if free_milli >= super::WHOLE {
            return 1.0;
        }
        self.holes
            .get(usize::from(free_milli) / STEP)
            .copied()
            .unwrap_or(1.0)
    }

    /// The price of a share, in devices; its own size when the demand had none of it.
    pub fn share(&self, milli: u16) -> f64 {
        let slots = usize::from(milli).div_ceil(STEP);
        let known = self.sizes.iter().find(|&&(size, _)| size == slots);
        known.map_or(f64::from(milli) / 1000.0, |&(_, price)| price)
    }
}

/// The most valuable multiset of sizes for every hole, and the size taken first in it (an index, or `None` for nothing).
fn best_fill(sizes: &[(usize, f64)]) -> ([f64; SLOTS + 1], [Option<usize>; SLOTS + 1]) {
    let mut value = [0.0; SLOTS + 1];
    let mut first = [None; SLOTS + 1];
    for hole in 1..=SLOTS {
        let mut best = (0.0, None);
        for (at, &(size, price)) in sizes
            .iter()
            .enumerate()
            .filter(|(_, (size, _))| *size <= hole)
        {
            let total = price + value.get(hole - size).copied().unwrap_or_default();
            if total > best.0 + 1e-9 {
                best = (total, Some(at));
            }
        }
        // A larger hole is never worth less.
        let smaller = value.get(hole - 1).copied().unwrap_or_default();
        if let (Some(value), Some(first)) = (value.get_mut(hole), first.get_mut(hole)) {
            (*value, *first) = if best.0 > smaller {
                best
            } else {
                (smaller, None)
            };
        }
    }
    (value, first)
}

/// Optimal duals of the fluid cutting stock problem by column generation: the revised simplex method with an explicit inverse, the new
/// column being the most valuable fill at the current prices.
fn duals(sizes: &[usize], weights: &[f64]) -> Vec<f64> {
    let rows = sizes.len();
    // One pattern of each size alone: a diagonal basis.
    let alone: Vec<f64> = sizes
        .iter()
        .map(|&size| 1.0 / (SLOTS / size.max(1)) as f64)
        .collect();
    let mut inverse = BasisInverse::diagonal(&alone);
    let mut used: Vec<f64> = inverse
        .lines()
        .map(|line| line.iter().zip(weights).map(|(a, b)| a * b).sum())
        .collect();
    let (mut rates, mut buffer) = (Vec::new(), Vec::new());
    for _ in 0..50 * rows {
        let prices = unit_duals(&inverse, rows);
        let priced: Vec<(usize, f64)> = sizes.iter().copied().zip(prices.iter().copied()).collect();
        let (value, first) = best_fill(&priced);
        if value.last().is_none_or(|&best| best <= 1.0 + 1e-7) {
            return prices;
        }
        inverse.rates_into(&read_pattern(sizes, &first), &mut rates);
        let ratios = rates
            .iter()
            .zip(&used)
            .enumerate()
            .filter(|&(_, (&c, _))| c > 1e-9)
            .map(|(row, (c, u))| (row, u / c));
        let Some((leaving, step)) = ratios.min_by(|a, b| a.1.total_cmp(&b.1)) else {
            return prices;
        };
        for (row, (used, rate)) in used.iter_mut().zip(&rates).enumerate() {
            *used = if row == leaving {
                step
            } else {
                *used - rate * step
            };
        }
        if inverse.replace(leaving, &rates, &mut buffer).is_none() {
            return prices;
        }
    }
    unit_duals(&inverse, rows)
}

/// Duals where every pattern costs one device.
fn unit_duals(inverse: &BasisInverse, rows: usize) -> Vec<f64> {
    let dual = |column: usize| {
        let entries = inverse.lines().filter_map(|line| line.get(column));
        entries.sum::<f64>().max(0.0)
    };
    (0..rows).map(dual).collect()
}

/// How often each size is in the best fill of one device, by row.
fn read_pattern(sizes: &[usize], first: &[Option<usize>; SLOTS + 1]) -> Vec<(u32, f64)> {
    let mut pattern: Vec<(u32, f64)> = (0..).map(|row| (row, 0.0)).take(sizes.len()).collect();
    let mut hole = SLOTS;
    while hole > 0 {
        match first.get(hole).copied().flatten() {
            Some(at) => {
                if let Some((_, count)) = pattern.get_mut(at) {
                    *count += 1.0;
                }
                hole -= sizes.get(at).copied().unwrap_or(hole).min(hole);
            }
            None => hole -= 1,
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complements_share_a_device_and_scarce_fillers_are_free() {
        let prices = SharePrices::of([(810, 100.0), (160, 5.0), (460, 30.0), (540, 30.0)]);
        // 810s outnumber the 160s that could stand beside them: each costs a device, the filler nothing.
        assert!((prices.share(810) - 1.0).abs() < 1e-6);
        assert!(prices.share(160).abs() < 1e-6);
        assert!((prices.share(460) + prices.share(540) - 1.0).abs() < 1e-6);
        assert!((prices.hole(545) - prices.share(540).max(prices.share(460))).abs() < 1e-6);
        assert!(prices.hole(190).abs() < 1e-6);
        assert_eq!(prices.hole(1000), 1.0);
    }

    #[test]
    fn no_pattern_is_worth_more_than_the_device_it_needs() {
        let demand = [
            (470, 750.0),
            (320, 328.0),
            (650, 253.0),
            (230, 140.0),
            (590, 75.0),
            (550, 72.0),
            (220, 62.0),
            (370, 47.0),
            (110, 24.0),
        ];
        let prices = SharePrices::of(demand);
        for (a, _) in demand {
            for (b, _) in demand {
                if a + b <= 1000 {
                    assert!(
                        prices.share(a) + prices.share(b) + prices.hole(1000 - a - b) <= 1.0 + 1e-6,
                        "{a} + {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_shared_prices_nothing() {
        let prices = SharePrices::of([]);
        assert_eq!(
            (prices.hole(999), prices.hole(1000), prices.share(250)),
            (0.0, 1.0, 0.25)
        );
    }
}
