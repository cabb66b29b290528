"""The inputs and outputs of an engine: their types, and the copies that convert them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.timing.fusion import Layer
from bevlite.simulation.jetson.timing.graph import Graph, Tensor
from bevlite.simulation.jetson.trtexec.flags import FlagError
from bevlite.simulation.jetson.trtexec.options import Options

IO_TYPES = {"fp32": "FLOAT", "fp16": "FLOAT16", "int32": "INT32", "int64": "INT64", "int8": "INT8", "bool": "BOOL"}
HALF_TO_FLOAT_ELEMENTS = 3.0
"""A copy between FP32 and FP16 moves 6 bytes an element: three elements of two bytes."""


def _wanted(formats: list[str], position: int) -> str | None:
    """The ONNX type that `--inputIOFormats` gives to a binding; one entry holds for all."""
    if not formats:
        return None
    entry = formats[position] if position < len(formats) else formats[0]
    name = entry.partition(":")[0]
    if name not in IO_TYPES:
        raise FlagError(f"Invalid format: {entry}")
    return IO_TYPES[name]


def _bind(tensors: Sequence[Tensor], formats: list[str], release: Release) -> list[dict[str, Any]]:
    out = []
    for position, tensor in enumerate(tensors):
        # INT64 became INT32 before TensorRT 9; from 11 on a format carries no type.
        dtype = "INT32" if tensor.dtype == "INT64" and release.major < 9 else tensor.dtype
        wanted = None if release.major >= 11 else _wanted(formats, position)
        if wanted in ("FLOAT", "FLOAT16") and dtype in ("FLOAT", "FLOAT16"):
            dtype = wanted
        out.append({"name": tensor.name, "shape": list(tensor.shape), "dtype": dtype})
    return out


def bind(graph: Graph, options: Options, release: Release) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Name, shape and type of the inputs and of the outputs.

    Raises:
        FlagError: an I/O format that trtexec does not know.
    """
    inputs = _bind(graph.inputs, options.input_formats, release)
    return inputs, _bind(graph.outputs, options.output_formats, release)


def _copy(name: str, binding: dict[str, Any], graph: Graph) -> dict[str, Any]:
    elements = graph.elements(binding["name"])
    tensor = {"Name": binding["name"], "Dimensions": binding["shape"]}
    return {
        "Name": name,
        "LayerType": "Reformat",
        "kind": "copy",
        "precision": "Half",
        "device": "GPU",
        "inputs": [{**tensor, "dtype": "Float"}],
        "outputs": [{**tensor, "Name": f"{binding['name']} reformatted", "dtype": "Half"}],
        "extra": {"Origin": "REFORMAT"},
        "nodes": [],
        "work": {
            "flops": 0.0, "elements": elements * HALF_TO_FLOAT_ELEMENTS, "weights": 0.0, "rows": 1, "columns": 1,
        },
    }  # fmt: skip


def reformats(
    graph: Graph,
    layers: Sequence[Layer],
    described: Sequence[dict[str, Any]],
    inputs: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The copies before and after the layers that turn FP32 bindings into what reduced layers take."""
    before, after = [], []
    for position, binding in enumerate(inputs):
        users = [d for n, d in zip(layers, described, strict=True) if binding["name"] in n.inputs]
        if binding["dtype"] == "FLOAT" and users and users[0]["precision"] != "Float":
            name = f"Reformatting CopyNode for Input Tensor {position} to {users[0]['Name']}"
            before.append(_copy(name, binding, graph))
    for position, binding in enumerate(outputs):
        shown = graph.resolve(binding["name"])
        makers = [d for n, d in zip(layers, described, strict=True) if shown in n.outputs]
        if binding["dtype"] == "FLOAT" and makers and makers[0]["precision"] != "Float":
            name = f"Reformatting CopyNode for Output Tensor {position} to {makers[0]['Name']}"
            after.append(_copy(name, binding, graph))
    return before, after
