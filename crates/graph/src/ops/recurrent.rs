//! Recurrent cells and attention.

use crate::attributes::{op_attributes, string_attribute};

string_attribute! {
    /// Which way a recurrent cell reads.
    Direction { Forward = "forward", Reverse = "reverse", Bidirectional = "bidirectional" }
}

/// The attributes that recurrent cells share.
macro_rules! cells {
    ($($(#[$meta:meta])* $op:ident { $($extra:tt)* })*) => {
        op_attributes! {$(
            $(#[$meta])*
            $op {
                activation_alpha: Vec<f32> = Vec::new(),
                activation_beta: Vec<f32> = Vec::new(),
                #[doc = "empty: the cell's own"] activations: Vec<String> = Vec::new(),
                clip: Option<f32> = None,
                direction: Direction = Direction::Forward,
                hidden_size: Option<i64> = None,
                #[doc = "1: batch first"] layout: i64 = 0,
                $($extra)*
            }
        )*}
    };
}

cells! {
    /// x, w, r, bias, sequence lengths, initial h, initial c, peepholes.
    Lstm { input_forget: bool = false }
    /// x, w, r, bias, sequence lengths, initial h.
    Gru { linear_before_reset: bool = false }
    /// x, w, r, bias, sequence lengths, initial h.
    Rnn {}
}

op_attributes! {
    /// Scaled dot-product attention: q, k, v, mask, past key, past value (and, from opset 24, sequence lengths).
    Attention {
        is_causal: bool = false,
        kv_num_heads: Option<i64> = None,
        #[doc = "keys that a query sees before its own place; -1: all"] left_window_size: i64 = -1,
        q_num_heads: Option<i64> = None,
        qk_matmul_output_mode: i64 = 0,
        #[doc = "keys that a query sees after its own place; -1: all"] right_window_size: i64 = -1,
        scale: Option<f32> = None,
        softcap: f32 = 0.0,
        softmax_precision: Option<i64> = None,
    }
    /// Rotary position embedding: x, cos cache, sin cache, optional position ids.
    RotaryEmbedding {
        interleaved: bool = false,
        num_heads: i64 = 0,
        rotary_embedding_dim: i64 = 0,
    }
}
