"""Reports that the page is checked with: `python sample.py FOLDER` writes full.json, least.json, empty.json and
hostile.json.

The full one has the form of a run on ResNet-56 for CIFAR-10 with about 40 candidates. Its figures are made up from a
seed, so that they hang together as those of a run do (bytes follow from bits and what is kept, scores fall as both do).
"""

import json
import math
import random
import sys
from pathlib import Path

SEED = 56
FLOAT_SCORE = 0.934
TEST_SAMPLES = 10_000
SEARCH_SAMPLES = 2_000


def estimate(score, samples):
    """A share with Wilson's 95% interval."""
    z = 1.96
    scale = 1 + z * z / samples
    centre = (score + z * z / (2 * samples)) / scale
    reach = z * math.sqrt(score * (1 - score) / samples + z * z / (4 * samples * samples)) / scale
    return {"value": score, "low": max(centre - reach, 0), "high": min(centre + reach, 1)}


def network():
    """Layers of ResNet-56: name, op, parameters, MACs."""
    layers = [("conv1", "Conv", 3 * 16 * 9, 3 * 16 * 9 * 32 * 32)]
    for stage, (width, size) in enumerate([(16, 32), (32, 16), (64, 8)]):
        for block in range(9):
            for conv in (1, 2):
                inputs = width // 2 if stage and block == 0 and conv == 1 else width
                parameters = inputs * width * 9
                layers.append(
                    (f"layer{stage + 1}.{block}.conv{conv}", "Conv", parameters, parameters * size * size)
                )
    layers.append(("layer3.0.shortcut", "Conv", 32 * 64, 32 * 64 * 64))
    layers.append(("fc", "Gemm", 650, 640))
    return layers


