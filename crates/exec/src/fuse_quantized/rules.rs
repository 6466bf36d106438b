//! The patterns: which operator on codes stands for which float operator.

use bantam_graph::ops::{
    Binary, Conv, Gemm, MatMulIntegerToFloat, PadMode, QGemm, QLinearAdd, QLinearConcat, QLinearConv,
    QLinearGlobalAveragePool, QLinearLeakyRelu, QLinearMatMul, QLinearMul, QLinearSigmoid, Unary,
};
use bantam_graph::{Node, NodeId, Op};
use bantam_tensor::Tensor;

use super::bias::quantized_bias;
use super::search::{Codes, Search};
use super::{Replacement, Source};

/// The operator on codes for the pattern around a float operator, if there is one.
pub(super) fn replacement(search: &Search<'_>, id: NodeId, node: &Node) -> Option<Replacement> {
    let (last, op, inputs) = match &node.op {
        Op::Conv(conv) => convolution(search, id, node, conv)?,
        Op::Gemm(gemm) => linear(search, id, node, gemm)?,
        Op::MatMul(_) => product(search, id, node)?,
        Op::Binary(Binary::Add) => pairwise(search, id, node, QLinearAdd {}.into())?,
        Op::Binary(Binary::Mul) => pairwise(search, id, node, QLinearMul {}.into())?,
        Op::GlobalAveragePool(_) => single(
            search,
            id,
            node,
            QLinearGlobalAveragePool { channels_last: false }.into(),
        )?,
        Op::Unary(Unary::Sigmoid) => single(search, id, node, QLinearSigmoid {}.into())?,
        Op::LeakyRelu(op) => single(search, id, node, QLinearLeakyRelu { alpha: op.alpha }.into())?,
        Op::Concat(op) => joined(search, id, node, op.axis)?,
        Op::MaxPool(_) | Op::Reshape(_) | Op::Flatten(_) | Op::Transpose(_) => moved(search, id, node)?,
        Op::Pad(pad) if pad.mode == PadMode::Constant => padded(search, id, node)?,
        Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Slice(_) | Op::Gather(_) => moved(search, id, node)?,
        _ => return None,
    };
    Some(Replacement {
        last,
        name: node.name.clone(),
        op,
        inputs,
    })
}

type Found = (NodeId, Op, Vec<Source>);

/// Value, scale, zero point.
fn triple(codes: &Codes<'_>) -> [Source; 3] {
    let [scale, zero] = parameters(codes);
    [Source::Value(codes.value), scale, zero]
}

/// Scale, zero point.
fn parameters(codes: &Codes<'_>) -> [Source; 2] {
    [
        Source::Value(codes.scale_value),
        codes.zero_value.map_or(Source::Absent, Source::Value),
    ]
}

/// An activation: bytes with one scale.
fn activation<'g>(search: &Search<'g>, node: &Node, index: usize) -> Option<Codes<'g>> {
    search
        .dequantized(node, index)
        .filter(|x| x.is_per_tensor() && x.is_byte() && x.zero_point().is_some())
}

/// A constant weight: bytes whose scales differ at most along `axis`, of which there are `channels`; its shape.
fn weight<'g>(
    search: &Search<'g>,
    node: &Node,
    axis: impl Fn(usize) -> usize,
) -> Option<(Codes<'g>, &'g [usize])> {
    let codes = search.dequantized(node, 1).filter(Codes::is_byte)?;
    let shape = search.graph.constant(codes.value)?.shape();
    if shape.len() < 2 {
        return None;
    }
    let along = if codes.axis < 0 {
        codes.axis + shape.len() as i64
    } else {
        codes.axis
    };
    let wanted = axis(shape.len());
    let fits = |count: usize| count == 1 || (along == wanted as i64 && count == shape[wanted]);
    (fits(codes.scale.len()) && codes.zero.is_none_or(|zero| fits(zero.len()))).then_some((codes, shape))
}

/// QLinearConv.
fn convolution(search: &Search<'_>, id: NodeId, node: &Node, op: &Conv) -> Option<Found> {
    let (last, y) = search.quantized(id)?;
    let x = activation(search, node, 0)?;
    let (w, shape) = weight(search, node, |_| 0)?;
    let bias = quantized_bias(search, node, 2, &x, &w, shape[0])?;
    let op = QLinearConv {
        auto_pad: op.auto_pad,
        dilations: op.dilations.clone(),
        group: op.group,
        kernel_shape: op.kernel_shape.clone(),
        pads: op.pads.clone(),
        strides: op.strides.clone(),
    };
    let inputs = triple(&x)
        .into_iter()
        .chain(triple(&w))
        .chain(parameters(&y))
        .chain([bias]);
    Some((last, op.into(), inputs.collect()))
}

