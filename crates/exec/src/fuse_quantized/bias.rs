//! The bias of a product of codes: 32-bit numbers in units of the product of the scales.

use bantam_graph::Node;
use bantam_tensor::{DType, Tensor};

use super::Source;
use super::search::{Codes, Search};

/// Largest magnitude, so that the sums do not wrap around.
const LARGEST: f64 = (1 << 30) as f64;

/// Input `index` of a product of `x` and `weight`, as 32-bit numbers; `None` when it cannot be had.
pub(super) fn quantized_bias(
    search: &Search<'_>,
    node: &Node,
    index: usize,
    x: &Codes<'_>,
    weight: &Codes<'_>,
    channels: usize,
) -> Option<Source> {
    if node.input(index).is_none() {
        return Some(Source::Absent);
    }
    let reals = match search.dequantized(node, index) {
        Some(bias) => dequantized(search.graph.constant(bias.value)?, &bias)?,
        None => search
            .graph
            .constant_input(node, index)
            .filter(|bias| bias.dtype() == DType::F32)?
            .to_f64()
            .ok()?,
    };
    if reals.len() != channels {
        return None;
    }
    let (x_scale, scales) = (f64::from(x.scale.to_f32().ok()?[0]), weight.scale.to_f64().ok()?);
    let unit = |channel: usize| x_scale * scales[if scales.len() == 1 { 0 } else { channel }];
    let codes = reals.iter().enumerate().map(|(channel, real)| {
        let code = (real / unit(channel)).round_ties_even();
        (code.abs() <= LARGEST).then_some(code as i32)
    });
    Some(Source::Constant(Tensor::from_vec1(
        &codes.collect::<Option<Vec<i32>>>()?,
    )))
}

/// The reals of a constant with scales along its only axis.
fn dequantized(codes: &Tensor, bias: &Codes<'_>) -> Option<Vec<f64>> {
    let (codes, scales) = (codes.to_i64().ok()?, bias.scale.to_f64().ok()?);
    let zeros = bias.zero.map_or(Some(vec![0]), |zero| zero.to_i64().ok())?;
    let fits = |count: usize| count == 1 || count == codes.len();
    if !fits(scales.len()) || !fits(zeros.len()) {
        return None;
    }
    let at = |count: usize, index: usize| if count == 1 { 0 } else { index };
    let real = |(index, code): (usize, &i64)| {
        (code - zeros[at(zeros.len(), index)]) as f64 * scales[at(scales.len(), index)]
    };
    Some(codes.iter().enumerate().map(real).collect())
}
