"""What the emulated trtexec refuses: the newest release against NVIDIA's own builder, older ones by facts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx
import pytest

from benchmarks.edge_graphs import EDGES
from benchmarks.quantized_graphs import GRAPHS, QuantizedGraph
from bevlite.export.check.int8 import int8_products
from bevlite.rtx.compiler import build_model
from tests.rtx.conftest import needs_compiler
from tests.simulation.jetson.conftest import Answer, Bench

TAKEN_ALL_THE_SAME = {"a shipped plugin", "non zero", "roi align"}
"""NVIDIA's compiler for CPUs comes without plugins; trtexec loads those of TensorRT."""
OLDER_THAN_THE_COMPILER = {"top k, unsorted"}
"""NVIDIA's table for 11.1 says that it is refused; the compiler is newer."""


def built(bench: Bench, name: str) -> Answer:
    onnx.save(EDGES[name](), "edge.onnx")
    major = bench.state.release.major
    quantized = ["--int8"] if "DQ" in name and major < 11 else []
    return bench.run("--onnx=edge.onnx", "--buildOnly" if bench.state.release.number < 8600 else "--skipInference",
                     *quantized)  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("bench", ["11.4.1"], indirect=True)
@pytest.mark.parametrize("name", EDGES)
def test_the_newest_release_says_what_nvidia_says(bench: Bench, name: str) -> None:
    verdict = build_model(EDGES[name]()).verdict
    answer = built(bench, name)
    wanted = (verdict == "taken" or name in TAKEN_ALL_THE_SAME) and name not in OLDER_THAN_THE_COMPILER
    assert (answer.code == 0) == wanted, answer.err
    assert wanted or "[E]" in answer.err


@needs_compiler
@pytest.mark.parametrize("bench", ["11.4.1"], indirect=True)
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_the_layers_in_int8_are_those_of_nvidia(bench: Bench, graph: QuantizedGraph) -> None:
    """But for transposed convolutions, which classic TensorRT runs in INT8 (benchmarks/rtx_agreement.py says why)."""
    model = graph.make()
    onnx.save(model, "q.onnx")
    answer = bench.run("--onnx=q.onnx", "--skipInference", "--profilingVerbosity=detailed", "--exportLayerInfo=l.json")
    assert answer.code == 0, answer.err
    layers = json.loads(Path("l.json").read_text())["Layers"]
    emulated = {
        node
        for layer in layers
        for node in re.findall(r"\[ONNX Layer: (.*?)\]", layer.get("Metadata", ""))
        if any(tensor["Datatype"] == "Int8" for tensor in layer["Inputs"])
    }
    for product in int8_products(model, build_model(model)):
        if product.op != "ConvTranspose":
            assert (product.node in emulated) == product.granted, (product, layers)


@pytest.mark.parametrize("bench", ["8.5.2", "8.6.2", "10.3.0", "10.16.2"], indirect=True)
@pytest.mark.parametrize(
    ("name", "taken_by"),
    [
        ("batch norm, training", set()),
        ("INT32 bias through DQ", set()),
        ("type inside: INT16", set()),
        ("type inside: BF16", {"10.3.0", "10.16.2"}),
        ("max pool, dilated", {"8.5.2", "8.6.2"}),
        ("max pool, dilated, in a branch", {"8.5.2", "8.6.2"}),
        ("einsum, ellipsis", {"10.3.0", "10.16.2"}),
        ("layer norm", {"8.6.2", "10.3.0", "10.16.2"}),
        ("a shipped plugin", {"8.5.2", "8.6.2", "10.3.0", "10.16.2"}),
        ("a foreign plugin", set()),
        ("Q/DQ, FP8", set()),
        ("Q/DQ, UINT8", {"10.3.0", "10.16.2"}),
        ("nodes in a circle", set()),
    ],
)
def test_older_releases(bench: Bench, name: str, taken_by: set[str]) -> None:
    assert (built(bench, name).code == 0) == (bench.state.release.version in taken_by)
