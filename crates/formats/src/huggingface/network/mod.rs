//! Builds the graph of any architecture from its row, the sizes of `config.json` and the weights.
//!
//! Between attentions, values are `[tokens, width]` with the tokens of all samples in one dimension, so that every product is
//! a Gemm with the weights as the file has them.

mod attention;
mod cache;
mod encoder;
mod feed_forward;
mod layers;
mod position;

use std::collections::HashMap;

use bantam_graph::ops::{Cast, Concat, Gather, Reshape, Shape};
use bantam_graph::{Dim, Graph, Node, Op, Value, ValueId, ValueType};
use bantam_tensor::{DType, Tensor};

use super::architecture::Architecture;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::{Form, HuggingFaceError};
use position::Turns;

/// A graph under construction.
struct Network<'a> {
    graph: Graph,
    architecture: &'static Architecture,
    config: &'a Config,
    weights: &'a Checkpoint,
    /// The architecture's prefix, or nothing where the file leaves it out.
    prefix: &'static str,
    /// Token ids, `[batch, length]`.
    ids: ValueId,
    /// The shape of the ids.
    dims: ValueId,
    /// Constants and values that are needed more than once, by name.
    shared: HashMap<String, ValueId>,
    /// Keys and values of earlier tokens come in and go out.
    cached: bool,
}

/// Builds the graph.
///
/// # Errors
/// When a tensor is missing, of another shape or type, or left over, or the configuration is not known.
pub(super) fn build(
    architecture: &'static Architecture,
    config: &Config,
    weights: &Checkpoint,
    form: Form,
) -> Result<Graph, HuggingFaceError> {
    let mut network = Network::new(architecture, config, weights, form);
    match architecture.block {
        super::architecture::Block::Behind => network.encoder()?,
        _ => network.decoder()?,
    }
    network.check_unused()?;
    bantam_graph::verify(&network.graph)?;
    Ok(network.graph)
}

