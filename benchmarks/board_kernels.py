"""The kernels around the engines on one GPU: time against bytes over bandwidth, and against torch's own operators.

    python benchmarks/board_kernels.py --out OUT.md        # on a GPU: compiled by NVRTC, checked, then timed
    python benchmarks/board_kernels.py --counts reference-r50   # without one: what a variant's kernels move

Every kernel is first held against its numpy reference on the inputs that are timed: integers to the last bit, floats to
1e-3. Times are medians of CUDA graph replays, steps and rivals in turns; torch is captured where it can be (what waits
for the host cannot) and else launched as it is. *Floor*: the bytes that a step must read and write, over what a large
copy reaches on the same GPU. Data of one frame fit into the L2 cache of a large GPU, so a step may be below its floor.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bevlite.kernels.classes import best_class_step, map_step, voxel_step
from bevlite.kernels.columns import columns_step
from bevlite.kernels.depth import depth_step
from bevlite.kernels.detection import decoding_step, query_step
from bevlite.kernels.geometry import camera_inputs, lookup_step, slots_step
from bevlite.kernels.images import image_step
from bevlite.kernels.pillars import pillar_step
from bevlite.kernels.pooling import pooling_step, pose_inputs
from bevlite.kernels.step import Step
from bevlite.runtime.columns import column_levels
from bevlite.runtime.decoding import BoxDecoding
from bevlite.runtime.pillars import PillarGrid
from bevlite.runtime.pooling import CellGrid, Frustum, frustum_cells, tree_levels

CALLS, ROUNDS = 10, 60
SOURCE, SIZE = (900, 1600), (256, 704)
GRID = CellGrid(-51.2, -51.2, 0.8, 128, 128, -5.0, 3.0)
FRUSTUM = Frustum(tuple(np.arange(1.5, 60.0, 1.0)), 16, 44, 16)
HEIGHTS = (-2.0, -1.0, 0.0, 1.0)
PILLARS = PillarGrid(-51.2, -51.2, 0.2, 512, 512, -3.2, 4.8, 40_000, 20, "pillar")
SIX = BoxDecoding(-51.2, -51.2, 0.8, ((0,), (1, 2), (3, 4), (5,), (6, 7), (8, 9)))
POINTS = 280_000


@dataclass(frozen=True)
class Work:
    """A step, what it takes, how far floats may be off, and torch's road of the same."""

    name: str
    step: Step
    inputs: dict[str, np.ndarray]
    tolerance: float
    rival: Callable[[dict[str, Any]], Any] | None


