//! Activation-aware weight quantization (Lin et al. 2023, "AWQ: activation-aware weight quantization for on-device LLM compression and
//! acceleration"): weights that meet large inputs become larger, so that rounding takes a smaller share of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use bantam_graph::{Graph, ValueId};
use bantam_kernels::matmul::{Onto, Product as Matrix, multiply_batch};
use bantam_tensor::Tensor;

use super::fit::ranged;
use super::products::Product;
use super::rounded::RoundedRow;
use super::{GroupError, GroupSettings};
use crate::plan::Decision;
use crate::quantize::layerwise::{Calibration, LayerwiseError, Moments, Walk, moments, rows_of_matrix};
use crate::quantize::rescale::{Link, Reader, left, links};

/// Steps of alpha from 0 to 1.
const STEPS: usize = 20;
/// Most rows of a weight that the error is measured on.
const MOST_ROWS: usize = 512;

/// The factors of all links between a norm or product and products in groups: `s = mean|x|^alpha` (equation 5), by which weights are
/// multiplied and their inputs divided, with the alpha, also divided by `mean|w|^(1 - alpha)` or not, that changes the outputs least
/// once each weight has its nearest code.
///
/// # Errors
/// When the network cannot be run on the samples.
pub(super) fn activation_aware(
    graph: &Graph,
    products: &[Product],
    settings: &GroupSettings,
    calibration: &Calibration<'_>,
) -> Result<Vec<Decision>, GroupError> {
    let (mut open, mut decisions) = open_links(graph, products);
    let batches = calibration.batches().map_err(LayerwiseError::from)?;
    let mut walk = Walk::new(graph, &batches)?;
    let mut last: Option<(ValueId, Rc<Inputs>)> = None;
    for (node, link, reader) in in_order(&open) {
        let product = open[link].readers[reader];
        let inputs = match &last {
            Some((value, inputs)) if *value == product.input => inputs.clone(),
            _ => {
                walk.advance(graph, node)?;
                Rc::new(Inputs::of(graph, product, &walk, calibration.seed)?)
            }
        };
        last = Some((product.input, inputs.clone()));
        open[link].inputs.insert(reader, inputs);
        if open[link].inputs.len() == open[link].readers.len() {
            let scales = open[link].best(graph, settings)?;
            let why = "weights that meet large inputs become larger (AWQ)";
            decisions.extend(open[link].link.rescale(graph, &scales, why));
            open[link].inputs.clear();
        }
    }
    Ok(decisions)
}

/// The links all of whose readers are products in groups, and decisions about the others.
fn open_links<'a>(graph: &Graph, products: &'a [Product]) -> (Vec<Open<'a>>, Vec<Decision>) {
    let found = links(graph);
    let (mut open, mut decisions) = (Vec::new(), found.left);
    let quantized = |reader: &Reader| products.iter().find(|product| product.node == reader.node);
    for link in found.links {
        match link.readers.iter().map(quantized).collect::<Option<Vec<_>>>() {
            Some(readers) => open.push(Open::new(link, readers)),
            None => {
                let why = "not all products behind it are quantized in groups";
                decisions.push(left(link.name, why.to_owned()));
            }
        }
    }
    (open, decisions)
}

