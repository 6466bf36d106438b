//! The feed-forward part.

use bantam_graph::ValueId;
use bantam_graph::ops::{Binary, Gelu, GeluApproximation, Split, Unary};

use super::Network;
use crate::huggingface::HuggingFaceError;
use crate::huggingface::architecture::{FeedForward, Parts};

impl Network<'_> {
    /// The part of one layer, of `[tokens, width]`.
    pub(super) fn feed_forward(&mut self, layer: &str, x: ValueId) -> Result<ValueId, HuggingFaceError> {
        let names = self.architecture.names;
        let (width, size) = (self.config.hidden_size, self.config.feed_forward_size());
        let middle = match names.feed_forward {
            FeedForward::Plain(up) => {
                let name = format!("{layer}.{up}");
                let up = self.linear(&name, x, width, size)?;
                self.activation(&format!("{name}.activation"), up)?
            }
            FeedForward::Gated(parts) => {
                let [gate, up] = match parts {
                    Parts::Apart(names) => {
                        let [gate, up] = names.map(|name| format!("{layer}.{name}"));
                        [
                            self.linear(&gate, x, width, size)?,
                            self.linear(&up, x, width, size)?,
                        ]
                    }
                    Parts::Joined(name) => self.joined(&format!("{layer}.{name}"), x, [size; 2])?,
                };
                let gate = self.activation(&format!("{layer}.mlp.activation"), gate)?;
                self.graph
                    .add_node(&format!("{layer}.mlp.gated"), Binary::Mul, &[gate, up])
            }
        };
        self.linear(
            &format!("{layer}.{}", names.feed_forward_output),
            middle,
            size,
            width,
        )
    }

    /// One product whose output is cut in parts of these sizes.
    pub(super) fn joined<const N: usize>(
        &mut self,
        name: &str,
        x: ValueId,
        sizes: [usize; N],
    ) -> Result<[ValueId; N], HuggingFaceError> {
        let together = self.linear(name, x, self.config.hidden_size, sizes.iter().sum())?;
        let lengths = self.integers(&sizes.map(|size| size as i64));
        let op = Split {
            axis: -1,
            num_outputs: None,
        };
        let outputs: [String; N] = std::array::from_fn(|part| format!("{name}.{part}"));
        let parts = self.add_many(
            &format!("{name}.split"),
            op,
            &[Some(together), Some(lengths)],
            &outputs,
        );
        Ok(std::array::from_fn(|part| parts[part]))
    }

    /// The activation that the configuration names.
    pub(super) fn activation(&mut self, name: &str, x: ValueId) -> Result<ValueId, HuggingFaceError> {
        let gelu = |approximate| Gelu { approximate };
        let named = self.config.activation(self.architecture.activation).to_owned();
        Ok(match named.as_str() {
            "silu" | "swish" => {
                let gate = self.graph.add_node(&format!("{name}.gate"), Unary::Sigmoid, &[x]);
                self.graph.add_node(name, Binary::Mul, &[x, gate])
            }
            // The files of the first Gemma say `gelu` and mean the approximation.
            "gelu" if self.architecture.scaled_embedding => {
                self.graph.add_node(name, gelu(GeluApproximation::Tanh), &[x])
            }
            "gelu" => self.graph.add_node(name, gelu(GeluApproximation::None), &[x]),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => {
                self.graph.add_node(name, gelu(GeluApproximation::Tanh), &[x])
            }
            "relu" => self.graph.add_node(name, Unary::Relu, &[x]),
            "tanh" => self.graph.add_node(name, Unary::Tanh, &[x]),
            other => {
                return Err(HuggingFaceError::Config {
                    fact: format!("the activation `{other}` is not known"),
                    hint: "known are silu, gelu, gelu_new, gelu_pytorch_tanh, relu and tanh",
                });
            }
        })
    }
}
