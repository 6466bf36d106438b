"""Makes a Hugging Face folder of about so many gigabytes: as many blocks as it takes of the shape of a Llama of 8 billion weights
(width 4096, feed-forward 14336, 32 heads, 8 of keys and values), seeded normal weights in bf16.

    python bench/peers/synthetic.py FOLDER --gigabytes 2 [--seed 0]

Needs numpy. Writes some rows at a time. Each gigabyte is a file of its own, with `model.safetensors.index.json`, as large models are published.
"""

import argparse
import json
import pathlib

import numpy

WIDTH, FEED_FORWARD, HEADS, KEY_VALUE_HEADS, VOCABULARY = 4096, 14336, 32, 8, 32000
ROWS = 1 << 20  # elements that are drawn at once
FILE = 1 << 30


def block(layer):
    narrow = WIDTH // HEADS * KEY_VALUE_HEADS
    attention = {"q": (WIDTH, WIDTH), "k": (narrow, WIDTH), "v": (narrow, WIDTH), "o": (WIDTH, WIDTH)}
    shapes = {f"self_attn.{name}_proj": shape for name, shape in attention.items()}
    shapes |= {"mlp.gate_proj": (FEED_FORWARD, WIDTH), "mlp.up_proj": (FEED_FORWARD, WIDTH)}
    shapes |= {"mlp.down_proj": (WIDTH, FEED_FORWARD)}
    shapes |= {"input_layernorm": (WIDTH,), "post_attention_layernorm": (WIDTH,)}
    return {f"model.layers.{layer}.{name}.weight": shape for name, shape in shapes.items()}


def tensors(gigabytes):
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    shapes |= {"lm_head.weight": (VOCABULARY, WIDTH)}
    layers = max(1, round((gigabytes * 1e9 - size(shapes)) / size(block(0))))
    for layer in range(layers):
        shapes |= block(layer)
    return shapes, layers


def size(shapes):
    return sum(2 * int(numpy.prod(shape)) for shape in shapes.values())


def files(shapes):
    """Names of tensors, file by file."""
    parts, filled = [[]], 0
    for name, shape in shapes.items():
        if filled > FILE:
            parts.append([])
            filled = 0
        parts[-1].append(name)
        filled += size({name: shape})
    return parts


def write(path, shapes, random):
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + size({name: shape})
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            left = int(numpy.prod(shape))
            while left:
                count = min(left, ROWS)
                values = random.standard_normal(count, dtype=numpy.float32) * numpy.float32(0.02)
                if len(shape) == 1:
                    values += numpy.float32(1)
                # The upper halves, rounded to nearest.
                bits = values.view(numpy.uint32) + numpy.uint32(0x8000)
                out.write((bits >> numpy.uint32(16)).astype("<u2").tobytes())
                left -= count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shapes, layers = tensors(arguments.gigabytes)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.Generator(numpy.random.SFC64(arguments.seed))
    parts, weight_map = files(shapes), {}
    for index, names in enumerate(parts):
        file = f"model-{index + 1:05}-of-{len(parts):05}.safetensors"
        write(arguments.folder / file, {name: shapes[name] for name in names}, random)
        weight_map |= {name: file for name in names}
    index = {"metadata": {"total_size": size(shapes)}, "weight_map": weight_map}
    (arguments.folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": FEED_FORWARD, "num_hidden_layers": layers,
        "num_attention_heads": HEADS, "num_key_value_heads": KEY_VALUE_HEADS, "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": False,
    }
    (arguments.folder / "config.json").write_text(json.dumps(config))
    print(f"{layers} blocks, {size(shapes) / 1e9:.2f} GB in {len(parts)} files")


if __name__ == "__main__":
    main()
