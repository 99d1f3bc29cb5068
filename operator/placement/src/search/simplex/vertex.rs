//! A vertex of the program, and the walk to the one that costs least.

use super::program::Program;
use crate::numerics::BasisInverse;

/// What counts as nothing.
const EPSILON: f64 = 1e-9;
/// Pivots without progress after which the first improving column is taken, which does not cycle.
const PATIENCE: u32 = 30;

/// What a place of the basis holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basic {
    Slack(u32),
    Column(u32),
}

/// A vertex of the program.
#[derive(Clone, Debug)]
pub(crate) struct Vertex {
    /// Per set, its key column and how much of it there is.
    keys: Vec<(u32, f64)>,
    basis: Vec<(Basic, f64)>,
    inverse: BasisInverse,
    column_in: Vec<bool>,
    slack_in: Vec<bool>,
}

impl Vertex {
    /// The vertex at which every set is its first column, where that is within what there is.
    pub(crate) fn first(program: &Program, have: &[f64]) -> Self {
        let rows = program.rows;
        let inverse = BasisInverse::diagonal(&vec![1.0; rows]);
        let mut column_in = vec![false; program.columns()];
        let sets = program.first.len() - 1;
        let mut left = have.to_vec();
        let mut keys = Vec::with_capacity(sets);
        for set in 0..sets {
            let key = program.of_set(set).start;
            keys.push((u32::try_from(key).unwrap_or(u32::MAX), 1.0));
            if let Some(flag) = column_in.get_mut(key) {
                *flag = true;
            }
            for (row, amount) in program.uses(key) {
                if let Some(left) = left.get_mut(*row as usize) {
                    *left -= amount;
                }
            }
        }
        let slack = |row: usize| Basic::Slack(u32::try_from(row).unwrap_or(u32::MAX));
        Self {
            keys,
            basis: left
                .into_iter()
                .enumerate()
                .map(|(row, left)| (slack(row), left))
                .collect(),
            inverse,
            column_in,
            slack_in: vec![true; rows],
        }
    }

    /// Every column of which there is some, with how much.
    pub(crate) fn amounts(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let others = self.basis.iter().filter_map(|&(basic, much)| match basic {
            Basic::Column(column) => Some((column as usize, much)),
            Basic::Slack(_) => None,
        });
        self.keys
            .iter()
            .map(|&(key, much)| (key as usize, much))
            .chain(others)
            .filter(|(_, much)| *much > 1e-7)
    }

    /// What the vertex costs.
    pub(crate) fn cost(&self, cost: &[f64]) -> f64 {
        self.amounts()
            .map(|(column, much)| cost.get(column).copied().unwrap_or(0.0) * much)
            .sum()
    }

    /// Lets a row have more or less by so much. Only what has slack may have less, by no more than that.
    pub(crate) fn widen(&mut self, program: &Program, row: usize, by: f64) {
        for (place, (basic, much)) in self.basis.iter_mut().enumerate() {
            let change = by * self.inverse.entry(place, row);
            *much += change;
            // What a column of a set gains, the set's key loses.
            if let Basic::Column(column) = basic
                && let Some((_, key)) = self.keys.get_mut(program.set(*column as usize))
            {
                *key -= change;
            }
        }
    }

    /// Walks to the vertex that costs least, or until `pivots` are used up: then `false`.
    pub(crate) fn minimise(&mut self, program: &Program, cost: &[f64], pivots: &mut u64) -> bool {
        let mut work = Work::default();
        let mut stuck = 0;
        loop {
            self.duals_into(program, cost, &mut work.duals);
            let Some(entering) = self.entering(program, cost, &mut work, stuck > PATIENCE) else {
                return true;
            };
            if *pivots == 0 {
                return false;
            }
            *pivots -= 1;
            let Some(step) = self.pivot(program, entering, &mut work) else {
                return false;
            };
            stuck = if step > EPSILON { 0 } else { stuck + 1 };
        }
    }

    /// What one more in each row changes.
    pub(crate) fn duals(&self, program: &Program, cost: &[f64]) -> Vec<f64> {
        let mut duals = Vec::new();
        self.duals_into(program, cost, &mut duals);
        duals
    }

