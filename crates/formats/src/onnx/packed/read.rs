//! Constants in the place of packed codes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use bantam_graph::ops::Binary;
use bantam_graph::{Graph, GraphError, Node, NodeId, Op, Patch, ValueId};
use bantam_tensor::{DType, Tensor};

use super::PACKED_BITS;
use super::eligible::Readers;
use super::planes::{GROUP, Planes, table};

/// Most dimensions of weights.
const MOST_DIMENSIONS: usize = 16;

/// Codes that were found, and the nodes that made them.
struct Found {
    codes: Tensor,
    bits: usize,
    nodes: Vec<NodeId>,
}

/// Makes constants of all packed codes of a graph: the same as were written.
///
/// # Errors
/// Never for a graph that is in order.
pub(in crate::onnx) fn unpack(graph: &mut Graph) -> Result<(), GraphError> {
    let mut found = find(graph);
    if found.is_empty() {
        return Ok(());
    }
    let mut patch = Patch::new(graph);
    remove_unread(graph, &found, &mut patch);
    narrow(graph, &mut found, &mut patch);
    for (value, found) in found {
        let note = (PACKED_BITS.to_owned(), found.bits.to_string());
        graph.value_mut(value).metadata.push(note);
        patch.set_initializer(value, found.codes);
    }
    patch.apply(graph)?;
    Ok(())
}

fn find(graph: &Graph) -> BTreeMap<ValueId, Found> {
    let readers = Readers::of(graph);
    let chains = Chains {
        graph,
        producers: graph.producers(),
    };
    // A byte holds a bit of eight codes: more than that a file has only if many nodes read the same bytes.
    let stored = graph.values.iter().filter_map(|value| value.initializer.as_ref());
    let stored: usize = stored.map(|tensor| tensor.as_bytes().len()).sum();
    let mut left = stored.saturating_mul(GROUP);
    let mut found = BTreeMap::new();
    let values = (0..graph.values.len()).map(ValueId::new);
    for value in values {
        let codes = match readers.are_codes_in_groups(graph, value) {
            true => chains.codes_in_groups(value, left),
            false if readers.are_codes(graph, value) => chains.codes(value, left),
            false => None,
        };
        if let Some(codes) = codes {
            left -= codes.codes.len();
            found.insert(value, codes);
        }
    }
    found
}

struct Chains<'a> {
    graph: &'a Graph,
    producers: Vec<Option<NodeId>>,
}

impl<'a> Chains<'a> {
    fn producer(&self, value: ValueId) -> Option<(NodeId, &'a Node)> {
        let id = self.producers[value.index()]?;
        Some((id, self.graph.node(id)))
    }

