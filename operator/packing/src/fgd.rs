//! Fragmentation gradient descent, as published (Weng et al., "Beware of Fragmentation", USENIX ATC'23).

use ampacity_placement::numerics::expected_loss;

use super::{JobMix, MAX_DEVICES, Node, NodeScore, Shape};

/// Free device thousandths of a node that a task drawn from the mix cannot use, in expectation. All that is free is of no use to a
/// class that needs no device, accepts no device of this model or does not fit; the shares too small for it are of no use to the others.
pub fn fragmentation(node: &Node, mix: &JobMix) -> f64 {
    let free = node.total_free_milli();
    if free == 0 {
        return 0.0;
    }
    let classes = mix.classes().iter();
    let weighted = classes.map(|(shape, probability)| (shape, *probability));
    expected_loss(weighted, |shape| {
        let lost = if shape.devices == 0 || !node.fits(shape) {
            free
        } else {
            node.shares()
                .filter(|&share| share < shape.device_milli)
                .map(u32::from)
                .sum()
        };
        f64::from(lost)
    })
}

/// The node whose fragmentation grows least. Scores are whole points of 0..=100, as the published simulator has them: the rounding makes
/// many nodes equal, and ties go to the first node, so small changes pack instead of spreading.
#[derive(Debug, Clone)]
pub struct Fgd {
    mix: JobMix,
}

impl Fgd {
    /// FGD that expects this mix.
    pub fn new(mix: JobMix) -> Self {
        Self { mix }
    }
}

impl NodeScore for Fgd {
    fn score(&self, node: &Node, shape: &Shape) -> Option<(i64, u8)> {
        if !node.fits(shape) {
            return None;
        }
        let before = fragmentation(node, &self.mix);
        let points = |device: u8| {
            let after = fragmentation(&node.with(shape, device)?, &self.mix);
            let sigmoid = 1.0 / (1.0 + (-(before - after) / 1000.0).exp());
            Some(((100.0 * sigmoid) as i64, device))
        };
        if !shape.is_shared() {
            return points(0);
        }
        let mut tried = [false; 1001];
        let mut best: Option<(i64, u8)> = None;
        for (device, share) in node.shares().enumerate().take(MAX_DEVICES) {
            // Devices with the same room are the same: the first stands for all.
            let seen = tried
                .get_mut(usize::from(share))
                .is_some_and(|tried| std::mem::replace(tried, true));
            if seen || share < shape.device_milli {
                continue;
            }
            let candidate = points(device as u8);
            if candidate.is_some_and(|(value, _)| best.is_none_or(|(highest, _)| value > highest)) {
                best = candidate;
            }
        }
        best
    }
}
