"""How long a network takes on one DLA core of Orin, with what the GPU must do for it. A prediction, and a rough one.

A layer of the DLA takes the longer of its multiply-adds at the core's dense INT8 rate and of its traffic at the
core's share of the board's memory, and a fixed time. Maps lie in chunks of 32 bytes of channels (formats
DLA_HWC4, CHW32 in INT8 and CHW16 in FP16), so channels are padded to 32 or 16. Batches run image by image: the
published times grow with the batch, without a part that does not. The two fitted figures, what FP16 costs, and the
band come from `benchmarks/latency_dla.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from pathlib import Path

from bevlite.config import Config, load_config
from bevlite.errors import BevliteError
from bevlite.latency.coefficients import NotNegative, Positive, Share
from bevlite.latency.device import DeviceConfig, Dla
from bevlite.latency.dla.placement import Placement
from bevlite.latency.gpu.features import Precision
from bevlite.latency.gpu.fusion import fuse
from bevlite.latency.gpu.gemm import products
from bevlite.latency.gpu.placed import Group
from bevlite.latency.onnx.graph import Graph, Tensor
from bevlite.tensorrt import Version, has_dla, has_new_dla

CALIBRATION = Path(__file__).parents[1] / "calibrations" / "orin_dla.yaml"
REFERENCE_MHZ = 1600.0
"""The clock that the fixed time of a layer is given for."""
CHUNK = {"int8": 32, "fp16": 16}
IMAGE_CHANNELS = 4
"""Channels of an image that comes in (format DLA_HWC4)."""
BYTES = {"int8": 1, "fp16": 2}
LOADABLES_A_CORE = 16
COVERED = frozenset(
    {
        *("Conv", "MaxPool", "AveragePool", "Resize", "Concat", "BatchNormalization"),
        *("Add", "Mul", "Relu", "Clip", "Sigmoid"),
    }
)
"""Operators that the published networks hold; others are flagged, and widen the interval."""


class DlaCalibration(Config):
    """What the published rows tell of the DLA, and how well: the content of `calibrations/orin_dla.yaml`."""

    conv_efficiency: Share
    """Convolutions against the dense INT8 rate, padding apart."""
    layer_us: NotNegative
    """What a layer costs beyond its work, an image, at 1600 MHz."""
    fp16_share: Share
    """FP16 over dense INT8 rate."""
    crossing_us: NotNegative
    """Handing one tensor from GPU to DLA or back. Assumed: the rows leave 0 to three times that."""
    band_below: Share
    band_above: Positive
    rows: int
    networks: int
    left_out: dict[str, float]
    """Mean absolute error of each network, predicted by a fit to the others."""


@dataclass(frozen=True)
class DlaLayer:
    """One layer of a loadable: padded operations (two a multiply-add), bytes moved, images, precision."""

    name: str
    op: str
    operations: float
    bytes: float
    images: int
    fp16: bool

    @property
    def covered(self) -> bool:
        """Whether a published network has such a layer."""
        return self.op in COVERED


@dataclass(frozen=True)
class DlaBoard:
    """One DLA core in one power mode: operations/us of dense INT8, bytes/us of memory, and its clock."""

    int8_per_us: float
    bytes_per_us: float
    clock_mhz: float


@cache
def shipped_dla() -> DlaCalibration:
    """The figures that come with this version."""
    return load_config(CALIBRATION, DlaCalibration)


def require_dla(device: DeviceConfig, version: Version, precision: Precision) -> Dla:
    """The DLA of a board.

    Raises:
        BevliteError: the board has none, the TensorRT version does not drive it, or it has no such precision.
    """
    if device.dla is None:
        raise BevliteError(f"--dla: {device.title} has no DLA; accepted: a board with one, such as agx-orin-64gb")
    now = ".".join(map(str, version))
    if not has_dla(version):
        raise BevliteError(f"--dla: TensorRT {now} has no DLA; accepted: 8.x, 10.0 to 10.7, 11.4 (AGX Orin)")
    if has_new_dla(version) and not device.dla.tensorrt_11:
        raise BevliteError(f"--dla: TensorRT {now} has no DLA on {device.title}; accepted: 8.x, 10.0 to 10.7")
    if precision == "fp32":
        raise BevliteError("--dla: found precision fp32; accepted: int8, fp16 (the DLA computes in no other)")
    return device.dla


def dla_board(device: DeviceConfig, dla: Dla, power_mode: str | None = None) -> DlaBoard:
    """One core of a board in a power mode: compute follows its clock, memory the board's, shared by the cores."""
    name, mode = device.mode(power_mode)
    measured, reference = device.mode(None)
    clock = dla.clock_mhz[name] / dla.clock_mhz[measured]
    memory = mode.emc_clock_mhz / reference.emc_clock_mhz / dla.cores
    return DlaBoard(
        int8_per_us=dla.dense_int8_tops.value * 1e6 * clock,
        bytes_per_us=device.dram_read_gb_per_s.value * 1e3 * memory,
        clock_mhz=dla.clock_mhz[name],
    )


