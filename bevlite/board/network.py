"""The network of a package behind one call: what the sensors gave in, what was asked for out.

    from bevlite.board.network import Calibration, Network

    network = Network("/home/nvidia/winner")
    found = network.infer(images, points, Calibration(intrinsics, camera_to_bev, (900, 1600)))
    found.detections.boxes, found.occupancy, found.map, found.times_ms

Whatever runs around the engines runs in numpy on the CPU of the board. The engines run as CUDA graphs where they allow
it; their tensors lie in one block of GPU memory, and nothing between them leaves it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from bevlite.agent.fault import Fault
from bevlite.agent.lease import Lease
from bevlite.agent.python_api.chain import Chain, libraries
from bevlite.agent.python_api.chain import Network as LoadedEngines
from bevlite.agent.python_api.cuda import RunnerError
from bevlite.agent.python_api.frame_timer import Frame, Lane, Past
from bevlite.agent.system.identity import identify
from bevlite.board import inputs as steps
from bevlite.board import outputs
from bevlite.board.arena import Arena, tensor_bytes
from bevlite.board.contents import Package
from bevlite.board.engines import Engines
from bevlite.board.sensors import Calibration, Given, Sensors

__all__ = ["Calibration", "Network", "Result"]
MOST_IN_FLIGHT = 2
LEASE_S = 60.0
CPU_NOTE = "images, pillars, tables and decoding run in numpy on the CPU"


class Result(NamedTuple):
    """What one frame gave.

    found: by task, as its package decodes it (`bevlite.board.outputs`). maps: the raw maps by name, each (1, ...).
    times_ms: by step, in order: those on the CPU by the clock, copies and engines by the GPU's events; `total` from
    `submit` to the decoded result, waiting included. notes: what had to be mended, or changed.
    """

    found: Mapping[str, Any]
    maps: Mapping[str, np.ndarray]
    times_ms: Mapping[str, float]
    notes: tuple[str, ...]

    @property
    def detections(self) -> outputs.Detections | None:
        """Boxes; None where the network has no such task."""
        found: outputs.Detections | None = self.found.get("detection")
        return found

    @property
    def occupancy(self) -> outputs.Classes | None:
        """The class of every voxel; None where the network has no such task."""
        found: outputs.Classes | None = self.found.get("occupancy")
        return found

    @property
    def map(self) -> outputs.Probabilities | None:
        """The classes of the road; None where the network has no such task."""
        found: outputs.Probabilities | None = self.found.get("map_segmentation")
        return found


class Network:
    """The engines of a package, loaded, with room for one or two frames in flight."""

    def __init__(self, folder: str, *, in_flight: int = 1, mend: bool = False, exclusive: bool = True) -> None:
        """Load the engines and run once without a frame.

        Args:
            folder: of the package. Its engines must have been built here (`./check` does it).
            in_flight: 1, or 2: while one frame is on the GPU, the next is prepared and handed over.
            mend: leave out what cannot be used of a frame, and say so, instead of refusing it.
            exclusive: hold the board's lease, so that no second runtime and no measurement uses the GPU meanwhile.

        Raises:
            Fault: a damaged package, engines that are not built or do not load, a GPU that somebody else has.
        """
        if not 1 <= in_flight <= MOST_IN_FLIGHT:
            raise Fault("bad_request", f"in_flight: found {in_flight}; accepted: 1 or 2")
        self.package = Package(folder)
        manifest = self.package.manifest
        self.sensors = Sensors(manifest["sensors"], mend)
        self._tasks: dict[str, Any] = manifest["tasks"]
        self._steps: list[dict[str, Any]] = manifest["steps"]
        self._names = [module["name"] for module in manifest["modules"]]
        engines = Engines(self.package, identify(None))
        self._lease = _leased(engines.store.root) if exclusive else None
        try:
            found = engines.require()
            cores = [module["build"]["dla_core"] for module in manifest["modules"]]
            self._load([engine.path for engine in found], cores, manifest["feeds"], in_flight)
        except BaseException as error:
            self.close()
            if isinstance(error, RunnerError):
                raise Fault("engine_failed", str(error)) from None
            raise
        self.in_flight = in_flight
        self._waiting: deque[_InFlight] = deque()
        self._calibrated: tuple[np.ndarray, dict[str, np.ndarray]] | None = None
        self._turn = 0

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the board back. Memory of the GPU is freed when the process ends."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def infer(
        self,
        images: Sequence[np.ndarray | None] | np.ndarray | None = None,
        points: np.ndarray | None = None,
        calibration: Calibration | None = None,
        ego_motion: np.ndarray | None = None,
    ) -> Result:
        """One frame, and what it gave. Frames that are still in flight are thrown away.

        Args:
            images: one for every camera of the package, in its order, (H, W, 3) uint8 RGB.
            points: (K, 5) float32: x, y, z in the BEV frame (m), intensity 0..255, lag in s; newest sweep first.
            calibration: of the cameras. A new one is taken over with the frame that brings it.
            ego_motion: (4, 4), BEV frame of the frame before to this one's, of a network with a past; None where a new
                sequence begins.

        Raises:
            Fault: `bad_frame` with one line; the network can go on with the next frame.
        """
        while self._waiting:
            self._waiting.popleft().slot.lane.finish()
        self.submit(images, points, calibration, ego_motion)
        return self.collect()

    def submit(
        self,
        images: Sequence[np.ndarray | None] | np.ndarray | None = None,
        points: np.ndarray | None = None,
        calibration: Calibration | None = None,
        ego_motion: np.ndarray | None = None,
    ) -> None:
        """Prepare a frame and hand it to the GPU (as `infer`; raises Fault, also where no frame more may fly)."""
        if len(self._waiting) >= len(self._slots):
            raise Fault("bad_request", f"{len(self._waiting)} frames are in flight; accepted: collect() one first")
        began = time.perf_counter()
        times: dict[str, float] = {}
        given = self.sensors.frame(images, points, calibration, ego_motion)
        times["sensors"] = _since(began)
        notes = list(given.notes)
        made = self._made(given, times, notes)
        slot = self._slots[self._turn % len(self._slots)]
        self._turn += 1
        start = time.perf_counter()
        slot.fill(made)
        times["staging"] = _since(start)
        slot.lane.issue(Frame({name: slot.buffers[name] for name in made}, ego_motion is None))
        self._waiting.append(_InFlight(slot, began, times, notes))

    def collect(self) -> Result:
        """What the oldest frame in flight gave (raises Fault where there is none)."""
        if not self._waiting:
            raise Fault("bad_request", "no frame is in flight; accepted: submit() one first")
        frame = self._waiting.popleft()
        try:
            frame.slot.lane.finish()
        except RunnerError as error:
            raise Fault("engine_failed", str(error)) from None
        names = ["copy in", *self._names, "copy out"]
        frame.times.update(zip(names, frame.slot.lane.parts_ms()))
        start = time.perf_counter()
        maps = frame.slot.maps()
        found = {name: outputs.decode(task, maps) for name, task in self._tasks.items()}
        frame.times["decoding"] = _since(start)
        frame.times["total"] = _since(frame.began)
        return Result(found, maps, frame.times, tuple(frame.notes))

    def prepared(
        self,
        images: Sequence[np.ndarray | None] | np.ndarray | None = None,
        points: np.ndarray | None = None,
        calibration: Calibration | None = None,
        ego_motion: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """All inputs of the engines for a frame in their types, without state; nothing is run (as `infer`)."""
        given = self.sensors.frame(images, points, calibration, ego_motion)
        made = {} if given.images is None else {"images": given.images}
        for settings in self._steps:
            made.update(_step(settings, given))
        return {name: values.astype(self._slots[0].kind(name), copy=False) for name, values in made.items()}

    def _made(self, given: Given, times: dict[str, float], notes: list[str]) -> dict[str, np.ndarray]:
        """The inputs that this frame changes; those of an unchanged calibration lie on the GPU already."""
        made = {} if given.images is None else {"images": given.images}
        matrix = given.seen.pixel_to_bev
        known = self._calibrated
        changed = matrix is not None and (known is None or not np.array_equal(known[0], matrix))
        tables: dict[str, np.ndarray] = {}
        for settings in self._steps:
            name = settings["step"]
            by_calibration = steps.STEPS[name].by_calibration
            if by_calibration and not changed:
                continue
            start = time.perf_counter()
            found = _step(settings, given)
            times[name] = _since(start)
            (tables if by_calibration else made).update(found)
        if changed:
            assert matrix is not None
            if known is not None:
                notes.append("the calibration changed: its tables were made anew")
            self._calibrated = (matrix, tables)
            for slot in self._slots:
                slot.outdated = True
        slot = self._slots[self._turn % len(self._slots)]
        if slot.outdated and self._calibrated is not None:
            made.update(self._calibrated[1])
            slot.outdated = False
        return made

    def _load(self, paths: Sequence[str], cores: Sequence[int | None], feeds: Mapping[str, str], count: int) -> None:
        trt, library = libraries()
        cuda = Arena(library)
        before = cuda.free_mb()
        loaded = LoadedEngines(trt, cuda, paths, cores)
        cuda.reserve(count * tensor_bytes(loaded.engines))
        names = [name for task in self._tasks.values() for name in task["maps"]]
        past = Past()
        self._slots = [_Slot(Chain(loaded, feeds), names, past, self._steps) for _ in range(count)]
        past.lane = None
        self.memory_mb = max(0.0, before - cuda.free_mb())
        self.graphs = {name: all(slot.graphs[i] for slot in self._slots) for i, name in enumerate(self._names)}
        self.versions = {"tensorrt": str(trt.__version__)}


class _InFlight(NamedTuple):
    slot: _Slot
    began: float
    times: dict[str, float]
    notes: list[str]


class _Slot:
    """A lane with host memory for its inputs, warmed up, its engines captured as graphs where they allow it."""

    def __init__(self, chain: Chain, maps: Sequence[str], past: Past, described: Sequence[Mapping[str, Any]]) -> None:
        cuda = chain.cuda
        self.lane = Lane(chain, maps, past)
        self.outdated = True
        names = chain.given(())
        self.buffers = {name: cuda.pinned(chain.tensors[name].size) for name in names}
        self._views = {name: _view(chain, name, self.buffers[name]) for name in names}
        for view in self._views.values():
            view[...] = 0
        self.lane.issue(Frame(self.buffers, True))
        self.lane.finish()
        self.graphs = self.lane.capture()
        if any(steps.STEPS[row["step"]].by_calibration for row in described):
            chain.resident = frozenset(self.buffers)  # a frame names what it changes; the rest stays where it is

    def kind(self, name: str) -> Any:
        """The type of an input."""
        return self._views[name].dtype

    def fill(self, made: Mapping[str, np.ndarray]) -> None:
        """Inputs of a frame into host memory that the GPU copies from (raises Fault where one does not fit)."""
        for name, values in made.items():
            view = self._views.get(name)
            if view is None or view.shape != values.shape:
                found = "no such input" if view is None else f"{values.shape}; accepted: {view.shape}"
                raise Fault("bad_frame", f"input '{name}': found {found}")
            view[...] = values

    def maps(self) -> dict[str, np.ndarray]:
        """The raw maps of the last frame, copied; FP16 as float32."""
        chain = self.lane.chain
        found = {name: _view(chain, name, buffer).copy() for name, buffer in self.lane.outputs.items()}
        return {n: v.astype(np.float32) if v.dtype == np.float16 else v for n, v in found.items()}


def _step(settings: Mapping[str, Any], given: Given) -> dict[str, np.ndarray]:
    try:
        return steps.make(settings, given.seen)
    except ValueError as error:
        raise Fault("bad_frame", f"calibration: {error}") from None


def _view(chain: Chain, name: str, buffer: Any) -> np.ndarray:
    tensor = chain.tensors[name]
    return np.frombuffer(buffer, np.dtype(tensor.dtype)).reshape(tensor.shape)


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _leased(folder: str) -> Lease:
    """The board for this process alone (raises Fault `lease_held`, which names who has it)."""
    lease = Lease(folder, f"a runtime (process {os.getpid()})", LEASE_S, lambda: None)
    lease.acquire(0.0, lambda text: None)
    return lease