    /// The node of an op that makes a value, and its inputs.
    fn made_by(&self, value: ValueId, is: impl Fn(&Op) -> bool, nodes: &mut Vec<NodeId>) -> Option<&'a Node> {
        let (id, node) = self.producer(value)?;
        if !is(&node.op) {
            return None;
        }
        nodes.push(id);
        Some(node)
    }

    /// The codes that a value is, if they are so many at most.
    fn codes(&self, value: ValueId, most: usize) -> Option<Found> {
        let (id, node) = self.producer(value)?;
        let Op::Cast(cast) = &node.op else {
            return self.planes(value, most);
        };
        let stored = self.graph.constant_input(node, 0)?;
        let stored = Some(stored).filter(|stored| stored.len() <= most)?;
        let codes = stored.in_bytes().filter(|codes| codes.dtype() == cast.to)?;
        Some(Found {
            codes,
            bits: 4,
            nodes: vec![id],
        })
    }

    /// Those behind planes that a Cast makes 4 bits wide.
    fn codes_in_groups(&self, value: ValueId, most: usize) -> Option<Found> {
        let (id, node) = self.producer(value)?;
        let Op::Cast(cast) = &node.op else { return None };
        let mut found = self.planes(node.input(0)?, most)?;
        found.codes = of_4_bits(&found.codes).filter(|codes| codes.dtype() == cast.to)?;
        found.nodes.push(id);
        Some(found)
    }

    fn planes(&self, value: ValueId, most: usize) -> Option<Found> {
        let mut nodes = Vec::new();
        let reshaped = self.made_by(value, |op| matches!(op, Op::Reshape(_)), &mut nodes)?;
        let shape = self.sizes(reshaped, 1)?;
        let sizes = shape.into_iter().map(|size| usize::try_from(size).ok());
        let shape = sizes.collect::<Option<Vec<usize>>>()?;
        let count = shape
            .iter()
            .try_fold(1usize, |all, size| all.checked_mul(*size))?;
        let whole = self.before_slice(reshaped.input(0)?, count, &mut nodes)?;
        let cast = self.made_by(whole, |op| matches!(op, Op::Cast(_)), &mut nodes)?;
        let Op::Cast(to) = &cast.op else { return None };
        let (planes, bytes) = self.sums(cast.input(0)?, &mut nodes)?;
        let (groups, bits) = match *bytes.shape() {
            [groups, bits] if bits == planes.bits() && bits > 0 && bytes.dtype() == DType::U8 => {
                (groups, bits)
            }
            _ => return None,
        };
        if count.div_ceil(GROUP) != groups || count == 0 || count > most {
            return None;
        }
        let codes = planes.decode(bytes.as_bytes(), count, &codes_of(to.to)?)?;
        let codes = Tensor::from_raw(to.to, &shape, &codes).ok()?;
        Some(Found { codes, bits, nodes })
    }

    /// Sizes or positions that a node reads: as many as a tensor has dimensions.
    fn sizes(&self, node: &Node, input: usize) -> Option<Vec<i64>> {
        let tensor = self.graph.constant_input(node, input)?;
        let few = Some(tensor).filter(|tensor| tensor.len() <= MOST_DIMENSIONS)?;
        few.to_i64().ok()
    }

    /// What a slice of the first codes was taken of, where one was.
    fn before_slice(&self, value: ValueId, count: usize, nodes: &mut Vec<NodeId>) -> Option<ValueId> {
        let (id, node) = self.producer(value)?;
        if !matches!(node.op, Op::Slice(_)) {
            return count.is_multiple_of(GROUP).then_some(value);
        }
        let first = self.sizes(node, 1)? == [0] && self.sizes(node, 2)? == [i64::try_from(count).ok()?];
        nodes.push(id);
        let flat = self.made_by(node.input(0)?, |op| matches!(op, Op::Reshape(_)), nodes)?;
        let is_flat = self.sizes(flat, 1)? == [-1];
        (first && is_flat && node.inputs.len() == 3)
            .then(|| flat.input(0))
            .flatten()
    }

    /// The planes whose sums a value is, and their bytes.
    fn sums(&self, value: ValueId, nodes: &mut Vec<NodeId>) -> Option<(Planes, &'a Tensor)> {
        let (_, node) = self.producer(value)?;
        let (product, offset) = match &node.op {
            Op::Binary(Binary::Add) => {
                nodes.push(self.producers[value.index()]?);
                let offset = self.graph.constant_input(node, 1)?;
                (node.input(0)?, *whole_numbers(offset, &[])?.first()?)
            }
            _ => (value, 0),
        };
        let product = self.made_by(product, |op| matches!(op, Op::MatMul(_)), nodes)?;
        let worth = self.graph.constant_input(product, 0)?;
        let worth = whole_numbers(worth, &[1, worth.len()])?;
        let gather = self.made_by(
            product.input(1)?,
            |op| matches!(op, Op::Gather(op) if op.axis == 0),
            nodes,
        )?;
        let float = |op: &Op| matches!(op, Op::Cast(cast) if cast.to == DType::F32);
        let bits = self.made_by(gather.input(0)?, float, nodes)?;
        let bits = self.graph.constant_input(bits, 0)?;
        let index = |op: &Op| matches!(op, Op::Cast(cast) if cast.to == DType::I32);
        let indices = self.made_by(gather.input(1)?, index, nodes)?;
        let is_table = bits.shape() == [256, GROUP] && bits.values::<i8>().is_ok_and(|bits| *bits == table());
        let planes = Planes { worth, offset };
        is_table.then_some((planes, self.graph.constant_input(indices, 0)?))
    }
}

