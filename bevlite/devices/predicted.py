"""The device that measures nothing: latency from the model of `bevlite.latency`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import onnx

from bevlite.devices.report import Conditions, Kernel, LatencyReport, ModuleRow, PipelineRow
from bevlite.errors import BevliteError
from bevlite.latency.coefficients import DEFAULT, PREDICTOR_VERSION, Coefficients
from bevlite.latency.device import DeviceConfig
from bevlite.latency.identity import module_identity
from bevlite.latency.pipeline import PipelineStep
from bevlite.latency.predictor import GraphPrediction, predict_onnx

COSTLIEST = 10


class PredictedDevice:
    """Answers for a board that is not there. Its reports are always of kind `predicted`."""

    def __init__(
        self,
        config: DeviceConfig,
        *,
        tensorrt: str = "10.3",
        power_mode: str | None = None,
        cuda_graph: bool = True,
        coefficients: Coefficients = DEFAULT,
    ) -> None:
        self.config = config
        self.tensorrt = tensorrt
        self.power_mode, _ = config.mode(power_mode)
        self.cuda_graph = cuda_graph
        self.coefficients = coefficients

    def measure(
        self,
        modules: Mapping[str, Path | onnx.ModelProto],
        pipeline: Iterable[PipelineStep] = (),
        precision: str | Mapping[str, str] = "fp16",
    ) -> LatencyReport:
        """Predict every module and add the steps around them; they run one after the other.

        `precision` is one word for all modules, or one for each. The ends of the interval are summed, as if
        all errors went the same way: they come from one model, so they may.

        Raises:
            BevliteError: no modules, or one that cannot be predicted (named by the message).
        """
        if not modules:
            raise BevliteError("latency: found no ONNX modules; accepted: at least one")
        rows: list[ModuleRow] = []
        notes: list[str] = []
        for name, model in modules.items():
            wanted = precision if isinstance(precision, str) else precision.get(name, "fp16")
            prediction = predict_onnx(
                model,
                self.config,
                wanted,
                self.tensorrt,
                power_mode=self.power_mode,
                cuda_graph=self.cuda_graph,
                coefficients=self.coefficients,
            )
            rows.append(self._row(name, model, prediction))
            # What holds for every module alike is said once; the rest names its module.
            notes += [n if n.startswith("interval: ") else f"{name}: {n}" for n in prediction.notes]
        steps = [PipelineRow(**asdict(step)) for step in pipeline]
        if steps:
            notes.append("preprocessing and decoding: published figures of other pipelines, not predictions")
        everything = (*rows, *steps)
        words = {precision} if isinstance(precision, str) else set(precision.values())
        return LatencyReport(
            kind="predicted",
            device=self.config.name,
            precision=words.pop() if len(words) == 1 else "mixed",
            conditions=Conditions(power_mode=self.power_mode, tensorrt=self.tensorrt, cuda_graph=self.cuda_graph),
            predictor=PREDICTOR_VERSION,
            modules=tuple(rows),
            pipeline=tuple(steps),
            total_ms=sum(row.latency_ms for row in everything),
            lower_ms=sum(row.lower_ms for row in everything),
            upper_ms=sum(row.upper_ms for row in everything),
            notes=tuple(dict.fromkeys(notes)),
        )

    def _row(self, name: str, model: Path | onnx.ModelProto, prediction: GraphPrediction) -> ModuleRow:
        conditions = f"{self.config.name}/{self.power_mode}/tensorrt-{self.tensorrt}"
        kernels = tuple(
            Kernel(
                name=kernel.name,
                op=kernel.op,
                latency_ms=kernel.latency_us / 1e3,
                bound=kernel.bound,
                precision=kernel.precision,
                note=kernel.uncertain,
            )
            for kernel in prediction.costliest(COSTLIEST)
        )
        return ModuleRow(
            name=name,
            latency_ms=prediction.latency_ms,
            lower_ms=prediction.lower_ms,
            upper_ms=prediction.upper_ms,
            identity=module_identity(model, prediction.precision, conditions),
            kernel_count=len(prediction.kernels),
            gflops=prediction.flops / 1e9,
            costliest=kernels,
        )
