//! How close the best plan seen so far is to what is proven of every plan.

/// A plan that is so close to the bound is good enough.
pub(crate) const CLOSE: f64 = 1.001;

/// What no plan of the board beats.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// Fewest gangs that wait, by rank of priority, lowest first; each where those above wait no more than here.
    pub(crate) waiting: Vec<f64>,
    /// Fewest dollars where so many wait.
    pub(crate) usd: f64,
}
