//! Packed codes in the place of constants.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use bantam_graph::ops::{Binary, Cast, Gather, MatMul, Reshape, Slice};
use bantam_graph::{Graph, GraphError, Model, Node, Op, Patch, Value, ValueId, ValueType};
use bantam_tensor::{DType, Tensor};

use super::eligible::Readers;
use super::planes::{GROUP, Planes, table};
use super::{NarrowCodes, PACKED_BITS};

/// What the nodes and constants of one tensor take in a file, about.
const OVERHEAD: usize = 270;
/// Most codes of a tensor in planes: runtimes make floats of all their bits for a moment.
const LARGEST: usize = 1 << 24;
/// What the table takes.
const TABLE: usize = 2100;
/// Why tensors that are made here are in order.
const FITS: &str = "as many elements as the shape has";

/// How a tensor of codes is written.
enum Form {
    Planes(Planes),
    /// Planes whose codes become 4 bits wide again.
    Groups(Planes),
    Cast,
}

/// The model as a file has it.
///
/// # Errors
/// Never for a graph that is in order.
pub(in crate::onnx) fn pack(model: &Model, narrow: NarrowCodes) -> Result<Cow<'_, Model>, GraphError> {
    let forms = match narrow {
        NarrowCodes::Packed => forms(&model.graph, false),
        NarrowCodes::PackedGroups => forms(&model.graph, true),
        NarrowCodes::Native => BTreeMap::new(),
    };
    let noted = |value: &Value| value.metadata.iter().any(|(key, _)| key == PACKED_BITS);
    if forms.is_empty() && !model.graph.values.iter().any(noted) {
        return Ok(Cow::Borrowed(model));
    }
    let mut model = model.clone();
    let graph = &mut model.graph;
    for value in &mut graph.values {
        value.metadata.retain(|(key, _)| key != PACKED_BITS);
    }
    if !forms.is_empty() {
        let mut packer = Packer {
            patch: Patch::new(graph),
            constants: HashMap::new(),
            bits_of_bytes: None,
            added: 0,
        };
        for (codes, (form, zero_points)) in &forms {
            packer.widen_zero_points(graph, zero_points);
            packer.pack(graph, *codes, form);
        }
        packer.patch.apply(graph)?;
    }
    Ok(Cow::Owned(model))
}

/// Codes that are written in another form, with the zero points that change with them.
fn forms(graph: &Graph, groups: bool) -> BTreeMap<ValueId, (Form, Vec<ValueId>)> {
    let mut saved = 0;
    let mut forms = BTreeMap::new();
    for (id, zero_points) in codes(graph) {
        let Some(tensor) = graph.constant(id) else {
            continue;
        };
        let form = match worthwhile(tensor) {
            Some((planes, saves)) => {
                saved += saves;
                Form::Planes(planes)
            }
            None if is_narrow(tensor) => Form::Cast,
            None => continue,
        };
        forms.insert(id, (form, zero_points));
    }
    for id in codes_in_groups(graph).into_iter().filter(|_| groups) {
        if let Some((planes, saves)) = graph.constant(id).and_then(worthwhile) {
            saved += saves;
            forms.insert(id, (Form::Groups(planes), Vec::new()));
        }
    }
    if saved <= TABLE {
        let has_cast = |form: &Form| !matches!(form, Form::Groups(_));
        forms.retain(|id, (form, _)| has_cast(form) && graph.constant(*id).is_some_and(is_narrow));
        forms.values_mut().for_each(|(form, _)| *form = Form::Cast);
    }
    forms
}

/// Constants that DequantizeLinear alone reads as codes of 4 or 8 bits, with the zero points that change with those of 4.
fn codes(graph: &Graph) -> BTreeMap<ValueId, Vec<ValueId>> {
    let readers = Readers::of(graph);
    let inputs: BTreeSet<ValueId> = graph.inputs.iter().copied().collect();
    let of = |types: [DType; 2]| -> BTreeSet<ValueId> {
        let values = (0..graph.values.len()).map(ValueId::new);
        let typed = values.filter(|id| {
            let tensor = graph.value(*id).initializer.as_ref();
            tensor.is_some_and(|tensor| types.contains(&tensor.dtype()) && !tensor.is_empty())
        });
        typed.filter(|id| !inputs.contains(id)).collect()
    };
    let mut found = readers.can_change(graph, &of([DType::I4, DType::U4]));
    let wide = of([DType::I8, DType::U8]).into_iter();
    let wide = wide.filter(|id| readers.are_codes(graph, *id));
    found.extend(wide.map(|id| (id, Vec::new())));
    found
}

/// Constants of 4 bits that DequantizeLinear alone reads as codes in groups.
fn codes_in_groups(graph: &Graph) -> Vec<ValueId> {
    let readers = Readers::of(graph);
    let values = (0..graph.values.len()).map(ValueId::new);
    let is_it = |id: &ValueId| {
        let tensor = graph.value(*id).initializer.as_ref();
        tensor.is_some_and(|tensor| is_narrow(tensor) && !tensor.is_empty())
            && !graph.inputs.contains(id)
            && readers.are_codes_in_groups(graph, *id)
    };
    values.filter(is_it).collect()
}

fn is_narrow(tensor: &Tensor) -> bool {
    tensor.dtype().bits() == 4
}

