"""A network as engines on a board: what is asked of it, and what comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from bevlite.devices.contract import Inputs, Precision
from bevlite.devices.graph_file import GraphFile
from bevlite.devices.report.timing import EngineFacts
from bevlite.devices.state import Feeds, Kind, require_feeds
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


@runtime_checkable
class InferringDevice(Protocol):
    """A device that runs frames through a network."""

    def infer(
        self,
        modules: Mapping[str, Path],
        frames: Sequence[Inputs],
        outputs: Sequence[str],
        precision: Precision = "fp16",
        *,
        feeds: Feeds | None = None,
        starts: Collection[int] = (),
    ) -> Inference:
        """Run frames through a network: its modules, one after the other.

        Values that are not finite are returned as they are.

        Args:
            modules: ONNX files by name, in their order of execution.
            frames: what each frame takes from outside. State that a frame gives is used as given.
            outputs: which tensors come back; borders between modules and state may be among them.
            precision: of the engines.
            feeds: the state: inputs of the network by name, each with the output of the frame before that it takes.
            starts: numbers of the frames at which a new sequence begins, where state is zeros; frame 0 always is one.

        Raises:
            BevliteError: tensors that the modules do not have, or a network that the device cannot run.
        """


class Chain:
    """Modules in their order of execution: which tensors they take from outside, and which they give.

    `feeds` is the state: inputs that take an output of the frame before.
    """

    def __init__(self, modules: Mapping[str, Path], feeds: Feeds | None = None) -> None:
        """Read the files (raises BevliteError)."""
        if not modules:
            raise BevliteError("found no ONNX modules; accepted: at least one")
        self.graphs = {name: GraphFile.read(path) for name, path in modules.items()}
        self.inputs: dict[str, Kind] = {}
        self.outputs: dict[str, Kind] = {}
        for graph in self.graphs.values():
            self.inputs |= {name: kind for name, kind in graph.inputs.items() if name not in self.outputs}
            self.outputs |= graph.outputs
        self.feeds = dict(feeds or {})
        require_feeds(self.feeds, self.inputs, self.outputs)

    @property
    def results(self) -> list[str]:
        """What leaves the network: outputs that no module takes, and without state if there are others."""
        taken = {name for graph in self.graphs.values() for name in graph.inputs}
        left = [name for name in self.outputs if name not in taken]
        return [name for name in left if name not in self.feeds.values()] or left

    @property
    def identity(self) -> str:
        """Of the files: their names and contents."""
        text = "\n".join(f"{name} {graph.sha256}" for name, graph in self.graphs.items())
        return hashlib.sha256(text.encode()).hexdigest()

    def frame(self, given: Inputs) -> dict[str, np.ndarray]:
        """The tensors that a frame takes, in their types; of state what it gives.

        Raises:
            BevliteError: one is missing or misshapen.
        """
        found = {}
        for name, (kind, shape) in self.inputs.items():
            if name not in given and name in self.feeds:
                continue
            if name not in given:
                raise BevliteError(f"inputs: found no '{name}'; accepted: {', '.join(self.inputs)}")
            if tuple(given[name].shape) != shape:
                raise BevliteError(f"input '{name}': found {tuple(given[name].shape)}; accepted: {shape}")
            found[name] = np.ascontiguousarray(given[name].astype(kind, copy=False))
        return found

    def made_up(self) -> dict[str, np.ndarray]:
        """A frame of made-up values (see `GraphFile.complete`), without state."""
        wanted = self.inputs.keys() - self.feeds.keys()
        found: dict[str, np.ndarray] = {}
        for graph in self.graphs.values():
            found |= {name: value for name, value in graph.complete({})[0].items() if name in wanted}
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
