//! How much the columns of weights count: the mean squares of what they meet in products, as llama.cpp's importance matrix has
//! them (`imatrix.cpp`). An error of a weight changes the output by itself times its input.

use std::collections::BTreeMap;

use bantam_graph::{Graph, Op, ValueId};

use crate::quantize::layerwise::layout;
use crate::stats::{Observed, Request, Stat, Stats};

/// Matrices of products, and their inputs.
fn products(graph: &Graph) -> impl Iterator<Item = (ValueId, ValueId)> + '_ {
    let products = graph.nodes.iter().filter(|node| !matches!(node.op, Op::Conv(_)));
    let products = products.filter(|node| layout(&node.op).is_some());
    let operands = products.filter_map(|node| Some((node.input(1)?, node.input(0)?)));
    operands.filter(|(weight, input)| {
        let matrix = graph.constant(*weight).is_some_and(|tensor| tensor.rank() == 2);
        matrix && graph.constant(*input).is_none()
    })
}

/// What must be observed.
pub fn importance_requests(graph: &Graph) -> Vec<Request> {
    let request = |(_, value)| Request {
        value,
        stat: Stat::FeatureSquares,
    };
    products(graph).map(request).collect()
}

/// The importance of the elements that an input meets, for each matrix by its name; of all products, where several read one.
pub fn importance(graph: &Graph, stats: &Stats) -> BTreeMap<String, Vec<f32>> {
    let mut found: BTreeMap<&str, Observed> = BTreeMap::new();
    for (weight, input) in products(graph) {
        let Some(observed) = stats.get(input, Stat::FeatureSquares) else {
            continue;
        };
        let all = found.entry(&graph.value(weight).name);
        all.and_modify(|all| all.merge(observed))
            .or_insert_with(|| observed.clone());
    }
    let columns = |observed: Observed| match observed {
        Observed::Means(means) => means.means().into_iter().map(|square| square as f32).collect(),
        _ => Vec::new(),
    };
    let named = found
        .into_iter()
        .map(|(name, observed)| (name.to_owned(), columns(observed)));
    named.collect()
}
