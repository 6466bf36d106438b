//! The products of a network with quantizers whose weights can be solved for.

use bantam_graph::ops::Binary;
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};

use crate::quantize::aware::{Aware, Grid, QuantizerKind};
use crate::target::ScaleForm;

/// A product with a constant weight that it alone reads, through a quantizer of evenly spaced levels.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// Name of the quantizer's node, for people.
    pub(super) name: String,
    /// The product.
    pub(super) product: NodeId,
    /// Its input that varies, in the graph with quantizers.
    pub(super) input: ValueId,
    pub(super) weight: ValueId,
    pub(super) scale: ValueId,
    /// What moves the mean of each output channel, and which way.
    pub(super) mean: Option<Mean>,
    /// Whether scales differ from channel to channel.
    pub(super) per_channel: bool,
    /// Which scales the target takes.
    pub(super) form: ScaleForm,
    /// Codes; the zero point is that of the first channel.
    pub(super) grid: Grid,
    /// Of each channel, or one for all.
    pub(super) zero_points: Vec<f32>,
    /// How the weight lies.
    pub(super) layout: Layout,
}

/// A constant that moves the means of the outputs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mean {
    /// The product's own bias, or one that is added behind it.
    Bias(ValueId),
    /// The running mean of the BatchNormalization behind it.
    Running(ValueId),
}

/// How the numbers of a weight lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All of one output channel, then the next.
    Rows,
    /// Output channels next to each other.
    Columns,
}

/// The layers in the order of the graph.
pub(super) fn layers(aware: &Aware) -> Vec<Layer> {
    let graph = &aware.graph;
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let mut layers: Vec<Layer> = graph
        .node_ids()
        .filter_map(|(id, _)| layer(aware, id, &producers, &consumers))
        .collect();
    layers.sort_by_key(|layer| layer.product.index());
    layers
}

fn layer(
    aware: &Aware,
    product: NodeId,
    producers: &[Option<NodeId>],
    consumers: &[Vec<(NodeId, usize)>],
) -> Option<Layer> {
    let graph = &aware.graph;
    let node = graph.node(product);
    let layout = layout(&node.op)?;
    let input = node.input(0).filter(|input| graph.constant(*input).is_none())?;
    let rounded = node.input(1)?;
    let quantizer = graph.node(producers[rounded.index()]?);
    let Op::FakeQuant(op) = &quantizer.op else {
        return None;
    };
    let (weight, scale) = (quantizer.input(0)?, quantizer.input(1)?);
    let alone = |value: ValueId| consumers[value.index()].len() == 1;
    let zero_points = graph.constant_input(quantizer, 2)?.to_f32().ok()?;
    let known = aware
        .quantizers
        .iter()
        .any(|it| it.node == quantizer.name && matches!(it.kind, QuantizerKind::Weight { .. }));
    let constant = graph.constant(weight).is_some() && graph.constant(scale).is_some();
    if !(known && constant && alone(weight) && alone(scale) && alone(rounded)) {
        return None;
    }
    Some(Layer {
        name: quantizer.name.clone(),
        product,
        input,
        weight,
        scale,
        mean: mean(graph, node, layout, consumers),
        per_channel: op.axis.is_some(),
        form: aware.scale_form(),
        grid: Grid {
            low: op.low,
            high: op.high,
            zero_point: *zero_points.first()?,
        },
        zero_points,
        layout,
    })
}

/// What moves the means of a product's outputs, if it alone does, with a number for each channel.
pub(crate) fn mean(
    graph: &Graph,
    node: &Node,
    layout: Layout,
    consumers: &[Vec<(NodeId, usize)>],
) -> Option<Mean> {
    let weight = graph.value(node.input(1)?).ty.shape()?;
    let channels = match layout {
        Layout::Rows => weight.first()?,
        Layout::Columns => weight.last()?,
    };
    let own = |value: &ValueId| {
        let tensor = graph.constant(*value);
        consumers[value.index()].len() == 1 && tensor.map(|tensor| tensor.len()) == channels.known()
    };
    if let Some(bias) = node.input(2) {
        return Some(bias).filter(own).map(Mean::Bias);
    }
    let [(reader, position)] = consumers[node.output(0)?.index()][..] else {
        return None;
    };
    let reader = graph.node(reader);
    match (&reader.op, &node.op) {
        (Op::BatchNormalization(_), _) => reader.input(3).filter(own).map(Mean::Running),
        (Op::Binary(Binary::Add), Op::MatMul(_)) => {
            let bias = reader.input(1 - position).filter(own)?;
            (graph.constant(bias)?.rank() == 1).then_some(Mean::Bias(bias))
        }
        _ => None,
    }
}

/// Where the output channels of a product's weight lie; `None` for products that are not solved for.
pub(crate) fn layout(op: &Op) -> Option<Layout> {
    match op {
        Op::Conv(_) => Some(Layout::Rows),
        Op::Gemm(gemm) if !gemm.transA && gemm.alpha == 1.0 && gemm.beta == 1.0 => match gemm.transB {
            true => Some(Layout::Rows),
            false => Some(Layout::Columns),
        },
        Op::MatMul(_) => Some(Layout::Columns),
        _ => None,
    }
}

/// The weight of a product by rows: one for each output channel.
pub(super) fn rows_of(graph: &Graph, layer: &Layer) -> Option<(Vec<f32>, usize)> {
    let tensor = graph.constant(layer.weight)?;
    let values = tensor.to_f32().ok()?;
    let shape = tensor.shape();
    let depth = match layer.layout {
        Layout::Rows => shape[1..].iter().product(),
        Layout::Columns if shape.len() == 2 => shape[0],
        Layout::Columns => return None,
    };
    Some((rows_of_matrix(layer.layout, values, depth), depth))
}

/// A matrix by rows of this length: one for each output channel.
pub(crate) fn rows_of_matrix(layout: Layout, values: Vec<f32>, depth: usize) -> Vec<f32> {
    match layout {
        Layout::Rows => values,
        Layout::Columns => transposed(&values, depth, values.len() / depth.max(1)),
    }
}

/// The other way round.
pub(crate) fn transposed<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    let element = |index: usize| values[index % rows * columns + index / rows];
    (0..rows * columns).map(element).collect()
}

/// Rows as the weight of the layer holds them.
pub(super) fn as_stored(layer: &Layer, rows: Vec<f32>, depth: usize) -> Vec<f32> {
    match layer.layout {
        Layout::Rows => rows,
        Layout::Columns => transposed(&rows, rows.len() / depth.max(1), depth),
    }
}
