//! Functions of one code: chains of element-wise nodes between one value of codes and another become a table of 256
//! entries, which are what the nodes themselves give.

use std::collections::{BTreeSet, HashSet};

use bantam_graph::ops::Unary;
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_kernels::chunks::for_chunks;
use bantam_kernels::lookup::{ByteCode, look_up};
use bantam_tensor::{DType, Element, Tensor};

use crate::inputs::{Argument, Inputs};
use crate::operator::{Operator, Outputs};
use crate::ops::evaluate;
use crate::step::Step;
use crate::{Context, OpError};

/// A function of one code.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// In order.
    nodes: Vec<NodeId>,
    source: ValueId,
}

impl Table {
    /// The node whose output is the function's.
    pub(crate) fn last(&self) -> NodeId {
        self.nodes[self.nodes.len() - 1]
    }

    /// The nodes that the step of the last one computes too.
    pub(crate) fn absorbed(&self) -> &[NodeId] {
        &self.nodes[..self.nodes.len() - 1]
    }
}

/// The functions of a graph, keeping values that are observed. None has nodes of another.
pub(crate) fn find(graph: &Graph, observed: &HashSet<ValueId>) -> Vec<Table> {
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let mut taken = HashSet::new();
    let mut tables = Vec::new();
    // From the end, so that each function is as long as it can be.
    for (id, node) in graph.node_ids().collect::<Vec<_>>().into_iter().rev() {
        if taken.contains(&id) || !gives_codes(node) || !is_elementwise(graph, node) {
            continue;
        }
        let mut nodes = BTreeSet::from([id]);
        let mut best = None;
        loop {
            let sources = sources(graph, &nodes);
            if let [source] = sources.as_slice()
                && nodes.len() > 1
                && reads_codes(graph, &nodes, *source)
            {
                let nodes = nodes.iter().copied().collect();
                best = Some(Table {
                    nodes,
                    source: *source,
                });
            }
            let can_join = |value: &ValueId| {
                let producer = producers[value.index()]?;
                let hidden = !observed.contains(value) && !graph.outputs.contains(value);
                let inside = consumers[value.index()]
                    .iter()
                    .all(|(reader, _)| nodes.contains(reader));
                let node = graph.node(producer);
                let joins = hidden && inside && !taken.contains(&producer) && is_elementwise(graph, node);
                joins.then_some(producer)
            };
            let Some(next) = sources.iter().find_map(can_join) else {
                break;
            };
            nodes.insert(next);
        }
        if let Some(table) = best {
            taken.extend(table.nodes.iter().copied());
            tables.push(table);
        }
    }
    tables
}

/// The step that stands for a function.
pub(crate) fn step(graph: &Graph, table: &Table) -> Step {
    let nodes: Vec<Node> = table.nodes.iter().map(|id| graph.node(*id).clone()).collect();
    let names: Vec<String> = nodes.iter().map(|node| graph.describe(node)).collect();
    let constants = nodes
        .iter()
        .flat_map(|node| node.inputs.iter().flatten())
        .filter_map(|id| Some((*id, graph.constant(*id)?.clone())))
        .collect();
    let outputs = graph.node(table.last()).outputs.clone();
    let by_table = ByTable {
        nodes,
        constants,
        source: table.source,
    };
    Step::new(
        names.join(" + "),
        Box::new(by_table),
        vec![Some(table.source)],
        outputs,
    )
}

/// Values that nodes read from outside, constants left out.
fn sources(graph: &Graph, nodes: &BTreeSet<NodeId>) -> Vec<ValueId> {
    let outputs: HashSet<ValueId> = nodes
        .iter()
        .flat_map(|id| graph.node(*id).outputs.iter().flatten().copied())
        .collect();
    let read = nodes
        .iter()
        .flat_map(|id| graph.node(*id).inputs.iter().flatten().copied());
    let outside: BTreeSet<ValueId> = read
        .filter(|id| graph.constant(*id).is_none() && !outputs.contains(id))
        .collect();
    outside.into_iter().collect()
}

