//! Comparison of a gradient with central differences.

use bantam_exec::{CompileOptions, Program, Taps, compile};
use bantam_graph::ops::{Binary, Reduce, ReduceKind};
use bantam_graph::{Dim, Graph, Node, Op, Value, ValueId, differentiate};
use bantam_tensor::Tensor;

/// An input of a node.
#[derive(Clone)]
pub(crate) enum Input {
    /// Differentiated.
    Wrt(Tensor),
    /// Given, but not differentiated.
    Given(Tensor),
    /// A constant of the graph.
    Constant(Tensor),
    /// Left out.
    Absent,
}

/// One node whose gradient is checked.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Input>,
    /// The outputs of the node, and which of them the loss depends on.
    pub(crate) outputs: Vec<bool>,
    /// The rule needs sizes that are known.
    pub(crate) known_sizes: bool,
}

impl Case {
    pub(crate) fn outputs(self, outputs: &[bool]) -> Case {
        Case {
            outputs: outputs.to_vec(),
            ..self
        }
    }

    pub(crate) fn known_sizes(self) -> Case {
        Case {
            known_sizes: true,
            ..self
        }
    }
}

pub(crate) fn case(name: &'static str, op: impl Into<Op>, inputs: Vec<Input>) -> Case {
    Case {
        name,
        op: op.into(),
        inputs,
        outputs: vec![true],
        known_sizes: false,
    }
}

/// Numbers in `low..high`.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: &str) -> Random {
        let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Random(hash)
    }

    pub(crate) fn next(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        low + (self.0 >> 11) as f64 / (1u64 << 53) as f64 * (high - low)
    }
}

/// The program of a graph, and the inputs it is run with.
pub(crate) struct Runner {
    program: Program,
    inputs: Vec<(String, Tensor)>,
}

impl Runner {
    pub(crate) fn new(graph: &Graph, inputs: &[(String, Tensor)]) -> Runner {
        Runner {
            program: compile(graph, &CompileOptions::default()).unwrap(),
            inputs: inputs.to_vec(),
        }
    }

    pub(crate) fn run(&self) -> Result<Vec<Tensor>, String> {
        let inputs: Vec<(&str, Tensor)> = self
            .inputs
            .iter()
            .map(|(name, x)| (name.as_str(), x.clone()))
            .collect();
        self.program
            .run(&inputs, &mut Taps::none())
            .map_err(|error| error.to_string())
    }

    /// The first output, a scalar, with one element of an input moved.
    fn moved(&mut self, input: usize, element: usize, by: f64) -> f64 {
        let before = self.inputs[input].1.clone();
        let mut values = before.to_f64().unwrap();
        values[element] += by;
        self.inputs[input].1 = Tensor::from_slice(before.shape(), &values).unwrap();
        let loss = self.run().unwrap()[0].to_f64().unwrap()[0];
        self.inputs[input].1 = before;
        loss
    }
}

/// Adds `sum(value * weights)`, with weights that are drawn, to the loss so far.
pub(crate) fn add_to_loss(
    graph: &mut Graph,
    loss: Option<ValueId>,
    value: ValueId,
    shape: &[usize],
    random: &mut Random,
) -> ValueId {
    let weights: Vec<f64> = (0..shape.iter().product::<usize>())
        .map(|_| random.next(0.5, 1.5))
        .collect();
    let weights = graph.add_constant("loss_weights", Tensor::from_slice(shape, &weights).unwrap());
    let weighted = graph.add_node("weighted", Binary::Mul, &[value, weights]);
    let sum = Reduce {
        kind: ReduceKind::Sum,
        keepdims: false,
        noop_with_empty_axes: false,
    };
    let sum = graph.add_node("loss", sum, &[weighted]);
    match loss {
        Some(loss) => graph.add_node("loss", Binary::Add, &[loss, sum]),
        None => sum,
    }
}

/// A graph of one node; its differentiated inputs and the values of all its inputs.
struct Built {
    graph: Graph,
    wrt: Vec<ValueId>,
    outputs: Vec<ValueId>,
    given: Vec<(String, Tensor)>,
}

fn build(case: &Case, known_sizes: bool) -> Built {
    let mut graph = Graph::default();
    let (mut ids, mut wrt, mut given) = (Vec::new(), Vec::new(), Vec::new());
    for (index, input) in case.inputs.iter().enumerate() {
        let name = format!("x{index}");
        let id = match input {
            Input::Absent => None,
            Input::Constant(tensor) => Some(graph.add_constant(&name, tensor.clone())),
            Input::Wrt(tensor) | Input::Given(tensor) => {
                let dim = |&size: &usize| {
                    if known_sizes {
                        Dim::Known(size)
                    } else {
                        Dim::Unknown
                    }
                };
                let id = graph.add_input(&name, tensor.dtype(), tensor.shape().iter().map(dim).collect());
                given.push((name, tensor.clone()));
                if matches!(input, Input::Wrt(_)) {
                    wrt.push(id);
                }
                Some(id)
            }
        };
        ids.push(id);
    }
    let value = |graph: &mut Graph, index: usize| {
        graph.add_value(Value {
            name: format!("y{index}"),
            ..Value::default()
        })
    };
    let outputs: Vec<ValueId> = (0..case.outputs.len())
        .map(|index| value(&mut graph, index))
        .collect();
    let mut node = Node::new("node", case.op.clone(), &[], &outputs);
    node.inputs = ids;
    graph.nodes.push(node);
    Built {
        graph,
        wrt,
        outputs,
        given,
    }
}