def points(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Ten sweeps with about the density of nuScenes over the range: made up, as no data are needed to time."""
    reach, bearing = rng.lognormal(2.5, 0.8, POINTS), rng.uniform(0, 2 * np.pi, POINTS)
    cloud = np.zeros((POINTS, 5), np.float32)
    cloud[:, 0], cloud[:, 1] = reach * np.cos(bearing), reach * np.sin(bearing)
    cloud[:, 2] = np.where(rng.random(POINTS) < 0.6, rng.normal(-1.8, 0.1, POINTS), rng.uniform(-2, 3, POINTS))
    cloud[:, 3] = rng.integers(0, 256, POINTS)
    poses = np.tile(np.eye(4, dtype=np.float32)[:3], (10, 1, 1))
    poses[:, 0, 3], poses[:, 2, 3] = 0.9 - 0.4 * np.arange(10), 1.8
    first = np.linspace(0, POINTS, 11).astype(np.int32)
    return {"points": cloud, "first": first, "poses": poses, "lags": np.arange(10, dtype=np.float32) / 20}


def works() -> list[Work]:
    """Every step at the size of the reference network."""
    import board_kernels_torch as rivals

    from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, *SOURCE, 3), dtype=np.uint8)
    frames = rng.integers(0, 256, (6, SOURCE[0] * 3 // 2, SOURCE[1]), dtype=np.uint8)
    pose = nominal_pixel_to_bev(*SIZE)
    calibration = {**camera_inputs(pose, GRID, HEIGHTS), "pixel_to_bev": pose}
    room = [int(1.3 * rows) + 64 for rows in tree_levels(frustum_cells(FRUSTUM, GRID, pose), 8)] + [64]
    groups = [int(1.3 * rows) + 64 for rows in column_levels(frustum_cells(FRUSTUM, GRID, pose), 4)] + [64]
    cloud, seen = points(rng), np.linalg.inv(pose)[:, :3].astype(np.float32)
    heat = rng.normal(-6, 1.2, (1, 10, 128, 128)).astype(np.float32)
    values = rng.normal(0, 0.5, (1, 60, 128, 128)).astype(np.float32)
    queries = rng.normal(size=(1, 15, 200)).astype(np.float32)
    queries[0, 0], queries[0, 1:3] = rng.integers(0, 10, 200), rng.integers(0, 128, (2, 200))
    queries[0, 4] = rng.random(200)
    none = BoxDecoding(-51.2, -51.2, 0.8)
    logits = rng.normal(size=(1, 18, 16, 200, 200)).astype(np.float32)
    voxels = rng.integers(0, 18, (1, 16, 200, 200)).astype(np.int32)
    roads = rng.normal(size=(1, 6, 200, 200)).astype(np.float32)
    return [
        Work("resize, RGB", image_step(SOURCE, SIZE, 6), {"images": images}, 0, rivals.resize(SIZE)),
        Work("resize, NV12", image_step(SOURCE, SIZE, 6, "nv12"), {"images": frames}, 0, rivals.resize_nv12(SIZE)),
        Work("pillars", pillar_step(PILLARS, 10, POINTS), cloud, 0, rivals.pillars(PILLARS)),
        Work("LSS tables", pooling_step(FRUSTUM, GRID, 6, 8, room), pose_inputs(pose, GRID, FRUSTUM), 0,
             rivals.pooling(FRUSTUM, GRID, 8, room)),
        Work("LSS tables by columns", columns_step(FRUSTUM, GRID, 6, 4, groups), pose_inputs(pose, GRID, FRUSTUM), 0,
             None),
        Work("depth images", depth_step(6, SIZE, 10, POINTS), {**cloud, "bev_to_pixel": seen}, 0,
             rivals.depth(6, SIZE)),
        Work("lookup table", lookup_step(GRID, HEIGHTS, FRUSTUM, 6), calibration, 0,
             rivals.lookup(GRID, HEIGHTS, FRUSTUM)),
        Work("camera slots", slots_step(GRID, HEIGHTS, SIZE, 6, 5120, 2), calibration, 1e-3,
             rivals.slots(GRID, HEIGHTS, SIZE, 5120, 2)),
        Work("boxes, circle NMS", decoding_step(SIX, 128, 128, "heat", "values"), {"heat": heat, "values": values},
             1e-3, rivals.decoding(SIX)),
        Work("queries", query_step(none, 200, "queries"), {"queries": queries}, 1e-3, rivals.queries(none)),
        Work("best class", best_class_step(18, (16, 200, 200), "logits"), {"logits": logits}, 0, rivals.best_class),
        Work("voxels as bytes", voxel_step(16, 200, 200), {"voxels_in": voxels}, 0, rivals.voxels),
        Work("map classes", map_step([0.5] * 6, 200, 200, "map"), {"map": roads}, 0, rivals.map_classes),
    ]  # fmt: skip


class Ours:
    """A step on the GPU, as a graph of `CALLS` frames."""

    def __init__(self, work: Work, kernels: Any) -> None:
        from bevlite.agent.kernels.launching import Loaded

        self.cuda = kernels.cuda
        self.stream = self.cuda.stream()
        self.loaded = Loaded(kernels, work.step.plan, {}, self.stream)
        for name, buffer in work.step.plan.buffers.items():
            if buffer.role == "input":
                array = np.ascontiguousarray(work.inputs[name])
                self.loaded.write(name, array.ctypes.data, array.nbytes, self.stream)
                self.cuda.wait(self.stream)
        self._events = self.cuda.event(), self.cuda.event()
        self.loaded.enqueue(self.stream)
        self.cuda.wait(self.stream)
        self._graph = self.cuda.capture(self.stream, self._work)
        if self._graph is None:
            raise RuntimeError("the launches cannot be captured")

    def _work(self) -> bool:
        for _ in range(CALLS):
            self.loaded.enqueue(self.stream)
        return True

    def us(self) -> float:
        """Microseconds a frame."""
        first, last = self._events
        self.cuda.record(first, self.stream)
        self.cuda.launch(self._graph, self.stream)
        self.cuda.record(last, self.stream)
        self.cuda.wait(self.stream)
        return self.cuda.elapsed_ms(first, last) * 1e3 / CALLS


class Torch:
    """Torch's road, as a graph where that can be."""

    def __init__(self, work: Work) -> None:
        import torch
        from cuda_graphs import capture

        self._torch = torch
        tensors = {name: torch.from_numpy(array).cuda() for name, array in work.inputs.items()}
        assert work.rival is not None
        rival = work.rival
        self._run = lambda: rival(tensors)
        for _ in range(3):
            self._run()
        torch.cuda.synchronize()
        self.how, self._graph = "graph", None
        try:
            self._graph = capture(self._run, CALLS)
        except RuntimeError:
            self.how = "eager"
            torch.cuda.synchronize()

    def us(self) -> float:
        """Microseconds a frame."""
        start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        if self._graph is not None:
            self._graph.replay()
        else:
            for _ in range(CALLS):
                self._run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e3 / CALLS


def check(work: Work, ours: Ours) -> str:
    """Hold the outputs against numpy: what to say of it (raises AssertionError)."""
    worst = 0.0
    for name, expected in work.step.reference(work.inputs).items():
        found = np.frombuffer(ours.loaded.read(name, ours.stream), expected.dtype).reshape(expected.shape)
        if work.tolerance and expected.dtype.kind == "f":
            worst = max(worst, float(np.abs(found - expected).max()))
            np.testing.assert_allclose(found, expected, rtol=work.tolerance, atol=work.tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=name)
    return f"{worst:.0e}" if work.tolerance else "equal"


def timed(ours: Ours, rival: Torch | None) -> tuple[float, float, float]:
    """Median and spread between quartiles of ours, and the median of torch, in us a frame, taken in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(ROUNDS + 5):
        for road, kept in zip((ours, rival), times, strict=True):
            took = road.us() if road is not None else 0.0
            if turn >= 5:
                kept.append(took)
    quarters = quantiles(times[0], n=4)
    return median(times[0]), quarters[2] - quarters[0], median(times[1])


def bytes_a_us() -> float:
    """What a large copy reads and writes."""
    import torch

    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target, times = torch.empty_like(source), []
    for _ in range(20):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3)
    return 2 * source.numel() / median(times)


def measure(out: Path | None) -> int:
    """All steps, checked and timed; how many failed."""
    import torch

    from bevlite.agent.kernels.launching import Kernels
    from bevlite.agent.python_api.cuda import Cuda

    if not torch.cuda.is_available():
        print("no CUDA GPU here; --counts VARIANT needs none", file=sys.stderr)
        return 1
    torch.cuda.init()
    torch.zeros(1, device="cuda")  # torch's context is the primary one, which ours joins
    kernels, bandwidth, failed = Kernels(Cuda(ctypes.CDLL("libcuda.so.1"))), bytes_a_us(), 0
    lines = [f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}, a large copy "
             f"{bandwidth / 1e3:.0f} GB/s; medians of {ROUNDS} replays of {CALLS} frames, between quartiles", "",
             "| step | against numpy | launches | MB | floor us | ours us | times the floor | torch us | "
             "torch over ours |", "|" + " --- |" * 9]  # fmt: skip
    print("\n".join(lines), flush=True)
    for work in works():
        try:
            ours, rival = Ours(work, kernels), Torch(work) if work.rival is not None else None
            agreed = check(work, ours)
            own, spread, other = timed(ours, rival)
            plan, floor = work.step.plan, work.step.plan.traffic / bandwidth
            beside = f"{other:.1f} ({rival.how}) | {other / own:.1f}" if rival is not None else "- | -"
            row = (
                f"| {work.name} | {agreed} | {plan.launches} | {plan.traffic / 1e6:.1f} | {floor:.1f} | "
                f"{own:.1f} ± {spread / 2:.1f} | {own / floor:.1f} | {beside} |"
            )
        except Exception as error:  # the others are worth timing all the same
            failed += 1
            first = (str(error).strip().splitlines() or [""])[0][:160]
            row = f"| {work.name} | FAILED: {type(error).__name__}: {first} |" + " |" * 7
        lines.append(row)
        print(row, flush=True)
    if out is not None:
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return failed


def counts(names: list[str]) -> None:
    """What the kernels of variants move, and what an Orin is predicted to take, beside the published figures."""
    from bevlite.export.kernel_steps import kernel_steps, predicted_steps
    from bevlite.export.of_variant import steps_of
    from bevlite.latency.device import find_device
    from bevlite.variant import load_variant

    print("| variant | step | launches | MB | predicted ms | from | to | published ms |\n|" + " --- |" * 8)
    for name in names:
        variant = load_variant(Path(__file__).resolve().parents[1] / "configs" / "variants" / f"{name}.yaml")
        steps, published = kernel_steps(variant), {step.name: step for step in steps_of(variant)}
        for step in predicted_steps(steps, find_device("agx-orin-64gb")):
            plan, before = steps.frame[step.name], published.get(step.name)
            said = f"{before.latency_ms:.2f} ({before.lower_ms:.2f} to {before.upper_ms:.2f})" if before else "-"
            print(f"| {name} | {step.name} | {plan.launches} | {plan.traffic / 1e6:.1f} | {step.latency_ms:.2f} | "
                  f"{step.lower_ms:.2f} | {step.upper_ms:.2f} | {said} |")  # fmt: skip


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the table as a file")
    parser.add_argument("--counts", nargs="+", metavar="VARIANT", help="what these variants' kernels move; no GPU")
    arguments = parser.parse_args()
    if arguments.counts:
        counts(arguments.counts)
        return 0
    return measure(arguments.out)


if __name__ == "__main__":
    sys.exit(main())
