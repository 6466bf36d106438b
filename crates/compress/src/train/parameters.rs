//! What is trained.

use bantam_graph::{Graph, Node, Op, ValueId};
use bantam_tensor::{DType, Tensor};
use globset::Glob;

use super::TrainError;

/// A constant of a graph that training moves.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The value that holds it.
    pub value: ValueId,
    /// Its name.
    pub name: String,
    /// What it is before training; `f32`.
    pub tensor: Tensor,
    /// Whether weight decay is for it.
    pub decays: bool,
    /// Factor of the learning rate.
    pub learning_rate_factor: f32,
    /// Smallest value that it may have.
    pub lower_bound: Option<f32>,
}

/// What is special about a constant that something else than the model's author put into the graph, as scales are.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterRule {
    /// The constant's name.
    pub name: String,
    /// Whether weight decay is for it.
    pub decays: bool,
    /// Factor of the learning rate; 0 leaves it as it is.
    pub learning_rate_factor: f32,
    /// Smallest value that it may have.
    pub lower_bound: Option<f32>,
}

/// The parameters of a graph: float constants where ops have their weights, and those that a rule names. Whoever matches a
/// glob of `freeze`, by name or by the name of a node that reads it, stays as it is.
///
/// # Errors
/// When a glob is malformed or matches nothing, or when nothing is left.
pub fn parameters(
    graph: &Graph,
    rules: &[ParameterRule],
    freeze: &[String],
) -> Result<Vec<Parameter>, TrainError> {
    let frozen = frozen(graph, freeze)?;
    let mut parameters = Vec::new();
    for (index, value) in graph.values.iter().enumerate() {
        let Some(tensor) = value
            .initializer
            .as_ref()
            .filter(|tensor| tensor.dtype() == DType::F32)
        else {
            continue;
        };
        let id = ValueId::new(index);
        let rule = rules.iter().find(|rule| rule.name == value.name);
        let role = role(graph, id);
        if frozen[index]
            || rule.is_some_and(|rule| rule.learning_rate_factor == 0.0)
            || (rule.is_none() && role.is_none())
        {
            continue;
        }
        parameters.push(Parameter {
            value: id,
            name: value.name.clone(),
            tensor: tensor.clone(),
            decays: rule.map_or(role == Some(Role::Weight), |rule| rule.decays),
            learning_rate_factor: rule.map_or(1.0, |rule| rule.learning_rate_factor),
            lower_bound: rule.and_then(|rule| rule.lower_bound),
        });
    }
    match parameters.is_empty() {
        true => Err(TrainError::NothingToTrain),
        false => Ok(parameters),
    }
}

/// What a constant is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// Biases, and the scales of norms.
    Offset,
    /// Multiplied with data.
    Weight,
}

/// What a constant is for; `None` if for nothing that is trained.
fn role(graph: &Graph, value: ValueId) -> Option<Role> {
    let mut best = None;
    for (_, node) in graph.node_ids() {
        for (index, input) in node.inputs.iter().enumerate() {
            if *input == Some(value) {
                let single = graph.constant(value).is_some_and(|tensor| tensor.len() <= 1);
                best = best.max(role_at(graph, node, index, single));
            }
        }
    }
    best
}

fn role_at(graph: &Graph, node: &Node, index: usize, single: bool) -> Option<Role> {
    let when = |holds: bool, role: Role| holds.then_some(role);
    let passed_on = || role(graph, node.output(0)?);
    match &node.op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::FusedConv(_) => match index {
            1 => Some(Role::Weight),
            _ => when(index == 2, Role::Offset),
        },
        Op::Gemm(_) => match index {
            0 | 1 => Some(Role::Weight),
            _ => Some(Role::Offset),
        },
        Op::MatMul(_) => Some(Role::Weight),
        Op::Lstm(_) | Op::Gru(_) | Op::Rnn(_) => match index {
            1 | 2 => Some(Role::Weight),
            _ => when(matches!(index, 3 | 7), Role::Offset),
        },
        Op::Gather(_) => when(index == 0 && !single, Role::Weight),
        Op::BatchNormalization(_) | Op::BatchNormalizationTraining(_) => {
            when(matches!(index, 1 | 2), Role::Offset)
        }
        Op::LayerNormalization(_) | Op::InstanceNormalization(_) | Op::GroupNormalization(_) => {
            when(index > 0, Role::Offset)
        }
        Op::RmsNormalization(_) => when(index == 1, Role::Offset),
        Op::Binary(binary) => {
            use bantam_graph::ops::Binary;
            let trained = matches!(binary, Binary::Add | Binary::Sub | Binary::Mul | Binary::PRelu);
            // A constant in another measure is still what it was.
            let scaled = match binary {
                Binary::Div => index == 0,
                Binary::Mul => is_single(graph, node.input(1 - index)),
                _ => false,
            };
            let passed_on = if scaled { passed_on() } else { None };
            passed_on.max(when(trained && !single, Role::Offset))
        }
        // What only moves or rounds elements passes the question on.
        Op::FakeQuant(_) | Op::FakeSign(_) | Op::Transpose(_) | Op::Reshape(_) if index == 0 => passed_on(),
        Op::Unary(bantam_graph::ops::Unary::Tanh) => passed_on(),
        _ => None,
    }
}

/// Whether a value is a constant of one element.
fn is_single(graph: &Graph, value: Option<ValueId>) -> bool {
    let tensor = value.and_then(|value| graph.constant(value));
    tensor.is_some_and(|tensor| tensor.len() == 1)
}

/// Which values the globs freeze.
fn frozen(graph: &Graph, globs: &[String]) -> Result<Vec<bool>, TrainError> {
    let mut frozen = vec![false; graph.values.len()];
    for glob in globs {
        let unmatched = |hint: String| TrainError::Unmatched {
            glob: glob.clone(),
            hint,
        };
        let matcher = Glob::new(glob)
            .map_err(|error| unmatched(format!("it is not a glob: {error}")))?
            .compile_matcher();
        let mut found = false;
        for (index, value) in graph.values.iter().enumerate() {
            if value.initializer.is_some() && matcher.is_match(&value.name) {
                frozen[index] = true;
                found = true;
            }
        }
        for (_, node) in graph.node_ids() {
            let output = node.output(0).map(|output| graph.value(output).name.as_str());
            if matcher.is_match(&node.name) || output.is_some_and(|name| matcher.is_match(name)) {
                found = true;
                node.inputs
                    .iter()
                    .flatten()
                    .for_each(|input| frozen[input.index()] = true);
            }
        }
        if !found {
            return Err(unmatched(
                "`bantam inspect` lists the nodes; `*` stands for any characters".to_owned(),
            ));
        }
    }
    Ok(frozen)
}