/// Node, link and place of every reader, in the order of the graph.
fn in_order(open: &[Open<'_>]) -> Vec<(usize, usize, usize)> {
    let of_link = |(index, link): (usize, &Open<'_>)| {
        let readers = link.readers.iter().enumerate();
        let reads = readers.map(|(reader, product)| (product.node.index(), index, reader));
        reads.collect::<Vec<_>>()
    };
    let mut reads: Vec<_> = open.iter().enumerate().flat_map(of_link).collect();
    reads.sort_unstable();
    reads
}

/// What the inputs of a product are.
struct Inputs {
    moments: Moments,
    /// Mean magnitude of each.
    magnitudes: Vec<f64>,
}

impl Inputs {
    fn of(graph: &Graph, product: &Product, walk: &Walk, seed: u64) -> Result<Inputs, GroupError> {
        let missing = || LayerwiseError::Shape {
            problem: format!("`{}` does not depend on the network's inputs", product.name),
        };
        let x = walk.get(product.input).ok_or_else(missing)?;
        let shape = [product.rows, product.depth];
        let node = graph.node(product.node);
        let found = moments(node, &shape, product.depth, (x, None), (false, seed))?;
        Ok(Inputs {
            moments: found.into_iter().next().ok_or_else(missing)?,
            magnitudes: magnitudes(x, product.depth)?,
        })
    }
}

/// The mean magnitude of each input.
fn magnitudes(batches: &[Tensor], depth: usize) -> Result<Vec<f64>, LayerwiseError> {
    let (mut sums, mut count) = (vec![0f64; depth], 0);
    for tensor in batches {
        for row in tensor.to_f32()?.chunks_exact(depth) {
            count += 1;
            let pairs = sums.iter_mut().zip(row);
            pairs.for_each(|(sum, x)| *sum += f64::from(x.abs()));
        }
    }
    Ok(sums
        .into_iter()
        .map(|sum| sum / f64::from(count.max(1)))
        .collect())
}

/// A link on its way: the inputs of some of its readers are known.
struct Open<'a> {
    link: Link,
    readers: Vec<&'a Product>,
    inputs: BTreeMap<usize, Rc<Inputs>>,
}

/// A weight by rows, with what its inputs are.
struct Weight<'a> {
    rows: Vec<f32>,
    depth: usize,
    /// For each input, the channel of the link.
    channels: &'a [usize],
    second: Vec<f32>,
}

impl<'a> Open<'a> {
    fn new(link: Link, readers: Vec<&'a Product>) -> Open<'a> {
        Open {
            link,
            readers,
            inputs: BTreeMap::new(),
        }
    }

    /// The scales of least error.
    fn best(&self, graph: &Graph, settings: &GroupSettings) -> Result<Vec<f32>, GroupError> {
        let weights = self.weights(graph)?;
        let inputs = self.mean_by_channel(|reader, at| self.inputs[&reader].magnitudes[at]);
        let sizes: Vec<Vec<f64>> = weights.iter().map(Weight::sizes).collect();
        let sizes = self.mean_by_channel(|reader, at| sizes[reader][at]);
        let error =
            |scales: &[f32]| -> f64 { weights.iter().map(|weight| weight.error(scales, settings)).sum() };
        let mut best = vec![1.0; self.link.channels];
        let mut least = error(&best);
        for step in 0..=STEPS {
            let alpha = step as f64 / STEPS as f64;
            for both in [false, true] {
                let scale = |(x, w): (&f64, &f64)| match both {
                    true => x.powf(alpha) / w.powf(1.0 - alpha),
                    false => x.powf(alpha),
                };
                let scales = centered(inputs.iter().zip(&sizes).map(scale).collect());
                let found = error(&scales);
                if found < least {
                    (least, best) = (found, scales);
                }
            }
        }
        Ok(best)
    }

    fn weights(&self, graph: &Graph) -> Result<Vec<Weight<'_>>, GroupError> {
        let weight = |(index, product): (usize, &&Product)| {
            let tensor = graph.constant(product.weight).ok_or(GroupError::Nothing)?;
            let values = tensor.to_f32().map_err(LayerwiseError::from)?;
            let rows = rows_of_matrix(product.layout, values, product.depth);
            let second = &self.inputs[&index].moments.second;
            Ok(Weight {
                rows: some_rows(rows, product.depth),
                depth: product.depth,
                channels: &self.link.readers[index].channels,
                second: second.iter().map(|value| *value as f32).collect(),
            })
        };
        self.readers.iter().enumerate().map(weight).collect()
    }