    fn duals_into(&self, program: &Program, cost: &[f64], duals: &mut Vec<f64>) {
        let rows = self.slack_in.len();
        duals.clear();
        duals.resize(rows, 0.0);
        let worth = |column: u32| cost.get(column as usize).copied().unwrap_or(0.0);
        for ((basic, _), row) in self.basis.iter().zip(self.inverse.lines()) {
            let Basic::Column(column) = *basic else {
                continue;
            };
            let key = self
                .keys
                .get(program.set(column as usize))
                .map_or(0, |(key, _)| *key);
            let beyond = worth(column) - worth(key);
            if beyond != 0.0 {
                for (dual, entry) in duals.iter_mut().zip(row) {
                    *dual += beyond * entry;
                }
            }
        }
    }

    /// The column that makes the cost less fastest, or the first that does.
    fn entering(
        &self,
        program: &Program,
        cost: &[f64],
        work: &mut Work,
        first: bool,
    ) -> Option<Basic> {
        let mut best: Option<(f64, Basic)> = None;
        for (row, (dual, in_basis)) in work.duals.iter().zip(&self.slack_in).enumerate() {
            let gain = -dual;
            if !in_basis && gain < -1e-7 && best.is_none_or(|(least, _)| gain < least) {
                best = Some((gain, Basic::Slack(u32::try_from(row).unwrap_or(u32::MAX))));
                if first {
                    return best.map(|(_, basic)| basic);
                }
            }
        }
        // A part of the sets at a time, round and round: the best of all is seldom worth looking for.
        let sets = self.keys.len();
        if first {
            work.set = sets;
        }
        let part = (sets / 4).max(12);
        for seen in 1..=sets {
            work.set = if work.set + 1 < sets { work.set + 1 } else { 0 };
            let set = work.set;
            let key = self.keys.get(set).map_or(0, |(key, _)| *key as usize);
            let key = program.priced(key, cost, &work.duals);
            let least_gain = -1e-7 * key.abs().max(1e-3);
            for column in program.of_set(set) {
                if self.column_in.get(column) != Some(&false) {
                    continue;
                }
                let gain = program.priced(column, cost, &work.duals) - key;
                if gain < least_gain && best.is_none_or(|(least, _)| gain < least) {
                    best = Some((
                        gain,
                        Basic::Column(u32::try_from(column).unwrap_or(u32::MAX)),
                    ));
                    if first {
                        return best.map(|(_, basic)| basic);
                    }
                }
            }
            if best.is_some() && seen >= part {
                break;
            }
        }
        best.map(|(_, basic)| basic)
    }

    /// What a column uses beyond its set's key, by row.
    fn beyond_key(&self, program: &Program, basic: Basic, beyond: &mut Vec<(u32, f64)>) {
        beyond.clear();
        match basic {
            Basic::Slack(row) => beyond.push((row, 1.0)),
            Basic::Column(column) => {
                beyond.extend_from_slice(program.uses(column as usize));
                let key = self
                    .keys
                    .get(program.set(column as usize))
                    .map_or(0, |(key, _)| *key);
                for &(row, amount) in program.uses(key as usize) {
                    match beyond.iter_mut().find(|(seen, _)| *seen == row) {
                        Some((_, sum)) => *sum -= amount,
                        None => beyond.push((row, -amount)),
                    }
                }
            }
        }
    }

