"""Exact forms of lift-splat's pooling side by side, so that a search can choose: traffic, accuracy, time.

    python benchmarks/lss_forms.py [--calibrations 20] [--gpu]

Traffic is counted on the FP16 graph that is exported, unfused: every operator reads its inputs and writes its output, a
gather reads what it takes, reshapes are free. *Gathered* counts only rows of channels that gathers read and write, as
calibrations need them (what a tree is usually quoted by). Accuracy is that graph in ONNX Runtime against a sum in
float64 of the same FP16 inputs, on random calibrations (every camera of the nominal rig turned by 0.5 degrees and moved
by 2 cm, standard deviations). Time is predicted for an AGX Orin (FP16, TensorRT 10.3); with `--gpu` the module is also
measured there in float16, through torch's compiler and CUDA graphs.
"""

from __future__ import annotations

import argparse
import sys
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from bevlite.devices.predicted import PredictedDevice
from bevlite.export.graph.graphs import module_graphs
from bevlite.latency.device import find_device
from bevlite.models.streams import build_view_transform
from bevlite.models.view_transforms.lss import LiftSplat
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.runtime.columns import column_levels
from bevlite.runtime.pooling import frustum_cells, tree_levels
from bevlite.tensorrt import STRONG
from bevlite.variant import Variant, load_variant

REFERENCE = Path(__file__).resolve().parents[1] / "configs" / "variants" / "reference-r50-camera.yaml"
SIZES: dict[str, dict[str, Any]] = {
    "6 x 16 x 44, D 59, C 64 -> 128 x 128": {"stride": 16, "channels": 64, "step": 1.0, "cell": 0.8, "extent": 51.2},
    "6 x 16 x 44, D 118, C 80 -> 128 x 128": {"stride": 16, "channels": 80, "step": 0.5, "cell": 0.8, "extent": 51.2},
    "6 x 32 x 88, D 118, C 80 -> 360 x 360": {"stride": 8, "channels": 80, "step": 0.5, "cell": 0.3, "extent": 54.0},
}
FORMS: dict[str, dict[str, Any]] = {
    "tree, S 8": {"pooling": "tree"},
    "tree, S 16": {"pooling": "tree", "chunk": 16},
    "columns, S 2": {"pooling": "columns", "chunk": 2},
    "columns, S 4": {"pooling": "columns"},
    "columns, S 8": {"pooling": "columns", "chunk": 8},
    "tree, S 8, tight": {"pooling": "tree", "tight": True},
    "columns, S 4, tight": {"pooling": "columns", "tight": True},
}
TIGHT = 1.05
"""With `tight`, capacity over the most that any of the calibrations needs, in place of the default for unknown cars."""
FREE = frozenset({"Reshape", "Constant", "Unsqueeze", "Squeeze", "Flatten", "Identity"})
HEAD = (
    "form", "gathered MB as needed", "traffic MB", "tables MB", "refused", "FP16 error", "kernels", "predicted ms",
    "from", "to", "GPU us",
)  # fmt: skip


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrations", type=int, default=20)
    parser.add_argument("--gpu", action="store_true", help="measure on the GPU that is here")
    arguments = parser.parse_args()
    board = PredictedDevice(find_device("agx-orin-64gb"), tensorrt="10.3", kept_kernels=None)
    for name, size in SIZES.items():
        print(f"\n**{name}**: {counts(size, arguments.calibrations)}\n")
        print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD))
        for form, view in FORMS.items():
            print("| " + " | ".join((form, *row(fitted(size, view, arguments), board, arguments))) + " |", flush=True)
    return 0


def with_form(size: dict[str, Any], view: dict[str, Any]) -> Variant:
    """The reference camera network at a size, with a form."""
    content = load_variant(REFERENCE).model_dump(mode="json")
    extent = size["extent"]
    content["bev"] = {"x_range_m": [-extent, extent], "y_range_m": [-extent, extent], "cell_m": size["cell"]}
    content["heads"]["occupancy"] = None
    content["camera"]["neck"] = {"type": "fpn", "channels": 256, "out_stride": size["stride"]}
    lift = {"channels": size["channels"], "depth_range_m": [1.0, 60.0], "depth_step_m": size["step"]}
    content["camera"]["view_transform"] = {"type": "lss", **lift, **view}
    return Variant.model_validate(content)


def fitted(size: dict[str, Any], view: dict[str, Any], arguments: argparse.Namespace) -> Variant:
    """The same; `tight` with a capacity for these calibrations alone."""
    plain = {key: value for key, value in view.items() if key != "tight"}
    if not view.get("tight"):
        return with_form(size, plain)
    network = transform_of(with_form(size, plain))
    needed = [levels(network, rig) for rig in calibrations(arguments.calibrations)]
    most = zip_longest(*needed, fillvalue=0)
    return with_form(size, {**plain, "capacity": [int(TIGHT * max(rows)) + 1 for rows in most]})


def levels(network: LiftSplat, rig: np.ndarray) -> list[int]:
    """Rows of each level (with columns: groups first) that a calibration needs."""
    cells = frustum_cells(network.frustum, network.grid, rig)
    chunk = network.host.chunk  # type: ignore[attr-defined]
    return (tree_levels if network.form == "tree" else column_levels)(cells, chunk)


def transform_of(variant: Variant) -> LiftSplat:
    """Its view transform."""
    camera = variant.camera
    assert camera is not None
    stride = camera.neck.out_stride
    network = build_view_transform(camera.view_transform, camera.neck.channels, stride, camera.images, variant.bev)
    assert isinstance(network, LiftSplat)
    return network


