//! [`Link`]: where channels are made, and where they are read.

use std::collections::BTreeSet;

use bantam_graph::ops::Binary;
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};

use super::constant::Scaled;
use super::follow::Follower;
use crate::plan::{Action, Decision, Site};

/// Channels that can be divided where they are made and multiplied where they are read.
#[derive(Clone, Debug)]
pub struct Link {
    /// First output of the node that makes them.
    pub name: String,
    /// Number of channels.
    pub channels: usize,
    /// Whether that node is a product, not a norm or a multiplication.
    pub from_product: bool,
    /// What is divided; the first is the node's own weight.
    pub(super) writers: Vec<Scaled>,
    /// The products that read them.
    pub(in crate::quantize) readers: Vec<Reader>,
}

/// A product that reads the channels of a link.
#[derive(Clone, Debug)]
pub(in crate::quantize) struct Reader {
    /// The product.
    pub(in crate::quantize) node: NodeId,
    /// Its input.
    pub(in crate::quantize) input: ValueId,
    /// For each channel of the input, the channel of the link.
    pub(in crate::quantize) channels: Vec<usize>,
    pub(super) weight: Scaled,
}

/// The decision that the channels that a node makes keep their scale.
pub(in crate::quantize) fn left(node: String, why: String) -> Decision {
    Decision {
        site: Site::Node(node),
        action: Action::KeepScale,
        why,
        sqnr_db: None,
    }
}

/// What was found in a graph.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// In the order of the nodes that make the channels.
    pub links: Vec<Link>,
    /// Why the other nodes that make channels keep their scale.
    pub left: Vec<Decision>,
}

/// Every link of a graph whose shapes were inferred. A product's input belongs to one link.
pub fn links(graph: &Graph) -> Links {
    let follower = Follower::new(graph);
    let mut claimed = BTreeSet::new();
    let mut found = Links::default();
    for (_, node) in graph.node_ids() {
        let Some(output) = node.output(0) else { continue };
        let Some(writer) = writer(graph, &follower, node, output) else {
            continue;
        };
        let name = graph.value(output).name.clone();
        let link = writer.and_then(|writer| follow(&follower, node, output, writer));
        match link {
            Ok(link) if link.readers.iter().all(|reader| !claimed.contains(&reader.node)) => {
                claimed.extend(link.readers.iter().map(|reader| reader.node));
                found.links.push(Link { name, ..link });
            }
            Ok(_) => {
                let why = "those who read it take the scales of an earlier node";
                found.left.push(left(name, why.to_owned()));
            }
            Err(why) => found.left.push(left(name, why)),
        }
    }
    found
}

/// The axis of the channels, and what is divided.
type Writer = (usize, Vec<Scaled>);

/// What makes channels; `None` for nodes that do not.
fn writer(
    graph: &Graph,
    follower: &Follower<'_>,
    node: &Node,
    output: ValueId,
) -> Option<Result<Writer, String>> {
    let rank = graph.value(output).ty.shape().map(<[_]>::len)?;
    let along = |position: usize, axis: usize, channels: usize| {
        let (value, tensor) = follower.own_constant(node, position)?;
        match tensor.shape().get(axis) == Some(&channels) {
            true => Ok(Scaled::along(value, tensor.rank(), axis, (0..channels).collect())),
            false => Err("its constants are not one for each channel".to_owned()),
        }
    };
    // The weight, and where there is one the bias.
    let pair = |weight_axis: usize, bias: Option<usize>, channel_axis: usize| {
        let (_, weight) = follower.own_constant(node, 1)?;
        let channels = *weight
            .shape()
            .get(weight_axis)
            .ok_or("its weight has no channels")?;
        let mut scaled = vec![along(1, weight_axis, channels)?];
        if let Some(bias) = bias.filter(|position| node.input(*position).is_some()) {
            let (_, tensor) = follower.own_constant(node, bias)?;
            scaled.push(along(bias, tensor.rank().saturating_sub(1), channels)?);
        }
        Ok((channel_axis, scaled))
    };
    let last = rank.checked_sub(1)?;
    let is_last = |axis: i64| axis == -1 || axis == last as i64;
    match &node.op {
        Op::Conv(_) => Some(pair(0, Some(2), 1)),
        Op::Gemm(gemm) => Some(pair(usize::from(!gemm.transB), Some(2), 1)),
        Op::MatMul(_) if graph.constant_input(node, 1)?.rank() == 2 => Some(pair(1, None, last)),
        Op::LayerNormalization(op) if is_last(op.axis) => Some(pair(0, Some(2), last)),
        Op::RmsNormalization(op) if is_last(op.axis) => Some(pair(0, None, last)),
        Op::SimplifiedLayerNormalization(op) if is_last(op.axis) => Some(pair(0, None, last)),
        Op::BatchNormalization(_) => Some(pair(0, Some(2), 1)),
        Op::Binary(Binary::Mul) => {
            let position = (0..2).find(|position| graph.constant_input(node, *position).is_some())?;
            let channels = graph.value(output).ty.shape()?.last()?.known()?;
            let constant = graph.constant_input(node, position)?;
            let is_row = constant.shape() == [channels] && channels > 1;
            is_row.then(|| Ok((last, vec![along(position, 0, channels)?])))
        }
        _ => None,
    }
}

fn follow(
    follower: &Follower<'_>,
    node: &Node,
    output: ValueId,
    (axis, mut writers): Writer,
) -> Result<Link, String> {
    let channels = writers[0].of.len();
    let found = follower.follow(output, axis, channels)?;
    writers.extend(found.added);
    Ok(Link {
        name: String::new(),
        channels,
        from_product: matches!(node.op, Op::Conv(_) | Op::Gemm(_) | Op::MatMul(_)),
        writers,
        readers: found.readers,
    })
}

impl Link {
    /// The largest magnitude of each channel among the weights that read it.
    pub(super) fn read_peaks(&self, graph: &Graph) -> Vec<f32> {
        let mut peaks = vec![0f32; self.channels];
        for reader in &self.readers {
            let of_reader = reader.weight.peaks(graph, self.channels);
            peaks
                .iter_mut()
                .zip(of_reader)
                .for_each(|(peak, other)| *peak = peak.max(other));
        }
        peaks
    }

    /// The largest magnitude of each channel in the weight that makes it.
    pub(super) fn written_peaks(&self, graph: &Graph) -> Vec<f32> {
        self.writers[0].peaks(graph, self.channels)
    }

    /// The decisions that divide the channels by these scales where they are made, and multiply them where they are read.
    pub(in crate::quantize) fn rescale(&self, graph: &Graph, scales: &[f32], why: &str) -> Vec<Decision> {
        if scales.iter().all(|scale| *scale == 1.0) {
            return Vec::new();
        }
        let decision = |scaled: &Scaled, of_channel: &dyn Fn(usize) -> f32| Decision {
            site: Site::Value(graph.value(scaled.value).name.clone()),
            action: Action::ScaleConstant {
                shape: scaled.shape.clone(),
                by: scaled.factors(of_channel),
            },
            why: why.to_owned(),
            sqnr_db: None,
        };
        let writers = self.writers.iter();
        let divided = writers.map(|writer| decision(writer, &|channel| 1.0 / scales[channel]));
        let readers = self.readers.iter();
        let multiplied = readers.map(|reader| decision(&reader.weight, &|channel| scales[channel]));
        divided.chain(multiplied).collect()
    }
}