    /// The mean over all inputs of a channel.
    fn mean_by_channel(&self, of: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.link.channels];
        let mut counts = vec![0f64; self.link.channels];
        for (index, reader) in self.link.readers.iter().enumerate() {
            for (at, channel) in reader.channels.iter().enumerate() {
                sums[*channel] += of(index, at);
                counts[*channel] += 1.0;
            }
        }
        sums.iter()
            .zip(counts)
            .map(|(sum, count)| sum / count.max(1.0))
            .collect()
    }
}

/// Scales whose smallest and largest are as far below one as above; one for channels without a size.
fn centered(scales: Vec<f64>) -> Vec<f32> {
    /// Beyond this factor of the middle, scales would only move rounding errors of floats around.
    const FARTHEST: f64 = 1e4;
    let sizes = || {
        scales
            .iter()
            .copied()
            .filter(|scale| scale.is_finite() && *scale > 0.0)
    };
    let middle = (sizes().fold(f64::INFINITY, f64::min) * sizes().fold(0.0, f64::max)).sqrt();
    let scale = |scale: &f64| match scale.is_finite() && *scale > 0.0 && middle.is_finite() {
        true => (scale / middle).clamp(1.0 / FARTHEST, FARTHEST) as f32,
        false => 1.0,
    };
    scales.iter().map(scale).collect()
}

/// At most so many rows as are looked at, evenly from all.
fn some_rows(rows: Vec<f32>, depth: usize) -> Vec<f32> {
    let count = rows.len() / depth.max(1);
    let step = count.div_ceil(MOST_ROWS).max(1);
    match step {
        1 => rows,
        _ => rows
            .chunks_exact(depth)
            .step_by(step)
            .flatten()
            .copied()
            .collect(),
    }
}

impl Weight<'_> {
    /// Mean magnitude of the weights that read each input, each as a share of the largest of its row.
    fn sizes(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.depth];
        for row in self.rows.chunks_exact(self.depth) {
            let largest = row.iter().fold(0f32, |largest, w| largest.max(w.abs()));
            if largest > 0.0 {
                let pairs = sums.iter_mut().zip(row);
                pairs.for_each(|(sum, w)| *sum += f64::from(w.abs() / largest));
            }
        }
        let count = (self.rows.len() / self.depth) as f64;
        sums.iter().map(|sum| sum / count).collect()
    }

    /// The squared error of the outputs, with channels multiplied by these scales before they are rounded and divided behind.
    fn error(&self, scales: &[f32], settings: &GroupSettings) -> f64 {
        let (depth, format) = (self.depth, &settings.format);
        let of_input: Vec<f32> = self.channels.iter().map(|channel| scales[*channel]).collect();
        let mut errors = Vec::with_capacity(self.rows.len());
        for row in self.rows.chunks_exact(depth) {
            let scaled: Vec<f32> = row.iter().zip(&of_input).map(|(w, scale)| w * scale).collect();
            let rounded = RoundedRow::nearest(&scaled, format, ranged(&scaled, format));
            let pairs = scaled
                .iter()
                .zip(rounded.values(format.group_len()))
                .zip(&of_input);
            errors.extend(pairs.map(|((w, q), scale)| (w - q) / scale));
        }
        weighted(&errors, &self.second, depth)
    }
}

/// The sum of `e H e` over rows `e`.
fn weighted(errors: &[f32], second: &[f32], depth: usize) -> f64 {
    let rows = errors.len() / depth.max(1);
    let product = Matrix {
        rows,
        columns: depth,
        depth,
        a_strides: [depth, 1],
        b_strides: [depth, 1],
    };
    let mut sums = vec![0.0; rows * depth];
    multiply_batch(
        &product,
        &[[0, 0]],
        [errors, second],
        1.0,
        Onto::Nothing,
        &mut sums,
    );
    sums.iter()
        .zip(errors)
        .map(|(sum, error)| f64::from(sum * error))
        .sum()
}
