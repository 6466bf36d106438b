//! How weights and activations are spread before and after.

use bantam_compress::stats::ObserveError;
use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::{Graph, InferOptions, ValueId, infer_shapes, part};
use bantam_tensor::Samples;
use serde_json::{Value, json};

use super::Search;
use super::level::Layer;
use crate::{Error, pipeline};

/// Bars of a histogram.
const BARS: usize = 64;

/// Samples that activations are of.
const SAMPLES: usize = 16;

/// Of each layer, the weights of two files over the same range, and what it gives for some samples.
pub(super) fn histograms(search: &Search<'_>, layers: &[Layer]) -> Result<Vec<Value>, Error> {
    let open = |path| Ok::<_, Error>(pipeline::prepare(&pipeline::load(path)?)?.graph);
    let graphs = [open(&search.job.model)?, open(&search.job.output)?];
    let mut listed = Vec::new();
    let [before, after] = &graphs;
    listed.extend(pairs(
        "weight",
        layers,
        &weights(before, layers)?,
        &weights(after, layers)?,
    ));
    let indices: Vec<usize> = search.sources.calibration.iter().copied().take(SAMPLES).collect();
    let of = |graph| activations(graph, layers, search, &indices);
    listed.extend(pairs("activation", layers, &of(before)?, &of(after)?));
    Ok(listed)
}

/// Values of the layers that both files have.
fn pairs(
    kind: &str,
    layers: &[Layer],
    before: &[Option<Vec<f32>>],
    after: &[Option<Vec<f32>>],
) -> Vec<Value> {
    let pairs = layers.iter().zip(before.iter().zip(after));
    let listed = pairs.filter_map(|(layer, (before, after))| {
        let (before, after) = (before.as_ref()?, after.as_ref()?);
        let all = || before.iter().chain(after).copied().filter(|x| x.is_finite());
        let (low, high) = (
            all().fold(f32::INFINITY, f32::min),
            all().fold(f32::NEG_INFINITY, f32::max),
        );
        let side = |values: &[f32]| json!({ "low": low, "high": high, "counts": counts(values, low, high) });
        (low < high).then(
            || json!({ "layer": layer.name, "kind": kind, "before": side(before), "after": side(after) }),
        )
    });
    listed.collect()
}

/// What each layer gives; `None` where the graph has no such layer.
fn activations(
    graph: &Graph,
    layers: &[Layer],
    search: &Search<'_>,
    indices: &[usize],
) -> Result<Vec<Option<Vec<f32>>>, Error> {
    let values: Vec<Option<ValueId>> = layers
        .iter()
        .map(|layer| graph.value_by_name(&layer.name))
        .collect();
    let mut graph = graph.clone();
    graph.outputs = values.iter().flatten().copied().collect();
    infer_shapes(&mut graph, &InferOptions::default())?;
    let program = compile(&graph, &CompileOptions::default())?;
    let mut found = vec![Some(Vec::new()); layers.len()];
    let cut = pipeline::batch_size(&graph, SAMPLES).cut(indices);
    for (indices, _) in cut {
        let batch = search
            .sources
            .train()
            .batch(&indices)
            .map_err(ObserveError::from)?;
        let inputs: Vec<_> = batch
            .inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.clone()))
            .collect();
        let mut results = program.run(&inputs, &mut Taps::none())?.into_iter();
        for (values, found) in values.iter().zip(&mut found) {
            let numbers = values
                .and_then(|_| results.next())
                .and_then(|tensor| tensor.to_f32().ok());
            match (numbers, found.as_mut()) {
                (Some(numbers), Some(found)) => found.extend_from_slice(&numbers),
                _ => *found = None,
            }
        }
    }
    Ok(found)
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
