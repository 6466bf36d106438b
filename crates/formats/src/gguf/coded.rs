//! Weights of a graph that are codes in groups already.

use std::collections::BTreeMap;
use std::ops::Range;

use bantam_graph::{Graph, Node, Op};
use bantam_tensor::formats::blocks::GroupGrid;
use bantam_tensor::{BlockFormat, DType, Tensor};

use super::names::{Order, reordered};
use super::{GgmlType, GgufError};

/// What the names of codes end with, after that of the weight.
const CODES: &str = "_q";

/// A matrix of codes, with the scale and the code of zero of each group of a row.
#[derive(Clone)]
pub(super) struct Coded {
    codes: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    /// Elements of a group.
    group: usize,
}

/// Rows of a matrix.
fn some_rows(tensor: &Tensor, rows: &Range<usize>) -> Result<Tensor, GgufError> {
    let (dtype, row) = (tensor.dtype(), tensor.shape()[1]);
    let (shape, bits) = ([rows.len(), row], row * dtype.bits());
    if bits.is_multiple_of(8) {
        let bytes = &tensor.as_bytes()[rows.start * bits / 8..rows.end * bits / 8];
        return Ok(Tensor::from_raw(dtype, &shape, bytes)?);
    }
    // Rows that share a byte with their neighbours.
    let codes = tensor.to_i64()?;
    Ok(Tensor::from_i64(
        dtype,
        &shape,
        &codes[rows.start * row..rows.end * row],
    )?)
}

/// Every weight whose codes are read through DequantizeLinear in groups along its rows, by the name of the weight.
pub(super) fn coded(graph: &Graph) -> BTreeMap<String, Coded> {
    let named = |node: &Node| {
        let codes = graph.value(node.input(0)?).name.strip_suffix(CODES)?;
        Some((codes.to_owned(), of_node(graph, node)?))
    };
    graph.nodes.iter().filter_map(named).collect()
}

fn of_node(graph: &Graph, node: &Node) -> Option<Coded> {
    let Op::DequantizeLinear(op) = &node.op else {
        return None;
    };
    let codes = graph.constant_input(node, 0)?;
    let scale = graph.constant_input(node, 1)?;
    let zero_point = match node.input(2) {
        Some(value) => graph.constant(value)?.clone(),
        None => Tensor::zeros(codes.dtype(), scale.shape()).ok()?,
    };
    let group = usize::try_from(op.block_size).ok().filter(|group| *group > 0)?;
    let &[rows, row] = codes.shape() else { return None };
    let whole = scale.shape() == [rows, row.div_ceil(group)] && zero_point.shape() == scale.shape();
    let integers = matches!(codes.dtype(), DType::I4 | DType::U4 | DType::I8 | DType::U8);
    ((op.axis == 1 || op.axis == -1) && whole && integers).then(|| Coded {
        codes: codes.clone(),
        scale: scale.clone(),
        zero_point,
        group,
    })
}

impl Coded {
    pub(super) fn shape(&self) -> &[usize] {
        self.codes.shape()
    }

    /// The type whose blocks hold such codes.
    pub(super) fn own(&self) -> Option<&'static GgmlType> {
        let name = match self.codes.dtype() {
            DType::I4 => "q4_0",
            DType::U4 => "q4_1",
            DType::I8 => "q8_0",
            _ => return None,
        };
        GgmlType::by_name(name).filter(|kind| self.group.is_multiple_of(kind.block))
    }

    /// Some of its rows.
    ///
    /// # Errors
    /// When the codes cannot be read.
    pub(super) fn rows(&self, rows: &Range<usize>) -> Result<Coded, GgufError> {
        if rows.len() == self.shape()[0] {
            return Ok(self.clone());
        }
        Ok(Coded {
            codes: some_rows(&self.codes, rows)?,
            scale: some_rows(&self.scale, rows)?,
            zero_point: some_rows(&self.zero_point, rows)?,
            group: self.group,
        })
    }

    /// With the rows of queries or keys in another order.
    ///
    /// # Errors
    /// When there are no so many heads.
    pub(super) fn reordered(&self, name: &str, heads: usize, order: Order) -> Result<Coded, GgufError> {
        let codes = Tensor::from_i64(DType::I32, self.codes.shape(), &self.codes.to_i64()?)?;
        let zero_point = Tensor::from_i64(DType::I32, self.scale.shape(), &self.zero_point.to_i64()?)?;
        Ok(Coded {
            codes: reordered(name, &codes, heads, order)?,
            scale: reordered(name, &self.scale, heads, order)?,
            zero_point: reordered(name, &zero_point, heads, order)?,
            group: self.group,
        })
    }

    /// Scale and zero point of each group, row by row.
    fn grids(&self) -> Result<Vec<GroupGrid>, GgufError> {
        let grid = |(scale, zero_point): (f32, i64)| GroupGrid {
            scale,
            zero_point: zero_point as f32,
        };
        let zero_points = self.zero_point.to_i64()?;
        Ok(self
            .scale
            .to_f32()?
            .into_iter()
            .zip(zero_points)
            .map(grid)
            .collect())
    }

    /// The codes as blocks of a format; `None` where it cannot say them.
    ///
    /// # Errors
    /// When the codes cannot be read.
    pub(super) fn blocks(&self, format: &dyn BlockFormat) -> Result<Option<Vec<u8>>, GgufError> {
        let (row, len) = (self.shape()[1], format.block_len());
        let fits = self.group.is_multiple_of(len) && row.is_multiple_of(len);
        if !fits || row == 0 {
            return Ok(None);
        }
        let codes: Vec<i32> = self.codes.to_i64()?.into_iter().map(|code| code as i32).collect();
        let (grids, groups) = (self.grids()?, row.div_ceil(self.group));
        let mut bytes = vec![0; codes.len() / len * format.block_bytes()];
        let blocks = codes
            .chunks_exact(len)
            .zip(bytes.chunks_exact_mut(format.block_bytes()));
        for (index, (codes, bytes)) in blocks.enumerate() {
            let (at, column) = (index * len / row, index * len % row);
            if !format.encode_exactly(codes, grids[at * groups + column / self.group], bytes) {
                return Ok(None);
            }
        }
        Ok(Some(bytes))
    }

    /// The numbers that the codes stand for.
    ///
    /// # Errors
    /// When the codes cannot be read.
    pub(super) fn values(&self) -> Result<Tensor, GgufError> {
        let (row, grids) = (self.shape()[1].max(1), self.grids()?);
        let groups = row.div_ceil(self.group);
        let value = |(index, code): (usize, i64)| {
            let grid = grids[index / row * groups + index % row / self.group];
            (code as f32 - grid.zero_point) * grid.scale
        };
        let values: Vec<f32> = self.codes.to_i64()?.into_iter().enumerate().map(value).collect();
        Ok(Tensor::from_slice(self.shape(), &values)?)
    }
}
