"""The NVIDIA GPU of this machine by torch: the modules of a run, each as a CUDA graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.system.identity import nvidia_smi
from bevlite.devices.contract import Health, Inputs, Precision, Problem, precision_of
from bevlite.devices.inference import Chain, Inference
from bevlite.devices.link.faults import BadRequest, NoGpu, OutOfMemory
from bevlite.devices.local.cuda_frames import WARM_CALLS, Enter, TorchChain, time_frames
from bevlite.devices.local.repeated import timed
from bevlite.devices.report.frame_results import SampleFrames
from bevlite.devices.report.from_agent import report_of
from bevlite.devices.report.latency import Conditions, Kind, LatencyReport
from bevlite.devices.report.timing import Measured
from bevlite.devices.report.whole_frames import WholeFrames
from bevlite.devices.settings import CudaSettings
from bevlite.devices.state import Feeds, require_starts
from bevlite.errors import BevliteError
from bevlite.latency.pipeline import PipelineStep
from bevlite.models.deployed import deployed_form

if TYPE_CHECKING:
    import torch

    from bevlite.models.modules import Module


class CudaDevice:
    """Runs the torch modules that the ONNX files of a run were exported from."""

    kind: Kind = "measured"

    def __init__(self, name: str, settings: CudaSettings, say: Callable[[str], None] = lambda text: None) -> None:
        self.name = name
        self.protocol: Protocol = settings.figures()
        self._index, self._say = settings.index, say

    def check(self) -> Health:
        """The GPU and who else uses it (raises NoGpu)."""
        import torch

        self._device()
        found = self._smi()
        users = [row for row in nvidia_smi("pid,process_name", "compute-apps") if len(row) == 2]
        problems = [Problem("other_gpu_process", f"the GPU is in use by {row[1]}", "end it, or wait") for row in users]
        identity = {"gpu": torch.cuda.get_device_name(self._index), "torch": torch.__version__, "cuda": _cuda()}
        return Health(identity, found, tuple(problems))

    def measure(
        self,
        modules: Mapping[str, Path],
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp16",
        *,
        inputs: Mapping[str, Inputs] | None = None,
    ) -> LatencyReport:
        """Time the torch modules of a run (raises BevliteError, NoGpu among).

        `modules` are files in the `onnx` folder of a run: the run's variant says what to build.
        """
        import torch

        device = self._device()
        rows, notes = {}, []
        for name, plan in self._plans(modules).items():
            self._say(f"{name}: measure")
            given = (inputs or {}).get(name, {})
            made_up = sorted({spec.name for spec in plan.inputs} - set(given))
            if made_up:
                notes.append(f"{name}: made-up values for {', '.join(made_up)}: latency may depend on them")
            word = precision_of(precision, name)
            # The exported form of a module makes its rows of zeros where torch makes tensors by default.
            with torch.inference_mode(), device, deployed_form(), self._precision(plan, word)():
                try:
                    rows[name] = self._measure(plan, _tensors(plan, given, device, word))
                except torch.OutOfMemoryError:
                    raise OutOfMemory(self.name, f"no GPU memory for {name}") from None
        found = self._smi()
        conditions = Conditions(
            module=torch.cuda.get_device_name(self._index),
            runtime=f"torch-{torch.__version__}",
            cuda=_cuda(),
            cuda_graph=all(row.cuda_graph is not None for row in rows.values()),
            temperature_c=found.get("temperature_c"),
            gpu_clock_mhz=found.get("gpu_clock_mhz"),
            driver=found.get("driver"),
        )
        return report_of(self.name, modules, rows, conditions, precision, pipeline, notes)

    def time_frames(
        self,
        modules: Mapping[str, Path],
        given: SampleFrames,
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp16",
    ) -> WholeFrames:
        """Time sample frames through the torch modules of a run (raises BevliteError, NoGpu among)."""
        import torch

        device = self._device()
        network = Chain(modules, given.feeds)
        for frame in given.frames:
            network.frame(frame)
        require_starts(given.starts, len(given.frames))
        self._say("frames: measure")
        with torch.inference_mode(), device, deployed_form():
            chain = self._chain(modules, precision, given.feeds)
            try:
                return time_frames(chain, device, given, tuple(pipeline), self.protocol)
            except torch.OutOfMemoryError:
                raise OutOfMemory(self.name, "no GPU memory for the whole network") from None

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
        """Run frames through the torch modules of a run (see `InferringDevice`; raises BevliteError, NoGpu among)."""
        import torch

        device = self._device()
        network = Chain(modules, feeds)
        network.require_outputs(outputs)
        for frame in frames:
            network.frame(frame)
        begun = require_starts(starts, len(frames))
        with torch.inference_mode(), device, deployed_form():
            chain = self._chain(modules, precision, feeds)
            try:
                found = tuple(chain.frames(device, frames, outputs, begun))
            except torch.OutOfMemoryError:
                raise OutOfMemory(self.name, "no GPU memory for the whole network") from None
        return Inference(found, {}, f"torch {torch.__version__}", "", None, None)

    def _chain(self, modules: Mapping[str, Path], precision: Precision, feeds: Feeds | None) -> TorchChain:
        plans = self._plans(modules)
        words = {name: precision_of(precision, name) for name in plans}
        return TorchChain(plans, words, {name: self._precision(plans[name], words[name]) for name in plans}, feeds)

    def _device(self) -> torch.device:
        import torch

        if not torch.cuda.is_available():
            raise NoGpu(self.name, "torch finds no NVIDIA GPU on this machine", {"fix": "use --device onnxruntime"})
        if self._index >= torch.cuda.device_count():
            raise NoGpu(self.name, f"index: found {self._index}; accepted: 0 to {torch.cuda.device_count() - 1}")
        return torch.device("cuda", self._index)

    def _plans(self, modules: Mapping[str, Path]) -> dict[str, Module]:
        """The torch modules behind ONNX files, by the run that they lie in."""
        from bevlite.models.detector import Detector
        from bevlite.models.modules import modules_of
        from bevlite.run_folder import Run

        if not modules:
            raise BevliteError(f"{self.name}: found no modules; accepted: at least one")
        found: dict[str, Module] = {}
        known: dict[Path, dict[str, Module]] = {}
        for name, path in modules.items():
            folder = path.absolute().parents[2]
            if not (folder / "variant.yaml").is_file():
                raise BevliteError(
                    f"{path}: not in a run; accepted: RUN/onnx/EMISSION/MODULE.onnx (cuda runs its torch)"
                )
            if folder not in known:
                run = Run(folder)
                variant = run.variant()
                network = Detector(variant).eval()
                if run.weights_file().is_file():
                    network.load_state_dict(run.weights(variant))
                known[folder] = {plan.name: plan for plan in modules_of(network)}
            if path.stem not in known[folder]:
                raise BevliteError(f"{path}: found '{path.stem}'; accepted: {', '.join(known[folder])}")
            found[name] = known[folder][path.stem]
        return found

    def _precision(self, plan: Module, precision: str) -> Enter:
        """Bring a module to the GPU in its precision; it gives what the caller runs it in."""
        import torch

        if precision not in ("fp32", "fp16"):
            raise BadRequest(self.name, f"precision: found '{precision}'; accepted: fp32, fp16 (torch runs no engine)")
        plan.network.to(self._device())
        if precision == "fp32":
            return contextlib.nullcontext
        plan.network.half()
        return lambda: torch.autocast("cuda", torch.float16, cache_enabled=False)

    def _measure(self, plan: Module, tensors: list[torch.Tensor]) -> Measured:
        import torch

        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

        def query(run: Callable[[], Any]) -> float:
            start.record()
            run()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end))

        first = query(lambda: _call(plan, tensors))
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_CALLS):
                _call(plan, tensors)
        torch.cuda.current_stream().wait_stream(stream)
        plain, plain_notes = timed(lambda: query(lambda: _call(plan, tensors)), self.protocol)
        notes = [f"without CUDA graph: {note}" for note in plain_notes]
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                _call(plan, tensors)
        except RuntimeError as error:
            notes.append(f"CUDA graph refused ({str(error).splitlines()[0]}): measured without one")
            return Measured(plain=plain, first_frame_ms=first, notes=tuple(notes))
        captured, more = timed(lambda: query(graph.replay), self.protocol)
        memory = torch.cuda.max_memory_allocated(self._index) / 1e6
        return Measured(
            cuda_graph=captured, plain=plain, first_frame_ms=first, memory_mb=memory, notes=tuple(notes + more)
        )

    def _smi(self) -> dict[str, Any]:
        rows = nvidia_smi("clocks.sm,temperature.gpu,driver_version,power.draw")
        if self._index >= len(rows) or len(rows[self._index]) != 4:
            return {}
        clock, heat, driver, watts = rows[self._index]
        found: dict[str, Any] = {"driver": driver}
        for key, text in (("gpu_clock_mhz", clock), ("temperature_c", heat), ("power_w", watts)):
            with contextlib.suppress(ValueError):
                found[key] = float(text)
        return found


def _cuda() -> str | None:
    import torch

    return torch.version.cuda


def _call(plan: Module, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    made = plan.network(*tensors)
    return made if isinstance(made, tuple) else (made,)


def _tensors(plan: Module, given: Inputs, device: torch.device, precision: str) -> list[torch.Tensor]:
    import torch

    found = []
    for name, example in plan.example().items():
        tensor = torch.from_numpy(np.ascontiguousarray(given[name])) if name in given else example
        if tuple(tensor.shape) != tuple(example.shape):
            raise BevliteError(f"input '{name}': found {tuple(tensor.shape)}; accepted: {tuple(example.shape)}")
        kind = torch.float16 if precision == "fp16" and example.is_floating_point() else example.dtype
        found.append(tensor.to(device, kind))
    return found
