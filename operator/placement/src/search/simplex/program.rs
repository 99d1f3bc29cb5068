//! The program: columns in sets, and what each uses of the rows.

/// The columns and what there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// Set of each column; columns of a set lie side by side, its first is the key at the start.
    sets: Vec<u32>,
    /// First column of each set, and the number of columns.
    pub(super) first: Vec<u32>,
    /// Entries of each column: from the one's start to the next's.
    starts: Vec<u32>,
    entries: Vec<(u32, f64)>,
    /// Rows.
    pub(super) rows: usize,
}

impl Program {
    /// A program with so many rows and no columns.
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            rows,
            first: vec![0],
            starts: vec![0],
            ..Self::default()
        }
    }

    /// Adds a column to the set that is being built.
    pub(crate) fn add(&mut self, uses: impl IntoIterator<Item = (usize, f64)>) {
        let set = u32::try_from(self.first.len() - 1).unwrap_or(u32::MAX);
        self.sets.push(set);
        for (row, amount) in uses {
            self.entries
                .push((u32::try_from(row).unwrap_or(u32::MAX), amount));
        }
        self.starts
            .push(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
    }

    /// Ends the set that is being built.
    pub(crate) fn end_set(&mut self) {
        self.first
            .push(u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
    }

    /// How many columns there are.
    pub(crate) fn columns(&self) -> usize {
        self.sets.len()
    }

    /// The columns of a set.
    pub(crate) fn of_set(&self, set: usize) -> std::ops::Range<usize> {
        let at = |place: usize| self.first.get(place).map_or(0, |at| *at as usize);
        at(set)..at(set + 1)
    }

    /// Entries of a column.
    pub(super) fn uses(&self, column: usize) -> &[(u32, f64)] {
        let at = |place: usize| self.starts.get(place).map_or(0, |at| *at as usize);
        self.entries
            .get(at(column)..at(column + 1))
            .unwrap_or_default()
    }

    /// The set of a column.
    pub(crate) fn set(&self, column: usize) -> usize {
        self.sets.get(column).map_or(0, |set| *set as usize)
    }

    /// What a column costs at these duals.
    pub(super) fn priced(&self, column: usize, cost: &[f64], duals: &[f64]) -> f64 {
        let mut price = cost.get(column).copied().unwrap_or(0.0);
        for (row, amount) in self.uses(column) {
            price -= amount * duals.get(*row as usize).copied().unwrap_or(0.0);
        }
        price
    }
}
