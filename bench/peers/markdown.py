"""The Markdown tables of ptq.py, from the rows it measured."""

DASH = "–"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value, digits):
    return DASH if value is None else f"{value:.{digits}f}"


def ratio(value, reference):
    return DASH if value is None or not reference else f"{value / reference:.1f}x"


def name(row):
    return row["name"] + (" *" if row.get("best") else "")


def cost_table(rows):
    """Time and memory of the tools; ratios to bantam at the range in the row."""
    header = ["tool, method", "whole process s", "ratio", "without imports s", "peak MB", "ratio"]
    measured = {row["range"]: row for row in rows if row["tool"] == "bantam" and "seconds" in row}
    lines = []
    for row in rows:
        if row["tool"] == "float":
            continue
        if "error" in row:
            lines.append([name(row), f"failed: {row['error']}".replace("\n", " ").replace("|", "/")] + [DASH] * 4)
            continue
        reference = measured.get(row["range"], {})
        lines.append([
            name(row),
            number(row["seconds"], 2), ratio(row["seconds"], reference.get("seconds")),
            number(row["work_seconds"], 2),
            number(row["peak_megabytes"], 0), ratio(row["peak_megabytes"], reference.get("peak_megabytes")),
        ])
    return table(header, lines)


def result_table(rows):
    """Accuracy, size and latency of the files; ratios of latency to bantam's file at the range in the row."""
    header = ["file", "kB"]
    for runtime in ("ONNX Runtime", "OpenVINO"):
        header += [f"top-1 % in {runtime}", "disagree %", "latency ms", "ratio"]
    scored = {row["range"]: row["runtimes"] for row in rows if row["tool"] == "bantam" and "runtimes" in row}
    lines = []
    for row in rows:
        if "runtimes" not in row:
            continue
        line = [name(row), number(row["bytes"] / 1000, 0)]
        for runtime in ("onnxruntime", "openvino"):
            score = row["runtimes"].get(runtime, {})
            reference = scored.get(row["range"], {}).get(runtime, {})
            top1 = "refused" if "error" in score else number(score.get("top1"), 2)
            line += [top1, number(score.get("disagree"), 2)]
            line += [number(score.get("latency_ms"), 1), ratio(score.get("latency_ms"), reference.get("latency_ms"))]
        lines.append(line)
    return table(header, lines)
