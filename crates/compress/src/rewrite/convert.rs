//! Nodes and constants in 16-bit floats.

use std::collections::{BTreeMap, HashMap};

use bantam_graph::ops::Cast;
use bantam_graph::{Graph, Node, NodeId, Op, Patch, Value, ValueId, ValueType};
use bantam_tensor::{DType, Tensor};

use super::RewriteError;
use crate::plan::{Action, Plan, Site};

/// Does what the plan says of types. What a node of another type reads or gives goes through a Cast, one for each value and direction.
pub(super) fn convert(graph: &mut Graph, plan: &Plan) -> Result<(), RewriteError> {
    let mut nodes = BTreeMap::new();
    let mut constants = BTreeMap::new();
    for decision in &plan.decisions {
        let Action::Convert(dtype) = decision.action else {
            continue;
        };
        let name = decision.site.name().to_owned();
        let value = graph.value_by_name(&name);
        let value = value.ok_or_else(|| RewriteError::Unknown { name: name.clone() })?;
        match decision.site {
            Site::Value(_) if graph.constant(value).is_some() => {
                constants.insert(value, dtype);
            }
            Site::Value(_) => return Err(RewriteError::NotConstant { name }),
            _ => {
                let is_it = |node: &Node| node.outputs.iter().flatten().next() == Some(&value);
                let found = graph.node_ids().find(|(_, node)| is_it(node));
                let (id, _) = found.ok_or(RewriteError::Unknown { name })?;
                nodes.insert(id, dtype);
            }
        }
    }
    if nodes.is_empty() && constants.is_empty() {
        return Ok(());
    }
    let patch = {
        let mut converter = Converter {
            graph,
            nodes: &nodes,
            producers: graph.producers(),
            consumers: graph.consumers(),
            patch: Patch::new(graph),
            made: HashMap::new(),
        };
        constants
            .iter()
            .try_for_each(|(value, dtype)| converter.store(*value, *dtype))?;
        nodes
            .iter()
            .try_for_each(|(id, dtype)| converter.node(*id, *dtype))?;
        converter.patch
    };
    Ok(patch.apply(graph)?)
}

struct Converter<'a> {
    graph: &'a Graph,
    nodes: &'a BTreeMap<NodeId, DType>,
    producers: Vec<Option<NodeId>>,
    consumers: Vec<Vec<(NodeId, usize)>>,
    patch: Patch,
    /// Values in another type.
    made: HashMap<(ValueId, DType), ValueId>,
}

impl Converter<'_> {
    fn is_float(&self, value: ValueId) -> bool {
        self.graph.value(value).ty.dtype() == Some(DType::F32)
    }

    fn typed(&mut self, value: ValueId, dtype: DType) -> ValueId {
        let old = self.graph.value(value);
        self.patch.add_value(Value {
            name: format!("{}_{dtype}", old.name),
            ty: ValueType::Tensor {
                dtype: Some(dtype),
                shape: old.ty.shape().map(<[_]>::to_vec),
            },
            ..Value::default()
        })
    }

    fn cast(&mut self, from: ValueId, to: ValueId, name: &str, dtype: DType) {
        let op = Op::Cast(Cast {
            saturate: true,
            to: dtype,
            round_mode: "up".to_owned(),
        });
        self.patch
            .add_node(Node::new(format!("{name}_to_{dtype}"), op, &[from], &[to]));
    }

    fn narrowed(&self, value: ValueId, dtype: DType) -> Result<Option<Tensor>, RewriteError> {
        let Some(constant) = self.graph.constant(value) else {
            return Ok(None);
        };
        let numbers: Vec<f64> = constant.to_f32()?.into_iter().map(f64::from).collect();
        Ok(Some(Tensor::from_f64(dtype, constant.shape(), &numbers)?))
    }

    /// A constant in another type, which all its readers read through a Cast.
    fn store(&mut self, value: ValueId, dtype: DType) -> Result<(), RewriteError> {
        let Some(tensor) = self.narrowed(value, dtype)? else {
            return Ok(());
        };
        let stored = self
            .patch
            .add_constant(&format!("{}_{dtype}", self.graph.value(value).name), tensor);
        let wide = self.typed(value, DType::F32);
        let name = self.graph.value(value).name.clone();
        self.cast(stored, wide, &name, DType::F32);
        self.patch.replace_uses(value, wide);
        Ok(())
    }

    /// A value as a node of this type reads it.
    fn input(&mut self, value: ValueId, dtype: DType) -> Result<ValueId, RewriteError> {
        if let Some(made) = self.made.get(&(value, dtype)) {
            return Ok(*made);
        }
        let made = match self.narrowed(value, dtype)? {
            Some(tensor) => self
                .patch
                .add_constant(&format!("{}_{dtype}", self.graph.value(value).name), tensor),
            None => {
                let made = self.typed(value, dtype);
                let producer = self.producers[value.index()];
                // A node of the same type gives it as it is; see `node`.
                if producer.is_none_or(|id| self.nodes.get(&id) != Some(&dtype)) {
                    let name = self.graph.value(value).name.clone();
                    self.cast(value, made, &name, dtype);
                }
                made
            }
        };
        self.made.insert((value, dtype), made);
        Ok(made)
    }

    /// Puts a node of this type in place of a node.
    fn node(&mut self, id: NodeId, dtype: DType) -> Result<(), RewriteError> {
        let mut node = self.graph.node(id).clone();
        for input in node.inputs.iter_mut().flatten() {
            if self.is_float(*input) {
                *input = self.input(*input, dtype)?;
            }
        }
        for output in node.outputs.iter_mut().flatten() {
            let wide = *output;
            if !self.is_float(wide) {
                continue;
            }
            // Graphs inside nodes keep their types.
            let stays = |(id, position): &(NodeId, usize)| {
                *position == Graph::CAPTURED || self.nodes.get(id) != Some(&dtype)
            };
            let is_read = self.consumers[wide.index()].iter().any(stays);
            *output = self.input(wide, dtype)?;
            if is_read || self.graph.outputs.contains(&wide) {
                let name = self.graph.value(wide).name.clone();
                self.cast(*output, wide, &name, DType::F32);
            }
        }
        if let Op::Cast(cast) = &mut node.op
            && cast.to == DType::F32
        {
            cast.to = dtype;
        }
        self.patch.remove_node(id);
        self.patch.add_node(node);
        Ok(())
    }
}
