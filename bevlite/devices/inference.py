"""A network as engines on a board: what is asked of it, and what comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bevlite.devices.contract import Inputs
from bevlite.devices.graph_file import GraphFile
from bevlite.devices.report.timing import EngineFacts
from bevlite.errors import BevliteError


@dataclass(frozen=True)
class Inference:
    """The kept tensors of every frame, and how they were made.

    `runner` is TensorRT's Python API or trtexec (`note` says why). `memory_mb` is what engines, contexts and a frame
    took of the GPU's free memory; None where the runner does not tell.
    """

    frames: tuple[dict[str, np.ndarray], ...]
    engines: dict[str, EngineFacts]
    runner: str
    note: str
    memory_mb: float | None
    power_mode: str | None


class Chain:
    """Modules in their order of execution: which tensors they take from outside, and which they give."""

    def __init__(self, modules: Mapping[str, Path]) -> None:
        """Read the files (raises BevliteError)."""
        if not modules:
            raise BevliteError("found no ONNX modules; accepted: at least one")
        self.graphs = {name: GraphFile.read(path) for name, path in modules.items()}
        self.inputs: dict[str, tuple[np.dtype[np.generic], tuple[int, ...]]] = {}
        self.outputs: list[str] = []
        for graph in self.graphs.values():
            self.inputs |= {name: kind for name, kind in graph.inputs.items() if name not in self.outputs}
            self.outputs += graph.outputs

    @property
    def results(self) -> list[str]:
        """What leaves the network: outputs that no module takes."""
        taken = {name for graph in self.graphs.values() for name in graph.inputs}
        return [name for name in self.outputs if name not in taken]

    @property
    def identity(self) -> str:
        """Of the files: their names and contents."""
        text = "\n".join(f"{name} {graph.sha256}" for name, graph in self.graphs.items())
        return hashlib.sha256(text.encode()).hexdigest()

    def frame(self, given: Inputs) -> dict[str, np.ndarray]:
        """The tensors that a frame takes, in their types (raises BevliteError for one that is missing or misshapen)."""
        found = {}
        for name, (kind, shape) in self.inputs.items():
            if name not in given:
                raise BevliteError(f"inputs: found no '{name}'; accepted: {', '.join(self.inputs)}")
            if tuple(given[name].shape) != shape:
                raise BevliteError(f"input '{name}': found {tuple(given[name].shape)}; accepted: {shape}")
            found[name] = np.ascontiguousarray(given[name].astype(kind, copy=False))
        return found

    def made_up(self) -> dict[str, np.ndarray]:
        """A frame of made-up values (see `GraphFile.complete`)."""
        found: dict[str, np.ndarray] = {}
        for graph in self.graphs.values():
            found |= {name: value for name, value in graph.complete({})[0].items() if name in self.inputs}
        return found

    def require_outputs(self, names: Iterable[str]) -> None:
        """Every name must be one that a module gives (raises BevliteError)."""
        for name in names:
            if name not in self.outputs:
                raise BevliteError(f"outputs: found '{name}'; accepted: {', '.join(self.outputs)}")


@dataclass(frozen=True)
class Blobs:
    """Frames as bytes by their hash: a tensor that all frames share is sent once."""

    files: dict[str, bytes]
    frames: list[dict[str, str]]

    @classmethod
    def of(cls, frames: Sequence[Mapping[str, np.ndarray]]) -> Blobs:
        """Hash every tensor."""
        files: dict[str, bytes] = {}
        named = []
        for frame in frames:
            names = {}
            for name, tensor in frame.items():
                blob = tensor.tobytes()
                names[name] = hashlib.sha256(blob).hexdigest()
                files[names[name]] = blob
            named.append(names)
        return cls(files, named)