/// Planes, where they save bytes, and how many.
fn worthwhile(tensor: &Tensor) -> Option<(Planes, usize)> {
    let planes = Planes::of(tensor).filter(|_| tensor.len() <= LARGEST)?;
    let packed = tensor.len().div_ceil(GROUP) * planes.bits() + OVERHEAD;
    let saves = tensor.as_bytes().len().checked_sub(packed)?;
    Some((planes, saves))
}

/// The type of 8 bits that holds codes of a type.
fn widened(dtype: DType) -> DType {
    match dtype {
        DType::I4 | DType::I8 => DType::I8,
        _ => DType::U8,
    }
}

struct Packer {
    patch: Patch,
    /// Small constants that several tensors share, by type, shape and bytes.
    constants: HashMap<(DType, Vec<usize>, Vec<u8>), ValueId>,
    bits_of_bytes: Option<ValueId>,
    /// Values that were added.
    added: usize,
}

impl Packer {
    fn widen_zero_points(&mut self, graph: &Graph, zero_points: &[ValueId]) {
        for id in zero_points {
            if let Some(wide) = graph.constant(*id).and_then(Tensor::in_bytes) {
                self.patch.set_initializer(*id, wide);
            }
        }
    }

    fn pack(&mut self, graph: &mut Graph, codes: ValueId, form: &Form) {
        let value = graph.value_mut(codes);
        value.ty = ValueType::Unknown;
        let Some(tensor) = value.initializer.take() else {
            return;
        };
        let to = widened(tensor.dtype());
        match form {
            Form::Cast => {
                let stored = self.add_constant(tensor);
                self.patch.add_node(Node::new("", cast(to), &[stored], &[codes]));
            }
            Form::Planes(planes) => self.planes(codes, &tensor, planes, to),
            Form::Groups(planes) => {
                let wide = self.add_value();
                self.planes(wide, &tensor, planes, to);
                let narrow = cast(tensor.dtype());
                self.patch.add_node(Node::new("", narrow, &[wide], &[codes]));
            }
        }
    }

    fn planes(&mut self, codes: ValueId, tensor: &Tensor, planes: &Planes, to: DType) {
        let groups = tensor.len().div_ceil(GROUP);
        let bytes = Tensor::from_raw(DType::U8, &[groups, planes.bits()], &planes.encode(tensor));
        let bytes = self.add_constant(bytes.expect(FITS));
        let indices = self.node(cast(DType::I32), &[bytes]);
        let table = self.table();
        let bits = self.node(Gather { axis: 0 }.into(), &[table, indices]);
        let worth: Vec<f32> = planes.worth.iter().map(|worth| *worth as f32).collect();
        let worth = self.constant(Tensor::from_slice(&[1, worth.len()], &worth).expect(FITS));
        let mut sums = self.node(MatMul {}.into(), &[worth, bits]);
        if planes.offset != 0 {
            let offset = self.constant(Tensor::scalar(planes.offset as f32));
            sums = self.node(Binary::Add.into(), &[sums, offset]);
        }
        let mut whole = self.node(cast(to), &[sums]);
        if !tensor.len().is_multiple_of(GROUP) {
            let [flat, start, end] = [-1, 0, tensor.len() as i64].map(|number| Tensor::from_vec1(&[number]));
            let [flat, start, end] = [flat, start, end].map(|numbers| self.constant(numbers));
            let row = self.node(reshape(), &[whole, flat]);
            whole = self.node(Slice {}.into(), &[row, start, end]);
        }
        let shape: Vec<i64> = tensor.shape().iter().map(|size| *size as i64).collect();
        let shape = self.constant(Tensor::from_vec1(&shape));
        self.patch
            .add_node(Node::new("", reshape(), &[whole, shape], &[codes]));
    }

    fn table(&mut self) -> ValueId {
        if let Some(table) = self.bits_of_bytes {
            return table;
        }
        let bits = Tensor::from_slice(&[256, GROUP], &table()).expect(FITS);
        let bits = self.add_constant(bits);
        let table = self.node(cast(DType::F32), &[bits]);
        self.bits_of_bytes = Some(table);
        table
    }

    fn add_value(&mut self) -> ValueId {
        let name = self.name();
        self.patch.add_value(Value {
            name,
            ..Value::default()
        })
    }

    fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let output = self.add_value();
        self.patch.add_node(Node::new("", op, inputs, &[output]));
        output
    }

    fn constant(&mut self, tensor: Tensor) -> ValueId {
        let key = (
            tensor.dtype(),
            tensor.shape().to_vec(),
            tensor.as_bytes().to_vec(),
        );
        if let Some(known) = self.constants.get(&key) {
            return *known;
        }
        let added = self.add_constant(tensor);
        self.constants.insert(key, added);
        added
    }

    fn add_constant(&mut self, tensor: Tensor) -> ValueId {
        let name = self.name();
        self.patch.add_constant(&name, tensor)
    }

    /// A short name that is free, most likely.
    fn name(&mut self) -> String {
        self.added += 1;
        format!("p{}", self.added)
    }
}

fn cast(to: DType) -> Op {
    let cast = Cast {
        saturate: true,
        to,
        round_mode: "up".to_owned(),
    };
    cast.into()
}

fn reshape() -> Op {
    Reshape { allowzero: false }.into()
}
