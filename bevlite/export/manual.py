"""What a person needs of an export: inputs and outputs by name, and the trtexec command of every version."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bevlite.agent.trtexec.commands import Build, build_command
from bevlite.agent.trtexec.versions import TensorRT
from bevlite.devices.graph_file import GraphFile
from bevlite.devices.state import Kind
from bevlite.tensorrt import Precision, module_precision, parse_version


def manual(files: Mapping[str, Path], versions: Sequence[str], precision: Precision) -> dict[str, dict[str, Any]]:
    """By module: its file, inputs, outputs (type and shape), and by version the command that builds its engine.

    A command is for the folder of the file.

    Args:
        files: the modules.
        versions: of TensorRT, that the files are meant for.
        precision: of the engines.

    Raises:
        BevliteError: a file that cannot be read.
    """
    return {name: _entry(name, file, versions, precision) for name, file in files.items()}


def command(graph: GraphFile, precision: str, tensorrt: str) -> str:
    """The trtexec command that builds a file, as a shell takes it."""
    stem = graph.path.stem
    build = Build(precision=precision, strongly_typed=graph.strongly_typed, quantized=graph.quantized)
    version = TensorRT(*parse_version(tensorrt), 0)
    words = build_command(
        "trtexec", version, build, graph.path.name, f"{stem}.engine", f"{stem}.layers.json", "timing.cache"
    )
    return shlex.join(words)


def _entry(name: str, file: Path, versions: Sequence[str], precision: Precision) -> dict[str, Any]:
    graph, word = GraphFile.read(file), module_precision(precision, name)
    return {
        "file": file.name,
        "inputs": _tensors(graph.inputs),
        "outputs": _tensors(graph.outputs),
        "trtexec": {version: command(graph, word, version) for version in versions},
    }


def _tensors(tensors: Mapping[str, Kind]) -> dict[str, dict[str, Any]]:
    return {name: {"dtype": str(dtype), "shape": list(shape)} for name, (dtype, shape) in tensors.items()}
