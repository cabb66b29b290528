"""The ONNX parser of each release: what it says, and what it refuses. Facts: `tensorrt_operators.json`."""

from __future__ import annotations

import json
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import bevlite
from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.timing.graph import Graph, Node
from bevlite.simulation.jetson.trtexec.importer_rules import NO_PLUGIN, assertions
from bevlite.simulation.jetson.trtexec.log import Failure, Log

TABLE = Path(bevlite.__file__).parent / "export" / "check" / "tensorrt_operators.json"
PARSING_FAILED = ("Parsing model failed", "Failed to create engine from model or file.", "Engine set up failed")
RULE = "----------------------------------------------------------------"
LARGEST_INPUT = 2**31 - 1
"""Elements of an input."""


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def _is_shipped_plugin(node: Node) -> bool:
    """Whether a node runs through libnvinfer_plugin, which trtexec loads."""
    return node.op in _table()["plugins"]["names"] and node.op not in _table()["operators"]


def _refusal(graph: Graph, node: Node, release: Release) -> str | None:
    """Why the parser of this release refuses a node, in its words; None if it takes it.

    An importer is found by the name of the operator alone, whatever its domain.
    """
    if _is_shipped_plugin(node):
        return None
    supported = any(
        entry["supported"] for entry in _table()["operators"].get(node.op, ()) if release.operators in entry["versions"]
    )
    if not supported:
        return NO_PLUGIN
    return next(assertions(graph, node, release), None)


def _refused_node(graph: Graph, release: Release) -> tuple[Node, str] | None:
    """The first node that is refused, inside branches and loops as well, with the reason."""
    for node in graph.nodes:
        for inner in (node, *node.inner):
            if (reason := _refusal(graph, inner, release)) is not None:
                return inner, reason
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
        Failure: an operator that it does not take, nodes in a circle, or an input that is too large.
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
    problem = _problem(graph)
    if problem is not None:
        log.error(f"[TRT] ModelImporter.cpp:945: ERROR: {problem}", "Failed to parse onnx file")
        log.info(finished)
        raise Failure(*PARSING_FAILED)
    found = _refused_node(graph, release)
    if found is not None:
        _refuse(log, *found, finished)
        raise Failure(*PARSING_FAILED)
    for node in filter(_is_shipped_plugin, graph.nodes):
        log.library(
            f"No importer registered for op: {node.op}. Attempting to import as plugin.",
            f"Searching for plugin: {node.op}, plugin_version: 1, plugin_namespace: ",
            f"Successfully created plugin: {node.op}",
        )
    log.info(finished)


def _problem(graph: Graph) -> str | None:
    """What is wrong with the file as a whole."""
    large = next((tensor for tensor in graph.inputs if tensor.elements > LARGEST_INPUT), None)
    if large is not None:
        return f'Assertion failed: *tensor && "Failed to add input to the network.": {large.name}'
    made = {tensor.name for tensor in graph.inputs} | graph.constants
    made |= {name for node in graph.nodes for name in node.outputs}
    for name in (name for node in graph.nodes for name in node.inputs):
        if name and name not in made:
            return f"Assertion failed: tensors.count(name): {name} is not produced by any node"
    sources = {name: node.index for node in graph.nodes for name in node.outputs if name}
    before = {n.index: {sources[name] for name in n.inputs if name in sources} for n in graph.nodes}
    try:
        TopologicalSorter(before).prepare()
    except CycleError:
        return "Assertion failed: toposort(graph.node(), &topoOrder): Failed to sort the model topologically."
    return None
