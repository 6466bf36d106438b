"""Tiny random models of every architecture in Hugging Face folders, with the scores that `transformers` computes.

Run with Python 3.11, torch 2.15.0, transformers 5.24.0, safetensors 0.8.0, numpy 2.4.6:

    python generate.py

Writes one folder for each architecture beside this file: config.json, model.safetensors, ids.npy (i64 [2, 9]) and
expected.npy (f32). Weights are rounded to the type in which they are stored; the reference computes in float32.
"""

import json
import pathlib
import shutil
import sys

import numpy
import torch
import transformers

SEED = 7
HERE = pathlib.Path(__file__).parent
SIZES = dict(
    vocab_size=24,
    hidden_size=16,
    intermediate_size=12,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=12,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
WINDOW = dict(sliding_window=3)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=4.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=6,
)
# Folder: configuration, its own settings, stored type.
MODELS = {
    "llama": ("LlamaConfig", dict(tie_word_embeddings=False, attention_bias=True, mlp_bias=True), "float32"),
    "llama3": ("LlamaConfig", dict(rope_parameters=LLAMA3, tie_word_embeddings=True), "bfloat16"),
    "mistral": ("MistralConfig", dict(head_dim=8, **WINDOW), "float16"),
    "qwen2": ("Qwen2Config", dict(tie_word_embeddings=True), "bfloat16"),
    "qwen3": ("Qwen3Config", dict(head_dim=6, tie_word_embeddings=True), "bfloat16"),
    "gemma": ("GemmaConfig", dict(head_dim=8), "bfloat16"),
    "gemma2": (
        "Gemma2Config",
        dict(head_dim=8, query_pre_attn_scalar=5, attn_logit_softcapping=2.0, final_logit_softcapping=3.0, **WINDOW),
        "bfloat16",
    ),
    "gemma3": (
        "Gemma3TextConfig",
        dict(head_dim=8, query_pre_attn_scalar=5, layer_types=["sliding_attention", "full_attention"], **WINDOW),
        "bfloat16",
    ),
    "phi": ("PhiConfig", dict(num_key_value_heads=4, partial_rotary_factor=0.5), "bfloat16"),
    "phi3": ("Phi3Config", dict(tie_word_embeddings=False), "bfloat16"),
    "gpt2": (
        "GPT2Config",
        dict(n_embd=16, n_layer=2, n_head=4, n_positions=12, n_inner=20, vocab_size=24, bos_token_id=1, eos_token_id=2),
        "float16",
    ),
    "bert_masked": ("BertConfig", dict(num_key_value_heads=None), "bfloat16"),
    "bert_classes": ("BertConfig", dict(num_key_value_heads=None, num_labels=3), "bfloat16"),
}
ENCODERS = {
    "bert_masked": "BertForMaskedLM",
    "bert_classes": "BertForSequenceClassification",
}


def configuration(kind, own):
    sizes = {} if kind == "GPT2Config" else SIZES
    settings = {key: value for key, value in {**sizes, **own}.items() if value is not None}
    return getattr(transformers, kind)(**settings)


def randomized(model, dtype):
    """Every parameter drawn anew, so that norms and biases matter, and rounded."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            scale = 0.3 if parameter.dim() > 1 else 0.5
            values = torch.randn(parameter.shape, generator=generator) * scale
            parameter.copy_(values.to(getattr(torch, dtype)).float())
    return model.eval()


def main():
    for name, (kind, own, dtype) in MODELS.items():
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        config = configuration(kind, own)
        config._attn_implementation = "eager"
        torch.manual_seed(SEED)
        if name in ENCODERS:
            model = getattr(transformers, ENCODERS[name])(config)
        else:
            model = transformers.AutoModelForCausalLM.from_config(config)
        model = randomized(model.float(), dtype)
        ids = torch.randint(3, 24, (2, 9), generator=torch.Generator().manual_seed(SEED))
        inputs = dict(input_ids=ids)
        if name in ENCODERS:
            inputs["attention_mask"] = torch.tensor([[1] * 9, [1] * 6 + [0] * 3])
            inputs["token_type_ids"] = torch.tensor([[0] * 4 + [1] * 5] * 2)
        with torch.no_grad():
            expected = model(**inputs)[0]
        model.to(getattr(torch, dtype)).save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        numpy.save(folder / "ids.npy", ids.numpy())
        numpy.save(folder / "expected.npy", expected.float().numpy())
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(name, tuple(expected.shape), f"{size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
