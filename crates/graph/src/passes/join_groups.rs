//! Products with weights in groups as ONNX Runtime's MatMulNBits.

use bantam_tensor::formats::pack_codes;
use bantam_tensor::{DType, Tensor};

use super::{NotApplied, Outcome, Reason};
use crate::ops::{DequantizeLinear, MatMulNBits};
use crate::{Graph, Node, NodeId, Op, ValueId};

/// Finds the products. ONNX Runtime wants groups of a power of two of at least 16 inputs, with codes of 4 or 8 bits.
pub fn join_groups(graph: &Graph) -> Outcome {
    let mut outcome = Outcome::new(graph);
    let producers = graph.producers();
    for (id, node) in graph.node_ids() {
        let dequantize = node.input(1).and_then(|weight| producers[weight.index()]);
        let Some(dequantize) = dequantize.map(|id| graph.node(id)) else {
            continue;
        };
        let Op::DequantizeLinear(op) = &dequantize.op else {
            continue;
        };
        if op.block_size == 0 {
            continue;
        }
        match packed(graph, node, dequantize, op) {
            Ok(packed) => {
                replace(graph, id, node, packed, &mut outcome);
                outcome.applied += 1;
            }
            Err(reason) => outcome.not_applied.push(NotApplied {
                node: graph.describe(node),
                reason,
            }),
        }
    }
    outcome
}

/// A weight as the op wants it.
struct Packed {
    op: MatMulNBits,
    codes: Tensor,
    scales: Tensor,
    /// Packed as the codes are; `None` for the middle.
    zero_points: Option<Tensor>,
    bias: Option<ValueId>,
}

fn packed(graph: &Graph, node: &Node, dequantize: &Node, op: &DequantizeLinear) -> Result<Packed, Reason> {
    let value = |position: usize| {
        let value = dequantize.input(position);
        value.map_or_else(String::new, |value| graph.value(value).name.clone())
    };
    let constant = |position: usize| {
        let tensor = graph.constant_input(dequantize, position);
        tensor.ok_or_else(|| Reason::NotConstant {
            value: value(position),
        })
    };
    let (codes, scale) = (constant(0)?, constant(1)?);
    let unfit = || Reason::Groups {
        value: value(0),
        group: op.block_size,
    };
    let (by_rows, bias) = orientation(node).ok_or_else(unfit)?;
    let bits = match codes.dtype() {
        DType::I4 | DType::U4 => 4,
        DType::I8 | DType::U8 => 8,
        _ => return Err(unfit()),
    };
    let group = usize::try_from(op.block_size).map_err(|_| unfit())?;
    let axis = if by_rows { 1 } else { 0 };
    let &[first, second] = codes.shape() else {
        return Err(unfit());
    };
    let (rows, depth) = if by_rows { (first, second) } else { (second, first) };
    let matches = op.axis == axis || op.axis == axis - 2;
    if !matches || group < 16 || !group.is_power_of_two() || rows == 0 || depth == 0 {
        return Err(unfit());
    }
    let groups = depth.div_ceil(group);
    let row_major = |values: Vec<i64>, columns: usize| match by_rows {
        true => values,
        false => (0..rows * columns)
            .map(|at| values[at % columns * rows + at / columns])
            .collect(),
    };
    let failed = |_| unfit();
    // Unsigned codes around the middle of their range.
    let signed = matches!(codes.dtype(), DType::I4 | DType::I8);
    let middle = if signed { 1i64 << (bits - 1) } else { 0 };
    let numbers = row_major(codes.to_i64().map_err(failed)?, depth);
    let zero_points = match dequantize.input(2) {
        Some(_) => row_major(constant(2)?.to_i64().map_err(failed)?, groups),
        None => vec![0; rows * groups],
    };
    let bias_fits = bias.is_none_or(|bias| graph.value(bias).ty.static_shape() == Some(vec![rows]));
    if !bias_fits
        || numbers.len() != rows * depth
        || zero_points.len() != rows * groups
        || scale.len() != rows * groups
    {
        return Err(unfit());
    }
    let mut blocks = Vec::with_capacity(rows * groups * group * bits / 8);
    for (row, codes) in numbers.chunks_exact(depth).enumerate() {
        for (index, codes) in codes.chunks(group).enumerate() {
            // What is behind the end of a row is zero.
            let zero = zero_points[row * groups + index];
            let whole: Vec<u8> = (0..group)
                .map(|at| (codes.get(at).copied().unwrap_or(zero) + middle) as u8)
                .collect();
            blocks.extend(pack_codes(bits, whole.into_iter()));
        }
    }
    let scales = scale.to_f32().map_err(failed)?;
    let scales: Vec<f32> = match by_rows {
        true => scales,
        false => (0..rows * groups)
            .map(|at| scales[at % groups * rows + at / groups])
            .collect(),
    };
    let usual = zero_points.iter().all(|zero| zero + middle == 1 << (bits - 1));
    let zero_points: Vec<u8> = (zero_points.chunks_exact(groups))
        .flat_map(|row| {
            let codes: Vec<u8> = row.iter().map(|zero| (zero + middle) as u8).collect();
            pack_codes(bits, codes.into_iter())
        })
        .collect();
    let tensor = |shape: &[usize], bytes: &[u8]| Tensor::from_slice(shape, bytes).map_err(failed);
    Ok(Packed {
        op: MatMulNBits {
            accuracy_level: 0,
            bits: bits as i64,
            block_size: op.block_size,
            K: depth as i64,
            N: rows as i64,
        },
        codes: tensor(&[rows, groups, group * bits / 8], &blocks)?,
        scales: Tensor::from_slice(&[rows * groups], &scales).map_err(failed)?,
        zero_points: match usual {
            true => None,
            false => Some(tensor(&[zero_points.len()], &zero_points)?),
        },
        bias,
    })
}

/// Whether the weight has its outputs first, and the bias; `None` for products of another form.
fn orientation(node: &Node) -> Option<(bool, Option<ValueId>)> {
    match &node.op {
        Op::MatMul(_) => Some((false, None)),
        Op::Gemm(op) if !op.transA && op.alpha == 1.0 && op.beta == 1.0 => Some((op.transB, node.input(2))),
        _ => None,
    }
}

fn replace(graph: &Graph, id: NodeId, node: &Node, packed: Packed, outcome: &mut Outcome) {
    let patch = &mut outcome.patch;
    let stem = node
        .input(1)
        .map_or("weight", |weight| graph.value(weight).name.as_str());
    let stem = stem.trim_end_matches("_dequantized").to_owned();
    let codes = patch.add_constant(&format!("{stem}_packed"), packed.codes);
    let scales = patch.add_constant(&format!("{stem}_packed_scale"), packed.scales);
    let zero_points = packed.zero_points;
    let zero_points =
        zero_points.map(|zeros| patch.add_constant(&format!("{stem}_packed_zero_point"), zeros));
    patch.set_op(id, packed.op.into());
    patch.set_input(id, 1, Some(codes));
    patch.set_input(id, 2, Some(scales));
    if zero_points.is_some() || packed.bias.is_some() {
        patch.set_input(id, 3, zero_points);
    }
    if packed.bias.is_some() {
        patch.set_input(id, 4, None);
        patch.set_input(id, 5, packed.bias);
    }
}
