"""The CPU of this machine by ONNX Runtime: a true measurement, of this CPU."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from bevlite.devices.contract import Health, Inputs, Precision, Problem, precision_of
from bevlite.devices.graph_file import GraphFile
from bevlite.devices.inference import Chain, Inference
from bevlite.devices.local.cpu_frames import time_frames
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.devices.local.repeated import timed
from bevlite.devices.report.frame_results import SampleFrames
from bevlite.devices.report.from_agent import report_of
from bevlite.devices.report.latency import Conditions, Kind, LatencyReport
from bevlite.devices.report.timing import Measured
from bevlite.devices.report.whole_frames import WholeFrames
from bevlite.devices.settings import OnnxRuntimeSettings
from bevlite.devices.state import Feeds, require_starts
from bevlite.errors import BevliteError
from bevlite.latency.pipeline import PipelineStep


def cpu_name() -> str:
    """Name of the processor, fit for a file name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"model name\s*:\s*(.+)", text)
    name = found.group(1) if found else platform.processor() or platform.machine()
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((R|TM)\)", "", name).lower()).strip("-")


class OnnxRuntimeDevice:
    """ONNX files as they are, on the CPU. The precision is the graph's own: nothing is converted."""

    kind: Kind = "measured"

    def __init__(self, settings: OnnxRuntimeSettings, say: Callable[[str], None] = lambda text: None) -> None:
        self.name = f"cpu-{cpu_name()}"
        self.protocol = settings.figures()
        self._threads, self._say = settings.threads, say

    def check(self) -> Health:
        """The CPU, the version, and whether others use the machine."""
        import os

        import onnxruntime

        busy = os.getloadavg()[0]
        cores = os.cpu_count() or 1
        problems = []
        if busy > 0.5 * cores:
            problems.append(Problem("busy", f"load {busy:.1f} on {cores} cores", "end what runs beside, or wait"))
        identity = {"cpu": self.name, "cores": cores, "onnxruntime": onnxruntime.__version__}
        return Health(identity, {"load": busy}, tuple(problems))

    def measure(
        self,
        modules: Mapping[str, Path],
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp32",
        *,
        inputs: Mapping[str, Inputs] | None = None,
    ) -> LatencyReport:
        """Time every module in this process (raises BevliteError)."""
        import onnxruntime

        if not modules:
            raise BevliteError(f"{self.name}: found no ONNX modules; accepted: at least one")
        rows, notes, used = {}, [], {}
        for name, path in modules.items():
            self._say(f"{name}: measure")
            graph = GraphFile.read(path)
            used[name] = _precision(graph)
            if precision_of(precision, name) != used[name]:
                notes.append(f"{name}: the graph is {used[name]}, and runs as such")
            feed, made_up = graph.complete((inputs or {}).get(name, {}))
            if made_up:
                notes.append(f"{name}: made-up values for {', '.join(made_up)}: latency may depend on them")
            chain = OnnxChain({name: path}, threads=self._threads)

            def query(chain: OnnxChain = chain, name: str = name, feed: Mapping[str, np.ndarray] = feed) -> float:
                known = dict(feed)
                start = time.perf_counter()
                chain.run(name, known)
                return (time.perf_counter() - start) * 1000

            first = query()
            timing, more = timed(query, self.protocol)
            rows[name] = Measured(plain=timing, first_frame_ms=first, notes=tuple(more))
        governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
        conditions = Conditions(
            module=self.name,
            runtime=f"onnxruntime-{onnxruntime.__version__}",
            cuda_graph=False,
            cpu_governor=governor.read_text().strip() if governor.is_file() else None,
        )
        return report_of(self.name, modules, rows, conditions, used, pipeline, notes)

    def time_frames(
        self,
        modules: Mapping[str, Path],
        given: SampleFrames,
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp32",
    ) -> WholeFrames:
        """Time sample frames through all modules in this process, one after the other (raises BevliteError)."""
        import onnxruntime

        network = Chain(modules, given.feeds)
        frames = [network.frame(frame) for frame in given.frames]
        require_starts(given.starts, len(frames))
        self._say("frames: measure")
        chain = OnnxChain(modules, given.feeds, self._threads)
        runner = f"onnxruntime {onnxruntime.__version__} on the CPU"
        return time_frames(chain, frames, given, tuple(pipeline), self.protocol, runner)

    def infer(
        self,
        modules: Mapping[str, Path],
        frames: Sequence[Inputs],
        outputs: Sequence[str],
        precision: Precision = "fp32",
        *,
        feeds: Feeds | None = None,
        starts: Collection[int] = (),
    ) -> Inference:
        """Run frames through a network (see `InferringDevice`); the precision is the graphs' own."""
        import onnxruntime

        network = Chain(modules, feeds)
        network.require_outputs(outputs)
        given = [network.frame(frame) for frame in frames]
        chain = OnnxChain(modules, feeds, self._threads)
        runs = chain.frames(given, require_starts(starts, len(given)))
        found = tuple({name: known[name] for name in outputs} for known in runs)
        return Inference(found, {}, f"onnxruntime {onnxruntime.__version__} on the CPU", "", None, None)


def _precision(graph: GraphFile) -> str:
    if graph.quantized:
        return "int8"
    return "fp16" if graph.strongly_typed else "fp32"
