//! The architectures that are known: one row of facts each.

/// What all models of one kind have in common. `network` builds any of them.
#[derive(Clone, Copy, Debug)]
pub struct Architecture {
    /// `model_type` in `config.json`.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// What the names of tensors start with; files of a bare model leave it out.
    pub(crate) prefix: &'static str,
    pub(crate) names: &'static Names,
    pub(crate) norm: Norm,
    pub(crate) block: Block,
    pub(crate) position: Position,
    /// Activation where `config.json` has none.
    pub(crate) activation: &'static str,
    /// Products have their weights as `[in, out]`.
    pub(crate) input_first: bool,
    /// Queries and keys are normalized in each head.
    pub(crate) head_norm: bool,
    /// Embeddings are multiplied by the root of the width.
    pub(crate) scaled_embedding: bool,
    /// Step of the layers that see all tokens where others have a window (0: a window is in every layer).
    pub(crate) full_attention_every: usize,
}

/// Names of tensors and modules: within a layer, or below the prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) embedding: &'static str,
    pub(crate) layers: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) queries_keys_values: Parts<3>,
    pub(crate) attention_output: &'static str,
    pub(crate) feed_forward_norm: &'static str,
    pub(crate) feed_forward: FeedForward,
    pub(crate) feed_forward_output: &'static str,
    pub(crate) final_norm: &'static str,
}

/// Products of one input: apart, or as one whose output is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parts<const N: usize> {
    Apart([&'static str; N]),
    Joined(&'static str),
}

/// The first products of the feed-forward part.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FeedForward {
    /// `activation(gate x) * (up x)` (Shazeer 2020).
    Gated(Parts<2>),
    /// `activation(up x)`.
    Plain(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Norm {
    /// By the root of the mean square (Zhang and Sennrich 2019).
    Rms,
    /// The same, with weights stored less one.
    RmsPlusOne,
    /// By mean and variance (Ba et al. 2016).
    Layer,
}

/// How the parts of a layer are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Norms before the parts.
    Before,
    /// Norms before and behind the parts.
    Around,
    /// One norm, and both parts beside each other.
    Parallel,
    /// Norms behind the sums (Vaswani et al. 2017); the model sees all tokens both ways.
    Behind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Rotary,
    /// A learned vector for each position, under this name.
    Learned(&'static str),
}

/// Every architecture.
pub static ARCHITECTURES: &[Architecture] = &[
    LLAMA,
    Architecture {
        name: "mistral",
        summary: "Mistral: Llama with a sliding window",
        ..LLAMA
    },
    Architecture {
        name: "qwen2",
        summary: "Qwen 2 and 2.5: Llama with biases of queries, keys and values",
        ..LLAMA
    },
    Architecture {
        name: "qwen3",
        summary: "Qwen 3: Llama with norms of queries and keys",
        head_norm: true,
        ..LLAMA
    },
    GEMMA,
    Architecture {
        name: "gemma2",
        summary: "Gemma 2: norms around each part, soft caps, a window in every other layer",
        names: &GEMMA2_NAMES,
        block: Block::Around,
        full_attention_every: 2,
        ..GEMMA
    },
    Architecture {
        name: "gemma3_text",
        summary: "Gemma 3, text: Gemma 2 with norms of queries and keys instead of soft caps, a window in five of six layers",
        names: &GEMMA2_NAMES,
        block: Block::Around,
        head_norm: true,
        full_attention_every: 6,
        ..GEMMA
    },
    Architecture {
        name: "phi",
        summary: "Phi 1, 1.5 and 2: attention and feed-forward side by side, partial rotary embedding",
        names: &PHI_NAMES,
        norm: Norm::Layer,
        block: Block::Parallel,
        activation: "gelu_new",
        ..LLAMA
    },
    Architecture {
        name: "phi3",
        summary: "Phi 3: Llama with joined products",
        names: &PHI3_NAMES,
        ..LLAMA
    },
    Architecture {
        name: "gpt2",
        summary: "GPT-2: learned positions, products with the input first",
        prefix: "transformer.",
        names: &GPT2_NAMES,
        norm: Norm::Layer,
        position: Position::Learned("wpe"),
        activation: "gelu_new",
        input_first: true,
        ..LLAMA
    },
    Architecture {
        name: "bert",
        summary: "BERT: an encoder, bare, for masked tokens or for classes of sequences",
        prefix: "bert.",
        names: &BERT_NAMES,
        norm: Norm::Layer,
        block: Block::Behind,
        position: Position::Learned("embeddings.position_embeddings"),
        activation: "gelu",
        ..LLAMA
    },
];

const LLAMA: Architecture = Architecture {
    name: "llama",
    summary: "Llama 1 to 3 and all that share its form",
    prefix: "model.",
    names: &LLAMA_NAMES,
    norm: Norm::Rms,
    block: Block::Before,
    position: Position::Rotary,
    activation: "silu",
    input_first: false,
    head_norm: false,
    scaled_embedding: false,
    full_attention_every: 0,
};

const GEMMA: Architecture = Architecture {
    name: "gemma",
    summary: "Gemma 1: scaled embeddings, norms with weights less one, a gate with GELU",
    norm: Norm::RmsPlusOne,
    activation: "gelu_pytorch_tanh",
    scaled_embedding: true,
    ..LLAMA
};

const LLAMA_NAMES: Names = Names {
    embedding: "embed_tokens",
    layers: "layers",
    attention_norm: "input_layernorm",
    queries_keys_values: Parts::Apart(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    attention_output: "self_attn.o_proj",
    feed_forward_norm: "post_attention_layernorm",
    feed_forward: FeedForward::Gated(Parts::Apart(["mlp.gate_proj", "mlp.up_proj"])),
    feed_forward_output: "mlp.down_proj",
    final_norm: "norm",
};

const GEMMA2_NAMES: Names = Names {
    feed_forward_norm: "pre_feedforward_layernorm",
    ..LLAMA_NAMES
};

const PHI_NAMES: Names = Names {
    attention_output: "self_attn.dense",
    feed_forward: FeedForward::Plain("mlp.fc1"),
    feed_forward_output: "mlp.fc2",
    final_norm: "final_layernorm",
    ..LLAMA_NAMES
};

const PHI3_NAMES: Names = Names {
    queries_keys_values: Parts::Joined("self_attn.qkv_proj"),
    feed_forward: FeedForward::Gated(Parts::Joined("mlp.gate_up_proj")),
    ..LLAMA_NAMES
};

const GPT2_NAMES: Names = Names {
    embedding: "wte",
    layers: "h",
    attention_norm: "ln_1",
    queries_keys_values: Parts::Joined("attn.c_attn"),
    attention_output: "attn.c_proj",
    feed_forward_norm: "ln_2",
    feed_forward: FeedForward::Plain("mlp.c_fc"),
    feed_forward_output: "mlp.c_proj",
    final_norm: "ln_f",
};

const BERT_NAMES: Names = Names {
    embedding: "embeddings.word_embeddings",
    layers: "encoder.layer",
    attention_norm: "attention.output.LayerNorm",
    queries_keys_values: Parts::Apart([
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ]),
    attention_output: "attention.output.dense",
    feed_forward_norm: "output.LayerNorm",
    feed_forward: FeedForward::Plain("intermediate.dense"),
    feed_forward_output: "output.dense",
    final_norm: "embeddings.LayerNorm",
};

/// The architecture with this `model_type`.
pub(crate) fn architecture_by_name(name: &str) -> Option<&'static Architecture> {
    ARCHITECTURES
        .iter()
        .find(|architecture| architecture.name == name)
}
