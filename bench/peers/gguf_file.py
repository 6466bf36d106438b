"""Reads a GGUF file that Bantam wrote with the reference reader, and scores it in llama.cpp.

    bantam export stories260k -o stories.gguf
    python gguf_file.py stories.gguf --folder stories260k --rows 100 753

Run with gguf 0.19.0 and, for the scores, llama-cpp-python 0.3.36 (numpy 2.4.6, safetensors 0.8.0). Gives the largest
difference of the matrices of attention, decoded by the reader, from the folder's; compares the tokens that llama.cpp makes of a
text with those of the data; and gives the mean loss of the rows of `valid_tokens.npy` in nats.
"""

import argparse
import json
import pathlib

import numpy
from gguf import GGUFReader, dequantize


def weights(reader):
    return {tensor.name: tensor for tensor in reader.tensors}


def to_neighbours(matrix, heads):
    """The order of rows in which llama.cpp wants queries and keys: pairs that turn lie beside each other."""
    size = matrix.shape[0] // heads
    return matrix.reshape(heads, 2, size // 2, -1).swapaxes(1, 2).reshape(matrix.shape)


def check_weights(reader, folder):
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    stored = load_file(folder / "model.safetensors")
    found = weights(reader)
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"}
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    checked, largest = 0, 0.0
    for name, matrix in stored.items():
        module = name.split(".")[-2]
        if module not in names:
            continue
        layer = name.split(".")[2]
        ours = found[f"blk.{layer}.{names[module]}.weight"]
        if names[module] in heads:
            matrix = to_neighbours(matrix, heads[names[module]])
        values = dequantize(ours.data, ours.tensor_type).reshape(matrix.shape)
        largest = max(largest, float(numpy.abs(values - matrix).max()))
        checked += 1
    embedding = found["token_embd.weight"]
    assert embedding.shape.tolist() == [config["hidden_size"], config["vocab_size"]]
    print(f"{len(found)} tensors, {checked} matrices of attention within {largest:.2g} of the folder")


def score(path, folder, first, end):
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=512, n_batch=512, logits_all=True, verbose=False, n_threads=2)
    rows = numpy.load(folder / "valid_tokens.npy").astype(numpy.int64)
    text = (folder / "tinystories_valid.txt").read_text().split("<|endoftext|>")[0].strip()
    tokens = model.tokenize(text.encode(), add_bos=True, special=False)
    agree = sum(a == b for a, b in zip(tokens, rows[0]))
    print(f"tokens of the first story: {agree} of {min(len(tokens), len(rows[0]))} as in the data")
    losses = []
    for row in rows[first:end]:
        model.reset()
        model.eval(row[:512].tolist())
        logits = numpy.array(model.scores[:512], dtype=numpy.float64)
        largest = logits.max(axis=1)
        total = numpy.log(numpy.exp(logits - largest[:, None]).sum(axis=1)) + largest
        losses.append((total - logits[numpy.arange(512), row[1:513]]).mean())
    loss = float(numpy.mean(losses))
    print(f"llama.cpp: rows {first} to {end - 1}: loss {loss:.4f}, perplexity {numpy.exp(loss):.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--rows", type=int, nargs=2, help="score these rows in llama.cpp")
    arguments = parser.parse_args()
    reader = GGUFReader(arguments.file)
    for field in reader.fields.values():
        value = field.contents()
        print(field.name, value if not isinstance(value, list) else f"[{len(value)} values]")
    check_weights(reader, arguments.folder)
    if arguments.rows:
        score(arguments.file, arguments.folder, *arguments.rows)


if __name__ == "__main__":
    main()
