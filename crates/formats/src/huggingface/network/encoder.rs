//! Encoders: tokens see each other both ways; what follows the layers depends on the task.

use bantam_graph::ops::{Gather, Unary, Unsqueeze};
use bantam_graph::{Dim, ValueId, ValueType};
use bantam_tensor::{DType, Tensor};

use super::position::Turns;
use super::{Network, token_dims};
use crate::huggingface::HuggingFaceError;

impl Network<'_> {
    /// Embeddings of words, positions and segments, layers, and the head of the task.
    pub(super) fn encoder(&mut self) -> Result<(), HuggingFaceError> {
        let names = self.architecture.names;
        let mask = self.graph.add_input("attention_mask", DType::I64, token_dims());
        let segments = self.graph.add_input("token_type_ids", DType::I64, token_dims());
        self.add_mask(mask);
        let words = self.embedded()?;
        let segments = self.segments(segments)?;
        let sum = self.sum(words, segments, "embeddings.sum");
        let mut x = self.norm(&self.named(names.final_norm), sum)?;
        for layer in 0..self.config.num_hidden_layers {
            x = self.layer(layer, x, &mut Turns::default())?;
        }
        let task = self.config.architectures.first().cloned().unwrap_or_default();
        match task.as_str() {
            "BertForMaskedLM" => self.masked_tokens(x),
            "BertForSequenceClassification" => self.sequence_classes(x),
            _ => {
                let width = self.config.hidden_size;
                let states = self.by_sample(x, width, "last_hidden_state");
                if self.weights.has(&self.named("pooler.dense.weight")) {
                    let pooled = self.pooled(states)?;
                    self.output_by_sample(pooled, width);
                }
                self.output(states, width);
                Ok(())
            }
        }
    }

    /// Which tokens may be seen, `[batch, 1, 1, length]`, from zeros and ones.
    fn add_mask(&mut self, mask: ValueId) {
        let mask = self.cast(mask, DType::Bool, "mask.seen");
        let axes = self.integers(&[1, 2]);
        let id = self.graph.add_node("mask", Unsqueeze {}, &[mask, axes]);
        self.shared.insert("mask".to_owned(), id);
    }

    /// Rows of the segments' table, `[tokens, width]`.
    fn segments(&mut self, ids: ValueId) -> Result<ValueId, HuggingFaceError> {
        let (name, width) = (
            self.named("embeddings.token_type_embeddings"),
            self.config.hidden_size,
        );
        let table = self.weight_f32(&format!("{name}.weight"), &[self.config.segments(), width])?;
        let rows = self.graph.add_node(&name, Gather { axis: 0 }, &[table, ids]);
        Ok(self.by_token(rows, width, &format!("{name}.tokens")))
    }

    /// Scores of the vocabulary for each token.
    fn masked_tokens(&mut self, x: ValueId) -> Result<(), HuggingFaceError> {
        let (width, vocabulary) = (self.config.hidden_size, self.config.vocab_size);
        let x = self.linear("cls.predictions.transform.dense", x, width, width)?;
        let x = self.activation("cls.predictions.transform.activation", x)?;
        let x = self.norm("cls.predictions.transform.LayerNorm", x)?;
        let embedding = self.named(&format!("{}.weight", self.architecture.names.embedding));
        let own = "cls.predictions.decoder.weight";
        let weight = if self.weights.has(own) { own } else { &embedding };
        let weight = self.weight_f32(weight, &[vocabulary, width])?;
        let bias = Some(("cls.predictions.bias", vocabulary));
        let logits = self.gemm("cls.predictions.decoder", [x, weight], bias, true)?;
        let logits = self.by_sample(logits, vocabulary, "logits");
        self.output(logits, vocabulary);
        Ok(())
    }

    /// Scores of the classes from the first token: `[batch, classes]`.
    fn sequence_classes(&mut self, x: ValueId) -> Result<(), HuggingFaceError> {
        let (width, classes) = (self.config.hidden_size, self.config.classes());
        let states = self.by_sample(x, width, "last_hidden_state");
        let pooled = self.pooled(states)?;
        let scores = self.linear("classifier", pooled, width, classes)?;
        self.output_by_sample(scores, classes);
        Ok(())
    }

    /// What the first token of `[batch, length, width]` says of its sequence: `[batch, width]`.
    fn pooled(&mut self, states: ValueId) -> Result<ValueId, HuggingFaceError> {
        let width = self.config.hidden_size;
        let zero = self.constant("integer(0)", || Tensor::scalar(0i64));
        let first = self
            .graph
            .add_node("first_token", Gather { axis: 1 }, &[states, zero]);
        let pooled = self.linear(&self.named("pooler.dense"), first, width, width)?;
        Ok(self.graph.add_node("pooler_output", Unary::Tanh, &[pooled]))
    }

    /// An output `[batch, size]`.
    fn output_by_sample(&mut self, id: ValueId, size: usize) {
        let dims = vec![Dim::Symbol("batch".to_owned()), Dim::Known(size)];
        self.graph.value_mut(id).ty = ValueType::tensor(DType::F32, dims);
        self.graph.outputs.push(id);
    }
}
