//! Bias correction: takes back the mean of what quantized weights add to each output channel.

use bantam_graph::{Graph, Node, Op, ValueId};
use bantam_tensor::QParams;

use super::QuantizeSettings;
use super::placement::Placement;
use super::products::{ProductInputs, product_inputs};
use crate::quantizer::quantization_error;
use crate::stats::{Observed, Request, Stat, Stats};
use crate::target::OpRole;

/// The means of a product's input that the correction needs.
fn input_means(op: &Op) -> Stat {
    match op {
        Op::Conv(_) => Stat::ChannelMeans,
        _ => Stat::FeatureMeans,
    }
}

/// Means of the inputs of products that have a bias.
pub(super) fn corrected_inputs(
    graph: &Graph,
    settings: &QuantizeSettings,
    placement: &Placement,
) -> Vec<Request> {
    let is_corrected = |node: &Node, kept: &Option<String>| {
        let product = matches!(settings.target.role(&node.op), OpRole::Product { .. });
        kept.is_none() && product && product_inputs(graph, node).is_some_and(|inputs| inputs.bias.is_some())
    };
    let nodes = graph
        .nodes
        .iter()
        .zip(&placement.kept)
        .filter(|(node, kept)| is_corrected(node, kept));
    nodes
        .filter_map(|(node, _)| {
            Some(Request {
                value: node.input(0)?,
                stat: input_means(&node.op),
            })
        })
        .collect()
}

/// What to add to the bias of a product: minus the error of the weights times the mean of the input, for each output
/// channel (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", section
/// 4.2, with means from data). Zeros around images are taken to have the mean as well.
///
/// `None` where the means were not observed or the op has another form.
pub(super) fn correction(
    graph: &Graph,
    node: &Node,
    inputs: &ProductInputs,
    (format, params): (&str, &QParams),
    stats: &Stats,
) -> Option<Vec<f32>> {
    let input: ValueId = node.input(0)?;
    let Some(Observed::Means(means)) = stats.get(input, input_means(&node.op)) else {
        return None;
    };
    let means = means.means();
    let weight = graph.constant_input(node, inputs.weight)?;
    let error = quantization_error(weight, format, params).ok()?;
    let shape = weight.shape();
    let sums = match &node.op {
        Op::Conv(conv) => {
            let (outputs, group_inputs) = (shape[0], shape[1]);
            let (taps, groups) = (
                shape[2..].iter().product::<usize>(),
                usize::try_from(conv.group).ok()?,
            );
            let fits = group_inputs * groups == means.len() && outputs.is_multiple_of(groups) && taps > 0;
            let (outputs_per_group, means) = (fits.then(|| outputs / groups)?, &means);
            let of_output = |(output, filter): (usize, &[f32])| {
                let first = output / outputs_per_group * group_inputs;
                let of_input = |(index, taps): (usize, &[f32])| {
                    taps.iter().copied().map(f64::from).sum::<f64>() * means[first + index]
                };
                filter.chunks_exact(taps).enumerate().map(of_input).sum::<f64>()
            };
            error
                .chunks_exact(group_inputs * taps)
                .enumerate()
                .map(of_output)
                .collect::<Vec<f64>>()
        }
        Op::Gemm(gemm) if shape.len() == 2 => {
            let (depth, outputs) = if gemm.transB {
                (shape[1], shape[0])
            } else {
                (shape[0], shape[1])
            };
            let at = |k: usize, n: usize| {
                if gemm.transB {
                    error[n * depth + k]
                } else {
                    error[k * outputs + n]
                }
            };
            let fits = depth == means.len();
            let of_output = |n: usize| (0..depth).map(|k| f64::from(at(k, n)) * means[k]).sum::<f64>();
            fits.then(|| (0..outputs).map(of_output).collect())?
        }
        _ => return None,
    };
    sums.iter()
        .all(|sum| sum.is_finite())
        .then(|| sums.iter().map(|sum| -sum as f32).collect())
}
