//! Constants whose codes stand for values of a table.

use bantam_graph::ops::{Binary, Gather};
use bantam_graph::{Graph, NodeId, Patch, ValueId};
use bantam_tensor::{DType, QParams, Tensor, TensorError, table_format_by_name};

use super::{CODES, REALS, RewriteError, Rewriter};
use crate::quantizer::table_codes;

/// A constant as codes that stand for values of a table, in the types that files have.
pub(crate) struct StoredTable<'a> {
    /// Of the constant.
    pub(crate) name: &'a str,
    /// Name of the table.
    pub(crate) table: &'a str,
    /// What codes stand for.
    pub(crate) values: &'a [f32],
    pub(crate) codes: Tensor,
    /// Of 16 or 32 bits.
    pub(crate) scale: Tensor,
    /// The axis that groups lie along, and their length.
    pub(crate) groups: Option<(usize, usize)>,
}

/// Puts what codes stand for in the place of the second operands of these nodes.
pub(crate) fn look_up_stored(
    graph: &Graph,
    stored: Vec<(NodeId, StoredTable<'_>)>,
) -> Result<Patch, RewriteError> {
    let mut rewriter = Rewriter::new(graph);
    for (reader, stored) in stored {
        let reals = rewriter.look_up(stored)?;
        rewriter.patch.set_input(reader, 1, Some(reals));
    }
    Ok(rewriter.patch)
}

impl Rewriter<'_> {
    /// The numbers that codes in groups stand for: looked up in the table of a format, times the scales, each of which is read for all of its
    /// group. No op of the standard does that as a whole; these are in every runtime, and run once, when a file is loaded.
    pub(super) fn looked_up(
        &mut self,
        name: &str,
        (table, values): (&str, &[f32]),
        params: &QParams,
    ) -> Result<ValueId, RewriteError> {
        // A single NaN rises by that.
        let rises = values.is_sorted_by(|a, b| a < b) && values.iter().all(|value| value.is_finite());
        if !rises || values.is_empty() || values.len() > 1 << params.dtype.bits().min(8) {
            let table = table.to_owned();
            return Err(RewriteError::Table { table });
        }
        let codes = table_codes(self.constant_for(name, params)?, values, params)?;
        let scale = scales(&params.scale, &params.scale_shape(codes.shape()))?;
        self.look_up(StoredTable {
            name,
            table,
            values,
            codes,
            scale,
            groups: params.axis.zip(params.group),
        })
    }

    fn look_up(&mut self, stored: StoredTable<'_>) -> Result<ValueId, RewriteError> {
        let (name, table, codes) = (stored.name, stored.table, stored.codes);
        let shape = codes.shape().to_vec();
        // Long names would take more bytes than the scales of a small matrix.
        let stem = format!("t{}", self.looked_up);
        self.looked_up += 1;
        let codes = self.patch.add_constant(&format!("{name}{CODES}"), codes);
        let codes = self.cast(&format!("{stem}_codes"), codes, DType::I32);
        // One for all weights, but for tables that are learned for each.
        let values = match table_format_by_name(table) {
            Some(_) => self.small(&format!("values_{table}"), Tensor::from_vec1(stored.values)),
            None => self
                .patch
                .add_constant(&format!("{stem}_values"), Tensor::from_vec1(stored.values)),
        };
        let levels = Gather { axis: 0 }.into();
        let levels = self.made(&format!("{stem}_levels"), levels, &[values, codes]);
        let scale = match stored.scale.dtype() {
            DType::F16 => self.widened(&format!("{stem}_scale"), stored.scale),
            _ => self.patch.add_constant(&format!("{stem}_scale"), stored.scale),
        };
        let scales = match stored.groups {
            Some((axis, group)) => self.of_groups(&stem, scale, (axis, shape[axis], group))?,
            None => scale,
        };
        let name = format!("{name}{REALS}");
        Ok(self.made(&name, Binary::Mul.into(), &[levels, scales]))
    }

    /// For each of `len` places along an axis, what its group has.
    fn of_groups(
        &mut self,
        stem: &str,
        scale: ValueId,
        (axis, len, group): (usize, usize, usize),
    ) -> Result<ValueId, TensorError> {
        let places: Vec<i64> = (0..len).map(|place| (place / group) as i64).collect();
        let places = Tensor::from_i64(DType::I32, &[len], &places)?;
        let places = self.small(&format!("groups_{len}_{group}"), places);
        let spread = Gather { axis: axis as i64 };
        Ok(self.made(&format!("{stem}_scales"), spread.into(), &[scale, places]))
    }
}

/// Scales in 16 bits, if these can say them.
fn scales(scales: &[f32], shape: &[usize]) -> Result<Tensor, TensorError> {
    let wide: Vec<f64> = scales.iter().copied().map(f64::from).collect();
    let half = Tensor::from_f64(DType::F16, shape, &wide)?;
    match half.to_f32()? == scales {
        true => Ok(half),
        false => Tensor::from_slice(shape, scales),
    }
}
