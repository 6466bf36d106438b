//! Keys and values of earlier tokens, as inputs and outputs of the graph.

use bantam_graph::ops::{Attention, Shape};
use bantam_graph::{Dim, ValueId, ValueType};
use bantam_tensor::DType;

use super::Network;

impl Network<'_> {
    /// The attention of one layer; with a cache, over the keys and values of earlier tokens too. An encoder's mask, if
    /// there is one, is shared by all layers.
    pub(super) fn attend(
        &mut self,
        index: usize,
        name: &str,
        op: Attention,
        [q, k, v]: [ValueId; 3],
    ) -> ValueId {
        let mut inputs = vec![Some(q), Some(k), Some(v)];
        let mut outputs = vec![name.to_owned()];
        inputs.push(self.shared.get("mask").copied());
        if self.cached {
            inputs.extend(self.past(index).map(Some));
            outputs.extend(["key", "value"].map(|part| format!("present.{index}.{part}")));
        } else if inputs[3].is_none() {
            inputs.pop();
        }
        let outputs = self.add_many(name, op, &inputs, &outputs);
        for present in &outputs[1..] {
            self.graph.value_mut(*present).ty = ValueType::tensor(DType::F32, self.cache_dims("all"));
            self.graph.outputs.push(*present);
        }
        outputs[0]
    }

    /// How many tokens came before, if there is a cache.
    pub(super) fn past_length(&mut self) -> Option<ValueId> {
        if !self.cached {
            return None;
        }
        let [key, _] = self.past(0);
        let op = Shape {
            end: Some(3),
            start: 2,
        };
        let list = self.graph.add_node("past_length.list", op, &[key]);
        Some(self.scalar(list, "past_length"))
    }

    /// The inputs with the keys and values of one layer.
    fn past(&mut self, index: usize) -> [ValueId; 2] {
        ["key", "value"].map(|part| {
            let name = format!("past.{index}.{part}");
            if let Some(id) = self.shared.get(&name) {
                return *id;
            }
            let dims = self.cache_dims("past");
            let id = self.graph.add_input(&name, DType::F32, dims);
            self.shared.insert(name, id);
            id
        })
    }

    /// `[batch, heads, length, size]`.
    fn cache_dims(&self, length: &str) -> Vec<Dim> {
        vec![
            Dim::Symbol("batch".to_owned()),
            Dim::Known(self.config.key_value_heads()),
            Dim::Symbol(length.to_owned()),
            Dim::Known(self.config.head_size()),
        ]
    }
}
