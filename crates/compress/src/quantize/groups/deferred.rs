//! Weights in groups whose codes are made when the file is written, so that no weight has to be in memory as a whole.

use bantam_graph::ops::DequantizeLinear;
use bantam_graph::{Graph, InferOptions, Patch, infer_shapes, verify};
use bantam_tensor::{DType, QParams, Tensor, TensorError};
use bytes::Bytes;

use super::decisions::quantized;
use super::products::{Product, products};
use super::{GroupError, GroupFormat, GroupSettings};
use crate::plan::{Decision, Plan};
use crate::quantize::layerwise::{LayerwiseError, Layout};
use crate::rewrite::{RewriteError, Stored, StoredTable, dequantized, look_up_stored};

/// Tensors of fewer bytes are not deferred; files hold them in other places.
const SMALLEST: usize = 1024;

/// A weight whose codes are still to be made.
#[derive(Clone, Debug)]
pub struct DeferredWeight {
    /// The product, for messages.
    pub node: String,
    /// The weight `[rows, depth]`, a row for each output.
    pub weight: Tensor,
    /// In the place of its codes: zeros.
    pub codes: Tensor,
    /// In the place of the scales of groups `[rows, groups]`: zeros.
    pub scale: Tensor,
    /// In the place of their zero points, where codes have such: zeros.
    pub zero_point: Option<Tensor>,
}

impl DeferredWeight {
    /// Codes, scales, and zero points where there are such.
    pub fn stand_ins(&self) -> Vec<Tensor> {
        let always = [&self.codes, &self.scale];
        always.into_iter().chain(&self.zero_point).cloned().collect()
    }
}

/// A graph with stand-ins for codes.
pub struct DeferredGroups {
    /// The graph.
    pub graph: Graph,
    /// What is done, without scales and zero points: these are not known yet.
    pub plan: Plan,
    /// What groups are made of.
    pub format: GroupFormat,
    /// What the stand-ins stand for.
    pub weights: Vec<DeferredWeight>,
}

/// Makes tensors of zeros that take no memory as long as nobody looks at them: the system gives pages when they are touched.
#[derive(Debug, Default)]
pub struct StandIns {
    /// Zeros that no tensor has yet.
    room: Bytes,
}

/// Least bytes that are asked for at once. Allocators give such runs untouched from the system; smaller ones they may have to clear.
const ROOM: usize = 64 << 20;
/// Tensors begin at multiples of this.
const LINE: usize = 64;

impl StandIns {
    /// A tensor of zeros.
    ///
    /// # Errors
    /// When it is too large to address.
    pub fn tensor(&mut self, dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        let elements = shape.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
        let bytes = elements.and_then(|elements| dtype.bytes_for(elements));
        let rounded = bytes.and_then(|bytes| bytes.checked_next_multiple_of(LINE));
        let (Some(bytes), Some(rounded)) =
            (bytes, rounded.filter(|rounded| isize::try_from(*rounded).is_ok()))
        else {
            return Err(TensorError::TooLarge {
                shape: shape.to_vec(),
            });
        };
        if self.room.len() < rounded {
            self.room = Bytes::from(vec![0; rounded.max(ROOM)]);
        }
        Tensor::from_bytes(dtype, shape, self.room.split_to(rounded).slice(..bytes))
    }
}

/// As [`super::quantize_groups`], without making codes; `None` where weights have to be known for that, or do not lie in rows.
///
/// # Errors
/// When there is nothing to quantize.
pub fn deferred_groups(
    graph: &Graph,
    settings: &GroupSettings,
) -> Result<Option<DeferredGroups>, GroupError> {
    if !settings.is_plain() {
        return Ok(None);
    }
    let (products, mut decisions) = products(graph, &settings.quantize.kept_by_user(graph)?);
    if products.is_empty() {
        return Err(GroupError::Nothing);
    }
    let mut weights = Vec::new();
    let mut stand_ins = StandIns::default();
    for product in &products {
        let (weight, decision) = deferred(graph, product, settings, &mut stand_ins)?;
        let is_small = |tensor: &Tensor| tensor.as_bytes().len() < SMALLEST;
        if product.layout != Layout::Rows || weight.stand_ins().iter().any(is_small) {
            return Ok(None);
        }
        decisions.push(decision);
        weights.push(weight);
    }
    let patch = patch(graph, settings, &products, &weights)?;
    let mut graph = graph.clone();
    patch.apply(&mut graph).map_err(RewriteError::from)?;
    let wrong = |error: &dyn std::fmt::Display| GroupError::Graph(error.to_string());
    infer_shapes(&mut graph, &InferOptions::default()).map_err(|error| wrong(&error))?;
    verify(&graph).map_err(|error| wrong(&error))?;
    let plan = settings.plan(decisions);
    Ok(Some(DeferredGroups {
        graph,
        plan,
        format: settings.format.clone(),
        weights,
    }))
}

/// Lets products read what stand-ins stand for.
fn patch(
    graph: &Graph,
    settings: &GroupSettings,
    products: &[Product],
    weights: &[DeferredWeight],
) -> Result<Patch, GroupError> {
    let group = settings.format.group_len();
    let both = products.iter().zip(weights);
    if let GroupFormat::Table(table) = &settings.format {
        let stored = both.map(|(product, weight)| {
            let stored = StoredTable {
                name: &product.weight_name,
                table: table.name(),
                values: table.values(),
                codes: weight.codes.clone(),
                scale: weight.scale.clone(),
                groups: Some((1, group)),
            };
            (product.node, stored)
        });
        return Ok(look_up_stored(graph, stored.collect())?);
    }
    let mut patch = Patch::new(graph);
    for (product, weight) in both {
        let op = DequantizeLinear {
            axis: 1,
            block_size: group as i64,
            output_dtype: None,
        };
        let stored = Stored {
            codes: weight.codes.clone(),
            scale: weight.scale.clone(),
            zero_point: weight.zero_point.clone().expect("codes of integers have them"),
        };
        let reals = dequantized(&mut patch, &product.weight_name, stored, op);
        patch.set_input(product.node, 1, Some(reals));
    }
    Ok(patch)
}

/// Stand-ins for what a product's weight becomes, and what the plan says of it.
fn deferred(
    graph: &Graph,
    product: &Product,
    settings: &GroupSettings,
    stand_ins: &mut StandIns,
) -> Result<(DeferredWeight, Decision), GroupError> {
    let (dtype, name) = settings.format.stored_as();
    let group = settings.format.group_len();
    let groups = product.depth.div_ceil(group);
    let mut zeros = |dtype, columns| {
        let made = stand_ins.tensor(dtype, &[product.rows, columns]);
        made.map_err(LayerwiseError::from)
    };
    let found = graph.constant(product.weight).cloned();
    let integers = settings.format.integers().is_some();
    let weight = DeferredWeight {
        node: product.name.clone(),
        weight: found.ok_or(GroupError::Nothing)?,
        codes: zeros(dtype, product.depth)?,
        scale: zeros(if integers { DType::F32 } else { DType::F16 }, groups)?,
        zero_point: integers.then(|| zeros(dtype, groups)).transpose()?,
    };
    let params = QParams {
        dtype,
        axis: Some(1),
        group: Some(group),
        scale: Vec::new(),
        zero_point: Vec::new(),
    };
    let by = (&settings.format, settings.algorithm.name());
    Ok((weight, quantized(product.site(), by, name, params)))
}
