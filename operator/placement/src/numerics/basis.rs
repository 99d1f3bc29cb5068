//! The inverse of a simplex basis, kept explicitly and updated by pivots: what every revised simplex method has in common.

/// An inverse, row by row. Plain floating-point additions, multiplications and divisions in a fixed order: the same on every
/// machine.
#[derive(Clone, Debug)]
pub struct BasisInverse {
    rows: usize,
    entries: Vec<f64>,
}

impl BasisInverse {
    /// The inverse of a diagonal basis: these are its entries, so ones for a basis of slacks.
    pub fn diagonal(inverted: &[f64]) -> Self {
        let rows = inverted.len();
        let mut entries = vec![0.0; rows * rows];
        let diagonal = entries.iter_mut().step_by(rows + 1);
        for (entry, inverted) in diagonal.zip(inverted) {
            *entry = *inverted;
        }
        Self { rows, entries }
    }

    /// Its rows, by place of the basis.
    pub fn lines(&self) -> impl Iterator<Item = &[f64]> {
        self.entries.chunks_exact(self.rows.max(1))
    }

    /// One entry; 0 outside.
    pub fn entry(&self, place: usize, row: usize) -> f64 {
        let at = place * self.rows + row;
        self.entries.get(at).copied().unwrap_or(0.0)
    }

    /// Puts another row at a place.
    pub fn set_line(&mut self, place: usize, line: &[f64]) {
        let mut lines = self.entries.chunks_exact_mut(self.rows.max(1));
        if let Some(place) = lines.nth(place)
            && place.len() == line.len()
        {
            place.copy_from_slice(line);
        }
    }

    /// How fast what is in the basis goes down, by place, while a column of these entries, by row, comes in.
    pub fn rates_into(&self, column: &[(u32, f64)], rates: &mut Vec<f64>) {
        rates.clear();
        rates.extend(self.lines().map(|line| {
            let parts = column.iter();
            let parts =
                parts.map(|(row, amount)| amount * line.get(*row as usize).copied().unwrap_or(0.0));
            parts.sum::<f64>()
        }));
    }

    /// The pivot: the column with these rates takes the place. `line` is a buffer. `None` where there is no such place.
    pub fn replace(&mut self, place: usize, rates: &[f64], line: &mut Vec<f64>) -> Option<()> {
        let by = *rates.get(place)?;
        let pivot = self
            .entries
            .get(place * self.rows..(place + 1) * self.rows)?;
        line.clear();
        line.extend(pivot.iter().map(|entry| entry / by));
        let lines = self.entries.chunks_exact_mut(self.rows.max(1)).zip(rates);
        for (at, (row, rate)) in lines.enumerate() {
            if at == place {
                row.copy_from_slice(line);
            } else if *rate != 0.0 {
                for (entry, pivot) in row.iter_mut().zip(line.iter()) {
                    *entry -= rate * pivot;
                }
            }
        }
        Some(())
    }
}