/// Checks a case with sizes that the graph knows, and (if the rule can) with sizes that it does not.
pub(crate) fn check(case: &Case) -> Result<(), String> {
    check_with(case, true)?;
    match case.known_sizes {
        true => Ok(()),
        false => check_with(case, false).map_err(|error| format!("{error}, sizes not known")),
    }
}

fn check_with(case: &Case, known_sizes: bool) -> Result<(), String> {
    let Built {
        mut graph,
        wrt,
        outputs,
        given,
    } = build(case, known_sizes);
    let used: Vec<ValueId> = outputs
        .iter()
        .zip(&case.outputs)
        .filter(|(_, used)| **used)
        .map(|(id, _)| *id)
        .collect();
    graph.outputs = used.clone();
    let shapes: Vec<Vec<usize>> = Runner::new(&graph, &given)
        .run()?
        .iter()
        .map(|y| y.shape().to_vec())
        .collect();
    let mut random = Random::new(case.name);
    let mut loss = None;
    for (value, shape) in used.iter().zip(&shapes) {
        loss = Some(add_to_loss(&mut graph, loss, *value, shape, &mut random));
    }
    check_graph(&graph, loss.unwrap(), &wrt, &given)
}

/// Compares the gradients of a graph's inputs with differences of its loss.
pub(crate) fn check_graph(
    graph: &Graph,
    loss: ValueId,
    wrt: &[ValueId],
    given: &[(String, Tensor)],
) -> Result<(), String> {
    let mut graph = graph.clone();
    graph.outputs = vec![loss];
    let differentiated = differentiate(&graph, loss, wrt).map_err(|error| error.to_string())?;
    let mut with_gradients = differentiated.graph;
    let ids: Option<Vec<ValueId>> = differentiated.gradients.into_iter().collect();
    with_gradients.outputs = ids.ok_or("a gradient is missing")?;
    bantam_graph::verify(&with_gradients).map_err(|error| error.to_string())?;
    let gradients = Runner::new(&with_gradients, given).run()?;
    let mut forward = Runner::new(&graph, given);
    for (gradient, id) in gradients.iter().zip(wrt) {
        let name = &graph.value(*id).name;
        let input = given.iter().position(|(given, _)| given == name).unwrap();
        let x = &given[input].1;
        if gradient.shape() != x.shape() || gradient.dtype() != x.dtype() {
            return Err(format!(
                "the gradient of {name} is {}{:?}",
                gradient.dtype(),
                gradient.shape()
            ));
        }
        compare(&mut forward, input, &gradient.to_f64().unwrap())
            .map_err(|error| format!("{name}{error}"))?;
    }
    Ok(())
}

const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-6;
/// Elements of an input that are moved.
const MOST: usize = 48;

fn compare(forward: &mut Runner, input: usize, gradient: &[f64]) -> Result<(), String> {
    let largest = gradient
        .iter()
        .fold(0.0f64, |largest, value| largest.max(value.abs()));
    let stride = gradient.len().div_ceil(MOST).max(1);
    for element in (0..gradient.len()).step_by(stride) {
        let (up, down) = (
            forward.moved(input, element, STEP),
            forward.moved(input, element, -STEP),
        );
        let (expected, got) = ((up - down) / (2.0 * STEP), gradient[element]);
        let error = (expected - got).abs();
        if error.is_nan() || error > TOLERANCE * largest.max(1.0) {
            return Err(format!(
                "[{element}]: the gradient is {got}, the difference {expected}"
            ));
        }
    }
    Ok(())
}

/// Numbers in `low..high`, drawn.
pub(crate) fn drawn(shape: &[usize], low: f64, high: f64) -> Tensor {
    let mut random = Random::new(&format!("{shape:?}{low}{high}"));
    let values: Vec<f64> = (0..shape.iter().product::<usize>())
        .map(|_| random.next(low, high))
        .collect();
    Tensor::from_slice(shape, &values).unwrap()
}

/// Differentiated, in -2..2.
pub(crate) fn x(shape: &[usize]) -> Input {
    Input::Wrt(drawn(shape, -2.0, 2.0))
}

/// Differentiated, in 0.5..2.
pub(crate) fn positive(shape: &[usize]) -> Input {
    Input::Wrt(drawn(shape, 0.5, 2.0))
}

/// Differentiated, in a range.
pub(crate) fn within(shape: &[usize], low: f64, high: f64) -> Input {
    Input::Wrt(drawn(shape, low, high))
}

/// Differentiated, all different, in a shuffled order, and none near a multiple of 0.05 beside 0.02 from it.
pub(crate) fn apart(shape: &[usize]) -> Input {
    let count = shape.iter().product::<usize>();
    let mut places: Vec<usize> = (0..count).collect();
    let mut random = Random::new(&format!("apart{shape:?}"));
    for place in (1..count).rev() {
        places.swap(place, random.next(0.0, (place + 1) as f64) as usize);
    }
    let values: Vec<f64> = places
        .iter()
        .map(|&place| (place as f64 - count as f64 / 2.0) * 0.05 + 0.02)
        .collect();
    Input::Wrt(Tensor::from_slice(shape, &values).unwrap())
}

/// A constant list.
pub(crate) fn list(values: &[i64]) -> Input {
    Input::Constant(Tensor::from_vec1(values))
}

/// Integers that are given.
pub(crate) fn integers(shape: &[usize], values: &[i64]) -> Input {
    Input::Given(Tensor::from_slice(shape, values).unwrap())
}

/// A constant number.
pub(crate) fn number(value: f64) -> Input {
    Input::Constant(Tensor::scalar(value))
}
