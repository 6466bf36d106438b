//! How weights are spread before and after.

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::{Graph, InferOptions, ValueId, infer_shapes, part};
use serde_json::{Value, json};

use super::level::Layer;
use crate::{Error, pipeline};

/// Bars of a histogram.
const BARS: usize = 64;

/// Of each layer, the weights of two files over the same range.
pub(super) fn histograms(
    before: &std::path::Path,
    after: &std::path::Path,
    layers: &[Layer],
) -> Result<Vec<Value>, Error> {
    let graphs = [before, after].map(|path| Ok::<_, Error>(pipeline::prepare(&pipeline::load(path)?)?.graph));
    let [before, after] = graphs;
    let (before, after) = (weights(&before?, layers)?, weights(&after?, layers)?);
    let pairs = layers.iter().zip(before.iter().zip(&after));
    let listed = pairs.filter_map(|(layer, (before, after))| {
        let (before, after) = (before.as_ref()?, after.as_ref()?);
        let all = || before.iter().chain(after).copied().filter(|x| x.is_finite());
        let (low, high) = (
            all().fold(f32::INFINITY, f32::min),
            all().fold(f32::NEG_INFINITY, f32::max),
        );
        let side = |values: &[f32]| json!({ "low": low, "high": high, "counts": counts(values, low, high) });
        (low < high).then(
            || json!({ "layer": layer.name, "kind": "weight", "before": side(before), "after": side(after) }),
        )
    });
    Ok(listed.collect())
}

fn counts(values: &[f32], low: f32, high: f32) -> Vec<u64> {
    let mut counts = vec![0; BARS];
    for value in values.iter().filter(|value| value.is_finite()) {
        let bar = (value - low) / (high - low) * BARS as f32;
        counts[(bar as usize).min(BARS - 1)] += 1;
    }
    counts
}

/// The weight of each layer, also behind DequantizeLinear; `None` where the graph has no such layer.
fn weights(graph: &Graph, layers: &[Layer]) -> Result<Vec<Option<Vec<f32>>>, Error> {
    let of_layer = |layer: &Layer| {
        let output = graph.value_by_name(&layer.name)?;
        graph
            .nodes
            .iter()
            .find(|node| node.output(0) == Some(output))?
            .input(1)
    };
    let values: Vec<Option<ValueId>> = layers.iter().map(of_layer).collect();
    let mut computed: Vec<ValueId> = values.iter().flatten().copied().collect();
    computed.retain(|value| graph.constant(*value).is_none());
    computed.sort_unstable();
    computed.dedup();
    let results = match computed.is_empty() {
        true => Vec::new(),
        false => {
            let mut part = part(graph, &[], &computed);
            infer_shapes(&mut part, &InferOptions::default())?;
            compile(&part, &CompileOptions::default())?.run(&[], &mut Taps::none())?
        }
    };
    let read = |value: Option<ValueId>| {
        let value = value?;
        let tensor = match computed.binary_search(&value) {
            Ok(index) => results.get(index)?,
            Err(_) => graph.constant(value)?,
        };
        tensor.to_f32().ok()
    };
    Ok(values.into_iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn the_largest_value_is_in_the_last_bar() {
        let found = counts(&[-1.0, 0.0, 1.0, 1.0, f32::NAN], -1.0, 1.0);
        assert_eq!((found[0], found[32], found[63]), (1, 1, 2));
        assert_eq!(found.iter().sum::<u64>(), 4);
    }
}