    /// Brings a column into the basis; how far it went.
    fn pivot(&mut self, program: &Program, entering: Basic, work: &mut Work) -> Option<f64> {
        self.rates_of(program, entering, work);
        // How fast each set's key goes down.
        let own = match entering {
            Basic::Column(column) => Some(program.set(column as usize)),
            Basic::Slack(_) => None,
        };
        work.key_rates.clear();
        work.key_rates.extend(own.map(|set| (set, 1.0)));
        for ((basic, _), rate) in self.basis.iter().zip(&work.rates) {
            if let Basic::Column(column) = basic {
                let set = program.set(*column as usize);
                match work.key_rates.iter_mut().find(|(seen, _)| *seen == set) {
                    Some((_, sum)) => *sum -= rate,
                    None => work.key_rates.push((set, -rate)),
                }
            }
        }
        let (mut step, mut steepest) = (f64::INFINITY, 0.0_f64);
        let mut leaving: Option<Result<usize, usize>> = None;
        let mut consider = |much: f64, rate: f64, who: Result<usize, usize>| {
            if rate > EPSILON {
                let reach = much.max(0.0) / rate;
                // Of equals the steepest, which divides by the largest number.
                if reach < step - EPSILON || (reach < step + EPSILON && rate > steepest) {
                    (step, leaving, steepest) = (reach.min(step), Some(who), rate);
                }
            }
        };
        for (place, ((_, much), rate)) in self.basis.iter().zip(&work.rates).enumerate() {
            consider(*much, *rate, Ok(place));
        }
        for &(set, rate) in &work.key_rates {
            consider(self.keys.get(set)?.1, rate, Err(set));
        }
        let leaving = leaving?;
        for ((_, much), rate) in self.basis.iter_mut().zip(&work.rates) {
            *much -= step * rate;
        }
        for &(set, rate) in &work.key_rates {
            self.keys.get_mut(set)?.1 -= step * rate;
        }
        self.note(entering, true);
        match leaving {
            Ok(place) => {
                let (out, _) = *self.basis.get(place)?;
                self.note(out, false);
                *self.basis.get_mut(place)? = (entering, step);
                self.inverse.replace(place, &work.rates, &mut work.line)?;
            }
            Err(set) => {
                let (out, _) = *self.keys.get(set)?;
                self.note(Basic::Column(out), false);
                let place = self.basis.iter().position(|(basic, _)| {
                    matches!(basic, Basic::Column(column) if program.set(*column as usize) == set)
                });
                match (entering, place) {
                    (_, Some(place)) => {
                        // The key and a column of its set change places, so that the key can leave as others do.
                        let (Basic::Column(column), much) = *self.basis.get(place)? else {
                            return None;
                        };
                        self.change_key(program, set, place);
                        *self.keys.get_mut(set)? = (column, much);
                        *self.basis.get_mut(place)? = (entering, step);
                        self.rates_of(program, entering, work);
                        self.inverse.replace(place, &work.rates, &mut work.line)?;
                    }
                    (Basic::Column(column), None) if Some(set) == own => {
                        *self.keys.get_mut(set)? = (column, step);
                    }
                    (_, None) => return None,
                }
            }
        }
        Some(step)
    }

    /// How fast what is in the basis goes down while a column comes in.
    fn rates_of(&self, program: &Program, entering: Basic, work: &mut Work) {
        let mut beyond = std::mem::take(&mut work.beyond);
        self.beyond_key(program, entering, &mut beyond);
        self.inverse.rates_into(&beyond, &mut work.rates);
        work.beyond = beyond;
    }

    /// The inverse after a set's key and the column of the set at a place of the basis have changed places. What the others
    /// of the set are beyond the new key is what they were beyond the old one less what the new key was; what the old key is
    /// beyond the new one is minus that. So only the place's own line changes: it becomes minus the sum of the set's lines.
    fn change_key(&mut self, program: &Program, set: usize, place: usize) {
        let rows = self.slack_in.len();
        let mut line = vec![0.0; rows];
        let of_set = |basic: &Basic| matches!(basic, Basic::Column(column) if program.set(*column as usize) == set);
        for ((basic, _), row) in self.basis.iter().zip(self.inverse.lines()) {
            if of_set(basic) {
                for (sum, entry) in line.iter_mut().zip(row) {
                    *sum -= entry;
                }
            }
        }
        self.inverse.set_line(place, &line);
    }

    fn note(&mut self, basic: Basic, in_basis: bool) {
        let flag = match basic {
            Basic::Slack(row) => self.slack_in.get_mut(row as usize),
            Basic::Column(column) => self.column_in.get_mut(column as usize),
        };
        if let Some(flag) = flag {
            *flag = in_basis;
        }
    }
}

