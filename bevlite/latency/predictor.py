"""From an ONNX file to a predicted latency: kernels, total, and an interval that says how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from bevlite.errors import BevliteError
from bevlite.latency.coefficients import DEFAULT, Coefficients, predictor_name
from bevlite.latency.device import DeviceConfig
from bevlite.latency.gpu.backend import tensorrt_backend
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.gpu.features import Precision
from bevlite.latency.gpu.kernels import KernelCost, kernel_costs
from bevlite.latency.gpu.memory import engine_memory_mb
from bevlite.latency.gpu.quantization import findings, scales_of
from bevlite.latency.interval import interval
from bevlite.latency.onnx.graph import load_model, read_graph
from bevlite.tensorrt import DEFAULT_VERSION, parse_version

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class GraphPrediction:
    """The predicted latency of one engine, without transfers from and to the host.

    memory_mb: of its weights and activations.
    """

    latency_ms: float
    lower_ms: float
    upper_ms: float
    kernels: tuple[KernelCost, ...]
    precision: Precision
    device: str
    power_mode: str
    tensorrt: str
    predictor: str
    notes: tuple[str, ...]
    memory_mb: float = 0.0

    @property
    def flops(self) -> float:
        """Floating point operations of the matrix products (two a multiply-add)."""
        return sum(kernel.flops for kernel in self.kernels)

    def costliest(self, count: int = 10) -> list[KernelCost]:
        """The kernels that take longest, longest first."""
        return sorted(self.kernels, key=lambda kernel: -kernel.latency_us)[:count]


def check_precision(precision: str) -> Precision:
    """The precision as a typed word (raises BevliteError when it is none)."""
    for accepted in PRECISIONS:
        if precision == accepted:
            return accepted
    raise BevliteError(f"--precision: found '{precision}'; accepted: {', '.join(PRECISIONS)}")


def predict_onnx(
    model: onnx.ModelProto | Path | str,
    device: DeviceConfig,
    precision: Precision | str = "fp16",
    tensorrt: str = DEFAULT_VERSION,
    *,
    power_mode: str | None = None,
    cuda_graph: bool = True,
    coefficients: Coefficients = DEFAULT,
) -> GraphPrediction:
    """Predict the latency of one ONNX file as one engine, batch as in the file, data already on the device.

    Raises:
        BevliteError: the file is missing, corrupt or has dynamic shapes; or an argument is not accepted.
    """
    chosen = check_precision(precision)
    version = parse_version(tensorrt)
    backend = tensorrt_backend(version)
    proto, _ = load_model(model)
    graph = read_graph(proto)
    mode, _ = device.mode(power_mode)
    fused = backend.fuse(graph)
    features = backend.features(graph, fused, chosen)
    kernels = tuple(kernel_costs(features, ceilings(device, mode, cuda_graph), coefficients, backend))
    width = interval(features, kernels, coefficients)
    int8: list[str] = []
    if fused.quantized or chosen == "int8":
        scales = scales_of(proto) if fused.quantized else {}
        int8 = findings(graph, fused, scales).notes(version)
    return GraphPrediction(
        latency_ms=sum(kernel.latency_us for kernel in kernels) / 1e3,
        lower_ms=width.lower_us / 1e3,
        upper_ms=width.upper_us / 1e3,
        kernels=kernels,
        precision=chosen,
        device=device.name,
        power_mode=mode,
        tensorrt=tensorrt,
        predictor=predictor_name(coefficients),
        notes=(*width.reasons, *_notes(chosen, fused.quantized, mode, device), *int8),
        memory_mb=engine_memory_mb(graph, fused, chosen),
    )


def _notes(precision: Precision, explicit: bool, mode: str, device: DeviceConfig) -> list[str]:
    """What was assumed."""
    notes = []
    if explicit and precision != "int8":
        notes.append("the file carries Q/DQ nodes, which TensorRT obeys: those products are priced in INT8")
    if precision == "int8" and not explicit:
        notes.append(
            "INT8 assumes Q/DQ placed as NVIDIA does: products with weights in INT8, attention and depthwise in FP16; "
            "other placements were seen to lose all of the gain"
        )
    if mode != device.power_modes.measured_in:
        measured = device.power_modes.measured_in
        notes.append(f"{mode}: scaled by clocks from {measured}; not checked on a board")
    return notes
