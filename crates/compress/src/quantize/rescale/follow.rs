//! From where channels are made to the products that read them.

use bantam_graph::ops::Binary;
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::{DType, Tensor};

use super::constant::Scaled;
use super::link::Reader;

pub(super) struct Follower<'a> {
    pub(super) graph: &'a Graph,
    consumers: Vec<Vec<(NodeId, usize)>>,
}

/// What lies behind a value.
#[derive(Default)]
pub(super) struct Found {
    /// Constants that are added on the way.
    pub(super) added: Vec<Scaled>,
    pub(super) readers: Vec<Reader>,
    /// Nodes that were passed.
    passed: Vec<NodeId>,
}

/// Where the channels of a value lie, and for each index of this axis the channel that it is of.
#[derive(Clone)]
pub(super) struct Channels {
    pub(super) axis: usize,
    pub(super) of: Vec<usize>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(graph: &'a Graph) -> Follower<'a> {
        Follower {
            graph,
            consumers: graph.consumers(),
        }
    }

    /// All that reads the channels of a value.
    ///
    /// # Errors
    /// The reason why their scale cannot move.
    pub(super) fn follow(&self, value: ValueId, axis: usize, channels: usize) -> Result<Found, String> {
        let mut found = Found::default();
        let of = (0..channels).collect();
        self.visit(value, &Channels { axis, of }, &mut found)?;
        Ok(found)
    }

    /// A constant of floats that this node alone reads, once.
    pub(super) fn own_constant(&self, node: &Node, position: usize) -> Result<(ValueId, &'a Tensor), String> {
        let value = node.input(position).ok_or("an operand is missing")?;
        let name = || self.graph.value(value).name.clone();
        let tensor = self.graph.constant(value);
        let tensor = tensor.ok_or_else(|| format!("`{}` is not constant", name()))?;
        if tensor.dtype() != DType::F32 {
            return Err(format!("`{}` is not float32", name()));
        }
        if self.consumers[value.index()].len() != 1 || self.graph.outputs.contains(&value) {
            return Err(format!("`{}` has other readers too", name()));
        }
        Ok((value, tensor))
    }

    fn visit(&self, value: ValueId, channels: &Channels, found: &mut Found) -> Result<(), String> {
        let name = &self.graph.value(value).name;
        if self.graph.outputs.contains(&value) {
            return Err(format!("`{name}` is an output of the network"));
        }
        let readers = &self.consumers[value.index()];
        if readers.is_empty() {
            return Err(format!("nothing reads `{name}`"));
        }
        for &(id, position) in readers {
            let node = self.graph.node(id);
            let described = || self.graph.describe(node);
            if position == Graph::CAPTURED {
                return Err(format!("the graphs inside {} read it", described()));
            }
            if found.passed.contains(&id) {
                return Err(format!("{} reads it in two ways", described()));
            }
            found.passed.push(id);
            self.reader(id, node, position, value, channels, found)?;
        }
        Ok(())
    }

    fn reader(
        &self,
        id: NodeId,
        node: &Node,
        position: usize,
        value: ValueId,
        channels: &Channels,
        found: &mut Found,
    ) -> Result<(), String> {
        if let Some(weight) = self.product(node, position, value, channels)? {
            found.readers.push(Reader {
                node: id,
                input: value,
                channels: channels.of.clone(),
                weight,
            });
            return Ok(());
        }
        if let Some(added) = self.added(node, position, value, channels)? {
            found.added.push(added);
            let output = node.output(0).ok_or("an output is missing")?;
            return self.visit(output, channels, found);
        }
        let passed = self.passed(node, position, value, channels)?;
        let is_read =
            |value: &ValueId| !self.consumers[value.index()].is_empty() || self.graph.outputs.contains(value);
        if node.outputs.iter().skip(1).flatten().any(is_read) {
            return Err(format!("{} has more than one result", self.graph.describe(node)));
        }
        let output = node.output(0).ok_or("an output is missing")?;
        self.visit(output, &passed, found)
    }

    pub(super) fn rank(&self, value: ValueId) -> Option<usize> {
        self.graph.value(value).ty.shape().map(<[_]>::len)
    }

    pub(super) fn dim(&self, value: ValueId, axis: usize) -> Option<usize> {
        self.graph.value(value).ty.shape()?.get(axis)?.known()
    }

    /// The weight of a product that reads the channels; `None` for other nodes.
    fn product(
        &self,
        node: &Node,
        position: usize,
        value: ValueId,
        channels: &Channels,
    ) -> Result<Option<Scaled>, String> {
        let wanted = match &node.op {
            Op::Conv(_) => Some(1),
            Op::Gemm(gemm) if !gemm.transA => Some(1),
            Op::MatMul(_) => self.rank(value).and_then(|rank| rank.checked_sub(1)),
            _ => return Ok(None),
        };
        let wrong = || {
            format!(
                "{} sums over something else than its channels",
                self.graph.describe(node)
            )
        };
        if position != 0 || wanted != Some(channels.axis) {
            return Err(wrong());
        }
        let (weight, tensor) = self.own_constant(node, 1)?;
        let (shape, of) = (tensor.shape(), &channels.of);
        let along = |axis: usize| match shape.len() == 2 && shape[axis] == of.len() {
            true => Ok(Some(Scaled::along(weight, 2, axis, of.clone()))),
            false => Err(wrong()),
        };
        match &node.op {
            Op::Gemm(gemm) => along(usize::from(gemm.transB)),
            Op::Conv(conv) => {
                let groups = usize::try_from(conv.group).unwrap_or(0);
                filters(weight, shape, groups, of).map(Some).ok_or_else(wrong)
            }
            _ => along(0),
        }
    }

    /// A constant that is added to the channels, one number for each; `None` for other nodes.
    fn added(
        &self,
        node: &Node,
        position: usize,
        value: ValueId,
        channels: &Channels,
    ) -> Result<Option<Scaled>, String> {
        if !matches!(node.op, Op::Binary(Binary::Add | Binary::Sub)) || position > 1 {
            return Ok(None);
        }
        let other = 1 - position;
        if node
            .input(other)
            .is_some_and(|other| self.graph.constant(other).is_none())
        {
            return Err(format!("{} adds another branch to it", self.graph.describe(node)));
        }
        let (constant, tensor) = self.own_constant(node, other)?;
        let odd = || {
            format!(
                "{} adds other numbers than one for each channel",
                self.graph.describe(node)
            )
        };
        // Ranks are counted from the last axis.
        let rank = self.rank(value).ok_or_else(odd)?;
        let axis = (channels.axis + tensor.rank())
            .checked_sub(rank)
            .ok_or_else(odd)?;
        let sizes = tensor.shape().iter().enumerate();
        let mut fits = sizes.map(|(at, size)| *size == if at == axis { channels.of.len() } else { 1 });
        match tensor.rank() <= rank && fits.all(|fits| fits) {
            true => Ok(Some(Scaled::along(
                constant,
                tensor.rank(),
                axis,
                channels.of.clone(),
            ))),
            false => Err(odd()),
        }
    }
}

/// The filters of a convolution in groups, by the channels that they read.
fn filters(weight: ValueId, shape: &[usize], groups: usize, of: &[usize]) -> Option<Scaled> {
    let (&outputs, &inputs) = (shape.first()?, shape.get(1)?);
    if groups == 0 || inputs.checked_mul(groups) != Some(of.len()) || !outputs.is_multiple_of(groups) {
        return None;
    }
    if groups == 1 {
        return Some(Scaled::along(weight, shape.len(), 1, of.to_vec()));
    }
    let mut factors = vec![1; shape.len()];
    (factors[0], factors[1]) = (outputs, inputs);
    let channel = |index: usize| of[index / inputs / (outputs / groups) * inputs + index % inputs];
    Some(Scaled {
        value: weight,
        shape: factors,
        of: (0..outputs * inputs).map(channel).collect(),
    })
}