/// Small whole numbers of floats of a shape.
fn whole_numbers(tensor: &Tensor, shape: &[usize]) -> Option<Vec<i32>> {
    if tensor.shape() != shape || tensor.len() > GROUP {
        return None;
    }
    let values = tensor.values::<f32>().ok()?;
    let whole = |value: &f32| (value.fract() == 0.0 && value.abs() <= 256.0).then_some(*value as i32);
    values.iter().map(whole).collect()
}

/// The codes of a type of 8 bits.
fn codes_of(dtype: DType) -> Option<RangeInclusive<i32>> {
    match dtype {
        DType::I8 => Some(-128..=127),
        DType::U8 => Some(0..=255),
        _ => None,
    }
}

/// Removes nodes that made codes and nothing else.
fn remove_unread(graph: &Graph, found: &BTreeMap<ValueId, Found>, patch: &mut Patch) {
    let consumers = graph.consumers();
    let made: BTreeSet<NodeId> = found.values().flat_map(|found| found.nodes.clone()).collect();
    let mut removed: BTreeSet<NodeId> = BTreeSet::new();
    for id in made.iter().rev() {
        let unread = |output: &ValueId| {
            let mut readers = consumers[output.index()].iter();
            let none = readers.all(|(reader, _)| removed.contains(reader));
            found.contains_key(output) || (none && !graph.outputs.contains(output))
        };
        if graph.node(*id).outputs.iter().flatten().all(unread) {
            removed.insert(*id);
            patch.remove_node(*id);
        }
    }
}

/// Gives codes of 4 bits and fewer the type of 4 bits, with their zero points.
fn narrow(graph: &Graph, found: &mut BTreeMap<ValueId, Found>, patch: &mut Patch) {
    let readers = Readers::of(graph);
    let mut narrowed: BTreeMap<ValueId, Tensor> = found
        .iter()
        .filter(|(_, found)| found.bits <= 4)
        .filter_map(|(value, found)| Some((*value, of_4_bits(&found.codes)?)))
        .collect();
    let mut zero_points: BTreeMap<ValueId, Option<Tensor>> = BTreeMap::new();
    let changed = loop {
        let changed = readers.can_change(graph, &narrowed.keys().copied().collect());
        for zero_point in changed.values().flatten() {
            let of = || graph.constant(*zero_point).and_then(of_4_bits);
            zero_points.entry(*zero_point).or_insert_with(of);
        }
        let fits = |zero_point: &ValueId| zero_points.get(zero_point).is_some_and(Option::is_some);
        let before = narrowed.len();
        narrowed.retain(|codes, _| changed.get(codes).is_none_or(|with| with.iter().all(fits)));
        if narrowed.len() == before {
            break changed;
        }
    };
    for (codes, with) in changed {
        if let (Some(found), Some(tensor)) = (found.get_mut(&codes), narrowed.remove(&codes)) {
            found.codes = tensor;
        }
        for zero_point in with {
            if let Some(Some(tensor)) = zero_points.get(&zero_point) {
                patch.set_initializer(zero_point, tensor.clone());
            }
        }
    }
}

fn of_4_bits(tensor: &Tensor) -> Option<Tensor> {
    let (dtype, low, high) = match tensor.dtype() {
        DType::I8 => (DType::I4, -8, 7),
        _ => (DType::U4, 0, 15),
    };
    let codes = tensor.to_i64().ok()?;
    let fits = codes.iter().all(|code| (low..=high).contains(code));
    fits.then(|| Tensor::from_i64(dtype, tensor.shape(), &codes).ok())
        .flatten()
}
