"""ONNX files whose weights lie in other files: a board is sent one file."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import TensorProto
from onnx.external_data_helper import uses_external_data

from bevlite.errors import ExportError

LIMIT = 2**31
"""Bytes that one ONNX file holds at most: protobuf's limit."""


def has_external_weights(model: onnx.ModelProto) -> bool:
    """Whether any constant of a graph, its branches and loops included, lies in another file."""
    return any(uses_external_data(tensor) for tensor in _constants(model.graph))


def with_weights(path: Path) -> bytes:
    """A file with its external weights in it, as the bytes of one ONNX file.

    Raises:
        ExportError: a file of weights is missing, too short or outside the folder, or all is 2 GB or more.
    """
    try:
        model = onnx.load(str(path), format="protobuf")
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        line = " ".join(str(error).split())[:160]
        raise ExportError(f"{path}: weights in other files: cannot be read ({line}); accepted: all together") from None
    if sum(len(tensor.raw_data) for tensor in _constants(model.graph)) >= LIMIT:
        raise ExportError(f"{path}: {LIMIT / 1e9:.1f} GB of weights or more; accepted: less in one module")
    try:
        return model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError):
        raise ExportError(f"{path}: larger than {LIMIT / 1e9:.1f} GB; accepted: less in one module") from None


def _constants(graph: onnx.GraphProto) -> list[TensorProto]:
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            found += [attribute.t] if attribute.HasField("t") else []
            found += attribute.tensors
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                found += _constants(inner)
    return found