class Maker:
    def __init__(self):
        self.random = random.Random(SEED)
        self.layers = network()
        self.fragility = [math.exp(self.random.gauss(0, 0.8)) for _ in self.layers]
        self.fragility[0] *= 8
        self.fragility[-1] *= 5

    def choices(self, kind, mean_bits, removed):
        """Bits and kept share of each layer; fragile layers keep more of both."""
        chosen = []
        for (name, _, _, _), fragile in zip(self.layers, self.fragility):
            bits, kept = 32, 1.0
            if kind in ("quantize", "joint"):
                wanted = mean_bits + 0.9 * math.log2(fragile) + self.random.gauss(0, 0.3)
                bits = min((2, 3, 4, 5, 6, 8), key=lambda b: abs(b - wanted))
            if kind in ("prune", "joint") and name.endswith("conv1") and name != "conv1":
                kept = min(1, max(0.125, 1 - removed * 1.7 / (0.6 + fragile)))
                kept = round(kept * 16) / 16
            chosen.append({"name": name, "bits": bits, "kept": kept})
        return chosen

    def candidate(self, number, kind, mean_bits=32, removed=0.0):
        chosen = self.choices(kind, mean_bits, removed)
        cost = [(p * c["kept"], m * c["kept"], c["bits"]) for (_, _, p, m), c in zip(self.layers, chosen)]
        parameters = sum(p for p, _, _ in cost)
        macs = sum(m for _, m, _ in cost)
        activation_bits = 32 if kind in ("float", "prune") else 8
        total = sum(p for _, _, p, _ in self.layers)
        bits = sum(p * b for p, _, b in cost) / parameters
        removed = 1 - parameters / total
        loss = (
            0
            if kind == "float"
            else 1.2 * 2 ** (-2 * bits) + 0.055 * removed**2.2 + abs(self.random.gauss(0, 0.0012))
        )
        score = max(0.1, FLOAT_SCORE - 0.0005 - loss)
        names = {
            "float": "float",
            "quantize": f"W{bits:.1f}A8",
            "prune": f"{removed:.0%} removed",
            "joint": f"W{bits:.1f}A8, {removed:.0%} removed",
        }
        drop = FLOAT_SCORE - 0.0005 - score
        limit = 0.005
        return {
            "id": number,
            "name": names[kind],
            "kind": kind,
            "removed": removed,
            "mean_bits": bits,
            "bytes": round(sum(p * b / 8 for p, _, b in cost) + 21_000),
            "macs": round(macs),
            "bit_operations": round(sum(m * b * activation_bits for _, m, b in cost)),
            "latency_ms": (0.35 if kind in ("quantize", "joint") else 1) * 3.1 * (macs / 125e6) ** 0.7
            + self.random.gauss(0, 0.02),
            "score": estimate(score, SEARCH_SAMPLES),
            "drop": drop,
            "samples": SEARCH_SAMPLES,
            "decided": "accepted"
            if drop < limit * 0.8
            else "rejected"
            if drop > limit * 1.4
            else "undecided",
            "trained": kind == "joint" and self.random.random() < 0.4,
            "chosen": False,
            "on_front": False,
            "layers": chosen,
        }

    def candidates(self):
        found = [self.candidate(0, "float")]
        for bits in (8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.6, 2.2):
            found.append(self.candidate(len(found), "quantize", bits))
        for removed in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
            found.append(self.candidate(len(found), "prune", removed=removed))
        for bits in (6, 5, 4.5, 4, 3.5, 3):
            for removed in (0.1, 0.25, 0.4, 0.55):
                if len(found) < 41:
                    found.append(self.candidate(len(found), "joint", bits, removed))
        for one in found:
            one["on_front"] = not any(
                o["bytes"] <= one["bytes"] and o["score"]["value"] > one["score"]["value"] for o in found
            )
        best = min(
            (c for c in found if c["kind"] == "joint" and c["decided"] == "accepted"),
            key=lambda c: c["bytes"],
        )
        best["chosen"] = True
        return found, best

    def alternatives(self, candidates):
        rows = []
        for kind in ("joint", "prune", "quantize"):
            members = [c for c in candidates if c["kind"] == kind and c["decided"] == "accepted"]
            best = min(members, key=lambda c: c["bytes"])
            rows.append(
                {
                    "kind": kind,
                    "candidate": best["id"],
                    "bytes": best["bytes"],
                    "latency_ms": best["latency_ms"],
                    "score": best["score"],
                    "inside": True,
                }
            )
        return rows

    def layer_rows(self, best):
        rows = []
        for (name, op, parameters, macs), fragile, chosen in zip(self.layers, self.fragility, best["layers"]):
            losses = [
                {"bits": b, "loss": fragile * 0.9 * 2 ** (-1.8 * b) * math.exp(self.random.gauss(0, 0.2))}
                for b in (2, 3, 4, 6, 8)
            ]
            why = f"{chosen['bits']} bits: at the next fewer the loss grows by {losses[1]['loss']:.2g}"
            if chosen["kept"] < 1:
                carried = 0.4 * (1 - chosen["kept"])
                why += f"; {chosen['kept'] * 16:.0f} of 16 channel groups kept, the others carried {carried:.1%} of the saliency"
            if name in ("conv1", "fc"):
                why = f"{'first' if name == 'conv1' else 'last'} layer, sensitive, small: kept at {chosen['bits']} bits"
            rows.append(
                {
                    "name": name,
                    "op": op,
                    "parameters_before": parameters,
                    "parameters_after": round(parameters * chosen["kept"]),
                    "macs_before": macs,
                    "macs_after": round(macs * chosen["kept"]),
                    "bits": chosen["bits"],
                    "activation_bits": 8,
                    "kept": chosen["kept"],
                    "sparsity": max(0, self.random.gauss(0.6 / chosen["bits"], 0.03)),
                    "sensitivity": losses,
                    "sqnr_db": 6.02 * chosen["bits"] - 4 + self.random.gauss(0, 1.2),
                    "why": why,
                }
            )
        return rows

    def histograms(self, best):
        rows = []
        for chosen, (_, _, parameters, _) in zip(best["layers"], self.layers):
            rows.append(self.weights(chosen, parameters))
            rows.append(self.activations(chosen))
        return rows

    def weights(self, chosen, parameters):
        deviation = 0.6 / math.sqrt(parameters**0.5)
        reach, levels = 4 * deviation, 2 ** chosen["bits"] - 1
        values = [
            min(max(self.random.gauss(0, deviation), -reach * 0.999), reach * 0.999)
            for _ in range(min(parameters, 4000))
        ]
        step = 2 * reach * 0.8 / levels
        rounded = [min(max(round(v / step), -(levels // 2)), levels // 2) * step for v in values]
        return {
            "layer": chosen["name"],
            "kind": "weight",
            "before": counted(values, -reach, reach),
            "after": counted(rounded, -reach, reach),
        }

    def activations(self, chosen):
        values = [max(0.0, self.random.gauss(0.3, 0.8)) for _ in range(2000)]
        moved = [v * self.random.gauss(0.97, 0.03) for v in values]
        return {
            "layer": chosen["name"],
            "kind": "activation",
            "before": counted(values, 0, 4),
            "after": counted(moved, 0, 4),
        }

    def robustness(self):
        rows = []
        for corruption, slope in (
            ("noise", 0.09),
            ("blur", 0.06),
            ("contrast", 0.045),
            ("brightness", 0.012),
            ("jpeg", 0.05),
            ("occlusion", 0.03),
        ):
            for strength in (1, 2, 3, 4, 5):
                before = FLOAT_SCORE - slope * strength**1.2 + self.random.gauss(0, 0.003)
                after = before - 0.002 - 0.002 * strength + self.random.gauss(0, 0.003)
                rows.append(
                    {
                        "corruption": corruption,
                        "strength": strength,
                        "before": estimate(before, SEARCH_SAMPLES),
                        "after": estimate(after, SEARCH_SAMPLES),
                    }
                )
        return rows


def counted(values, low, high, bins=64):
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / (high - low) * bins), bins - 1)] += 1
    return {"low": low, "high": high, "counts": counts}


def side(candidate, score, latencies, energy):
    return {
        "bytes": candidate["bytes"],
        "packed_bytes": round(candidate["bytes"] * 0.93),
        "parameters": round(855_770 * (1 - candidate["removed"])),
        "macs": candidate["macs"],
        "bit_operations": candidate["bit_operations"],
        "sparsity": 0.0 if energy > 1 else 0.112,
        "metrics": {
            "top1": estimate(score, TEST_SAMPLES),
            "top5": estimate(0.9978 if energy > 1 else 0.9975, TEST_SAMPLES),
        },
        "samples": TEST_SAMPLES,
        "energy_mj": energy,
        "energy_source": "model",
        "latency": [
            {"runtime": r, "batch": b, "threads": 2, "median_ms": m, "p90_ms": m * 1.08}
            for r, b, m in latencies
        ],
    }


RECIPE = """version = 1

[compress]
minimize = "size"
max-drop = 0.005
bits = [2, 3, 4, 5, 6, 8]
structure = "channel"
criterion = "taylor"

[compress.training]
epochs = 4
"""


def full():
    maker = Maker()
    candidates, best = maker.candidates()
    return {
        "bantam": "0.1.0",
        "model": "resnet56.onnx",
        "output": "resnet56-small.onnx",
        "data": "cifar10.toml",
        "target": "onnxruntime",
        "command": "bantam compress resnet56.onnx --data cifar10.toml --max-drop 0.5% --minimize size --target onnxruntime --time-limit 20m "
        "--seed 0 -o resnet56-small.onnx --report report.json",
        "recipe": RECIPE,
        "seed": 0,
        "data_hash": "blake3:8a51f0c3d27be94416f2a07d5c9b8e13",
        "seconds": 310.2,
        "warnings": [
            "weights below 8 bits are stored packed; onnxruntime unpacks them to 8 bits, so that latency is that of INT8"
        ],
        "budget": {
            "metric": "top1",
            "max_drop": 0.005,
            "minimize": "size",
            "max_bytes": None,
            "max_latency_ms": None,
            "min_score": None,
            "time_limit_s": 1200,
        },
        "verdict": {"inside": True, "text": "0.21 points lost, at most 0.5 allowed"},
        "before": side(
            candidates[0],
            FLOAT_SCORE,
            [("onnxruntime", 1, 3.12), ("onnxruntime", 32, 71.4), ("openvino", 1, 2.71), ("bantam", 1, 3.05)],
            5.1,
        ),
        "after": side(
            best,
            FLOAT_SCORE - 0.0021,
            [("onnxruntime", 1, 0.88), ("onnxruntime", 32, 17.9), ("openvino", 1, 0.71), ("bantam", 1, 0.79)],
            0.41,
        ),
        "comparison": {
            "metric": "top1",
            "samples": TEST_SAMPLES,
            "disagreement": 0.0341,
            "only_first": 151,
            "only_second": 130,
            "difference": -0.0021,
            "difference_low": -0.0054,
            "difference_high": 0.0012,
            "p_value": 0.233,
        },
        "candidates": candidates,
        "alternatives": maker.alternatives(candidates),
        "layers": maker.layer_rows(best),
        "histograms": maker.histograms(best),
        "robustness": maker.robustness(),
        "time": [
            {"stage": s, "seconds": t}
            for s, t in (
                ("float scores", 6.1),
                ("statistics", 14.8),
                ("sensitivity", 61.5),
                ("search", 88.2),
                ("fine-tuning", 102.9),
                ("measuring", 21.4),
                ("export", 0.9),
            )
        ],
    }


def least():
    """The first block alone, and what a network that lost too much looks like."""
    return {
        "bantam": "0.1.0",
        "model": "a-rather-long-name-of-a-model-in-a-folder/with/parts/language-model-instruct.onnx",
        "output": "out.onnx",
        "data": "tokens.toml",
        "command": "bantam compress model.onnx",
        "seed": 7,
        "warnings": [],
        "budget": {"metric": "perplexity", "max_drop": 0.2, "minimize": "latency"},
        "verdict": {"inside": False, "text": "0.31 lost, at most 0.2 allowed"},
        "before": {
            "bytes": 1_210_000_000,
            "metrics": {"perplexity": {"value": 8.11, "low": 7.9, "high": 8.33}},
        },
        "after": {"bytes": 340_000_000, "metrics": {"perplexity": {"value": 8.42, "low": 8.2, "high": 8.65}}},
        "candidates": [],
        "layers": [],
        "histograms": [],
        "time": [],
        "robustness": [],
        "alternatives": [],
    }


def hostile():
    """Texts that would run if they were read as HTML, and values of the wrong kind."""
    attack = "</script><script>window.attacked = true</script><img src=x onerror='window.attacked = true'>\u2028<!--"
    report = full()
    for field in ("model", "output", "command", "recipe", "data", "target", "data_hash"):
        report[field] = attack
    report["warnings"] = [attack]
    report["verdict"]["text"] = attack
    report["budget"]["metric"] = "__proto__"
    for group in ("candidates", "layers", "time", "robustness", "histograms"):
        for row in report[group][:5]:
            row.update(
                {k: attack for k in ("name", "kind", "op", "why", "stage", "corruption", "layer") if k in row}
            )
    report["candidates"] += [None, 3, {}, {"score": "high"}, {"score": 0.5, "bytes": None, "layers": 4}]
    report["layers"] += [None, {"name": None, "sensitivity": [None, {"bits": None}]}, {"bits": "four"}]
    report["histograms"] += [
        {},
        {"layer": "x", "before": {"low": 1, "high": 1, "counts": [1]}},
        {"layer": "y", "after": {"low": 0, "high": 1, "counts": []}},
    ]
    report["robustness"] += [{"corruption": "none", "before": 0.5}]
    report["before"]["latency"] = {"runtime": "none"}
    return report


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, report in (("full", full()), ("least", least()), ("empty", {}), ("hostile", hostile())):
        (folder / f"{name}.json").write_text(json.dumps(report, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
