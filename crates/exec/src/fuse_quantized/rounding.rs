//! Codes that no operator runs on: to codes and back is one rounding.

use bantam_graph::ops::FakeQuant;
use bantam_graph::{Graph, Op, ValueId};
use bantam_tensor::{DType, Tensor};

/// Makes DequantizeLinear nodes behind QuantizeLinear nodes with the same constant scale and zero point round their input
/// instead.
pub(super) fn round(graph: &mut Graph) {
    let producers = graph.producers();
    for index in 0..graph.nodes.len() {
        let Some((x, scale, [low, high], zero)) = pair(graph, &producers, index) else {
            continue;
        };
        let scale = graph.add_constant("rounding_scale", Tensor::scalar(scale));
        let zero = graph.add_constant("rounding_zero_point", Tensor::scalar(zero as f32));
        let node = &mut graph.nodes[index];
        node.op = FakeQuant {
            axis: None,
            gradient_scale: 1.0,
            high,
            low,
        }
        .into();
        node.inputs = vec![Some(x), Some(scale), Some(zero)];
    }
}

/// What a DequantizeLinear node's codes were made from: the value, scale, bounds of the codes and zero point.
fn pair(
    graph: &Graph,
    producers: &[Option<bantam_graph::NodeId>],
    index: usize,
) -> Option<(ValueId, f32, [i64; 2], i64)> {
    let back = &graph.nodes[index];
    let Op::DequantizeLinear(_) = back.op else {
        return None;
    };
    let there = graph.node(producers[back.input(0)?.index()]?);
    let Op::QuantizeLinear(op) = &there.op else {
        return None;
    };
    let x = there.input(0)?;
    let plain = there.extra.is_empty() && back.extra.is_empty() && op.precision.is_none();
    if !plain || graph.value(x).ty.dtype() != Some(DType::F32) {
        return None;
    }
    // One number, or the same one for each channel.
    let scale = |value: Option<ValueId>| {
        let scales = graph.constant(value?)?.values::<f32>().ok()?;
        let first = *scales.first()?;
        scales.iter().all(|scale| *scale == first).then_some(first)
    };
    let (scale, same) = (scale(there.input(1))?, scale(back.input(1))?);
    let zero = |value: Option<ValueId>| match value {
        None => Some((0, None)),
        Some(value) => {
            let tensor = graph.constant(value)?;
            let zeros = tensor.to_i64().ok()?;
            let first = *zeros.first()?;
            zeros
                .iter()
                .all(|zero| *zero == first)
                .then_some((first, Some(tensor.dtype())))
        }
    };
    let ((zero, dtype), (same_zero, _)) = (zero(there.input(2))?, zero(back.input(2))?);
    let bounds = bounds(dtype.or(op.output_dtype).unwrap_or(DType::U8))?;
    // Ties go to the even code; before an odd zero point is added, that is another one.
    (scale == same && zero == same_zero && zero % 2 == 0).then_some((x, scale, bounds, zero))
}

/// The smallest and the largest code.
fn bounds(codes: DType) -> Option<[i64; 2]> {
    let bits = codes.bits();
    if !codes.is_integer() || bits > 16 {
        return None;
    }
    Some(match codes.is_signed_integer() {
        true => [-(1 << (bits - 1)), (1 << (bits - 1)) - 1],
        false => [0, (1 << bits) - 1],
    })
}

#[cfg(test)]
mod tests {
    use bantam_graph::Dim;
    use bantam_graph::ops::{DequantizeLinear, QuantizeLinear};
    use bantam_graph::{InferOptions, infer_shapes};

    use super::*;
    use crate::{CompileOptions, Taps, compile};

    fn graph(zero: Tensor, channels: usize) -> Graph {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![Dim::Known(2), Dim::Known(32)]);
        let scale = graph.add_constant("scale", Tensor::scalar(0.25f32));
        let zero = graph.add_constant("zero", zero);
        let there = QuantizeLinear {
            axis: 1,
            block_size: 0,
            output_dtype: None,
            precision: None,
            saturate: true,
        };
        let codes = graph.add_node("codes", there, &[x, scale, zero]);
        let back = DequantizeLinear {
            axis: 1,
            block_size: 0,
            output_dtype: None,
        };
        let (scales, zeros) = match channels {
            0 => (scale, zero),
            count => {
                let zeros = vec![graph.constant(zero).unwrap().to_i64().unwrap()[0]; count];
                let dtype = graph.constant(zero).unwrap().dtype();
                let zeros = Tensor::from_i64(dtype, &[count], &zeros).unwrap();
                let scales = graph.add_constant("scales", Tensor::from_vec1(&vec![0.25f32; count]));
                (scales, graph.add_constant("zeros", zeros))
            }
        };
        let y = graph.add_node("y", back, &[codes, scales, zeros]);
        graph.outputs = vec![y, codes];
        infer_shapes(&mut graph, &InferOptions::default()).unwrap();
        graph
    }

    #[test]
    fn codes_and_back_are_one_rounding() {
        let zeros = [
            Tensor::from_i64(DType::U4, &[], &[4]).unwrap(),
            Tensor::from_i64(DType::U4, &[], &[3]).unwrap(),
            Tensor::from_i64(DType::I4, &[], &[-2]).unwrap(),
            Tensor::from_i64(DType::I8, &[], &[0]).unwrap(),
            Tensor::from_i64(DType::U16, &[], &[10]).unwrap(),
        ];
        // Ties, and what is beyond the codes.
        let x: Vec<f32> = (-32..32).map(|i| i as f32 * 0.125).collect();
        for zero in zeros {
            let odd = zero.to_i64().unwrap()[0] % 2 != 0;
            let bounds = bounds(zero.dtype()).unwrap();
            let channels = if bounds[1] == 15 { 32 } else { 0 };
            let graph = graph(zero, channels);
            let program = compile(&graph, &CompileOptions::default()).unwrap();
            let inputs = [("x", Tensor::from_slice(&[2, 32], &x).unwrap())];
            let outputs = program.run(&inputs, &mut Taps::none()).unwrap();
            let zero = graph
                .value_by_name("zero")
                .and_then(|zero| graph.constant(zero))
                .unwrap();
            let zero = zero.to_i64().unwrap()[0];
            let codes = outputs[1].to_i64().unwrap();
            for (y, code) in outputs[0].to_f32().unwrap().iter().zip(&codes) {
                assert!((bounds[0]..=bounds[1]).contains(code));
                assert_eq!(*y, (code - zero) as f32 * 0.25);
            }
            let rounds = program.steps().iter().any(|step| step.node.contains("FakeQuant"));
            assert_eq!(rounds, !odd);
        }
    }
}
