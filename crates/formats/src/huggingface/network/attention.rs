//! Attention: queries, keys and values, their norms and positions, and the projection of the heads side by side.

use bantam_graph::ValueId;
use bantam_graph::ops::Attention;

use super::Network;
use super::position::Turns;
use crate::huggingface::HuggingFaceError;
use crate::huggingface::architecture::{Block, Parts};

impl Network<'_> {
    /// The part of one layer, of `[tokens, width]`.
    pub(super) fn attention(
        &mut self,
        index: usize,
        layer: &str,
        x: ValueId,
        turns: &mut Turns,
    ) -> Result<ValueId, HuggingFaceError> {
        let (config, names) = (self.config, self.architecture.names);
        let size = config.head_size();
        let heads = [config.num_attention_heads, config.key_value_heads()];
        let [queries, keys] = heads.map(|count| count.saturating_mul(size));
        let [q, k, v] = self.queries_keys_values(layer, x, [queries, keys])?;
        let module = attention_module(names.attention_output);
        let mut q = self.by_sample(q, queries, &format!("{layer}.{module}.q"));
        let mut k = self.by_sample(k, keys, &format!("{layer}.{module}.k"));
        let v = self.by_sample(v, keys, &format!("{layer}.{module}.v"));
        if self.architecture.head_norm {
            q = self.head_norm(&format!("{layer}.{module}.q_norm"), q, heads[0])?;
            k = self.head_norm(&format!("{layer}.{module}.k_norm"), k, heads[1])?;
        }
        let window = config.window(index, self.architecture.full_attention_every);
        let local = window.is_some() && self.architecture.full_attention_every > 0;
        if let Some(turn) = self.turn(local, turns)? {
            q = self.turned(q, heads[0], turn, &format!("{layer}.{module}.q_turned"));
            k = self.turned(k, heads[1], turn, &format!("{layer}.{module}.k_turned"));
        }
        let causal = self.architecture.block != Block::Behind;
        let op = Attention {
            is_causal: causal,
            kv_num_heads: Some(heads[1] as i64),
            left_window_size: window.map_or(-1, |window| window as i64),
            q_num_heads: Some(heads[0] as i64),
            qk_matmul_output_mode: 0,
            right_window_size: -1,
            scale: config
                .query_pre_attn_scalar
                .map(|scalar| scalar.powf(-0.5) as f32),
            softcap: config.attn_logit_softcapping.unwrap_or(0.0),
            softmax_precision: None,
        };
        let context = self.attend(index, &format!("{layer}.{module}"), op, [q, k, v]);
        let context = self.by_token(context, queries, &format!("{layer}.{module}.tokens"));
        self.linear(
            &format!("{layer}.{}", names.attention_output),
            context,
            queries,
            config.hidden_size,
        )
    }

    /// Three products of `[tokens, width]`.
    fn queries_keys_values(
        &mut self,
        layer: &str,
        x: ValueId,
        [queries, keys]: [usize; 2],
    ) -> Result<[ValueId; 3], HuggingFaceError> {
        let sizes = [queries, keys, keys];
        match self.architecture.names.queries_keys_values {
            Parts::Joined(name) => self.joined(&format!("{layer}.{name}"), x, sizes),
            Parts::Apart(names) => {
                let mut parts = [x; 3];
                for ((part, name), size) in parts.iter_mut().zip(names).zip(sizes) {
                    *part = self.linear(&format!("{layer}.{name}"), x, self.config.hidden_size, size)?;
                }
                Ok(parts)
            }
        }
    }

    /// The norm of each head of `[batch, length, heads * size]`.
    fn head_norm(&mut self, name: &str, x: ValueId, heads: usize) -> Result<ValueId, HuggingFaceError> {
        let size = self.config.head_size();
        let apart = self.integers(&[0, 0, heads as i64, size as i64]);
        let x = self.reshape(x, apart, &format!("{name}.heads"));
        let x = self.norm_of(name, x, size)?;
        let joined = self.integers(&[0, 0, (heads * size) as i64]);
        Ok(self.reshape(x, joined, &format!("{name}.joined")))
    }
}

/// The module that a layer's attention is: that of its last product.
fn attention_module(output: &str) -> &str {
    output.split('.').next().unwrap_or(output)
}