/// Whether every node that reads the value takes it as codes.
fn reads_codes(graph: &Graph, nodes: &BTreeSet<NodeId>, value: ValueId) -> bool {
    let reads = |id: &&NodeId| graph.node(**id).inputs.contains(&Some(value));
    nodes.iter().filter(reads).all(|id| {
        matches!(
            graph.node(*id).op,
            Op::DequantizeLinear(_)
                | Op::QLinearSigmoid(_)
                | Op::QLinearLeakyRelu(_)
                | Op::QLinearMul(_)
                | Op::QLinearAdd(_)
        )
    })
}

fn gives_codes(node: &Node) -> bool {
    matches!(
        node.op,
        Op::QuantizeLinear(_)
            | Op::QLinearSigmoid(_)
            | Op::QLinearLeakyRelu(_)
            | Op::QLinearMul(_)
            | Op::QLinearAdd(_)
    )
}

/// Whether each element of the output depends on the same element of the inputs only: constants are single numbers.
fn is_elementwise(graph: &Graph, node: &Node) -> bool {
    let elementwise = match &node.op {
        Op::Unary(op) => *op != Unary::Identity,
        Op::QuantizeLinear(_) | Op::DequantizeLinear(_) | Op::Binary(_) | Op::Clip(_) => true,
        Op::QLinearSigmoid(_) | Op::QLinearLeakyRelu(_) | Op::QLinearMul(_) | Op::QLinearAdd(_) => true,
        Op::HardSigmoid(_) | Op::LeakyRelu(_) | Op::Gelu(_) | Op::Swish(_) | Op::Elu(_) => true,
        _ => false,
    };
    let single = |id: &ValueId| {
        graph
            .constant(*id)
            .is_none_or(|constant| constant.len() == 1 && constant.rank() <= 1)
    };
    let constants = node.inputs.iter().flatten().all(single);
    elementwise && node.extra.is_empty() && constants && node.outputs.iter().flatten().count() == 1
}

/// A function of one code. Its table, 256 results, is made at each run, when the codes tell their type.
struct ByTable {
    nodes: Vec<Node>,
    constants: Vec<(ValueId, Tensor)>,
    source: ValueId,
}

impl ByTable {
    /// What the nodes make of a value.
    fn evaluate(&self, x: Tensor, context: &Context) -> Result<Tensor, OpError> {
        let mut values: Vec<(ValueId, Tensor)> = self.constants.clone();
        values.push((self.source, x));
        let mut result = None;
        for node in &self.nodes {
            let find = |id: &ValueId| {
                values
                    .iter()
                    .find(|(other, _)| other == id)
                    .map(|(_, tensor)| Argument::Shared(tensor))
            };
            let arguments = node
                .inputs
                .iter()
                .map(|input| input.as_ref().and_then(find))
                .collect();
            let mut outputs = evaluate(&node.op, &mut Inputs::new(arguments), 1, context)?;
            let output = outputs.pop().flatten();
            let output = output.ok_or_else(|| OpError::value("an element-wise node without output"))?;
            values.push((node.output(0).unwrap_or(self.source), output.clone()));
            result = Some(output);
        }
        result.ok_or_else(|| OpError::value("a function without nodes"))
    }

    fn apply<T: ByteCode + Element>(
        &self,
        all: [T; 256],
        inputs: &Inputs<'_>,
        context: &Context,
    ) -> Result<Tensor, OpError> {
        let image = self.evaluate(Tensor::from_vec1(&all), context)?;
        let x = inputs.values::<T>(0)?;
        let shape = inputs.required(0)?.shape();
        match image.values::<T>().ok().and_then(|image| {
            let table: Result<[T; 256], _> = image.as_ref().try_into();
            table.ok()
        }) {
            Some(table) => context.fill(shape, |codes: &mut [T]| {
                for_chunks(codes, |start, codes| {
                    look_up(&table, &x[start..start + codes.len()], codes);
                });
            }),
            // Codes of another type come out.
            None => self.evaluate(inputs.required(0)?.clone(), context),
        }
    }
}

