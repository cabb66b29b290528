"""What a network really takes on the device at hand, in torch: the whole, module by module, layer by layer.

These figures are measured, on this device. They are not those of an Orin, whose engines run other kernels.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn

from bevlite.analysis.frames import FrameInputs, at_once
from bevlite.errors import BevliteError
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import WHOLE, Module, modules_of

Precision = Literal["fp32", "fp16", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Timing:
    """Of the network, a module or a layer, ms of one run of a batch; std is that of a sample.

    fps: frames a second at the mean. at_once: whether the batch went through in one call; else frame by frame.
    """

    name: str
    kind: Literal["network", "module", "layer"]
    mean_ms: float
    median_ms: float
    min_ms: float
    max_ms: float
    std_ms: float
    p95_ms: float
    p99_ms: float
    fps: float
    at_once: bool = True


@dataclass(frozen=True)
class Profile:
    """Timings, and under what they were measured.

    inputs: what the frames were. layers disturb each other by being watched, and are timed in runs of their own.
    """

    device: str
    threads: int
    torch: str
    cuda: str | None
    tf32: bool
    precision: Precision
    inputs: str
    batch: int
    warmup: int
    repeats: int
    timings: tuple[Timing, ...]
    kind: Literal["measured"] = "measured"

    def of(self, kind: str) -> tuple[Timing, ...]:
        """Those of a kind."""
        return tuple(one for one in self.timings if one.kind == kind)


@dataclass(frozen=True)
class Plan:
    """How to measure: runs that count and runs before them, frames in a batch, precision, and whether layers too."""

    repeats: int = 50
    warmup: int = 10
    batch: int = 1
    precision: Precision = "fp32"
    layers: bool = False

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("repeats", self.repeats, 2, 1_000_000), ("warmup", self.warmup, 0, 1_000_000),
            ("batch", self.batch, 1, 1024),
        ):  # fmt: skip
            if not least <= value <= most:
                raise BevliteError(f"{name}: found {value}; accepted: {least} to {most}")
        if self.precision not in PRECISIONS:
            raise BevliteError(f"precision: found '{self.precision}'; accepted: {', '.join(PRECISIONS)}")


def device_of(name: str, precision: str = "fp32") -> torch.device:
    """`cpu`, `cuda`, `cuda:1`, or `auto` for a GPU where there is one.

    Raises:
        BevliteError: there is no such device, or it does not compute in the precision.
    """
    gpus = torch.cuda.device_count()
    accepted = ("auto", "cpu", *(("cuda",) if gpus else ()), *(f"cuda:{n}" for n in range(gpus)))
    if name not in accepted:
        raise BevliteError(f"device: found '{name}'; accepted: {', '.join(accepted)}")
    device = torch.device(("cuda" if gpus else "cpu") if name == "auto" else name)
    if device.type == "cpu" and precision == "fp16":
        raise BevliteError("precision: found fp16 on a CPU; accepted: fp32, bf16, or a GPU")
    if device.type == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise BevliteError("precision: found bf16 on a GPU without it; accepted: fp32, fp16")
    return device


def profile(
    network: Detector, frame: FrameInputs, plan: Plan, device: torch.device, say: Callable[[str], None] = lambda _: None
) -> Profile:
    """Run a network module by module in its deployed form, and time it.

    Args:
        network: with its weights, in evaluation mode; it is moved to the device.
        frame: what it takes.
        plan: how often, how many frames.
        device: where.
        say: told of what is done.

    Raises:
        BevliteError: a part that does not run in this precision.
    """
    network.to(device).eval()
    modules = modules_of(network)
    steps = [_Step(module, plan.batch, at_once(module, plan.batch)) for module in modules]
    given = {name: _batched(value.to(device), plan.batch) for name, value in frame.inputs.items()}
    half = _TYPES.get(plan.precision)
    cast: Callable[[], AbstractContextManager[Any]] = (
        nullcontext if half is None else lambda: torch.autocast(device.type, half)
    )
    clock: _Clock = _Events(device) if device.type == "cuda" else _Counter()
    timings = []
    with torch.inference_mode(), deployed_form(), cast():
        try:
            say(f"{plan.warmup} runs to warm up, {plan.repeats} that count")
            rows = _modules(steps, given, plan, clock)
        except RuntimeError as error:
            line = str(error).strip().splitlines()[0]
            raise BevliteError(
                f"profile: the network does not run in {plan.precision}, batch {plan.batch} ({line})"
            ) from None
        timings.append(_timing(WHOLE, "network", rows.sum(axis=1), plan.batch, all(step.once for step in steps)))
        for step, column in zip(steps, rows.T, strict=True):
            timings.append(_timing(step.module.name, "module", column, plan.batch, step.once))
        if plan.layers:
            say(f"{plan.repeats} runs with every layer watched")
            for name, values in _layers(steps, given, plan, clock).items():
                timings.append(_timing(name, "layer", values, plan.batch, True))
    cuda = device.type == "cuda"
    return Profile(
        device_name(device), torch.get_num_threads(), torch.__version__, torch.version.cuda if cuda else None,
        cuda and torch.backends.cudnn.allow_tf32, plan.precision, frame.source, plan.batch, plan.warmup, plan.repeats,
        tuple(timings),
    )  # fmt: skip


def device_name(device: torch.device) -> str:
    """As its maker calls it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU, {named[0] if named else platform.machine()}"


