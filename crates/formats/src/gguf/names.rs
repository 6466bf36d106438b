//! Names of tensors on both sides, and the order of rows in queries and keys.

use bantam_tensor::{Tensor, TensorError};

use super::GgufError;

/// What the files of one kind of model have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct GgufArchitecture {
    /// `model_type` in `config.json`.
    pub(super) model_type: &'static str,
    /// `general.architecture`.
    pub(super) name: &'static str,
    /// Rotary embedding turns neighbouring elements, so that rows of queries and keys come in another order than in the
    /// folder, where it turns halves.
    pub(super) interleaved: bool,
}

/// Every architecture that is read and written; of two with one name the first is read.
pub(super) static ARCHITECTURES: &[GgufArchitecture] = &[
    GgufArchitecture {
        model_type: "llama",
        name: "llama",
        interleaved: true,
    },
    GgufArchitecture {
        model_type: "mistral",
        name: "llama",
        interleaved: true,
    },
    GgufArchitecture {
        model_type: "qwen2",
        name: "qwen2",
        interleaved: false,
    },
    GgufArchitecture {
        model_type: "qwen3",
        name: "qwen3",
        interleaved: false,
    },
];

/// Modules in a folder and in a file.
const MODULES: &[(&str, &str)] = &[
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
];

/// The same within a layer.
const LAYER_MODULES: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// Matrices that every layer has in a folder.
const NEEDED: &[&str] = &[
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// The tensors, by their names in a folder, without which a model of so many layers cannot run.
pub(super) fn needed(layers: usize) -> impl Iterator<Item = String> {
    let of_layer = |layer| {
        NEEDED
            .iter()
            .map(move |module| format!("model.layers.{layer}.{module}.weight"))
    };
    std::iter::once("model.embed_tokens.weight".to_owned()).chain((0..layers).flat_map(of_layer))
}

/// Which heads a tensor's rows belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Queries,
    Keys,
    Plain,
}

pub(super) fn rows_of(gguf_name: &str) -> Rows {
    let module = gguf_name.rsplit('.').nth(1);
    match module {
        Some("attn_q") => Rows::Queries,
        Some("attn_k") => Rows::Keys,
        _ => Rows::Plain,
    }
}

/// The name in a file of a tensor of a folder; `None` where it has none.
pub fn to_gguf(name: &str) -> Option<String> {
    let (module, part) = name.rsplit_once('.')?;
    if let Some((_, ours)) = MODULES.iter().find(|(theirs, _)| *theirs == module) {
        return Some(format!("{ours}.{part}"));
    }
    let (layer, module) = module.strip_prefix("model.layers.")?.split_once('.')?;
    let (_, ours) = LAYER_MODULES.iter().find(|(theirs, _)| *theirs == module)?;
    Some(format!("blk.{layer}.{ours}.{part}"))
}

/// The name in a folder of a tensor of a file.
pub(super) fn from_gguf(name: &str) -> Option<String> {
    let (module, part) = name.rsplit_once('.')?;
    if let Some((theirs, _)) = MODULES.iter().find(|(_, ours)| *ours == module) {
        return Some(format!("{theirs}.{part}"));
    }
    let (layer, module) = module.strip_prefix("blk.")?.split_once('.')?;
    let (theirs, _) = LAYER_MODULES.iter().find(|(_, ours)| *ours == module)?;
    Some(format!("model.layers.{layer}.{theirs}.{part}"))
}

/// Which way rows are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// From halves (element `i` turns with `i + size / 2`) to neighbours (`2 i` with `2 i + 1`).
    ToNeighbours,
    /// Back.
    ToHalves,
}

/// Moves the rows of queries or keys, `[heads * size, ...]`, within each head.
pub(super) fn reordered(
    name: &str,
    tensor: &Tensor,
    heads: usize,
    order: Order,
) -> Result<Tensor, GgufError> {
    let rows = tensor.shape().first().copied().unwrap_or(0);
    if heads == 0 || !rows.is_multiple_of(2 * heads) {
        return Err(GgufError::Heads {
            name: name.to_owned(),
            shape: tensor.shape().to_vec(),
            heads,
        });
    }
    let half = rows / heads / 2;
    let source = |row: usize| {
        let (head, within) = (row / (2 * half), row % (2 * half));
        let from = match order {
            Order::ToNeighbours => within % 2 * half + within / 2,
            Order::ToHalves => within % half * 2 + within / half,
        };
        head * 2 * half + from
    };
    permuted(tensor, rows, source).map_err(GgufError::from)
}

fn permuted(tensor: &Tensor, rows: usize, source: impl Fn(usize) -> usize) -> Result<Tensor, TensorError> {
    let bytes = tensor.as_bytes();
    let width = bytes.len() / rows;
    let mut moved = Vec::with_capacity(bytes.len());
    for row in 0..rows {
        moved.extend_from_slice(&bytes[source(row) * width..][..width]);
    }
    Tensor::from_raw(tensor.dtype(), tensor.shape(), &moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        let cases = [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("lm_head.weight", "output.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("model.layers.12.self_attn.q_proj.bias", "blk.12.attn_q.bias"),
            (
                "model.layers.0.post_attention_layernorm.weight",
                "blk.0.ffn_norm.weight",
            ),
        ];
        for (folder, file) in cases {
            assert_eq!(to_gguf(folder).as_deref(), Some(file));
            assert_eq!(from_gguf(file).as_deref(), Some(folder));
        }
        for unknown in [
            "",
            "weight",
            "model.layers.weight",
            "model.layers.0.mlp.experts.weight",
            "blk.0.ffn",
        ] {
            assert_eq!((to_gguf(unknown), from_gguf(unknown)), (None, None), "{unknown}");
        }
        assert_eq!(rows_of("blk.3.attn_q.weight"), Rows::Queries);
        assert_eq!(rows_of("blk.3.attn_k.bias"), Rows::Keys);
        assert_eq!(rows_of("blk.3.attn_k_norm.weight"), Rows::Plain);
    }

    #[test]
    fn halves_become_neighbours_and_come_back() {
        let rows: Vec<f32> = (0..12).map(|row| row as f32).collect();
        let tensor = Tensor::from_slice(&[12, 1], &rows).unwrap();
        let moved = reordered("q", &tensor, 2, Order::ToNeighbours).unwrap();
        assert_eq!(
            moved.to_f32().unwrap(),
            [0., 3., 1., 4., 2., 5., 6., 9., 7., 10., 8., 11.]
        );
        assert_eq!(reordered("q", &moved, 2, Order::ToHalves).unwrap(), tensor);
        assert!(reordered("q", &tensor, 4, Order::ToHalves).is_err());
        assert!(reordered("q", &tensor, 0, Order::ToHalves).is_err());
    }
}
