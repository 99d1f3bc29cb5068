//! Linear programs whose columns fall into sets of which each is shared out in full: the primal simplex method with
//! generalised upper bounds (Dantzig and Van Slyke, *Generalized upper bounding techniques*, 1967).
//!
//! ```text
//!   least Σ cost · x   with   Σ x over each set = 1,   Σ use · x ≤ have per row,   x ≥ 0
//! ```
//!
//! Each set has a *key* column that absorbs its equation, so the basis that is inverted has as many rows as there are
//! scarce things, however many sets there are. Plain floating-point additions, multiplications and divisions in a fixed
//! order: the same on every machine.

mod program;
mod vertex;

pub(crate) use program::Program;
pub(crate) use vertex::Vertex;