@dataclass(frozen=True)
class _Step:
    """A module and how a batch goes through it."""

    module: Module
    batch: int
    once: bool

    def run(self, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        inputs = [known[spec.name] for spec in self.module.inputs]
        if self.once:
            return dict(zip(self.module.outputs, self.module.network(*inputs), strict=True))
        frames = [self.module.network(*(value.chunk(self.batch)[i] for value in inputs)) for i in range(self.batch)]
        return {
            name: torch.cat(parts) for name, parts in zip(self.module.outputs, zip(*frames, strict=True), strict=True)
        }


def _modules(steps: Sequence[_Step], given: Mapping[str, Tensor], plan: Plan, clock: _Clock) -> np.ndarray:
    """Milliseconds (repeats, modules)."""
    rows = []
    for number in range(plan.warmup + plan.repeats):
        known = dict(given)
        clock.start()
        for step in steps:
            known |= step.run(known)
            clock.mark()
        found = clock.intervals()
        if number >= plan.warmup:
            rows.append(found)
    return np.array(rows)


def _layers(steps: Sequence[_Step], given: Mapping[str, Tensor], plan: Plan, clock: _Clock) -> dict[str, np.ndarray]:
    """Milliseconds (repeats,) of every layer without layers of its own, by path, in the order in which they run."""
    calls: list[str] = []
    with _watched(steps, calls, clock):
        rows = []
        for number in range(plan.warmup + plan.repeats):
            known = dict(given)
            calls.clear()
            clock.start()
            for step in steps:
                known |= step.run(known)
            # Marks come in pairs: before a layer, and behind it.
            inside = clock.intervals()[1::2]
            sums: dict[str, float] = {}
            for name, ms in zip(calls, inside, strict=True):
                sums[name] = sums.get(name, 0.0) + ms
            if number >= plan.warmup:
                rows.append(sums)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@contextmanager
def _watched(steps: Sequence[_Step], calls: list[str], clock: _Clock) -> Iterator[None]:
    def before(path: str) -> Callable[[nn.Module, Any], None]:
        def hook(_: nn.Module, __: Any) -> None:
            calls.append(path)
            clock.mark()

        return hook

    hooks = []
    for step in steps:
        for path, layer in step.module.network.named_modules():
            if path and next(layer.children(), None) is None:
                hooks.append(layer.register_forward_pre_hook(before(path)))
                hooks.append(layer.register_forward_hook(lambda *_: clock.mark()))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Clock(Protocol):
    """Times between marks."""

    def start(self) -> None:
        """From here on."""

    def mark(self) -> None:
        """The work until here is one interval."""

    def intervals(self) -> list[float]:
        """Milliseconds between the marks, once all work is done."""


class _Counter:
    """Of a CPU, where work is done when a call returns."""

    def start(self) -> None:
        self._marks = [time.perf_counter_ns()]

    def mark(self) -> None:
        self._marks.append(time.perf_counter_ns())

    def intervals(self) -> list[float]:
        return [float(ms) for ms in np.diff(self._marks) / 1e6]


class _Events:
    """Of a GPU, by events in its stream: nothing waits between the modules, as nothing does in a real run."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def start(self) -> None:
        torch.cuda.synchronize(self._device)
        self._marks: list[Any] = []
        self.mark()

    def mark(self) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._marks.append(event)

    def intervals(self) -> list[float]:
        torch.cuda.synchronize(self._device)
        return [float(a.elapsed_time(b)) for a, b in pairwise(self._marks)]


def _batched(value: Tensor, batch: int) -> Tensor:
    """The same frame so many times, one behind the other along the first axis."""
    return value.repeat(batch, *[1] * (value.ndim - 1)) if batch > 1 else value


def _timing(name: str, kind: Literal["network", "module", "layer"], ms: np.ndarray, batch: int, once: bool) -> Timing:
    p95, p99 = np.percentile(ms, (95, 99))
    mean = float(ms.mean())
    return Timing(
        name, kind, mean, float(np.median(ms)), float(ms.min()), float(ms.max()), float(ms.std(ddof=1)), float(p95),
        float(p99), 1e3 * batch / mean if mean > 0 else 0.0, once,
    )  # fmt: skip
