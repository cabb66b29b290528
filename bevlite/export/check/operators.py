"""Will TensorRT take this ONNX file, and will it run it rightly? Checked per version, without TensorRT.

The facts are in `tensorrt_operators.json` (what each version's parser documents) and in `operator_rules`
(what parses and then fails, or runs wrongly). No finding means that nothing known speaks against the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import onnx

from bevlite.export.check.context import Context, Problem, build_context, inner_contexts
from bevlite.export.check.graph_rules import graph_problems
from bevlite.export.check.operator_rules import RULES
from bevlite.export.check.type_rules import type_problems
from bevlite.latency.onnx.graph import load_model
from bevlite.latency.onnx.valid import node_fault
from bevlite.tensorrt import TENSORRT_8, VERSIONS, version_key

Severity = Literal["error", "silent_wrong", "warning"]


@dataclass(frozen=True)
class OperatorFinding:
    """One thing that speaks against a file on one version of TensorRT."""

    severity: Severity
    version: str
    node: str
    op: str
    reason: str
    remedy: str


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    text = resources.files("bevlite.export.check").joinpath("tensorrt_operators.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def check_model(
    model: onnx.ModelProto | Path | str, versions: Sequence[str] = VERSIONS, precision: str = "fp16"
) -> list[OperatorFinding]:
    """Check one ONNX file against versions of TensorRT; an empty list is a clean bill.

    Args:
        model: the file, or the model.
        versions: of TensorRT.
        precision: what its engine is built in where the file says FP32 (`fp32`, `fp16`, `int8`), or `graph` where FP32
            in the file is FP32 in the engine (strongly typed networks; `bevlite.tensorrt.typed_by`).

    Severities: `error` (will not parse or build), `silent_wrong` (builds, and computes something else),
    `warning` (slow, or depends on how it is built).

    Raises:
        BevliteError: the file is missing or is not an ONNX model.
        ExportError: an unknown version.
    """
    proto, _ = load_model(model)
    columns = [(version, version_key(version)) for version in versions]
    context = replace(build_context(proto), precision=precision)
    findings: list[OperatorFinding] = []
    bodies = list(inner_contexts(context))
    for version, key in columns:
        findings += _opset_findings(context, version, key)
        for problem in graph_problems(context):
            if problem.applies(key):
                findings.append(
                    OperatorFinding(problem.severity, version, problem.node, "", problem.reason, problem.remedy)
                )
        for where, inside in (("", context), *bodies):
            for node in inside.nodes:
                found = _node_findings(inside, node, version, key)
                findings += [replace(f, node=f"{f.node} (inside {where})") for f in found] if where else found
    return findings


def has_errors(findings: Iterable[OperatorFinding], version: str | None = None) -> bool:
    """Whether a file must not be shipped (for one version, or any): an error, or a silently wrong result."""
    return any(f.severity != "warning" and version in (None, f.version) for f in findings)


def findings_table(findings: Iterable[OperatorFinding]) -> list[tuple[str, str, str, str, str, str]]:
    """Rows (severity, versions, node, operator, reason, what to do); versions that agree share a row."""
    rows: dict[tuple[str, str, str, str, str], list[str]] = {}
    for f in findings:
        rows.setdefault((f.severity, f.node, f.op, f.reason, f.remedy), []).append(f.version)
    order = ("error", "silent_wrong", "warning")
    table = [(s, ", ".join(v), node, op, why, do) for (s, node, op, why, do), v in rows.items()]
    return sorted(table, key=lambda row: order.index(row[0]))


def _opset_findings(context: Context, version: str, key: str) -> list[OperatorFinding]:
    low, high = _table()["_meta"]["opset_ranges"][key]
    if low <= context.opset <= high:
        return []
    reason = f"opset {context.opset} is outside what the parser documents ({low} to {high})"
    remedy = f"export at opset {17 if high >= 17 else high}"
    # Parsers read what they know of other opsets. In 18 axes of reductions became inputs, which 8.x does not look at;
    # those of ReduceSum are one since 13, which it does.
    reductions = [node for node in context.nodes if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum"]
    risky = [node for node in reductions if any(node.input[1:])]
    if key in TENSORRT_8 and risky:
        node = risky[0]
        said = f"{reason}, and the axes of {node.op_type} are an input since 18, which it does not read"
        return [OperatorFinding("error", version, node.name, node.op_type, said, remedy)]
    return [OperatorFinding("warning", version, "", "", f"{reason}: what it knows of it is read", remedy)]


def _node_findings(context: Context, node: onnx.NodeProto, version: str, key: str) -> list[OperatorFinding]:
    known = _table()["operators"].get(node.op_type)
    if known is None and node.op_type in _table()["plugins"]["names"]:
        reason = "no part of ONNX: it runs through a plugin that TensorRT ships and trtexec loads"
        remedy = "ship libnvinfer_plugin with the engine, or express it in stock operators"
        return [OperatorFinding("warning", version, node.name, node.op_type, reason, remedy)]
    if known is None and node.domain not in ("", "ai.onnx"):
        reason = f"domain '{node.domain}' is no part of ONNX: TensorRT would look for a plugin"
        remedy = "express it in stock operators"
        return [OperatorFinding("error", version, node.name, node.op_type, reason, remedy)]
    entry = next((e for e in known or () if key in e["versions"]), None)
    if entry is None or not entry["supported"]:
        remedy = REMEDIES.get(node.op_type, "rewrite it in operators that the version supports")
        reason = f"{node.op_type} has no importer in TensorRT {key}"
        return [OperatorFinding("error", version, node.name, node.op_type, reason, remedy)]
    try:
        problems = [p for rule in (*RULES.get(node.op_type, ()), type_problems) for p in rule(context, node)]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        line = " ".join(str(error).split())[:80] or type(error).__name__
        problems = [Problem("error", f"its attributes or inputs do not fit it ({line})", "export it again")]
    fault = node_fault(node, context.opset)
    if fault and not any(problem.severity == "error" for problem in problems):
        problems.append(Problem("error", f"it {fault}", "export it again"))
    return [
        OperatorFinding(problem.severity, version, node.name, node.op_type, problem.reason, problem.remedy)
        for problem in problems
        if problem.applies(key)
    ]


REMEDIES = {
    "LayerNormalization": "export at opset 16, where it decomposes, and keep those layers in FP32",
    "GroupNormalization": "export at opset 17, where it decomposes",
    "Gelu": "export at opset 17, where it is written with Erf",
    "DeformConv": "use a version from 10.1 on, or ordinary convolutions",
    "Attention": "export at opset 17, where it decomposes",
}
"""What to do about operators that a version lacks."""
