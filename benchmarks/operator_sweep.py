"""Every test node of the ONNX standard through the operator check and through NVIDIA's own parser and builder.

    python benchmarks/operator_sweep.py OUT.md [--processes 2] [--limit N]

The standard comes with a network of one node for each operator, type and combination of attributes that it wants
tested (`onnx.backend.test`). Each is given to `check_model` for the newest version and to tensorrt-rtx; what the two
say must be the same. Networks with inputs that are no tensors are left out: neither takes them.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnx

from bevlite.export.check.operators import check_model
from bevlite.rtx.compiler import build_model
from bevlite.rtx.installed import require
from bevlite.tensorrt import VERSIONS


def main() -> None:
    """The sweep as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    require()
    lines = options.out.with_suffix(".jsonl")
    known = {json.loads(line)["name"] for line in lines.read_text().splitlines()} if lines.is_file() else set()
    cases = [(name, model) for name, model in networks()[: options.limit] if name not in known]
    with ThreadPoolExecutor(options.processes) as pool, lines.open("a") as stream:
        for number, row in enumerate(pool.map(lambda case: judge(*case), cases), 1):
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            if number % 50 == 0:
                print(f"{number}/{len(cases)}", flush=True)
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    options.out.write_text(table(rows))


def networks() -> list[tuple[str, onnx.ModelProto]]:
    """The test networks of the standard that have tensors for inputs and outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    found = []
    for case in cases:
        model = case.model
        if model is None or model.opset_import[0].domain not in ("", "ai.onnx"):
            continue
        ends = [*model.graph.input, *model.graph.output]
        if all(end.type.HasField("tensor_type") for end in ends):
            found.append((case.name, model))
    return sorted(found, key=lambda pair: pair[0])


def judge(name: str, model: onnx.ModelProto) -> dict[str, Any]:
    """What both say of one network."""
    findings = check_model(model, VERSIONS[-1:], precision="graph")
    errors = [f.reason for f in findings if f.severity == "error"]
    word = build_model(model)
    return {
        "name": name,
        "op": model.graph.node[0].op_type,
        "ours": "refused" if errors else "taken",
        "why": errors[0] if errors else "",
        "theirs": word.verdict,
        "reason": word.errors[0].reason if word.errors else "",
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Counts, and what the two disagree about by operator."""
    counted = Counter((row["ours"], row["theirs"]) for row in rows)
    lines = [f"{len(rows)} networks of one node.", "", "| check | compiler | networks |", "|---|---|---|"]
    lines += [f"| {ours} | {theirs} | {count} |" for (ours, theirs), count in sorted(counted.items())]
    apart: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        if row["theirs"] != "none" and row["ours"] != row["theirs"]:
            said = " ".join((row["why"] or row["reason"]).split())[:110].replace("|", "/")
            apart.setdefault((row["op"], row["ours"], row["theirs"], said), []).append(row["name"])
    lines += ["", "| operator | check | compiler | reason | networks |", "|---|---|---|---|---|"]
    for (op, ours, theirs, said), names in sorted(apart.items()):
        lines.append(f"| {op} | {ours} | {theirs} | {said} | {len(names)}, such as {names[0]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