/// QGemm, to codes or, where no quantization follows, to reals.
fn linear(search: &Search<'_>, id: NodeId, node: &Node, op: &Gemm) -> Option<Found> {
    if op.alpha != 1.0 || op.beta != 1.0 || op.transA {
        return None;
    }
    let axis = usize::from(!op.transB);
    let x = activation(search, node, 0)?;
    let (w, shape) = weight(search, node, |_| axis).filter(|(_, shape)| shape.len() == 2)?;
    let bias = quantized_bias(search, node, 2, &x, &w, shape[axis])?;
    let gemm = QGemm {
        alpha: 1.0,
        transA: false,
        transB: op.transB,
    };
    let mut inputs: Vec<Source> = triple(&x).into_iter().chain(triple(&w)).chain([bias]).collect();
    let last = match search.quantized(id) {
        Some((last, y)) => {
            inputs.extend(parameters(&y));
            last
        }
        None => id,
    };
    Some((last, gemm.into(), inputs))
}

/// QLinearMatMul or, where no quantization follows, MatMulIntegerToFloat; of two activations or with a weight.
fn product(search: &Search<'_>, id: NodeId, node: &Node) -> Option<Found> {
    let a = activation(search, node, 0)?;
    let b = match activation(search, node, 1) {
        Some(b) => b,
        None => {
            weight(search, node, |rank| rank - 1)
                .filter(|(_, shape)| shape.len() == 2)?
                .0
        }
    };
    let [(a_codes, a_scale, a_zero), (b_codes, b_scale, b_zero)] =
        [triple(&a), triple(&b)].map(|[c, s, z]| (c, s, z));
    match search.quantized(id) {
        Some((last, y)) => {
            let inputs = [a_codes, a_scale, a_zero, b_codes, b_scale, b_zero]
                .into_iter()
                .chain(parameters(&y));
            Some((last, QLinearMatMul {}.into(), inputs.collect()))
        }
        None => {
            let inputs = vec![a_codes, b_codes, a_scale, b_scale, a_zero, b_zero];
            Some((id, MatMulIntegerToFloat {}.into(), inputs))
        }
    }
}

/// QLinearAdd or QLinearMul.
fn pairwise(search: &Search<'_>, id: NodeId, node: &Node, op: Op) -> Option<Found> {
    let (last, y) = search.quantized(id)?;
    let (a, b) = (activation(search, node, 0)?, activation(search, node, 1)?);
    let same = a.dtype == y.dtype && b.dtype == y.dtype;
    let inputs = triple(&a).into_iter().chain(triple(&b)).chain(parameters(&y));
    same.then(|| (last, op, inputs.collect()))
}

/// An operator on one tensor of codes.
fn single(search: &Search<'_>, id: NodeId, node: &Node, op: Op) -> Option<Found> {
    let (last, y) = search.quantized(id)?;
    let x = activation(search, node, 0).filter(|x| x.dtype == y.dtype)?;
    Some((last, op, triple(&x).into_iter().chain(parameters(&y)).collect()))
}

/// QLinearConcat.
fn joined(search: &Search<'_>, id: NodeId, node: &Node, axis: i64) -> Option<Found> {
    let (last, y) = search.quantized(id)?;
    let mut inputs: Vec<Source> = parameters(&y).into();
    for index in 0..node.inputs.len() {
        inputs.extend(triple(
            &activation(search, node, index).filter(|x| x.dtype == y.dtype)?,
        ));
    }
    Some((last, QLinearConcat { axis }.into(), inputs))
}

/// The same operator on codes, where it only moves elements (or picks the largest) and the grid stays.
fn moved(search: &Search<'_>, id: NodeId, node: &Node) -> Option<Found> {
    let (last, y) = search.quantized(id)?;
    let x = activation(search, node, 0).filter(|x| x.same_grid(&y))?;
    let others = node
        .inputs
        .iter()
        .skip(1)
        .map(|input| input.map_or(Source::Absent, Source::Value));
    Some((
        last,
        node.op.clone(),
        [Source::Value(x.value)].into_iter().chain(others).collect(),
    ))
}

/// Pad with zeros: with the code of zero.
fn padded(search: &Search<'_>, id: NodeId, node: &Node) -> Option<Found> {
    let (last, y) = search.quantized(id)?;
    let x = activation(search, node, 0).filter(|x| x.same_grid(&y))?;
    if let Some(value) = node.input(2) {
        let value = search.graph.constant(value)?.to_f32().ok()?;
        if value.iter().any(|&value| value != 0.0) {
            return None;
        }
    }
    let zero = Tensor::from_i64(x.dtype, &[], &[x.zero_point()?]).ok()?;
    let present = |index: usize| node.input(index).map_or(Source::Absent, Source::Value);
    let inputs = vec![
        Source::Value(x.value),
        present(1),
        Source::Constant(zero),
        present(3),
    ];
    Some((last, node.op.clone(), inputs))
}
