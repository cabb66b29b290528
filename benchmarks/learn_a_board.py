"""What a few measurements on one's own board are worth: chosen by the predictor, and at random.

    python benchmarks/learn_a_board.py > benchmarks/results/learn_a_board_emulated_<date>.md

The board is emulated: its own model of time, which shares nothing with the predictor, times a secret factor of 0.5 to
2 for each kind of operator (`bevlite.simulation.jetson`). All modules of all shipped variants are candidates; what was
not measured is predicted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx

from bevlite.export.of_variant import request_of_variant
from bevlite.latency.calibration.choice import most_telling, shares
from bevlite.latency.calibration.fitting import FACTORS, Measurement, fit, predict_ms
from bevlite.latency.coefficients import DEFAULT
from bevlite.latency.device import find_device
from bevlite.latency.gpu.backend import tensorrt_backend
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.onnx.graph import read_graph
from bevlite.simulation.jetson.board import draw_factors
from bevlite.simulation.jetson.modules import find_module
from bevlite.simulation.jetson.timing import fusion, graph, roofline
from bevlite.variant import load_variant

VARIANTS = Path(__file__).resolve().parents[1] / "configs" / "variants"
COUNTS = (0, 5, 10, 20, 40)
NOISE = 0.01
"""Of a measurement: medians of one board repeat within a percent."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boards", type=int, default=20, help="emulated boards, each with factors of its own")
    options = parser.parse_args()
    models = _modules()
    board = find_device("agx-orin-64gb")
    top, backend = ceilings(board), tensorrt_backend((10, 3))
    read = [read_graph(model) for model in models.values()]
    kernels = [tuple(backend.features(one, backend.fuse(one), "fp16")) for one in read]
    layers = [_layers(model) for model in models.values()]
    share = shares(kernels, top)
    order = most_telling(share, max(COUNTS))
    errors: dict[tuple[str, int], list[float]] = {}
    for seed in range(options.boards):
        source = np.random.default_rng(seed)
        truth = np.array([_ms(each, draw_factors(seed)) for each in layers])
        seen = truth * np.exp(source.normal(0.0, NOISE, len(truth)))
        rows = [
            Measurement(k, ms, top, name.split("/")[0], name) for k, ms, name in zip(kernels, seen, models, strict=True)
        ]
        for how, chosen in (("chosen", order), ("random", list(source.permutation(len(rows))))):
            for count in [count for count in COUNTS if count < len(rows)]:
                errors.setdefault((how, count), []).append(_error(rows, truth, chosen[:count]))
    _print(len(models), options.boards, errors)


def _print(modules: int, boards: int, errors: dict[tuple[str, int], list[float]]) -> None:
    print("# Learning from a board\n")
    print(f"**Emulated**: {modules} modules of the shipped variants on {boards} emulated boards.")
    print("Mean error over what was not measured; median board, and the worst.\n")
    print("| measured | chosen by the predictor | at random |\n| --- | --- | --- |")
    for count in [count for how, count in errors if how == "chosen"]:
        cells = [f"{np.median(errors[how, count]):.1%} ({max(errors[how, count]):.1%})" for how in ("chosen", "random")]
        print(f"| {count} | {cells[0]} | {cells[1]} |")


def _error(rows: list[Measurement], truth: np.ndarray, chosen: list[int]) -> float:
    found = fit([rows[i] for i in chosen], DEFAULT, ("launch_share", *FACTORS))[0] if chosen else DEFAULT
    left = [i for i in range(len(rows)) if i not in chosen]
    return float(np.mean(np.abs(predict_ms([rows[i] for i in left], found) / truth[left] - 1)))


def _modules() -> dict[str, onnx.ModelProto]:
    """Every distinct module of every shipped variant, from shapes alone."""
    found: dict[str, onnx.ModelProto] = {}
    seen: set[bytes] = set()
    for file in sorted(VARIANTS.glob("*.yaml")):
        for name, model in request_of_variant(load_variant(file), "10.3", "fp16").modules.items():
            content = model.SerializeToString(deterministic=True)
            if content not in seen:
                seen.add(content)
                found[f"{file.stem}/{name}"] = model
    return found


def _layers(model: onnx.ModelProto) -> list[tuple[roofline.Work, str]]:
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in bare.graph.initializer:
        if not (tensor.raw_data or tensor.float_data or tensor.int64_data or tensor.int32_data) and tensor.dims:
            tensor.data_location = onnx.TensorProto.EXTERNAL  # weights without values are none that are small
    read = graph.read_graph(bare, {})
    return [(roofline.work_of(read, layer), layer.kind) for layer in fusion.fuse(read)]


def _ms(layers: list[tuple[roofline.Work, str]], factors: dict[str, float]) -> float:
    mode = find_module("agx-orin-64gb").modes[0]
    return sum(roofline.layer_ms(work, kind, "Half", mode, factors, True) for work, kind in layers)


if __name__ == "__main__":
    main()
