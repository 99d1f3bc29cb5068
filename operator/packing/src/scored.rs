//! Policies that give every node a number: the highest wins.

use super::{Cluster, Node, Placement, Shape, Task};

/// Chooses where a task goes.
pub trait Policy {
    /// The place for a task, or `None` when it fits nowhere.
    fn choose(&mut self, cluster: &Cluster, task: &Task) -> Option<Placement>;
}

/// A score that depends on the node and the shape only.
pub trait NodeScore {
    /// The score and the device for a share, or `None` when CPU or devices do not suffice.
    fn score(&self, node: &Node, shape: &Shape) -> Option<(i64, u8)>;
}

/// The highest score wins; ties go to the first node. Scores are kept until their node changes, so a decision costs one look at every
/// node and a new score only for those that changed since the shape last came.
#[derive(Debug)]
pub struct Scored<S> {
    score: S,
    /// By shape, then by node.
    kept: Vec<Vec<Kept>>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    version: u32,
    best: Option<(i64, u8)>,
}

const NEVER: Kept = Kept {
    version: u32::MAX,
    best: None,
};

impl<S: NodeScore> Scored<S> {
    /// A policy from a score.
    pub fn new(score: S) -> Self {
        Self {
            score,
            kept: Vec::new(),
        }
    }

    /// Score and place for every node with room for the task, memory included, in the order of the nodes.
    pub fn feasible(
        &mut self,
        cluster: &Cluster,
        task: &Task,
    ) -> impl Iterator<Item = (i64, Placement)> {
        let at = task.shape_id as usize;
        if self.kept.len() <= at {
            self.kept.resize(at + 1, Vec::new());
        }
        let kept = self.kept.get_mut(at).map_or(&mut [][..], |kept| {
            kept.resize(cluster.nodes().len(), NEVER);
            kept
        });
        let score = &self.score;
        let nodes = cluster
            .nodes()
            .iter()
            .zip(cluster.versions())
            .zip(kept)
            .enumerate();
        nodes.filter_map(move |(at, ((node, &version), kept))| {
            if kept.version != version {
                *kept = Kept {
                    version,
                    best: score.score(node, &task.shape),
                };
            }
            let (value, device) = kept.best?;
            (node.memory_free_mib >= task.memory_mib)
                .then_some((value, Placement { node: at, device }))
        })
    }
}

impl<S: NodeScore> Policy for Scored<S> {
    fn choose(&mut self, cluster: &Cluster, task: &Task) -> Option<Placement> {
        let mut best: Option<(i64, Placement)> = None;
        for (value, placement) in self.feasible(cluster, task) {
            if best.is_none_or(|(highest, _)| value > highest) {
                best = Some((value, placement));
            }
        }
        best.map(|(_, placement)| placement)
    }
}