impl Operator for ByTable {
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        let y = match inputs.required(0)?.dtype() {
            DType::U8 => self.apply::<u8>(std::array::from_fn(|i| i as u8), inputs, context)?,
            DType::I8 => self.apply::<i8>(std::array::from_fn(|i| i as u8 as i8), inputs, context)?,
            _ => self.evaluate(inputs.required(0)?.clone(), context)?,
        };
        Ok(vec![Some(y)])
    }

    fn kernel(&self) -> String {
        "table of codes".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Binary, DequantizeLinear, QuantizeLinear};

    use super::*;
    use crate::{CompileOptions, Taps, compile};

    /// Codes of x * sigmoid(x), from codes of x.
    fn silu() -> Graph {
        silu_with(&[])
    }

    /// As [`silu`], with scales and zero points of this shape.
    fn silu_with(shape: &[usize]) -> Graph {
        let mut graph = Graph::default();
        let codes = graph.add_input("codes", DType::U8, vec![256.into()]);
        let [scale, other] = [0.05f32, 0.02].map(|scale| {
            let scale = Tensor::from_slice(shape, &[scale]).unwrap();
            graph.add_constant("scale", scale)
        });
        let [zero, middle] = [100u8, 40].map(|zero| {
            let zero = Tensor::from_slice(shape, &[zero]).unwrap();
            graph.add_constant("zero", zero)
        });
        let dequantize = DequantizeLinear {
            axis: 1,
            block_size: 0,
            output_dtype: None,
        };
        let quantize = QuantizeLinear {
            axis: 1,
            block_size: 0,
            output_dtype: None,
            precision: None,
            saturate: true,
        };
        let x = graph.add_node("x", dequantize, &[codes, scale, zero]);
        let gate = graph.add_node("gate", Unary::Sigmoid, &[x]);
        let y = graph.add_node("y", Binary::Mul, &[x, gate]);
        let y = graph.add_node("y_codes", quantize, &[y, other, middle]);
        graph.outputs.push(y);
        graph
    }

    fn run(graph: &Graph, observed: HashSet<ValueId>) -> (Vec<String>, Vec<i64>) {
        let program = compile(
            graph,
            &CompileOptions {
                observed,
                ..CompileOptions::default()
            },
        )
        .unwrap();
        let all: Vec<u8> = (0..=255).collect();
        let inputs = [("codes", Tensor::from_vec1(&all))];
        let y = program.run(&inputs, &mut Taps::none()).unwrap();
        let kernels = program.steps().into_iter().map(|step| step.kernel);
        (kernels.collect(), y[0].to_i64().unwrap())
    }

    #[test]
    fn a_function_of_one_code_is_a_table_of_what_its_nodes_give() {
        let graph = silu();
        let (kernels, codes) = run(&graph, HashSet::new());
        assert_eq!(kernels, ["table of codes"]);
        let gate = graph.value_by_name("gate").unwrap();
        let (kernels, expected) = run(&graph, HashSet::from([gate]));
        assert!(kernels.len() > 1, "an observed value is kept");
        assert_eq!(codes, expected);
        assert!(
            codes.iter().any(|&code| code > 200),
            "the function does something"
        );
    }

    #[test]
    fn scales_of_one_element_are_scalars() {
        assert_eq!(
            run(&silu_with(&[1]), HashSet::new()),
            run(&silu(), HashSet::new())
        );
    }

    #[test]
    fn a_function_of_two_values_is_none() {
        let mut graph = silu();
        let other = graph.add_input("other", DType::F32, vec![256.into()]);
        let product = graph.nodes.iter().position(|node| node.name == "y").unwrap();
        graph.nodes[product].inputs[1] = Some(other);
        assert!(find(&graph, &HashSet::new()).is_empty());
    }
}
