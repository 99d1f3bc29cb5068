//! What is wrong with a price.

use ampacity_placement::MicroUsd;

/// Something wrong with a PriceSheet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceIssue {
    /// The value cannot be a price: zero for something that is never free, or a sentinel such as 99999. The value is ignored, and with it the row if it is its price.
    #[error(
        "price sheet {sheet:?}: {row}: {value} cannot be right and is ignored; correct it or remove the row"
    )]
    Absurd {
        /// The sheet.
        sheet: String,
        /// The row, in words.
        row: String,
        /// The value, in words.
        value: String,
    },
    /// Spot costs more than on-demand. The row is used.
    #[error(
        "price sheet {sheet:?}: {row}: Spot at {spot} an hour costs more than OnDemand at {on_demand}; it is used as it is, check both"
    )]
    SpotAboveOnDemand {
        /// The sheet of the spot row.
        sheet: String,
        /// The row, in words.
        row: String,
        /// Spot price.
        spot: MicroUsd,
        /// On-demand price of the same place.
        on_demand: MicroUsd,
    },
    /// One sheet prices the same thing twice. The last row is used.
    #[error("price sheet {sheet:?}: {row} stands twice; the last row is used, remove the other")]
    Duplicate {
        /// The sheet.
        sheet: String,
        /// The row, in words.
        row: String,
    },
}

impl PriceIssue {
    /// Name of the PriceSheet.
    pub fn sheet(&self) -> &str {
        match self {
            Self::Absurd { sheet, .. }
            | Self::SpotAboveOnDemand { sheet, .. }
            | Self::Duplicate { sheet, .. } => sheet,
        }
    }
}
