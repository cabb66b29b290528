"""From a graph to its time on one DLA core with what falls back to the GPU, and an interval."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bevlite.latency.coefficients import DEFAULT, Coefficients
from bevlite.latency.device import DeviceConfig
from bevlite.latency.dla.placement import Placement, place
from bevlite.latency.dla.timing import (
    DlaBoard,
    DlaCalibration,
    DlaLayer,
    dla_board,
    dla_layers,
    layer_times_us,
    require_dla,
    shipped_dla,
    too_many_loadables,
)
from bevlite.latency.gpu.backend import tensorrt_backend
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.gpu.features import Precision
from bevlite.latency.gpu.gemm import product
from bevlite.latency.gpu.kernels import kernel_costs
from bevlite.latency.interval import interval
from bevlite.latency.onnx.graph import Graph
from bevlite.latency.onnx.operators import QUANTIZE_OPS
from bevlite.tensorrt import is_strongly_typed, parse_version

LATEST_CROSSING = 3.0
"""Handing a tensor over may take that many times the assumed figure."""
UNCOVERED_BELOW, UNCOVERED_ABOVE = 0.5, 1.0
FP16_BELOW, FP16_ABOVE = 0.5, 1.0
"""Half and double: FP16 stands on two networks."""


WORTH_IT = 0.9
"""A network of which the DLA takes less of the products is none for it."""


@dataclass(frozen=True)
class DlaPrediction:
    """A network on one DLA core: the times of both sides and of handing over, in ms, and the interval of their sum."""

    placement: Placement
    layers: tuple[DlaLayer, ...]
    board: DlaBoard
    calibration: DlaCalibration
    device: str
    power_mode: str
    tensorrt: str
    precision: Precision
    gpu_ms: float
    gpu_lower_ms: float
    gpu_upper_ms: float
    explicit: bool

    @property
    def dla_ms(self) -> float:
        """Time of the loadables on the DLA."""
        return sum(self._times()) / 1e3

    @property
    def crossing_ms(self) -> float:
        """Time of handing tensors over (assumed a tensor)."""
        return self.placement.crossings * self.calibration.crossing_us / 1e3

    @property
    def latency_ms(self) -> float:
        """All of it, one after the other."""
        return self.dla_ms + self.crossing_ms + self.gpu_ms

    @property
    def lower_ms(self) -> float:
        """The lower end: nothing for handing over."""
        return self._dla_end(-1) + self.gpu_lower_ms

    @property
    def upper_ms(self) -> float:
        """The upper end."""
        return self._dla_end(1) + self.crossing_ms * LATEST_CROSSING + self.gpu_upper_ms

    @property
    def product_share(self) -> float:
        """Share of the multiply-adds that the DLA takes (1 where there are none)."""
        dla, gpu = (_flops(side) for side in (self.placement.dla, self.placement.gpu))
        return dla / (dla + gpu) if dla + gpu else 1.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What the figure stands on, and what to do before an engine can be built."""
        c, strongly_typed = self.calibration, is_strongly_typed(parse_version(self.tensorrt))
        errors = f"-{c.band_below:.0%} to +{c.band_above:.0%}"
        found = [
            f"interval: {errors} on the DLA, from {c.networks} published networks, each left out of the fit; all of "
            "them convolutional",
            "one engine alone; GPU and DLA at once were measured to slow each other, the DLA to 27 % of its rate",
        ]
        if self.precision == "int8":
            found.append("what comes in and goes out lies in the DLA's own INT8 formats (dla_hwc4, chw32)")
        if any(layer.fp16 for layer in self.layers):
            found.append("FP16 on the DLA: from two networks, half to double; measured 14 times slower than INT8")
        kinds = sorted({layer.op for layer in self.layers if not layer.covered})
        if kinds:
            found.append(f"interval widened: no published DLA network has {', '.join(kinds)}")
        if self.product_share < WORTH_IT:
            found.append(
                f"{self.product_share:.0%} of the products could run on the DLA: it is for convolutional backbones "
                "and necks, not for this"
            )
        if self.placement.crossings:
            found.append(
                f"tensors between DLA and GPU: {self.placement.crossings}, {c.crossing_us:g} us each, assumed "
                f"(0 to {c.crossing_us * LATEST_CROSSING:g}); a CUDA graph is not taken"
            )
        if (many := too_many_loadables(self.placement)) != "":
            found.append(many)
        if self.explicit and not strongly_typed:
            found.append(
                "the file carries Q/DQ nodes, which the DLA takes from TensorRT 11.4 on: take them out and give a "
                "calibration cache (qdq-translator of NVIDIA/Deep-Learning-Accelerator-SW)"
            )
        if not self.explicit and strongly_typed and self.precision == "int8":
            found.append("TensorRT 11 is strongly typed: INT8 needs Q/DQ nodes in the file, which this one has not")
        return tuple(found)

    def with_calibration(self, calibration: DlaCalibration) -> DlaPrediction:
        """The same with other figures of the DLA."""
        return replace(self, calibration=calibration)

    def _times(self) -> list[float]:
        return layer_times_us(self.layers, self.board, self.calibration)

    def _dla_end(self, sign: int) -> float:
        """One end of the DLA's time in ms: errors of one model go the same way, so they add up."""
        c = self.calibration
        total = 0.0
        for layer, time in zip(self.layers, self._times(), strict=True):
            below, above = c.band_below, c.band_above
            if layer.fp16:
                below, above = FP16_BELOW, FP16_ABOVE
            if not layer.covered:
                below, above = max(below, UNCOVERED_BELOW), max(above, UNCOVERED_ABOVE)
            total += time * (1 + above if sign > 0 else 1 - below)
        return total / 1e3


def _flops(graph: Graph) -> float:
    found = (product(graph, node) for node in graph.nodes)
    return sum(one.flops for one in found if one is not None)


def predict_dla(
    graph: Graph,
    device: DeviceConfig,
    precision: Precision,
    tensorrt: str,
    *,
    power_mode: str | None = None,
    fp16_outputs: bool = False,
    coefficients: Coefficients = DEFAULT,
    calibration: DlaCalibration | None = None,
) -> DlaPrediction:
    """Predict a network on one DLA core, with GPU fallback.

    With `fp16_outputs` what leaves the network is FP16, and so is the layer that writes it.

    Raises:
        BevliteError: the board has no DLA, the TensorRT version does not drive it, or the precision is none of its.
    """
    version = parse_version(tensorrt)
    dla = require_dla(device, version, precision)
    mode, _ = device.mode(power_mode)
    placement = place(graph, version)
    backend = tensorrt_backend(version)
    fused = backend.fuse(placement.gpu)
    features = backend.features(placement.gpu, fused, precision) if fused.groups else []
    kernels = kernel_costs(features, ceilings(device, mode, cuda_graph=False), coefficients, backend)
    width = interval(features, kernels, coefficients)
    return DlaPrediction(
        placement=placement,
        layers=tuple(dla_layers(placement.dla, precision, fp16_outputs=graph.outputs if fp16_outputs else ())),
        board=dla_board(device, dla, mode),
        calibration=calibration or shipped_dla(),
        device=device.name,
        power_mode=mode,
        tensorrt=tensorrt,
        precision=precision,
        gpu_ms=sum(kernel.latency_us for kernel in kernels) / 1e3,
        gpu_lower_ms=width.lower_us / 1e3,
        gpu_upper_ms=width.upper_us / 1e3,
        explicit=any(node.op in QUANTIZE_OPS for node in graph.nodes),
    )
