//! Layers: how norms, attention and feed-forward parts are put together.

use bantam_graph::ops::{Binary, Gemm, LayerNormalization, RmsNormalization, Unary};
use bantam_graph::{Op, ValueId};
use bantam_tensor::Tensor;

use super::Network;
use super::position::Turns;
use crate::huggingface::HuggingFaceError;
use crate::huggingface::architecture::{Block, Norm};

impl Network<'_> {
    /// One layer of `[tokens, width]`.
    pub(super) fn layer(
        &mut self,
        index: usize,
        x: ValueId,
        turns: &mut Turns,
    ) -> Result<ValueId, HuggingFaceError> {
        let names = self.architecture.names;
        let layer = self.named(&format!("{}.{index}", names.layers));
        let attention_norm = format!("{layer}.{}", names.attention_norm);
        let feed_forward_norm = format!("{layer}.{}", names.feed_forward_norm);
        let around = self.architecture.block == Block::Around;
        match self.architecture.block {
            Block::Before | Block::Around => {
                let normal = self.norm(&attention_norm, x)?;
                let mut part = self.attention(index, &layer, normal, turns)?;
                if around {
                    part = self.norm(&format!("{layer}.post_attention_layernorm"), part)?;
                }
                let x = self.sum(x, part, &format!("{layer}.attended"));
                let normal = self.norm(&feed_forward_norm, x)?;
                let mut part = self.feed_forward(&layer, normal)?;
                if around {
                    part = self.norm(&format!("{layer}.post_feedforward_layernorm"), part)?;
                }
                Ok(self.sum(x, part, &layer))
            }
            Block::Parallel => {
                let normal = self.norm(&attention_norm, x)?;
                let attended = self.attention(index, &layer, normal, turns)?;
                let part = self.feed_forward(&layer, normal)?;
                let parts = self.sum(attended, part, &format!("{layer}.parts"));
                Ok(self.sum(x, parts, &layer))
            }
            Block::Behind => {
                let part = self.attention(index, &layer, x, turns)?;
                let sum = self.sum(x, part, &format!("{layer}.attended"));
                let x = self.norm(&attention_norm, sum)?;
                let part = self.feed_forward(&layer, x)?;
                let sum = self.sum(x, part, &layer);
                self.norm(&feed_forward_norm, sum)
            }
        }
    }

    pub(super) fn sum(&mut self, a: ValueId, b: ValueId, name: &str) -> ValueId {
        self.graph.add_node(name, Binary::Add, &[a, b])
    }

    /// The architecture's norm over the width.
    pub(super) fn norm(&mut self, name: &str, x: ValueId) -> Result<ValueId, HuggingFaceError> {
        self.norm_of(name, x, self.config.hidden_size)
    }

    /// The architecture's norm over the last dimension, of `size`.
    pub(super) fn norm_of(
        &mut self,
        name: &str,
        x: ValueId,
        size: usize,
    ) -> Result<ValueId, HuggingFaceError> {
        let epsilon = self.config.epsilon();
        let root_mean_square = RmsNormalization {
            axis: -1,
            epsilon,
            stash_type: 1,
        };
        // Files converted from TensorFlow call them otherwise.
        let old = self.weights.has(&format!("{name}.gamma"));
        let (weight, bias) = if old {
            ("gamma", "beta")
        } else {
            ("weight", "bias")
        };
        let mut scale = self.weight_f32(&format!("{name}.{weight}"), &[size])?;
        let op: Op = match self.architecture.norm {
            Norm::Rms => root_mean_square.into(),
            Norm::RmsPlusOne => {
                let one = self.constant("one", || Tensor::scalar(1f32));
                scale = self.sum(scale, one, &format!("{name}.scale"));
                root_mean_square.into()
            }
            Norm::Layer => {
                let bias = self.weight_f32(&format!("{name}.{bias}"), &[size])?;
                let op = LayerNormalization {
                    axis: -1,
                    epsilon,
                    stash_type: 1,
                };
                return Ok(self.graph.add_node(name, op, &[x, scale, bias]));
            }
        };
        Ok(self.graph.add_node(name, op, &[x, scale]))
    }

    /// The product with the weights of a module, plus its bias where the file has one.
    pub(super) fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        from: usize,
        to: usize,
    ) -> Result<ValueId, HuggingFaceError> {
        let input_first = self.architecture.input_first;
        let shape = if input_first { [from, to] } else { [to, from] };
        let weight = self.weight_f32(&format!("{name}.weight"), &shape)?;
        let bias = format!("{name}.bias");
        self.gemm(name, [x, weight], Some((&bias, to)), !input_first)
    }

    /// `x * weights` with the weights transposed or not, plus a bias of this name and size if there is one.
    pub(super) fn gemm(
        &mut self,
        name: &str,
        [x, weight]: [ValueId; 2],
        bias: Option<(&str, usize)>,
        transposed: bool,
    ) -> Result<ValueId, HuggingFaceError> {
        let mut inputs = vec![x, weight];
        if let Some((bias, size)) = bias.filter(|(bias, _)| self.weights.has(bias)) {
            inputs.push(self.weight_f32(bias, &[size])?);
        }
        let op = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transA: false,
            transB: transposed,
        };
        Ok(self.graph.add_node(name, op, &inputs))
    }

    /// Scores of the vocabulary: the head's own weights, or those of the embedding.
    pub(super) fn head(&mut self, x: ValueId) -> Result<ValueId, HuggingFaceError> {
        let (vocabulary, width) = (self.config.vocab_size, self.config.hidden_size);
        let own = "lm_head.weight";
        let embedding = self.named(&format!("{}.weight", self.architecture.names.embedding));
        let tied = self.config.tie_word_embeddings == Some(true) || !self.weights.has(own);
        if tied && self.config.tie_word_embeddings == Some(false) {
            return Err(HuggingFaceError::MissingTensor { name: own.to_owned() });
        }
        let name = if tied { embedding.as_str() } else { own };
        let weight = self.weight_f32(name, &[vocabulary, width])?;
        self.gemm("lm_head", [x, weight], Some(("lm_head.bias", vocabulary)), true)
    }

    /// `cap * tanh(x / cap)`, where the configuration has a cap for the scores.
    pub(super) fn soft_cap(&mut self, x: ValueId) -> ValueId {
        let Some(cap) = self.config.final_logit_softcapping else {
            return x;
        };
        let cap = self.number(cap);
        let x = self.graph.add_node("lm_head.share", Binary::Div, &[x, cap]);
        let x = self.graph.add_node("lm_head.tanh", Unary::Tanh, &[x]);
        self.graph.add_node("lm_head.capped", Binary::Mul, &[x, cap])
    }
}
