//! The usual mix of tasks, learned from a list.

use std::collections::HashMap;

use super::Shape;

/// Shapes with their probabilities, the most frequent first.
#[derive(Debug, Clone, PartialEq)]
pub struct JobMix {
    classes: Vec<(Shape, f64)>,
}

impl JobMix {
    /// The smallest set of most frequent shapes that covers `coverage` (0..=1) of the list, probabilities adding up to 1. Shapes of
    /// equal count keep the order of their first appearance. FGD (ATC'23) uses 0.95.
    pub fn typical(shapes: impl IntoIterator<Item = Shape>, coverage: f64) -> Self {
        let mut counts: Vec<(Shape, usize)> = Vec::new();
        let mut places: HashMap<Shape, usize> = HashMap::new();
        for shape in shapes {
            let at = *places.entry(shape).or_insert_with(|| {
                counts.push((shape, 0));
                counts.len() - 1
            });
            if let Some((_, count)) = counts.get_mut(at) {
                *count += 1;
            }
        }
        let total: usize = counts.iter().map(|(_, count)| count).sum();
        counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let mut covered = 0;
        counts.retain(|&(_, count)| {
            let wanted = (covered as f64) < coverage * total as f64;
            covered += if wanted { count } else { 0 };
            wanted
        });
        let scale = 1.0 / covered.max(1) as f64;
        Self {
            classes: counts
                .into_iter()
                .map(|(shape, count)| (shape, count as f64 * scale))
                .collect(),
        }
    }

    /// The classes, the most frequent first.
    pub fn classes(&self) -> &[(Shape, f64)] {
        &self.classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelSet;

    #[test]
    fn rare_shapes_are_left_out_and_the_rest_adds_up_to_one() {
        let shape = |cpu_milli| Shape {
            cpu_milli,
            device_milli: 1000,
            devices: 1,
            models: ModelSet(u64::MAX),
        };
        let list = [vec![shape(1); 60], vec![shape(2); 36], vec![shape(3); 4]].concat();
        let mix = JobMix::typical(list, 0.95);
        assert_eq!(mix.classes(), [(shape(1), 0.625), (shape(2), 0.375)]);
    }
}
