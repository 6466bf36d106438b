//! Initial weights, by op.
//!
//! | of | drawn from |
//! |---|---|
//! | convolutions before a rectifier or a normalization | normal, variance 2 / fan-out (He et al. 2015, backward form) |
//! | dense layers before a rectifier | normal, variance 2 / fan-in (the same, forward form) |
//! | other convolutions and products | normal, variance 2 / (fan-in + fan-out) (Glorot and Bengio 2010) |
//! | recurrent cells | uniform up to 1 / sqrt(hidden size), as PyTorch does |
//! | embeddings and positions | normal, deviation 0.02 (Devlin et al. 2019) |
//! | biases | 0 |
//! | normalizations | scale 1, bias 0, running mean 0, running variance 1 |
//! | slopes of PRelu | 0.25 (He et al. 2015) |
//!
//! Fans are those of one group: the elements that one output reads, and the outputs that read one element.

mod fans;
mod roles;

use std::collections::HashSet;

use bantam_graph::{Graph, ValueId};
use bantam_tensor::{DType, Tensor};
use serde::Serialize;

use super::random::Random;
use crate::Error;

/// How weights of convolutions and products are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialization {
    /// As the table above says.
    Standard,
    /// All with variance 2 / (fan-in + fan-out), as in the work on lottery tickets (Frankle and Carbin 2019).
    Xavier,
}

/// A way to draw weights.
#[derive(Debug)]
pub struct Scheme {
    /// What users call it.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// The way.
    pub initialization: Initialization,
}

/// Every way to draw weights.
pub static SCHEMES: &[Scheme] = &[
    Scheme {
        name: "standard",
        summary: "He normal before rectifiers and normalizations, Xavier normal elsewhere",
        initialization: Initialization::Standard,
    },
    Scheme {
        name: "xavier",
        summary: "Xavier (Glorot) normal for every convolution and product",
        initialization: Initialization::Xavier,
    },
];

/// The way of this name.
///
/// # Errors
/// When there is none; the message lists those that exist and the nearest.
pub fn scheme_by_name(name: &str) -> Result<Initialization, Error> {
    let found = SCHEMES.iter().find(|scheme| scheme.name == name);
    let unknown = || Error::unknown_name("initialization", name, SCHEMES.iter().map(|scheme| scheme.name));
    Ok(found.ok_or_else(unknown)?.initialization)
}

/// What became of the constants of a graph.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InitializeReport {
    /// How many were drawn at random.
    pub drawn: usize,
    /// How many were set to one number: biases, normalizations, running statistics.
    pub reset: usize,
    /// Constants of several floats that stay as they were, because nothing says that they are trained.
    pub kept: Vec<String>,
}

/// What a constant is filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Filling {
    /// Normally distributed with mean 0 and this deviation.
    Normal(f64),
    /// Uniform between minus and plus this.
    Uniform(f64),
    /// This everywhere.
    Value(f64),
}

/// Draws the weights of a graph anew, also in subgraphs. The same seed gives the same weights.
///
/// # Errors
/// When weights are quantized, or there is nothing to draw.
pub fn initialize(graph: &mut Graph, scheme: Initialization, seed: u64) -> Result<InitializeReport, Error> {
    let mut report = InitializeReport::default();
    fill_graph(graph, scheme, &mut Random::new(seed), &mut report)?;
    if report.drawn == 0 {
        return Err(Error::Usage {
            message: "the model has no weights that could be drawn".to_owned(),
            hint: "weights are float constants of convolutions, products, recurrent cells and embeddings"
                .to_owned(),
        });
    }
    Ok(report)
}

fn fill_graph(
    graph: &mut Graph,
    scheme: Initialization,
    random: &mut Random,
    report: &mut InitializeReport,
) -> Result<(), Error> {
    let fillings = roles::fillings(graph, scheme)?;
    let mut filled = HashSet::new();
    for (id, filling) in fillings {
        // A weight that several nodes share is drawn for the first.
        if !filled.insert(id) {
            continue;
        }
        let value = graph.value_mut(id);
        let old = value.initializer.as_ref().expect("only constants are filled");
        value.initializer = Some(filled_tensor(old.dtype(), old.shape(), filling, random));
        match filling {
            Filling::Value(_) => report.reset += 1,
            _ => report.drawn += 1,
        }
    }
    for (index, value) in graph.values.iter().enumerate() {
        let several = |tensor: &Tensor| tensor.dtype().is_float() && tensor.len() > 1;
        if value.initializer.as_ref().is_some_and(several) && !filled.contains(&ValueId::new(index)) {
            report.kept.push(value.name.clone());
        }
    }
    for node in &mut graph.nodes {
        for subgraph in node.op.subgraphs_mut() {
            fill_graph(subgraph, scheme, random, report)?;
        }
    }
    Ok(())
}

fn filled_tensor(dtype: DType, shape: &[usize], filling: Filling, random: &mut Random) -> Tensor {
    let mut number = || match filling {
        Filling::Normal(deviation) => random.normal() * deviation,
        Filling::Uniform(bound) => random.uniform() * bound,
        Filling::Value(value) => value,
    };
    let elements = shape.iter().product();
    let tensor = match dtype {
        DType::F32 => Tensor::from_slice(shape, &(0..elements).map(|_| number() as f32).collect::<Vec<_>>()),
        _ => Tensor::from_f64(dtype, shape, &(0..elements).map(|_| number()).collect::<Vec<_>>()),
    };
    tensor.expect("shape and type of the tensor that was there")
}

#[cfg(test)]
mod tests;
