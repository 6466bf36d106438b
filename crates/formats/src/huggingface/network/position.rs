//! Where tokens stand: learned vectors, or angles for rotary embedding.

use bantam_graph::ValueId;
use bantam_graph::ops::{Binary, Expand, Gather, Range, RotaryEmbedding, Squeeze, Unary, Unsqueeze};
use bantam_tensor::{DType, Tensor};

use super::Network;
use crate::huggingface::HuggingFaceError;
use crate::huggingface::architecture::Position;

/// Cosines and sines, `[batch, length, pairs]`: for layers that see all tokens, and for those with a window.
#[derive(Default)]
pub(super) struct Turns([Option<Turn>; 2]);

#[derive(Clone, Copy)]
pub(super) struct Turn {
    cosines: ValueId,
    sines: ValueId,
    /// Elements of each head that turn.
    elements: usize,
}

impl Network<'_> {
    /// Adds learned vectors to `[tokens, width]`, if the architecture has them.
    pub(super) fn with_positions(&mut self, x: ValueId) -> Result<ValueId, HuggingFaceError> {
        let Position::Learned(name) = self.architecture.position else {
            return Ok(x);
        };
        let (name, width) = (self.named(name), self.config.hidden_size);
        let table = self.weight_f32(&format!("{name}.weight"), &[self.config.positions(), width])?;
        let positions = self.positions();
        let rows = self
            .graph
            .add_node(&name, Gather { axis: 0 }, &[table, positions]);
        // All samples get the same rows, so that they are added before the samples' tokens are put in one dimension.
        let apart = self.by_sample(x, width, &format!("{name}.samples"));
        let sum = self.sum(apart, rows, &format!("{name}.sum"));
        Ok(self.by_token(sum, width, &format!("{name}.tokens")))
    }

    /// `past, past + 1, ...` for each token of a sample: `[length]`.
    pub(super) fn positions(&mut self) -> ValueId {
        if let Some(id) = self.shared.get("positions") {
            return *id;
        }
        let one = self.constant("integer(1)", || Tensor::scalar(1i64));
        let length = self
            .graph
            .add_node("length", Gather { axis: 0 }, &[self.dims, one]);
        let first = match self.past_length() {
            Some(past) => past,
            None => self.constant("integer(0)", || Tensor::scalar(0i64)),
        };
        let end = self.graph.add_node("end", Binary::Add, &[first, length]);
        let id = self.graph.add_node("positions", Range {}, &[first, end, one]);
        self.shared.insert("positions".to_owned(), id);
        id
    }

    /// Turns the heads of `[batch, length, heads * size]` by their positions.
    pub(super) fn turned(&mut self, x: ValueId, heads: usize, turn: Turn, name: &str) -> ValueId {
        let op = RotaryEmbedding {
            interleaved: false,
            num_heads: heads as i64,
            rotary_embedding_dim: if turn.elements == self.config.head_size() {
                0
            } else {
                turn.elements as i64
            },
        };
        self.graph.add_node(name, op, &[x, turn.cosines, turn.sines])
    }

    /// The angles of layers with a window (`local`) or without, made when they are first needed.
    pub(super) fn turn(&mut self, local: bool, turns: &mut Turns) -> Result<Option<Turn>, HuggingFaceError> {
        if self.architecture.position != Position::Rotary {
            return Ok(None);
        }
        let slot = &mut turns.0[usize::from(local)];
        if slot.is_none() {
            *slot = Some(self.angles(local)?);
        }
        Ok(*slot)
    }

    fn angles(&mut self, local: bool) -> Result<Turn, HuggingFaceError> {
        let rope = self.config.rope(local);
        let frequencies = rope.frequencies(self.config.head_size())?;
        let stem = if local { "rotary.local" } else { "rotary" };
        let pairs = frequencies.len();
        let positions = self.positions();
        let positions = self.cast(positions, DType::F32, &format!("{stem}.positions"));
        let axis = self.integers(&[1]);
        let column = self
            .graph
            .add_node(&format!("{stem}.column"), Unsqueeze {}, &[positions, axis]);
        let row = self.constant(&format!("{stem}.frequencies"), || Tensor::from_vec1(&frequencies));
        let angles = self
            .graph
            .add_node(&format!("{stem}.angles"), Binary::Mul, &[column, row]);
        let shape = self.dims_and(pairs);
        let [cosines, sines] = [(Unary::Cos, "cosines"), (Unary::Sin, "sines")].map(|(function, name)| {
            let values = self
                .graph
                .add_node(&format!("{stem}.{name}.once"), function, &[angles]);
            self.graph
                .add_node(&format!("{stem}.{name}"), Expand {}, &[values, shape])
        });
        Ok(Turn {
            cosines,
            sines,
            elements: 2 * pairs,
        })
    }

    /// Embeddings times the root of the width.
    pub(super) fn scaled_embedding(&mut self, x: ValueId) -> ValueId {
        let factor = self.number((self.config.hidden_size as f32).sqrt());
        self.graph.add_node("embedding.scaled", Binary::Mul, &[x, factor])
    }

    /// The only element of a list, as a scalar.
    pub(super) fn scalar(&mut self, list: ValueId, name: &str) -> ValueId {
        let axis = self.integers(&[0]);
        self.graph.add_node(name, Squeeze {}, &[list, axis])
    }
}
