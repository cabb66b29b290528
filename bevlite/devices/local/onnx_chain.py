"""ONNX files one after the other by ONNX Runtime on this machine's CPU: what one gives, the next takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.devices.local.integer_kernels import with_integer_kernels
from bevlite.devices.state import Feeds, Kind, State, begins, require_feeds
from bevlite.errors import BevliteError, ExportError

_TYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(int16)": np.int16, "tensor(int32)": np.int32,
    "tensor(int64)": np.int64, "tensor(bool)": np.bool_,
}  # fmt: skip


class OnnxChain:
    """The modules of a network in their order of execution. It carries the state of one sequence at a time.

    `inputs` are the tensors that come from outside, the state among them, `outputs` those of all modules; both by name
    with type and shape.
    """

    def __init__(
        self, modules: Mapping[str, Path], feeds: Feeds | None = None, threads: int = 0, *, integer: bool = False
    ) -> None:
        """Load the files; `threads` of an operator, 0 for what ONNX Runtime chooses.

        With `integer`, products between Q/DQ nodes run on ONNX Runtime's integer kernels; else it runs most in float.

        Raises:
            ExportError: ONNX Runtime does not take a file.
            BevliteError: `feeds` do not fit the network.
        """
        self._sessions = {name: _Session(path, threads, integer) for name, path in modules.items()}
        self.inputs: dict[str, Kind] = {}
        self.outputs: dict[str, Kind] = {}
        for session in self._sessions.values():
            self.inputs |= {name: kind for name, kind in session.inputs.items() if name not in self.outputs}
            self.outputs |= session.outputs
        require_feeds(feeds or {}, self.inputs, self.outputs)
        self._state = State(feeds or {}, self.inputs)

    @property
    def names(self) -> list[str]:
        """Of the modules."""
        return list(self._sessions)

    def frame(self, frame: Mapping[str, np.ndarray], new: bool = True) -> dict[str, np.ndarray]:
        """Inputs, borders and outputs of one frame by name.

        Args:
            frame: the inputs, in any type; state that is not among them is what the frame before gave.
            new: whether a sequence begins: state is zeros then.

        Raises:
            ExportError: a module fails, or takes a tensor that is not there.
        """
        known = self.begin(frame, new)
        for name in self._sessions:
            self.run(name, known)
        self.end(known)
        return known

    def frames(
        self, frames: Sequence[Mapping[str, np.ndarray]], starts: Collection[int] = ()
    ) -> Iterator[dict[str, np.ndarray]]:
        """As `frame`, of frames one after the other; `starts` are the numbers of those that begin a sequence."""
        for number, frame in enumerate(frames):
            yield self.frame(frame, begins(number, starts))

    def begin(self, frame: Mapping[str, np.ndarray], new: bool) -> dict[str, np.ndarray]:
        """What is known when a frame begins, for those who run its modules one by one."""
        return self._state.complete(frame, new)

    def inputs_of(self, name: str) -> list[str]:
        """Names of the tensors that one module takes."""
        return list(self._sessions[name].inputs)

    def run(self, name: str, known: dict[str, np.ndarray]) -> None:
        """One module; what it gives joins the known tensors (raises ExportError)."""
        self._sessions[name].run(known)

    def end(self, known: Mapping[str, np.ndarray]) -> None:
        """What the next frame takes of this one is kept."""
        self._state.keep(known)


class _Session:
    """One file."""

    def __init__(self, path: Path, threads: int, integer: bool) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        self._path = path
        try:
            source = _integer(path) if integer else str(path)
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a class of its own for each kind of bad file
            raise self._refused(error) from None
        self.inputs = {value.name: self._kind(value) for value in self._session.get_inputs()}
        self.outputs = {value.name: self._kind(value) for value in self._session.get_outputs()}
        self._names = list(self.outputs)

    def run(self, known: dict[str, np.ndarray]) -> None:
        """Add its outputs to the tensors that are known by name (raises BevliteError when an input is not)."""
        missing = [name for name in self.inputs if name not in known]
        if missing:
            raise BevliteError(
                f"{self._path}: inputs: found none for {', '.join(missing)}; accepted: a tensor for each"
            )
        feed = {name: np.asarray(known[name]).astype(kind, copy=False) for name, (kind, _) in self.inputs.items()}
        try:
            values = self._session.run(self._names, feed)
        except Exception as error:  # a class of its own for each kind of failure
            raise self._refused(error) from None
        known.update(zip(self._names, map(np.asarray, values), strict=True))

    def _kind(self, value: Any) -> Kind:
        if value.type not in _TYPES:
            raise ExportError(f"{self._path}: '{value.name}': found {value.type}; accepted: {', '.join(_TYPES)}")
        return np.dtype(_TYPES[value.type]), tuple(n if isinstance(n, int) else 0 for n in value.shape)

    def _refused(self, error: Exception) -> ExportError:
        return ExportError(f"{self._path}: ONNX Runtime does not take it ({str(error).splitlines()[0]})")


def _integer(path: Path) -> str | bytes:
    """The file as it is where it has no Q/DQ nodes."""
    import onnx

    made, count = with_integer_kernels(onnx.load(str(path)))
    serialized: bytes = made.SerializeToString() if count else b""
    return serialized or str(path)