def dla_layers(graph: Graph, precision: Precision, *, fp16_outputs: Sequence[str] = ()) -> list[DlaLayer]:
    """The layers of the DLA's side of a graph (`Placement.dla`).

    `fp16_outputs` names tensors that leave in FP16: the layers that write them compute in FP16 too, as NVIDIA's
    measured YOLOv5s shows.
    """
    fused = fuse(graph)
    outside = frozenset(graph.inputs)
    found = []
    for group in fused.groups:
        if group.elided:
            continue
        fp16 = precision == "fp16" or bool(set(group.outputs) & set(fp16_outputs))
        found.append(_layer(graph, group, fused.constants, outside, fp16))
    return found


def _layer(graph: Graph, group: Group, constants: frozenset[str], outside: frozenset[str], fp16: bool) -> DlaLayer:
    word = "fp16" if fp16 else "int8"
    shape = graph.tensor(group.nodes[-1].outputs[0]).shape
    images = prod(shape[:-3]) if len(shape) > 3 else shape[0] if shape else 1
    elements = 0.0
    for name, tensor in {**group.inputs, **group.outputs}.items():
        if name in constants:  # weights are read again for each image
            elements += tensor.numel * images
        else:
            elements += tensor.numel * _padding(tensor, IMAGE_CHANNELS if name in outside else 0, CHUNK[word])
    operations = _operations(graph, group, CHUNK[word])
    return DlaLayer(group.anchor.name, group.anchor.op, operations, elements * BYTES[word], images, fp16)


def _padding(tensor: Tensor, image: int, chunk: int) -> float:
    """How much larger a map is for its padded channels."""
    if len(tensor.shape) != 4 or not tensor.shape[1]:
        return 1.0
    channels = tensor.shape[1]
    unit = image if channels <= image else chunk
    return ceil(channels / unit) * unit / channels


def _operations(graph: Graph, group: Group, chunk: int) -> float:
    total = 0.0
    for product in products(graph, group):
        weight = graph.tensor(group.anchor.inputs[1]).shape
        inner = weight[1] if group.anchor.op == "Conv" else product.k
        unit = IMAGE_CHANNELS if inner <= IMAGE_CHANNELS and product.batch == 1 else chunk
        # The outputs of a narrow group lie beside those of the next: only what comes in is padded.
        outer = product.n if product.batch > 1 else ceil(product.n / chunk) * chunk
        true = 2.0 * product.batch * product.m * product.n * inner
        padded = 2.0 * product.batch * product.m * outer * ceil(inner / unit) * unit
        total += product.flops * padded / true
    return total


def layer_times_us(layers: Sequence[DlaLayer], board: DlaBoard, c: DlaCalibration) -> list[float]:
    """The time of each layer in us."""
    times = []
    for layer in layers:
        rate = board.int8_per_us * (c.fp16_share if layer.fp16 else c.conv_efficiency)
        body = max(layer.operations / rate, layer.bytes / board.bytes_per_us)
        times.append(body + layer.images * c.layer_us * REFERENCE_MHZ / board.clock_mhz)
    return times


def too_many_loadables(placement: Placement) -> str:
    """What to say of a placement that needs more loadables than a core holds; empty when it does not."""
    if placement.loadables <= LOADABLES_A_CORE:
        return ""
    return (
        f"{placement.loadables} parts for the DLA; a core holds {LOADABLES_A_CORE} at a time: TensorRT refuses the "
        "engine or leaves parts on the GPU"
    )
