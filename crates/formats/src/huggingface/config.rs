//! `config.json`: the sizes of a model.

use bantam_tensor::DType;
use serde::Deserialize;

use super::HuggingFaceError;
use super::rotary::{Rope, RopeParameters};

/// Largest width, vocabulary or number of heads that is believed; real ones are far below.
const LARGEST: usize = 1 << 24;

/// What a `config.json` says. Names are those of Llama; GPT-2 and BERT say some differently.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) model_type: String,
    #[serde(default)]
    pub(crate) architectures: Vec<String>,
    #[serde(alias = "n_embd")]
    pub(crate) hidden_size: usize,
    #[serde(alias = "n_layer")]
    pub(crate) num_hidden_layers: usize,
    #[serde(alias = "n_head")]
    pub(crate) num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    #[serde(alias = "n_inner")]
    intermediate_size: Option<usize>,
    pub(crate) vocab_size: usize,
    #[serde(alias = "n_positions")]
    max_position_embeddings: Option<usize>,
    type_vocab_size: Option<usize>,
    #[serde(
        alias = "rms_norm_eps",
        alias = "layer_norm_eps",
        alias = "layer_norm_epsilon"
    )]
    norm_epsilon: Option<f32>,
    hidden_act: Option<String>,
    activation_function: Option<String>,
    hidden_activation: Option<String>,
    pub(crate) tie_word_embeddings: Option<bool>,
    rope_theta: Option<f64>,
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    rope_parameters: Option<Rope>,
    partial_rotary_factor: Option<f64>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    pub(crate) query_pre_attn_scalar: Option<f64>,
    pub(crate) attn_logit_softcapping: Option<f32>,
    pub(crate) final_logit_softcapping: Option<f32>,
    id2label: Option<std::collections::BTreeMap<String, String>>,
    num_labels: Option<usize>,
    scale_attn_by_inverse_layer_idx: Option<bool>,
    quantization_config: Option<serde_json::Value>,
    eos_token_id: Option<OneOrMany>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl Config {
    /// Reads the text of a `config.json`.
    pub(crate) fn parse(text: &str) -> Result<Config, HuggingFaceError> {
        let config: Config = serde_json::from_str(text).map_err(|error| HuggingFaceError::Config {
            fact: error.to_string(),
            hint: "this is no configuration of a language model that Bantam knows",
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), HuggingFaceError> {
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.key_value_heads()),
            ("head_dim", self.head_size()),
            ("intermediate_size", self.feed_forward_size()),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.positions()),
            ("sliding_window", self.sliding_window.unwrap_or(1)),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| !(1..=LARGEST).contains(size)) {
            return Err(wrong(format!("`{name}` is {size}")));
        }
        if !self.num_attention_heads.is_multiple_of(self.key_value_heads()) {
            return Err(wrong(format!(
                "{} heads cannot share {} heads of keys and values",
                self.num_attention_heads,
                self.key_value_heads()
            )));
        }
        if self.quantization_config.is_some() {
            return Err(HuggingFaceError::Config {
                fact: "the weights are quantized (`quantization_config`)".to_owned(),
                hint: "start from the float model, and let Bantam quantize it",
            });
        }
        if self.scale_attn_by_inverse_layer_idx == Some(true) {
            return Err(HuggingFaceError::Config {
                fact: "`scale_attn_by_inverse_layer_idx` is set".to_owned(),
                hint: "this variant of GPT-2 is not read",
            });
        }
        Ok(())
    }

    /// Tokens that end a text.
    pub(crate) fn end_tokens(&self) -> &[u32] {
        match &self.eos_token_id {
            None => &[],
            Some(OneOrMany::One(token)) => std::slice::from_ref(token),
            Some(OneOrMany::Many(tokens)) => tokens,
        }
    }

    /// Heads of keys and values.
    pub(crate) fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Elements of one head.
    pub(crate) fn head_size(&self) -> usize {
        self.head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Elements in the middle of the feed-forward part; GPT-2 leaves it out for four times the width.
    pub(crate) fn feed_forward_size(&self) -> usize {
        self.intermediate_size
            .unwrap_or(self.hidden_size.saturating_mul(4))
    }

    /// Most positions that the model was made for.
    pub(crate) fn positions(&self) -> usize {
        self.max_position_embeddings.unwrap_or(2048)
    }

    /// Kinds of segments (BERT).
    pub(crate) fn segments(&self) -> usize {
        self.type_vocab_size.unwrap_or(2)
    }

    /// Classes of a classifying model.
    pub(crate) fn classes(&self) -> usize {
        let listed = self.id2label.as_ref().map(std::collections::BTreeMap::len);
        self.num_labels.or(listed).unwrap_or(2)
    }

    /// What is added to the variance in norms.
    pub(crate) fn epsilon(&self) -> f32 {
        self.norm_epsilon.unwrap_or(1e-5)
    }

    /// Name of the activation; `default` where the file has none.
    pub(crate) fn activation<'a>(&'a self, default: &'a str) -> &'a str {
        let named = self
            .hidden_activation
            .as_ref()
            .or(self.hidden_act.as_ref())
            .or(self.activation_function.as_ref());
        named.map_or(default, String::as_str)
    }

    /// The tokens that a layer sees before its own; `None`: all. `every` is the step of the layers that see all, where
    /// the file does not say it (0: windows are in every layer).
    pub(crate) fn window(&self, layer: usize, every: usize) -> Option<usize> {
        // The window holds the token itself.
        let window = self.sliding_window? - 1;
        let slides = match (&self.layer_types, self.use_sliding_window) {
            (_, Some(false)) => false,
            (Some(types), _) => types.get(layer).is_some_and(|kind| kind == "sliding_attention"),
            (None, Some(true)) => layer >= self.max_window_layers.unwrap_or(0),
            (None, None) => {
                let every = self.sliding_window_pattern.unwrap_or(every);
                every == 0 || !(layer + 1).is_multiple_of(every)
            }
        };
        slides.then_some(window)
    }

    /// Rotary embedding of the layers that see all tokens, or of those with a window.
    pub(crate) fn rope(&self, local: bool) -> RopeParameters {
        let kind = if local {
            "sliding_attention"
        } else {
            "full_attention"
        };
        let mut rope = match &self.rope_parameters {
            Some(Rope::Same(rope)) => rope.clone(),
            Some(Rope::ByLayerType(types)) => types.get(kind).cloned().unwrap_or_default(),
            None => self
                .rope_scaling
                .clone()
                .filter(|_| !(local && self.rope_local_base_freq.is_some()))
                .unwrap_or_default(),
        };
        let theta = self.rope_local_base_freq.filter(|_| local).or(self.rope_theta);
        rope.rope_theta = rope.rope_theta.or(theta);
        rope.partial_rotary_factor = rope.partial_rotary_factor.or(self.partial_rotary_factor);
        rope
    }
}

fn wrong(fact: String) -> HuggingFaceError {
    HuggingFaceError::Config {
        fact,
        hint: "the file is damaged, or not of a language model",
    }
}

/// The types that weights may have.
pub(crate) fn is_weight_type(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}
