//! BatchNormalization into the weights of the product before it.
//!
//! With `factor = scale / sqrt(variance + epsilon)`, `(w x + b - mean) * factor + bias` is a product with weights
//! `w * factor` and bias `(b - mean) * factor + bias` (Jacob et al. 2018, section 3.2). All of it is computed in f64
//! and rounded once.

use bantam_tensor::{DType, Tensor};

use super::{NotApplied, Outcome, Reason};
use crate::ops::BatchNormalization;
use crate::{Graph, Node, NodeId, Op, ValueId};

/// Merges each inference BatchNormalization with constant parameters into the Conv, ConvTranspose or Gemm that it
/// follows, if nobody else reads the value between them. Weights that other nodes read too are copied.
pub fn fold_batch_normalization(graph: &Graph) -> Outcome {
    let mut outcome = Outcome::new(graph);
    let context = Context {
        graph,
        producers: graph.producers(),
        consumers: graph.consumers(),
    };
    for (id, node) in graph.node_ids() {
        let Op::BatchNormalization(op) = &node.op else {
            continue;
        };
        match context.fold(node, op) {
            Ok(folded) => {
                context.record(&mut outcome, id, &folded);
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

struct Context<'g> {
    graph: &'g Graph,
    producers: Vec<Option<NodeId>>,
    consumers: Vec<Vec<(NodeId, usize)>>,
}

/// New weights and bias of the node before a BatchNormalization.
struct Folded {
    product: NodeId,
    weight: (ValueId, Tensor),
    bias: Tensor,
}

/// Per channel: `y = x * factor + shift`.
struct Affine {
    factor: Vec<f64>,
    shift: Vec<f64>,
}

/// Where the output channels of a weight are.
struct ChannelLayout {
    channels: usize,
    /// Channels of each group; the groups lie one behind the other.
    per_group: usize,
    /// Elements of each group.
    group_size: usize,
    /// Distance between neighbouring channels of a group.
    inner: usize,
}

impl ChannelLayout {
    fn channel(&self, element: usize) -> usize {
        let (group, within) = (element / self.group_size, element % self.group_size);
        group * self.per_group + within / self.inner % self.per_group
    }
}

impl Context<'_> {
    fn fold(&self, node: &Node, op: &BatchNormalization) -> Result<Folded, Reason> {
        if op.training_mode || node.outputs.iter().skip(1).any(Option::is_some) {
            return Err(Reason::TrainingMode);
        }
        let product = self.product_before(node)?;
        let between = self.graph.node(product);
        let weight_id = between.inputs[1].expect("required input");
        let weight = self.constant(weight_id)?;
        let layout = self.layout(&between.op, weight_id, weight)?;
        let affine = self.affine(node, op, layout.channels)?;
        let bias = self.folded_bias(between, weight.dtype(), &affine)?;
        let values = self.finite(weight_id, weight)?;
        let scaled = values
            .iter()
            .enumerate()
            .map(|(i, value)| value * affine.factor[layout.channel(i)]);
        let scaled: Vec<f64> = scaled.collect();
        let weight = self.round(weight_id, weight.dtype(), weight.shape(), &scaled)?;
        Ok(Folded {
            product,
            weight: (weight_id, weight),
            bias,
        })
    }

    /// The node that computes the normalized value, if it can take the weights of nobody but the normalization.
    fn product_before(&self, node: &Node) -> Result<NodeId, Reason> {
        let input = node.inputs[0].expect("required input");
        let value = self.graph.value(input).name.clone();
        let product = self.producers[input.index()].filter(|product| {
            let op = &self.graph.node(*product).op;
            matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_))
        });
        let Some(product) = product else {
            return Err(Reason::NoFoldableProducer { value });
        };
        if self.graph.outputs.contains(&input) {
            return Err(Reason::GraphOutput { value });
        }
        if self.consumers[input.index()].len() > 1 {
            return Err(Reason::SharedValue { value });
        }
        Ok(product)
    }

    fn layout(&self, op: &Op, id: ValueId, weight: &Tensor) -> Result<ChannelLayout, Reason> {
        let shape = weight.shape();
        let behind = |axis: usize| shape[axis + 1..].iter().product();
        let (groups, axis) = match op {
            Op::Gemm(gemm) if shape.len() == 2 => (1, usize::from(!gemm.transB)),
            Op::Conv(_) if shape.len() > 2 => (1, 0),
            Op::ConvTranspose(op) if shape.len() > 2 => (usize::try_from(op.group).unwrap_or(0), 1),
            _ => (0, 0),
        };
        if groups == 0 || weight.is_empty() || (axis == 1 && !shape[0].is_multiple_of(groups)) {
            return Err(Reason::Weight {
                value: self.name(id),
                got: shape.to_vec(),
            });
        }
        Ok(ChannelLayout {
            channels: shape[axis] * groups,
            per_group: shape[axis],
            group_size: weight.len() / groups,
            inner: behind(axis),
        })
    }

    fn affine(&self, node: &Node, op: &BatchNormalization, channels: usize) -> Result<Affine, Reason> {
        let parameter =
            |position: usize| self.parameter(node.inputs[position].expect("required input"), channels);
        let (scale, bias) = (parameter(1)?, parameter(2)?);
        let (mean, variance) = (parameter(3)?, parameter(4)?);
        let epsilon = f64::from(op.epsilon);
        if let Some(channel) = variance.iter().position(|variance| variance + epsilon <= 0.0) {
            return Err(Reason::Variance { channel });
        }
        let factor: Vec<f64> = scale
            .iter()
            .zip(&variance)
            .map(|(scale, variance)| scale / (variance + epsilon).sqrt())
            .collect();
        let shift = (0..channels)
            .map(|channel| bias[channel] - mean[channel] * factor[channel])
            .collect();
        Ok(Affine { factor, shift })
    }

    /// A constant with one finite value per channel.
    fn parameter(&self, id: ValueId, channels: usize) -> Result<Vec<f64>, Reason> {
        let tensor = self.constant(id)?;
        if tensor.shape() != [channels] {
            return Err(Reason::Shape {
                value: self.name(id),
                got: tensor.shape().to_vec(),
                channels,
            });
        }
        self.finite(id, tensor)
    }

    /// The bias after folding, one value per channel. Gemm's `beta` is folded in.
    fn folded_bias(&self, product: &Node, dtype: DType, affine: &Affine) -> Result<Tensor, Reason> {
        let channels = affine.factor.len();
        let multiplier = match &product.op {
            Op::Gemm(gemm) => f64::from(gemm.beta),
            _ => 1.0,
        };
        let old = match product.input(2) {
            Some(id) => {
                let tensor = self.constant(id)?;
                let leading_ones = tensor.shape().iter().rev().skip(1).all(|&dim| dim == 1);
                if !leading_ones || (tensor.len() != channels && tensor.len() != 1) {
                    return Err(Reason::Shape {
                        value: self.name(id),
                        got: tensor.shape().to_vec(),
                        channels,
                    });
                }
                self.finite(id, tensor)?
            }
            None => vec![0.0],
        };
        let old = |channel: usize| multiplier * old[if old.len() == 1 { 0 } else { channel }];
        let folded =
            (0..channels).map(|channel| old(channel) * affine.factor[channel] + affine.shift[channel]);
        let id = product.input(2).or(product.input(1)).expect("required input");
        self.round(id, dtype, &[channels], &folded.collect::<Vec<_>>())
    }

    fn constant(&self, id: ValueId) -> Result<&Tensor, Reason> {
        let tensor = self
            .graph
            .constant(id)
            .ok_or_else(|| Reason::NotConstant { value: self.name(id) })?;
        match tensor.dtype() {
            DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Ok(tensor),
            got => Err(Reason::DType {
                value: self.name(id),
                got,
            }),
        }
    }

    fn finite(&self, id: ValueId, tensor: &Tensor) -> Result<Vec<f64>, Reason> {
        let values = tensor.to_f64().map_err(|_| Reason::DType {
            value: self.name(id),
            got: tensor.dtype(),
        })?;
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(Reason::NotFinite { value: self.name(id) })
        }
    }

    /// The tensor that takes the place of `id`, unless a value is too large for its type.
    fn round(&self, id: ValueId, dtype: DType, shape: &[usize], values: &[f64]) -> Result<Tensor, Reason> {
        let tensor = Tensor::from_f64(dtype, shape, values).map_err(|_| Reason::DType {
            value: self.name(id),
            got: dtype,
        })?;
        self.finite(id, &tensor).map(|_| tensor)
    }

    fn name(&self, id: ValueId) -> String {
        self.graph.value(id).name.clone()
    }

    /// Turns a folding into edits.
    fn record(&self, outcome: &mut Outcome, normalization: NodeId, folded: &Folded) {
        let (patch, node) = (&mut outcome.patch, self.graph.node(folded.product));
        let (weight, tensor) = (folded.weight.0, folded.weight.1.clone());
        let name = self.name(weight);
        if self.only_reader(weight) {
            patch.set_initializer(weight, tensor);
        } else {
            let copy = patch.add_constant(&name, tensor);
            patch.set_input(folded.product, 1, Some(copy));
        }
        match node.input(2) {
            Some(bias) if self.only_reader(bias) => patch.set_initializer(bias, folded.bias.clone()),
            old => {
                let name = old.map_or_else(|| bias_name(&name), |id| self.name(id));
                let bias = patch.add_constant(&name, folded.bias.clone());
                patch.set_input(folded.product, 2, Some(bias));
            }
        }
        if let Op::Gemm(gemm) = &node.op {
            let mut gemm = gemm.clone();
            gemm.beta = 1.0;
            patch.set_op(folded.product, Op::Gemm(gemm));
        }
        let normalization_node = self.graph.node(normalization);
        let ends = (normalization_node.output(0), normalization_node.input(0));
        if let (Some(output), Some(input)) = ends {
            patch.replace_uses(output, input);
        }
        patch.remove_node(normalization);
    }

    fn only_reader(&self, id: ValueId) -> bool {
        self.consumers[id.index()].len() == 1 && !self.graph.outputs.contains(&id)
    }
}

/// The bias that belongs to a weight: `conv.bias` for `conv.weight`.
fn bias_name(weight: &str) -> String {
    match weight.strip_suffix(".weight") {
        Some(layer) => format!("{layer}.bias"),
        None => format!("{weight}_bias"),
    }
}

#[cfg(test)]
mod tests;