def calibrations(count: int) -> list[np.ndarray]:
    """Random ones (N, 4, 4), the same every time."""
    source, found = np.random.default_rng(0), []
    for _ in range(count):
        matrices = nominal_pixel_to_bev(256, 704)
        for matrix in matrices:
            a, b, c = source.normal(0, np.deg2rad(0.5), 3)
            q, r = np.linalg.qr(np.eye(3) + np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]]))
            matrix[:3, :3] = q * np.sign(np.diag(r)) @ matrix[:3, :3]
            matrix[:3, 3] += source.normal(0, 0.02, 3)
        found.append(matrices)
    return found


def counts(size: dict[str, Any], count: int) -> str:
    """What there is to add up, in words: medians over the calibrations."""
    network = transform_of(with_form(size, {}))
    found = []
    for matrices in calibrations(count):
        cells = frustum_cells(network.frustum, network.grid, matrices)
        kept = cells >= 0
        n, _, v, u = np.nonzero(kept)
        span = network.grid.nx * network.grid.ny
        pairs = len(np.unique(((n * cells.shape[2] + v) * cells.shape[3] + u) * span + cells[kept]))
        columns = len(np.unique((n * cells.shape[3] + u) * span + cells[kept]))
        found.append((int(kept.sum()), pairs, columns, len(np.unique(cells[kept]))))
    points, pairs, columns, cells_ = (int(median(values)) for values in zip(*found, strict=True))
    return f"{points} points, {pairs} pairs of pixel and cell, {columns} of image column and cell, {cells_} cells"


def row(variant: Variant, board: PredictedDevice, arguments: argparse.Namespace) -> list[str]:
    """One form at one size."""
    network = transform_of(variant)
    module = next(module for module in module_graphs(variant) if module.name == "view_transform")
    model = module.make(STRONG)
    rigs = calibrations(arguments.calibrations)
    rows = median(gathered(network, rig) for rig in rigs)
    tables, refused = [], 0
    for rig in rigs:
        try:
            tables.append(network.host.deployed({"pixel_to_bev": rig}))
        except ValueError:
            refused += 1
    (predicted,) = board.measure({"view_transform": model}, (), "fp16").modules
    size = sum(4 * int(np.prod(spec.shape)) for spec in network.host.inputs)
    error = max(half_error(model, network, table, rig) for table, rig in list(zip(tables, rigs, strict=False))[:3])
    return [
        f"{rows * network.out_channels * 4 / 1e6:.0f}",
        f"{traffic(model) / 1e6:.0f}",
        f"{size / 1e6:.1f}",
        f"{refused} of {len(rigs)}",
        f"{error:.1e}",
        str(predicted.kernel_count),
        *(f"{value:.2f}" for value in (predicted.latency_ms, predicted.lower_ms, predicted.upper_ms)),
        f"{gpu_us(network, tables[0]):.0f}" if arguments.gpu else "-",
    ]


def gathered(network: LiftSplat, rig: np.ndarray) -> int:
    """Rows of channels that all gathers take for one calibration."""
    first, *rest = levels(network, rig)
    chunk = network.host.chunk  # type: ignore[attr-defined]
    taken = first * (chunk if network.form == "tree" else network.frustum.height)
    return taken + sum(rest) * chunk + network.grid.nx * network.grid.ny


def traffic(model: onnx.ModelProto) -> int:
    """Bytes that its operators read and write, one by one."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    sizes = {tensor.name: int(np.prod(tensor.dims)) * _width(tensor.data_type) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        shape = value.type.tensor_type
        sizes[value.name] = int(np.prod([d.dim_value for d in shape.shape.dim])) * _width(shape.elem_type)
    total = 0
    for node in graph.node:
        if node.op_type in FREE:
            continue
        written = sum(sizes[name] for name in node.output)
        taken = [written, sizes[node.input[1]]] if node.op_type == "Gather" else [sizes[n] for n in node.input if n]
        total += written + sum(taken)
    return total


def _width(elem_type: int) -> int:
    return int(onnx.helper.tensor_dtype_to_np_dtype(elem_type).itemsize)


def half_error(model: onnx.ModelProto, network: LiftSplat, tables: dict[str, np.ndarray], rig: np.ndarray) -> float:
    """Relative error of the FP16 graph against the sum in float64."""
    depth, context = lifted(network)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"depth": depth.numpy(), "context": context.numpy(), **tables})[0].astype("float64")
    cells = network.cells(torch.from_numpy(rig)[None], "torch")
    wanted = network.pool(depth.double(), context.double(), cells, "torch").numpy()
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def lifted(network: LiftSplat) -> tuple[torch.Tensor, torch.Tensor]:
    """Random depth (6, D, h, w), each pixel's adding up to one, and context (6, C, h, w) in float16."""
    torch.manual_seed(0)
    area = (network.frustum.height, network.frustum.width)
    depth = torch.randn(network.cameras, network.depths, *area).mul(2).softmax(dim=1).half()
    return depth, torch.randn(network.cameras, network.out_channels, *area).half()


def gpu_us(network: LiftSplat, tables: dict[str, np.ndarray]) -> float:
    """Microseconds of the module in float16 on the GPU that is here: compiled, in a CUDA graph; NaN if that fails."""
    from cuda_graphs import capture, replay_ms

    given = [tensor.cuda() for tensor in (*lifted(network), *map(torch.from_numpy, tables.values()))]
    try:
        with torch.no_grad():
            compiled = torch.compile(network.pooled)
            torch.testing.assert_close(compiled(*given), network.pooled(*given), rtol=2e-2, atol=2e-2)
            graph = capture(lambda: compiled(*given), 20)
            return 1e3 * median(replay_ms(graph, 30, 3)) / 20
    except Exception as error:
        print(f"no GPU time: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
        return float("nan")


if __name__ == "__main__":
    sys.exit(main())
