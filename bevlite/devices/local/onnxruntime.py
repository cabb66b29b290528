"""The CPU of this machine by ONNX Runtime: a true measurement, of this CPU."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.devices.contract import Health, Inputs, Precision, Problem, precision_of
from bevlite.devices.graph_file import GraphFile
from bevlite.devices.inference import Chain
from bevlite.devices.link.faults import NanOutputs
from bevlite.devices.local.cpu_frames import time_frames
from bevlite.devices.local.repeated import timed
from bevlite.devices.report.frame_results import SampleFrames
from bevlite.devices.report.from_agent import report_of
from bevlite.devices.report.latency import Conditions, Kind, LatencyReport
from bevlite.devices.report.timing import Measured
from bevlite.devices.report.whole_frames import EndToEnd
from bevlite.devices.settings import OnnxRuntimeSettings
from bevlite.errors import BevliteError, ExportError
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
            session = self._session(path)
            began = time.perf_counter()
            session.run(None, feed)
            first = (time.perf_counter() - began) * 1000

            def query(session: Any = session, feed: Mapping[str, np.ndarray] = feed) -> float:
                start = time.perf_counter()
                session.run(None, feed)
                return (time.perf_counter() - start) * 1000

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

    def end_to_end(
        self,
        modules: Mapping[str, Path],
        given: SampleFrames,
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp32",
    ) -> EndToEnd:
        """Time sample frames through all modules in this process, one after the other (raises BevliteError)."""
        import onnxruntime

        chain = Chain(modules)
        frames = [chain.frame(frame) for frame in given.frames]
        self._say("frames: measure")
        sessions = {name: self._session(path) for name, path in modules.items()}
        runner = f"onnxruntime {onnxruntime.__version__} on the CPU"
        return time_frames(sessions, frames, given, tuple(pipeline), self.protocol, runner)

    def outputs(self, module: Path, inputs: Inputs, precision: str = "fp32") -> dict[str, np.ndarray]:
        """Outputs as float32 (raises BevliteError, NanOutputs among)."""
        feed, made_up = GraphFile.read(module).complete(inputs)
        if made_up:
            raise BevliteError(f"{module}: inputs: found none for {', '.join(made_up)}; accepted: a tensor for each")
        session = self._session(module)
        names = [output.name for output in session.get_outputs()]
        found = {
            name: np.asarray(value, np.float32) for name, value in zip(names, session.run(None, feed), strict=True)
        }
        for name, value in found.items():
            if not np.isfinite(value).all():
                raise NanOutputs(self.name, f"output '{name}' is not finite", {"output": name})
        return found

    def _session(self, path: Path) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self._threads
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a class of its own for each kind of bad file
            raise ExportError(f"{path}: ONNX Runtime does not take it ({str(error).splitlines()[0]})") from None


def _precision(graph: GraphFile) -> str:
    if graph.quantized:
        return "int8"
    return "fp16" if graph.strongly_typed else "fp32"
