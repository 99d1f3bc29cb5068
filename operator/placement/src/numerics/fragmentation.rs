//! The measure of fragmentation by Weng et al., *Beware of Fragmentation: Scheduling GPU-Sharing Workloads with
//! Fragmentation Gradient Descent* (USENIX ATC 2023).

use std::iter::Sum;
use std::ops::Mul;

/// What of a node's free devices the mix cannot use, in expectation: for each class, how much of it comes times what it would leave
/// unused. The gradient of a placement is what this is after it less what it was before.
///
/// ```
/// use ampacity_placement::numerics::expected_loss;
///
/// // Of 3 free devices, replicas of 2 leave one and replicas of 4 leave all; three of four replicas have 2.
/// let lost = |size: u64| if size > 3 { 3 } else { 3 % size };
/// assert_eq!(expected_loss([(2, 3), (4, 1)], lost), 3 * 1 + 1 * 3);
/// ```
#[inline]
pub fn expected_loss<C, W>(mix: impl IntoIterator<Item = (C, W)>, lost: impl Fn(C) -> W) -> W
where
    W: Mul<Output = W> + Sum,
{
    mix.into_iter()
        .map(|(class, weight)| weight * lost(class))
        .sum()
}
