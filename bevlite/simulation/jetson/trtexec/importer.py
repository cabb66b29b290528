"""The ONNX parser of each release: what it says, and what it refuses. Facts: `tensorrt_operators.json`."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import bevlite
from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.timing.graph import QUANTIZERS, Graph, Node
from bevlite.simulation.jetson.trtexec.log import Failure, Log

TABLE = Path(bevlite.__file__).parent / "export" / "check" / "tensorrt_operators.json"
RULE = "----------------------------------------------------------------"
TOPK_LIMIT = 3840


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def _refusal(graph: Graph, node: Node, release: Release) -> str | None:
    """Why the parser of this release refuses a node, in its words; None if it takes it."""
    supported = any(
        entry["supported"] for entry in _table()["operators"].get(node.op, ()) if release.operators in entry["versions"]
    )
    if node.domain not in ("", "ai.onnx") or not supported:
        return 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
    if release.major == 8 and node.op in QUANTIZERS:
        if len([n for n in node.inputs if n]) < 3:
            return 'inputs.size() == 3 && "This version of TensorRT requires an explicit zero point"'
        scale = graph.tensors.get(node.inputs[1])
        if scale is not None and scale.dtype != "FLOAT":
            return 'scale.type() == DataType::kFLOAT && "Only FP32 scales are supported"'
    reduction = node.attributes.get("reduction")
    if node.op == "ScatterND" and reduction is not None and release.operators == "10.3":
        return '!attrs.count("reduction") && "Attribute reduction is not supported."'
    return None


def _banner(log: Log, graph: Graph, path: Path) -> None:
    log.library(
        RULE,
        f"Input filename:   {path}",
        f"ONNX IR version:  0.0.{graph.ir_version}",
        f"Opset version:    {graph.opset}",
        f"Producer name:    {graph.producer[0]}",
        f"Producer version: {graph.producer[1]}",
        "Domain:           ",
        "Model version:    0",
        "Doc string:       ",
        RULE,
    )


def _refuse(log: Log, node: Node, reason: str, finished: str) -> None:
    if "Plugin not found" in reason:
        log.library(
            f"No importer registered for op: {node.op}. Attempting to import as plugin.",
            f"Searching for plugin: {node.op}, plugin_version: 1, plugin_namespace: ",
        )
        where = "builtin_op_importers.cpp:4951 In function importFallbackPluginImporter"
    else:
        where = f"builtin_op_importers.cpp:1184 In function import{node.op}"
    log.error(
        f'[TRT] ModelImporter.cpp:771: While parsing node number {node.index} [{node.op} -> "{node.outputs[0]}"]:',
        "[TRT] ModelImporter.cpp:772: --- Begin node ---",
        f'[TRT] ModelImporter.cpp:773: name: "{node.name}" op_type: "{node.op}"',
        "[TRT] ModelImporter.cpp:775: --- End node ---",
        f"[TRT] ModelImporter.cpp:777: ERROR: {where}:\n[8] Assertion failed: {reason}",
        "Failed to parse onnx file",
    )
    log.info(finished)


def check(log: Log, graph: Graph, release: Release, path: Path, parse_s: float) -> None:
    """Print what the parser prints.

    Raises:
        Failure: an operator that it does not take.
    """
    old = release.number < 8600
    log.info("Start parsing network model" + ("" if old else "."))
    _banner(log, graph, path)
    if release.major == 8 and any(graph.tensors[n].dtype == "INT64" for n in graph.constants if n in graph.tensors):
        log.warn(
            "[TRT] onnx2trt_utils.cpp:377: Your ONNX model has been generated with INT64 weights, while TensorRT "
            "does not natively support INT64. Attempting to cast down to INT32."
        )
    finished = "Finish parsing network model" if old else f"Finished parsing network model. Parse time: {parse_s:g}"
    for node in graph.nodes:
        if (reason := _refusal(graph, node, release)) is not None:
            _refuse(log, node, reason, finished)
            raise Failure("Parsing model failed", "Failed to create engine from model or file.", "Engine set up failed")
    log.info(finished)
