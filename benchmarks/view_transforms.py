"""What each view transform costs at one size, so that a search can choose: multiply-adds, traffic, kernels, time.

    python benchmarks/view_transforms.py

Six cameras at stride 16 of 256 x 704 px (CFT, for which every token is a key: 32), 59 depth bins, 64 channels, onto
128 x 128 cells of 0.8 m. Multiply-adds and
parameters are counted without computing; traffic and time are of the latency model (predicted for an AGX Orin, FP16,
TensorRT 10.3, nothing measured); kernels also by NVIDIA's own compiler, where it is installed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bevlite.analysis.cost import module_costs
from bevlite.devices.predicted import PredictedDevice
from bevlite.export.check.witness import witnesses
from bevlite.export.graph.graphs import GraphStore, module_graphs
from bevlite.latency.device import find_device
from bevlite.rtx.installed import is_installed
from bevlite.tensorrt import STRONG
from bevlite.variant import Variant, load_variant

REFERENCE = Path(__file__).resolve().parents[1] / "configs" / "variants" / "reference-r50-camera.yaml"
LIFT = {"channels": 64, "depth_range_m": [1.0, 60.0], "depth_step_m": 1.0}
FORMS: dict[str, dict[str, Any]] = {
    "lss": {"type": "lss", **LIFT},
    "lss, by columns": {"type": "lss", "pooling": "columns", **LIFT},
    "pull, 10 contributions": {"type": "pull", **LIFT},
    "column": {"type": "column", **LIFT},
    "depth_lss": {"type": "depth_lss", **LIFT},
    "lookup, 4 heights": {"type": "lookup", "channels": 64},
    "bevformer, 1 layer": {"type": "bevformer", "channels": 64},
    "cft, 64 x 64 queries, stride 32": {"type": "cft", "channels": 64},
    "lss, with the frame before": {"type": "lss", "temporal": True, **LIFT},
}
HEAD = (
    "view transform", "parameters k", "G multiply-adds", "traffic MB", "kernels", "NVIDIA's kernels",
    "predicted ms", "from", "to",
)  # fmt: skip


def main() -> int:
    """Print the table."""
    board = PredictedDevice(find_device("agx-orin-64gb"), tensorrt="10.3", kept_kernels=None)
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD))
    for name, form in FORMS.items():
        variant = _with(form, 32 if form["type"] == "cft" else 16)
        cost = next(cost for cost in module_costs(variant) if cost.name == "view_transform")
        module = next(module for module in module_graphs(variant) if module.name == "view_transform")
        graph = GraphStore()(module, STRONG)
        (row,) = board.measure({"view_transform": graph}, (), "fp16").modules
        traffic = sum(kernel.traffic_bytes for kernel in row.kernels) / 1e6
        words = "-"
        if is_installed():
            built = witnesses({"view_transform": graph})["view_transform"].built
            words = str(len(built.kernels)) if built.accepted else built.verdict
        cells = [
            name,
            f"{cost.parameters / 1e3:.0f}",
            f"{cost.macs / 1e9:.2f}",
            f"{traffic:.0f}",
            row.kernel_count,
            words,
        ]
        cells += [f"{value:.2f}" for value in (row.latency_ms, row.lower_ms, row.upper_ms)]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return 0


def _with(form: dict[str, Any], stride: int) -> Variant:
    """The reference camera network with another view transform, on features of a stride in px."""
    content = load_variant(REFERENCE).model_dump(mode="json")
    content["camera"]["neck"] = {"type": "fpn", "channels": 256, "out_stride": stride}
    content["camera"]["view_transform"] = form
    return Variant.model_validate(content)


if __name__ == "__main__":
    sys.exit(main())
