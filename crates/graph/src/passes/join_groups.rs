//! Products with weights in groups as ONNX Runtime's MatMulNBits, and tables as its GatherBlockQuantized.

use bantam_tensor::formats::pack_codes;
use bantam_tensor::{DType, Tensor};

use super::{NotApplied, Outcome, Reason};
use crate::ops::{DequantizeLinear, Gather, GatherBlockQuantized, MatMulNBits};
use crate::{Graph, Node, NodeId, Op, ValueId};

/// Finds the products and tables. ONNX Runtime wants groups of a power of two of at least 16 inputs, with codes of 4 or 8 bits.
pub fn join_groups(graph: &Graph) -> Outcome {
    let mut outcome = Outcome::new(graph);
    let producers = graph.producers();
    for (id, node) in graph.node_ids() {
        let position = usize::from(!matches!(node.op, Op::Gather(_)));
        let dequantize = (node.input(position)).and_then(|weight| producers[weight.index()]);
        let Some(dequantize) = dequantize.map(|id| graph.node(id)) else {
            continue;
        };
        let Op::DequantizeLinear(op) = &dequantize.op else {
            continue;
        };
        if op.block_size == 0 {
            continue;
        }
        let done = match &node.op {
            Op::Gather(gather) => table(graph, (id, gather), dequantize, op, &mut outcome),
            _ => packed(graph, node, dequantize, op)
                .map(|packed| replace(graph, id, node, packed, &mut outcome)),
        };
        match done {
            Ok(()) => outcome.applied += 1,
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

/// How codes lie, and what the op calls them.
struct Layout {
    /// Outputs first.
    by_rows: bool,
    rows: usize,
    depth: usize,
    /// Inputs of a group, and groups of a row.
    group: usize,
    groups: usize,
    bits: usize,
    /// What is added to codes: those of the op are unsigned.
    middle: i64,
}

impl Layout {
    /// `None` for what the op does not take.
    fn new(codes: &Tensor, op: &DequantizeLinear, by_rows: bool) -> Option<Layout> {
        let (bits, signed) = match codes.dtype() {
            DType::I4 => (4, true),
            DType::U4 => (4, false),
            DType::I8 => (8, true),
            DType::U8 => (8, false),
            _ => return None,
        };
        let group = usize::try_from(op.block_size).ok()?;
        let &[first, second] = codes.shape() else {
            return None;
        };
        let (rows, depth) = if by_rows { (first, second) } else { (second, first) };
        let axis = if by_rows { 1 } else { 0 };
        let along_inputs = op.axis == axis || op.axis == axis - 2;
        let fits = along_inputs && group >= 16 && group.is_power_of_two() && rows > 0 && depth > 0;
        fits.then(|| Layout {
            by_rows,
            rows,
            depth,
            group,
            groups: depth.div_ceil(group),
            bits,
            middle: if signed { 1 << (bits - 1) } else { 0 },
        })
    }

    /// Values in the order of rows; `None` where they are not as many.
    fn row_major<T: Copy>(&self, values: Vec<T>, columns: usize) -> Option<Vec<T>> {
        if values.len() != self.rows * columns {
            return None;
        }
        let place = |at: usize| values[at % columns * self.rows + at / columns];
        Some(match self.by_rows {
            true => values,
            false => (0..self.rows * columns).map(place).collect(),
        })
    }

    /// Codes by groups, each filled up to its length by its zero point.
    fn blocks(&self, codes: &[i64], zero_points: &[i64]) -> Vec<u8> {
        let mut blocks = Vec::with_capacity(self.rows * self.groups * self.group * self.bits / 8);
        let rows = codes
            .chunks_exact(self.depth)
            .zip(zero_points.chunks_exact(self.groups));
        for (codes, zero_points) in rows {
            for (codes, zero) in codes.chunks(self.group).zip(zero_points) {
                let code = |at: usize| (codes.get(at).unwrap_or(zero) + self.middle) as u8;
                blocks.extend(pack_codes(self.bits, (0..self.group).map(code)));
            }
        }
        blocks
    }

    /// Zero points as the op wants them; `None` where all are the middle, which it takes anyway.
    fn zero_points(&self, zero_points: &[i64]) -> Option<Vec<u8>> {
        let usual = |zero: &i64| zero + self.middle == 1 << (self.bits - 1);
        if zero_points.iter().all(usual) {
            return None;
        }
        let rows = zero_points.chunks_exact(self.groups);
        let packed =
            rows.flat_map(|row| pack_codes(self.bits, row.iter().map(|zero| (zero + self.middle) as u8)));
        Some(packed.collect())
    }
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
    let zero_points = dequantize.input(2).map(|_| constant(2)).transpose()?;
    let unfit = || Reason::Groups {
        value: value(0),
        group: op.block_size,
    };
    joined(graph, node, op, [codes, scale], zero_points).ok_or_else(unfit)
}

/// `None` for what the op does not take.
fn joined(
    graph: &Graph,
    node: &Node,
    op: &DequantizeLinear,
    [codes, scale]: [&Tensor; 2],
    zero_points: Option<&Tensor>,
) -> Option<Packed> {
    let (by_rows, bias) = orientation(node)?;
    let layout = Layout::new(codes, op, by_rows)?;
    let Layout {
        rows,
        depth,
        group,
        groups,
        bits,
        ..
    } = layout;
    if bias.is_some_and(|bias| graph.value(bias).ty.static_shape() != Some(vec![rows])) {
        return None;
    }
    let numbers = layout.row_major(codes.to_i64().ok()?, depth)?;
    let zero_points = match zero_points {
        Some(zero_points) => layout.row_major(zero_points.to_i64().ok()?, groups)?,
        None => vec![0; rows * groups],
    };
    let scales = layout.row_major(scale.to_f32().ok()?, groups)?;
    let blocks = layout.blocks(&numbers, &zero_points);
    let zeros = layout.zero_points(&zero_points);
    Some(Packed {
        op: MatMulNBits {
            accuracy_level: 0,
            bits: bits as i64,
            block_size: op.block_size,
            K: depth as i64,
            N: rows as i64,
        },
        codes: Tensor::from_slice(&[rows, groups, group * bits / 8], &blocks).ok()?,
        scales: Tensor::from_slice(&[rows * groups], &scales).ok()?,
        zero_points: zeros
            .map(|zeros| Tensor::from_slice(&[zeros.len()], &zeros))
            .transpose()
            .ok()?,
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
    let stem = stem.trim_end_matches("_dq").to_owned();
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

/// Lets a lookup read the codes of its table. They stay as they are, but for signed ones of 8 bits, which the op does not have.
fn table(
    graph: &Graph,
    (id, gather): (NodeId, &Gather),
    dequantize: &Node,
    op: &DequantizeLinear,
    outcome: &mut Outcome,
) -> Result<(), Reason> {
    let name = |value: ValueId| graph.value(value).name.clone();
    let unfit = || Reason::Groups {
        value: dequantize.input(0).map_or_else(String::new, name),
        group: op.block_size,
    };
    let fits = |size: &i64| *size >= 16 && size.count_ones() == 1;
    let operands = dequantize
        .input(0)
        .zip(dequantize.input(1))
        .zip(graph.node(id).input(1));
    let ((codes, scales), indices) = operands.ok_or_else(unfit)?;
    let constant = graph.constant(codes).filter(|_| graph.constant(scales).is_some());
    let constant =
        constant.filter(|codes| codes.rank() == 2 && gather.axis == 0 && op.axis.rem_euclid(2) == 1);
    let constant = constant.filter(|_| fits(&op.block_size)).ok_or_else(unfit)?;
    let bits = match constant.dtype() {
        DType::I4 | DType::U4 => 4,
        DType::I8 | DType::U8 => 8,
        _ => return Err(unfit()),
    };
    let zero_points = dequantize.input(2);
    let (codes, zero_points) = match constant.dtype() {
        DType::I8 => {
            let codes = raised(graph, codes, outcome).ok_or_else(unfit)?;
            // Without zero points, that of bytes is the middle.
            let zero_points = zero_points.map(|zeros| raised(graph, zeros, outcome).ok_or_else(unfit));
            (codes, zero_points.transpose()?)
        }
        DType::U8 if zero_points.is_none() => return Err(unfit()),
        _ => (codes, zero_points),
    };
    let patch = &mut outcome.patch;
    let gather = GatherBlockQuantized {
        bits,
        block_size: op.block_size,
        gather_axis: 0,
        quantize_axis: 1,
    };
    patch.set_op(id, gather.into());
    patch.set_input(id, 0, Some(codes));
    patch.set_input(id, 1, Some(indices));
    patch.set_input(id, 2, Some(scales));
    if zero_points.is_some() {
        patch.set_input(id, 3, zero_points);
    }
    Ok(())
}

/// Signed codes of 8 bits as unsigned ones.
fn raised(graph: &Graph, value: ValueId, outcome: &mut Outcome) -> Option<ValueId> {
    let codes = graph.constant(value)?;
    let unsigned: Vec<u8> = (codes.to_i64().ok()?.into_iter())
        .map(|code| (code + 128) as u8)
        .collect();
    let tensor = Tensor::from_slice(codes.shape(), &unsigned).ok()?;
    let name = format!("{}_unsigned", graph.value(value).name);
    Some(outcome.patch.add_constant(&name, tensor))
}