/// Buffers of one walk.
#[derive(Default)]
struct Work {
    /// The set at which pricing goes on.
    set: usize,
    duals: Vec<f64>,
    rates: Vec<f64>,
    key_rates: Vec<(usize, f64)>,
    beyond: Vec<(u32, f64)>,
    line: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two jobs, a cheap place for one and a half: the dearer alternative of either takes the rest.
    #[test]
    fn what_is_scarce_goes_where_it_saves_most() {
        let mut program = Program::new(1);
        for _ in 0..2 {
            program.add([]);
            program.add([(0, 1.0)]);
            program.end_set();
        }
        let cost = [10.0, 1.0, 5.0, 2.0];
        let mut vertex = Vertex::first(&program, &[1.5]);
        assert!((vertex.cost(&cost) - 15.0).abs() < 1e-9);
        assert!(vertex.minimise(&program, &cost, &mut 100));
        // The first saves 9 and goes whole, the second saves 3 and goes half.
        assert!((vertex.cost(&cost) - (1.0 + 3.5)).abs() < 1e-9);
        assert!((vertex.duals(&program, &cost)[0] + 3.0).abs() < 1e-9);
        // One more half is worth as much.
        vertex.widen(&program, 0, 0.5);
        assert!((vertex.cost(&cost) - 3.0).abs() < 1e-9);
    }

    prop_compose! {
        /// Sets of columns with a few entries each, some negative, as cuts have; the first of each uses nothing.
        fn programs()(rows in 1..9_usize)(
            sets in prop::collection::vec(
                prop::collection::vec(prop::collection::vec((0..rows, -9..10_i32), 0..4), 1..6), 1..14),
            have in prop::collection::vec(0..12_i32, rows),
            costs in prop::collection::vec(-20..20_i32, 90),
        ) -> (Program, Vec<f64>, Vec<f64>) {
            let mut program = Program::new(have.len());
            for set in sets {
                program.add([]);
                for mut uses in set {
                    uses.sort_unstable();
                    uses.dedup_by_key(|(row, _)| *row);
                    program.add(uses.into_iter().map(|(row, amount)| (row, f64::from(amount) / 4.0)));
                }
                program.end_set();
            }
            let costs = costs.into_iter().cycle().take(program.columns()).map(f64::from).collect();
            (program, have.into_iter().map(f64::from).collect(), costs)
        }
    }

    /// Whether a vertex is within what there is, and its duals prove that none costs less.
    fn assert_optimal(vertex: &Vertex, program: &Program, have: &[f64], costs: &[f64]) {
        let mut left = have.to_vec();
        let mut shares = vec![0.0; program.first.len() - 1];
        for (column, much) in vertex.amounts() {
            shares[program.set(column)] += much;
            for (row, amount) in program.uses(column) {
                left[*row as usize] -= amount * much;
            }
        }
        assert!(
            shares.iter().all(|share| (share - 1.0).abs() < 1e-5),
            "{shares:?}"
        );
        assert!(left.iter().all(|left| *left > -1e-5), "{left:?}");
        let duals = vertex.duals(program, costs);
        assert!(duals.iter().all(|dual| *dual < 1e-5), "{duals:?}");
        let of_set = |set| {
            let columns = program
                .of_set(set)
                .map(|column| program.priced(column, costs, &duals));
            columns.fold(f64::INFINITY, f64::min)
        };
        let bound: f64 = (0..shares.len()).map(of_set).sum::<f64>()
            + duals
                .iter()
                .zip(have)
                .map(|(dual, have)| dual * have)
                .sum::<f64>();
        let cost = vertex.cost(costs);
        assert!(
            (cost - bound).abs() < 1e-4,
            "{cost} beside the dual bound {bound}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn duals_prove_every_optimum((program, have, costs) in programs()) {
            let mut vertex = Vertex::first(&program, &have);
            prop_assert!(vertex.minimise(&program, &costs, &mut 20_000));
            assert_optimal(&vertex, &program, &have, &costs);
            // From there on with other costs, as branches do.
            let others: Vec<f64> = costs.iter().rev().copied().collect();
            prop_assert!(vertex.minimise(&program, &others, &mut 20_000));
            assert_optimal(&vertex, &program, &have, &others);
        }
    }
}
