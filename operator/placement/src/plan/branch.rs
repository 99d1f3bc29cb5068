//! From shares to whole jobs: branch and bound on the relaxation, the most promising branches first.
//!
//! A dive makes one split job whole at a time, solving again in between, until none is split; what it decided against is
//! remembered and the next dive starts where the bound is least. It ends when a plan is within a thousandth of the bound.

use super::relax::Relaxation;
use super::simplex::Vertex;

/// A plan that is so close to the bound is good enough.
pub(crate) const CLOSE: f64 = 1.001;

/// A vertex from which to go on, with what is ruled out.
struct Open {
    vertex: Vertex,
    usd: Vec<f64>,
    bound: f64,
    /// The column's piece and way that was decided for before: now ruled out.
    against: Option<(usize, Option<usize>)>,
}

/// The search tree.
pub(crate) struct Tree<'r> {
    relaxation: &'r Relaxation,
    open: Vec<Open>,
    /// What a column that is ruled out costs.
    ban_usd: f64,
    /// Dollars below which a plan must be to be of interest.
    cutoff: f64,
    bound: f64,
    leaves: u32,
}

impl<'r> Tree<'r> {
    /// A tree from the optimum of the relaxation.
    pub(crate) fn new(relaxation: &'r Relaxation, root: &Vertex) -> Self {
        let dearest = relaxation.usd.iter().copied().fold(1.0, f64::max);
        let bound = root.cost(&relaxation.usd);
        Self {
            relaxation,
            open: vec![Open {
                vertex: root.clone(),
                usd: relaxation.usd.clone(),
                bound,
                against: None,
            }],
            ban_usd: 1000.0 * dearest,
            cutoff: f64::INFINITY,
            bound,
            leaves: 0,
        }
    }

    /// Only what is cheaper is of interest from now on. `false` when that cannot be by much.
    pub(crate) fn cut_off(&mut self, usd: f64) -> bool {
        self.cutoff = self.cutoff.min(usd / CLOSE);
        self.cutoff > self.bound
    }

    /// The next way of each piece, none split; `None` when there is no more or the pivots are used up.
    pub(crate) fn next(&mut self, pivots: &mut u64) -> Option<Vec<Option<usize>>> {
        loop {
            // Until there is a plan, the deepest; then where the bound is least.
            let least = if self.cutoff.is_finite() || self.leaves > 0 {
                let open = self.open.iter().enumerate();
                open.min_by(|a, b| a.1.bound.total_cmp(&b.1.bound).then(b.0.cmp(&a.0)))
                    .map(|(at, _)| at)?
            } else {
                self.open.len().checked_sub(1)?
            };
            let mut node = self.open.remove(least);
            if node.bound >= self.cutoff {
                return None;
            }
            if let Some((piece, way)) = node.against {
                self.rule_out(&mut node.usd, piece, |other| other == way);
                if !self.settle(&mut node, pivots)? {
                    continue;
                }
            }
            if let Some(ways) = self.dive(node, pivots)? {
                self.leaves += 1;
                return Some(ways);
            }
        }
    }

    /// Where the search stood when it ended, if it found nothing.
    pub(crate) fn last(&self) -> Option<&Vertex> {
        if self.leaves > 0 {
            return None;
        }
        self.open.last().map(|open| &open.vertex)
    }

    /// Solves a node again; whether there is anything left in it.
    fn settle(&self, node: &mut Open, pivots: &mut u64) -> Option<bool> {
        let program = &self.relaxation.program;
        if !node.vertex.minimise(program, &node.usd, pivots) {
            return None;
        }
        node.bound = node.vertex.cost(&node.usd);
        let needs_banned = node.vertex.amounts().any(|(column, much)| {
            much > 1e-6 && node.usd.get(column).is_some_and(|usd| *usd >= self.ban_usd)
        });
        Some(!needs_banned && node.bound < self.cutoff)
    }

    fn rule_out(&self, usd: &mut [f64], piece: usize, out: impl Fn(Option<usize>) -> bool) {
        for column in self.relaxation.program.of_set(piece) {
            if let (Some(usd), Some(&way)) = (usd.get_mut(column), self.relaxation.ways.get(column))
                && out(way)
            {
                *usd = self.ban_usd;
            }
        }
    }

    fn dive(&mut self, mut node: Open, pivots: &mut u64) -> Option<Option<Vec<Option<usize>>>> {
        let mut shares = Vec::new();
        loop {
            self.relaxation.split(&node.vertex, &mut shares);
            let largest = shares
                .iter()
                .max_by(|a, b| a.2.total_cmp(&b.2).then(b.0.cmp(&a.0)).then(b.1.cmp(&a.1)));
            let Some(&(piece, way, _)) = largest else {
                return Some(Some(self.relaxation.rounded(&node.vertex)));
            };
            self.open.push(Open {
                vertex: node.vertex.clone(),
                usd: node.usd.clone(),
                bound: node.bound,
                against: Some((piece, way)),
            });
            self.rule_out(&mut node.usd, piece, |other| other != way);
            if !self.settle(&mut node, pivots)? {
                return Some(None);
            }
        }
    }
}