impl<'a> Network<'a> {
    fn new(
        architecture: &'static Architecture,
        config: &'a Config,
        weights: &'a Checkpoint,
        form: Form,
    ) -> Network<'a> {
        let mut graph = Graph {
            name: config.model_type.clone(),
            ..Graph::default()
        };
        let ids = graph.add_input("input_ids", DType::I64, token_dims());
        let dims = graph.add_node("dims", Shape { end: None, start: 0 }, &[ids]);
        let prefixed = format!("{}{}.weight", architecture.prefix, architecture.names.embedding);
        Network {
            graph,
            architecture,
            config,
            weights,
            prefix: if weights.has(&prefixed) {
                architecture.prefix
            } else {
                ""
            },
            ids,
            dims,
            shared: HashMap::new(),
            cached: form == Form::Cached,
        }
    }

    /// Embeddings, layers, norm and scores of the next token.
    fn decoder(&mut self) -> Result<(), HuggingFaceError> {
        let names = self.architecture.names;
        let mut x = self.embedded()?;
        let mut turns = Turns::default();
        for layer in 0..self.config.num_hidden_layers {
            x = self.layer(layer, x, &mut turns)?;
        }
        let x = self.norm(&self.named(names.final_norm), x)?;
        let logits = self.head(x)?;
        let logits = self.soft_cap(logits);
        let logits = self.by_sample(logits, self.config.vocab_size, "logits");
        self.output(logits, self.config.vocab_size);
        Ok(())
    }

    /// The full name of a module below the prefix.
    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Rows of the embedding, `[tokens, width]`.
    fn embedded(&mut self) -> Result<ValueId, HuggingFaceError> {
        let (config, names) = (self.config, self.architecture.names);
        let (name, width) = (self.named(names.embedding), config.hidden_size);
        let table = self.weight(&format!("{name}.weight"), &[config.vocab_size, width])?;
        let x = self.graph.add_node(&name, Gather { axis: 0 }, &[table, self.ids]);
        let mut x = self.as_f32(x, table);
        if self.architecture.scaled_embedding {
            x = self.scaled_embedding(x);
        }
        let x = self.by_token(x, width, &format!("{name}.tokens"));
        self.with_positions(x)
    }

    /// A constant of the file, as it is stored.
    fn weight(&mut self, name: &str, shape: &[usize]) -> Result<ValueId, HuggingFaceError> {
        if let Some(id) = self.shared.get(name) {
            return Ok(*id);
        }
        let tensor = self.weights.take(name, shape)?;
        let id = self.graph.add_constant(name, tensor);
        self.shared.insert(name.to_owned(), id);
        Ok(id)
    }

    /// A constant of the file in `f32`, in which everything is computed.
    fn weight_f32(&mut self, name: &str, shape: &[usize]) -> Result<ValueId, HuggingFaceError> {
        let stored = self.weight(name, shape)?;
        let key = format!("{name}.f32");
        if let Some(id) = self.shared.get(&key) {
            return Ok(*id);
        }
        let id = self.as_f32(stored, stored);
        self.shared.insert(key, id);
        Ok(id)
    }

    /// `x`, whose type is that of `stored`, in `f32`.
    fn as_f32(&mut self, x: ValueId, stored: ValueId) -> ValueId {
        if self.graph.value(stored).ty.dtype() == Some(DType::F32) {
            return x;
        }
        let name = format!("{}.f32", self.graph.value(x).name);
        self.cast(x, DType::F32, &name)
    }

    fn cast(&mut self, x: ValueId, to: DType, name: &str) -> ValueId {
        let op = Cast {
            saturate: true,
            to,
            round_mode: "up".to_owned(),
        };
        self.graph.add_node(name, op, &[x])
    }

    /// A constant of our own, made once for each name.
    fn constant(&mut self, name: &str, tensor: impl FnOnce() -> Tensor) -> ValueId {
        if let Some(id) = self.shared.get(name) {
            return *id;
        }
        let id = self.graph.add_constant(name, tensor());
        self.shared.insert(name.to_owned(), id);
        id
    }

    fn integers(&mut self, values: &[i64]) -> ValueId {
        let list: Vec<String> = values.iter().map(i64::to_string).collect();
        self.constant(&format!("integers({})", list.join(",")), || {
            Tensor::from_vec1(values)
        })
    }

    fn number(&mut self, value: f32) -> ValueId {
        self.constant(&format!("number({value})"), || Tensor::scalar(value))
    }

    /// The ids' shape with one more size behind it.
    fn dims_and(&mut self, size: usize) -> ValueId {
        let key = format!("dims({size})");
        if let Some(id) = self.shared.get(&key) {
            return *id;
        }
        let last = self.integers(&[size as i64]);
        let id = self.graph.add_node(&key, Concat { axis: 0 }, &[self.dims, last]);
        self.shared.insert(key, id);
        id
    }

    fn reshape(&mut self, x: ValueId, shape: ValueId, name: &str) -> ValueId {
        self.graph
            .add_node(name, Reshape { allowzero: false }, &[x, shape])
    }

    /// `[tokens, width]` to `[batch, length, width]`.
    fn by_sample(&mut self, x: ValueId, width: usize, name: &str) -> ValueId {
        let shape = self.dims_and(width);
        self.reshape(x, shape, name)
    }

    /// `[batch, length, width]` to `[tokens, width]`.
    fn by_token(&mut self, x: ValueId, width: usize, name: &str) -> ValueId {
        let shape = self.integers(&[-1, width as i64]);
        self.reshape(x, shape, name)
    }

    /// A node with some outputs, named after it and their number.
    fn add_many(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: &[String],
    ) -> Vec<ValueId> {
        let named = |graph: &mut Graph, name: &String| {
            graph.add_value(Value {
                name: name.clone(),
                ..Value::default()
            })
        };
        let ids: Vec<ValueId> = outputs.iter().map(|name| named(&mut self.graph, name)).collect();
        let mut node = Node::new(name, op.into(), &[], &ids);
        node.inputs = inputs.to_vec();
        self.graph.nodes.push(node);
        ids
    }

    /// An output `[batch, length, width]`.
    fn output(&mut self, id: ValueId, width: usize) {
        let mut dims = token_dims();
        dims.push(Dim::Known(width));
        self.graph.value_mut(id).ty = ValueType::tensor(DType::F32, dims);
        self.graph.outputs.insert(0, id);
    }

    /// Tensors that found no place would change the results: all must be known.
    fn check_unused(&self) -> Result<(), HuggingFaceError> {
        // Buffers that old versions stored: they follow from the configuration.
        const BUFFERS: &[&str] = &[
            "rotary_emb.inv_freq",
            "attn.bias",
            "attn.masked_bias",
            "embeddings.position_ids",
        ];
        let known = |name: &&str| {
            let tied = name.starts_with("lm_head.") || name.starts_with("cls.");
            tied || BUFFERS.iter().any(|buffer| name.ends_with(buffer))
        };
        let unused: Vec<&str> = self.weights.unused().filter(|name| !known(name)).collect();
        match unused.first() {
            None => Ok(()),
            Some(name) => Err(HuggingFaceError::Unused {
                architecture: self.architecture.name,
                count: unused.len(),
                name: (*name).to_owned(),
            }),
        }
    }
}

/// `[batch, length]`.
fn token_dims() -> Vec<Dim> {
    ["batch", "length"]
        .map(|name| Dim::Symbol(name.to_owned()))
        .to_vec()
}
