"""The device that measures nothing: latency from the model of `bevlite.latency`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import onnx

from bevlite.devices.contract import Health, Inputs, Precision, precision_of, word_of
from bevlite.devices.report.latency import Ceilings, Conditions, Kernel, Kind, LatencyReport, ModuleRow, PipelineRow
from bevlite.errors import BevliteError
from bevlite.latency.coefficients import DEFAULT, Coefficients, predictor_name
from bevlite.latency.device import DeviceConfig
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.gpu.kernels import KernelCost
from bevlite.latency.onnx.identity import module_identity
from bevlite.latency.pipeline import PipelineStep
from bevlite.latency.predictor import GraphPrediction, predict_onnx
from bevlite.tensorrt import DEFAULT_VERSION

COSTLIEST = 10
"""Kernels of a module that a report keeps by default: a search keeps many reports."""


class PredictedDevice:
    """Answers for a board that is not there. Its reports are always of kind `predicted`."""

    kind: Kind = "predicted"

    def __init__(
        self,
        config: DeviceConfig,
        *,
        tensorrt: str = DEFAULT_VERSION,
        power_mode: str | None = None,
        cuda_graph: bool = True,
        coefficients: Coefficients = DEFAULT,
        kept_kernels: int | None = COSTLIEST,
    ) -> None:
        self.config = config
        self.name = config.name
        self.tensorrt = tensorrt
        self.power_mode, _ = config.mode(power_mode)
        self.cuda_graph = cuda_graph
        self.coefficients = coefficients
        self.kept_kernels = kept_kernels

    def check(self) -> Health:
        """There is nothing that could be wrong with it."""
        return Health({"board": self.config.title, "predictor": predictor_name(self.coefficients)})

    def predict(self, model: onnx.ModelProto | Path, precision: str) -> GraphPrediction:
        """One module on this board, under its conditions (raises BevliteError)."""
        return predict_onnx(
            model,
            self.config,
            precision,
            self.tensorrt,
            power_mode=self.power_mode,
            cuda_graph=self.cuda_graph,
            coefficients=self.coefficients,
        )

    def measure(
        self,
        modules: Mapping[str, Path | onnx.ModelProto],
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp16",
        *,
        inputs: Mapping[str, Inputs] | None = None,
    ) -> LatencyReport:
        """Predict every module and add the steps around them; they run one after the other.

        `precision` is one word for all modules, or one for each. The ends of the interval are summed, as if
        all errors went the same way: they come from one model, so they may. Of each module the `kept_kernels`
        costliest kernels are in the report (None: all of them). Values of `inputs` do not matter to it.

        Raises:
            BevliteError: no modules, or one that cannot be predicted (named by the message).
        """
        if not modules:
            raise BevliteError("latency: found no ONNX modules; accepted: at least one")
        predictions: dict[str, GraphPrediction] = {}
        owners: dict[str, list[str]] = {}
        for name, model in modules.items():
            wanted = precision_of(precision, name)
            prediction = predictions[name] = self.predict(model, wanted)
            for note in prediction.notes:
                owners.setdefault(note, []).append(name)
        # What holds for every module is said plainly; the rest names its modules.
        notes = [note if names == list(modules) else f"{', '.join(names)}: {note}" for note, names in owners.items()]
        steps = [PipelineRow(**asdict(step)) for step in pipeline]
        if steps:
            of = "published figures of other pipelines" + (
                "" if all(step.published for step in pipeline) else ", or estimates"
            )
            notes.append(f"preprocessing and decoding: {of}, not predictions")
        if self.coefficients.emulated:
            notes.append("the calibration was fitted to an EMULATED board: it says nothing of a real one")
        total_ms = sum(p.latency_ms for p in predictions.values()) + sum(step.latency_ms for step in steps)
        rows = [self._row(name, modules[name], prediction, total_ms) for name, prediction in predictions.items()]
        everything = (*rows, *steps)
        return LatencyReport(
            kind="predicted",
            device=self.config.name,
            precision=word_of(precision),
            conditions=Conditions(power_mode=self.power_mode, tensorrt=self.tensorrt, cuda_graph=self.cuda_graph),
            predictor=predictor_name(self.coefficients),
            ceilings=self._ceilings(),
            modules=tuple(rows),
            pipeline=tuple(steps),
            total_ms=total_ms,
            lower_ms=sum(row.lower_ms for row in everything),
            upper_ms=sum(row.upper_ms for row in everything),
            notes=tuple(notes),
        )

    def _ceilings(self) -> Ceilings:
        top = ceilings(self.config, self.power_mode, self.cuda_graph)
        ratios = {"fp32": self.coefficients.tf32_ratio, "fp16": 1.0, "int8": self.coefficients.int8_ratio}
        return Ceilings(
            tensor_tflops={name: top.tensor_flop_per_us * ratio / 1e6 for name, ratio in ratios.items()},
            fma_fp32_tflops=top.fma_flop_per_us / 1e6,
            memory_gb_per_s=top.read_bytes_per_us / 1e3,
            launch_us=top.launch_us * self.coefficients.launch_share,
        )

    def _row(self, name: str, model: Path | onnx.ModelProto, prediction: GraphPrediction, total_ms: float) -> ModuleRow:
        conditions = f"{self.config.name}/{self.power_mode}/tensorrt-{self.tensorrt}"
        count = len(prediction.kernels) if self.kept_kernels is None else self.kept_kernels
        return ModuleRow(
            name=name,
            latency_ms=prediction.latency_ms,
            lower_ms=prediction.lower_ms,
            upper_ms=prediction.upper_ms,
            identity=module_identity(model, prediction.precision, conditions),
            kernel_count=len(prediction.kernels),
            gflops=prediction.flops / 1e9,
            memory_mb=prediction.memory_mb,
            kernels=tuple(_kernel(kernel, total_ms) for kernel in prediction.costliest(count)),
        )


def _kernel(cost: KernelCost, total_ms: float) -> Kernel:
    latency_ms = cost.latency_us / 1e3
    return Kernel(
        name=cost.name,
        op=cost.op,
        latency_ms=latency_ms,
        bound=cost.bound,
        precision=cost.precision,
        note=cost.uncertain,
        share=min(1.0, latency_ms / total_ms) if total_ms else 0.0,
        flops=cost.flops,
        traffic_bytes=cost.traffic_bytes,
        compute_ms=cost.compute_us / 1e3,
        memory_ms=cost.memory_us / 1e3,
        launch_ms=cost.launch_us / 1e3,
    )
