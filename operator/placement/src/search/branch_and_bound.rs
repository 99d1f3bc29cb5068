//! From shares to whole jobs: branch and bound on the relaxation, the most promising branches first.
//!
//! A dive decides for one split job at a time and solves again in between, until none is split or what is left is of no
//! interest; what it decided against is remembered, and the next dive starts where the bound is least. After every decision
//! the shares are rounded to a plan, so that a dive that comes to nothing has still been of use.

use super::incumbent::CLOSE;
use super::model::Target;
use super::relaxation::Relaxation;
use super::simplex::Vertex;

/// A vertex from which to go on, with what is ruled out.
#[derive(Clone)]
struct Open {
    vertex: Vertex,
    usd: Vec<f64>,
    bound: f64,
    /// The gang and candidate that was decided for before: now ruled out.
    against: Option<(usize, Option<usize>)>,
}

/// The search tree.
pub(crate) struct Tree<'r> {
    relaxation: &'r Relaxation,
    open: Vec<Open>,
    /// Where the dive is.
    at: Option<Open>,
    /// What a column that is ruled out costs.
    ban_usd: f64,
    /// Dollars below which a plan must be to be of interest.
    cutoff: f64,
    /// The bound of the root.
    root: f64,
    /// The least bound of a leaf: what its plan costs may be more, where it cannot be placed like that.
    leaf: f64,
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
            at: None,
            ban_usd: 1000.0 * dearest,
            cutoff: f64::INFINITY,
            root: bound,
            leaf: f64::INFINITY,
        }
    }

    /// Only what is cheaper is of interest from now on. `false` when that cannot be by much.
    pub(crate) fn cut_off(&mut self, usd: f64) -> bool {
        self.cutoff = self.cutoff.min(usd / CLOSE);
        self.cutoff > self.root
    }

    /// What no plan goes below.
    pub(crate) fn bound(&self) -> f64 {
        let open = self.open.iter().chain(&self.at).map(|open| open.bound);
        open.fold(self.cutoff.min(self.leaf), f64::min)
    }

    /// Takes the next decision and says where gangs are wanted then; `None` when there is none left or the pivots are used
    /// up.
    pub(crate) fn next(&mut self, pivots: &mut u64) -> Option<Vec<Target>> {
        loop {
            let mut node = match self.at.take() {
                Some(node) => node,
                None => self.most_promising()?,
            };
            if node.bound >= self.cutoff {
                continue;
            }
            if let Some((gang, candidate)) = node.against.take() {
                self.rule_out(&mut node.usd, gang, |other| other == candidate);
                let before = node.clone();
                match self.settle(&mut node, pivots) {
                    Some(true) => {}
                    Some(false) => continue,
                    None => return self.stop(before),
                }
            }
            let Some((gang, candidate)) = self.most_split(&node.vertex) else {
                self.leaf = self.leaf.min(node.bound);
                return Some(self.relaxation.rounded(&node.vertex));
            };
            self.open.push(Open {
                against: Some((gang, candidate)),
                ..node.clone()
            });
            self.rule_out(&mut node.usd, gang, |other| other != candidate);
            let before = node.clone();
            let Some(goes_on) = self.settle(&mut node, pivots) else {
                return self.stop(before);
            };
            let targets = self.relaxation.rounded(&node.vertex);
            self.at = goes_on.then_some(node);
            return Some(targets);
        }
    }

    /// Ends the search with a node open.
    fn stop<T>(&mut self, node: Open) -> Option<T> {
        self.open.push(node);
        None
    }

    /// The open node with the least bound; of equals the latest.
    fn most_promising(&mut self) -> Option<Open> {
        let open = self.open.iter().enumerate();
        let least = open.min_by(|a, b| a.1.bound.total_cmp(&b.1.bound).then(b.0.cmp(&a.0)));
        let at = least.map(|(at, _)| at)?;
        Some(self.open.remove(at))
    }

    /// The gang and candidate to decide for next, halves before almost wholes and dear ones before cheap; `None` where every
    /// gang is whole.
    fn most_split(&self, vertex: &Vertex) -> Option<(usize, Option<usize>)> {
        let mut best: Option<(f64, (usize, Option<usize>))> = None;
        for (gang, candidate, share) in self.relaxation.split(vertex) {
            let weight = self.relaxation.dearest(gang, candidate).sqrt() * share * (1.0 - share);
            if best
                .is_none_or(|(most, of)| weight > most || weight == most && (gang, candidate) < of)
            {
                best = Some((weight, (gang, candidate)));
            }
        }
        best.map(|(_, of)| of)
    }

    /// Solves a node again; whether there is anything left in it. `None` when the pivots are used up.
    fn settle(&self, node: &mut Open, pivots: &mut u64) -> Option<bool> {
        let program = &self.relaxation.program;
        // A node takes time even where its vertex stays the best.
        *pivots = pivots.checked_sub(1)?;
        if !node.vertex.minimise(program, &node.usd, pivots) {
            return None;
        }
        node.bound = node.bound.max(node.vertex.cost(&node.usd));
        let needs_banned = node.vertex.amounts().any(|(column, much)| {
            much > 1e-6 && node.usd.get(column).is_some_and(|usd| *usd >= self.ban_usd)
        });
        Some(!needs_banned && node.bound < self.cutoff)
    }

    fn rule_out(&self, usd: &mut [f64], gang: usize, out: impl Fn(Option<usize>) -> bool) {
        for column in self.relaxation.program.of_set(gang) {
            if let (Some(usd), Some(&candidate)) =
                (usd.get_mut(column), self.relaxation.candidates.get(column))
                && out(candidate)
            {
                *usd = self.ban_usd;
            }
        }
    }
}
