//! Bounded activations, which keep channels from being rescaled.

use bantam_graph::{Graph, Op};

use crate::plan::{Action, Decision, Site};

/// Decisions that turn every clamp between zero and a positive bound (ReLU6) into Relu, as Nagel et al. 2019 do before equalization
/// (section 5.1.1). The network computes something else where the bound was reached.
pub fn unbound(graph: &Graph) -> Vec<Decision> {
    let bound = |node: &bantam_graph::Node, position: usize| {
        let tensor = graph.constant_input(node, position)?;
        tensor.to_f32().ok()?.first().copied()
    };
    let bounded = graph.nodes.iter().filter(|node| {
        let positive = |bound: f32| bound > 0.0;
        matches!(node.op, Op::Clip(_)) && bound(node, 1) == Some(0.0) && bound(node, 2).is_some_and(positive)
    });
    let decision = |node: &bantam_graph::Node| {
        let name = graph.value(node.output(0)?).name.clone();
        Some(Decision {
            site: Site::Node(name),
            action: Action::Unbound,
            why: "channels of a bounded activation cannot be rescaled".to_owned(),
            sqnr_db: None,
        })
    };
    bounded.filter_map(decision).collect()
}
