"""The latency model against published latencies on Orin boards: fit, leave one lineage out, other boards, ablations.

    python benchmarks/latency_orin.py --ablations    # the tables, from the shipped coefficients
    python benchmarks/latency_orin.py --fit          # fit anew, and write bevlite/latency/calibrations/orin.yaml

Networks are rebuilt with random weights and exported once into the folder of graphs. Rows of Ultralytics' YOLOs
need its package, which is no dependency of BEVLite; without it they are left out, and the tables say how many.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from published import Graphs
from published_rows import FURTHER, Row, measurement, read_rows
from regressor import boosted
from scipy.stats import kendalltau

from bevlite.config import to_yaml, write_atomic
from bevlite.latency.calibration.fitting import Measurement, calibrate, cross_validate, predict_ms
from bevlite.latency.coefficients import SHIPPED, Coefficients, load_calibration
from bevlite.latency.device import find_device

BOARD = "agx-orin-64gb"
PRECISIONS = ("fp16", "int8", "fp32")
NAMES = (
    "launch_share",
    "conv_efficiency",
    "gemm_efficiency",
    "depthwise_efficiency",
    "conv_operand_share",
    "nms_flop_per_anchor",
    "int8_ratio",
    "tf32_ratio",
)
"""What is fitted. Chosen among four sets by the errors of lineages left out; all of `FITTABLE` made them no smaller."""


def main() -> None:
    """Print the tables, and write the calibration when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=Path, default=Path("runs/graphs"), help="folder of exported graphs")
    parser.add_argument("--fit", action="store_true", help="fit the shipped coefficients anew")
    parser.add_argument("--ablations", action="store_true", help="what simpler models reach on the same split")
    options = parser.parse_args()
    graphs = Graphs(options.graphs)
    every = [*read_rows(), *read_rows(FURTHER)]
    rows = [row for row in every if graphs.available(row)]
    fitted = [row for row in rows if row.device == BOARD and row.tier in "AB" and row.stock]
    print(f"# Latency model against published latencies\n\n{len(rows)} of {len(every)} rows could be rebuilt.\n")
    measured = [measurement(row, graphs.of(row)) for row in fitted]
    if options.fit:
        found = calibrate(measured, Coefficients(), BOARD, NAMES, print)
        write_atomic(SHIPPED, "# Written by benchmarks/latency_orin.py --fit\n" + to_yaml(found))
    shipped = load_calibration(SHIPPED)
    print(f"Fitted: {', '.join(f'{n} {getattr(shipped.coefficients, n):g}' for n in shipped.fitted)}.")
    for name, why in shipped.held.items():
        print(f"Held at its start: {name} {getattr(shipped.coefficients, name):g} ({why}).")
    predicted, _ = cross_validate(measured, Coefficients(), NAMES)
    in_sample = predict_ms(measured, shipped.coefficients)
    _lineages(fitted, predicted, in_sample, shipped.coefficients)
    _others(rows, fitted, graphs, shipped.coefficients)
    if options.ablations:
        half = [i for i, row in enumerate(fitted) if row.precision == "fp16"]
        _ablations([measured[i] for i in half], [fitted[i] for i in half], predicted[half])
        _without(fitted, graphs, predicted)
    _all_rows(fitted, predicted)


def _errors(rows: Sequence[Row], predicted: np.ndarray) -> np.ndarray:
    return predicted / np.array([row.latency_ms for row in rows]) - 1


def _summary(rows: Sequence[Row], predicted: np.ndarray) -> tuple[float, float, float, float]:
    """Mean over lineages of the lineage's mean error; lineage-weighted median and 90th percentile; Kendall's tau."""
    error = np.abs(_errors(rows, predicted))
    lineage = np.array([row.lineage for row in rows])
    weight = np.array([1 / (lineage == name).sum() for name in lineage])
    order = np.argsort(error)
    reached = np.cumsum(weight[order]) / weight.sum()
    median, high = (float(error[order][np.searchsorted(reached, q)]) for q in (0.5, 0.9))
    mean = float(np.mean([error[lineage == name].mean() for name in set(lineage)]))
    return mean, median, high, float(kendalltau(predicted, [row.latency_ms for row in rows]).statistic)


def _lineages(rows: Sequence[Row], predicted: np.ndarray, in_sample: np.ndarray, c: Coefficients) -> None:
    print("\n## One lineage left out, AGX Orin 64 GB, tiers A and B\n")
    print(
        "| precision | lineage | rows | networks | mean error, left out | largest | mean error, in the fit | inside |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for precision in PRECISIONS:
        chosen = np.array([row.precision == precision for row in rows])
        lineage = np.array([row.lineage for row in rows])
        for name in sorted(set(lineage[chosen])):
            mine = np.flatnonzero(chosen & (lineage == name))
            here = [rows[i] for i in mine]
            error, inside = np.abs(_errors(here, predicted[mine])), np.abs(_errors(here, in_sample[mine]))
            cells = (
                f"{error.mean():.1%} | {error.max():.1%} | {inside.mean():.1%} | {_held(here, predicted[mine], c):.0%}"
            )
            print(f"| {precision} | {name} | {len(mine)} | {len({row.network for row in here})} | {cells} |")
    for precision in PRECISIONS:
        mine = np.flatnonzero([row.precision == precision for row in rows])
        here = [rows[i] for i in mine]
        mean, median, high, tau = _summary(here, predicted[mine])
        middle = np.median(np.abs(_errors(here, predicted[mine])))
        print(
            f"\n{precision}, {len({row.lineage for row in here})} lineages of {len(here)} rows: mean over lineages "
            f"{mean:.1%}; with every lineage weighing the same, median {median:.1%} and 90th percentile {high:.1%} "
            f"of the rows' errors; median of all rows {middle:.1%}; Kendall's tau {tau:.3f}; "
            f"{_held(here, predicted[mine], c):.0%} inside the interval."
        )
    print(
        f"\nInterval: -{c.band_below:.1%} to +{c.band_above:.1%}, INT8 -{c.band_below_int8:.1%} to "
        f"+{c.band_above_int8:.1%}."
    )


def _held(rows: Sequence[Row], predicted: np.ndarray, c: Coefficients) -> float:
    """The share of rows inside the interval of their precision."""
    inside = []
    for row, value in zip(rows, predicted, strict=True):
        int8 = row.precision == "int8"
        below, above = (c.band_below_int8, c.band_above_int8) if int8 else (c.band_below, c.band_above)
        inside.append(1 - below <= row.latency_ms / value <= 1 + above)
    return float(np.mean(inside))


def _others(rows: Sequence[Row], fitted: Sequence[Row], graphs: Graphs, c: Coefficients) -> None:
    print("\n## Other boards, modes and rows: nothing fitted to them\n")
    print("| board | mode | precision | tier | timed | rows | networks | median | mean | bias | tau | inside |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    used = {row.id for row in fitted}
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.id not in used:
            timed = row.how + (", CUDA graph" if row.cuda_graph else "") + ("" if row.stock else ", fusing plugin")
            mode = row.power_mode or find_device(row.device).power_modes.measured_in
            groups.setdefault((row.device, mode, row.precision, row.tier, timed), []).append(row)
    for key, mine in sorted(groups.items()):
        values = predict_ms([measurement(row, graphs.of(row)) for row in mine], c)
        error = _errors(mine, values)
        tau = kendalltau(values, [r.latency_ms for r in mine]).statistic if len(mine) > 4 else float("nan")
        cells = f"{np.median(np.abs(error)):.1%} | {np.abs(error).mean():.1%} | {error.mean():+.1%} | {tau:.3f}"
        counts = f"{len(mine)} | {len({r.network for r in mine})}"
        print(f"| {' | '.join(key)} | {counts} | {cells} | {_held(mine, values, c):.0%} |")


def _without(rows: Sequence[Row], graphs: Graphs, ours: np.ndarray) -> None:
    """The model without each of its newer parts, fitted and left out in the same way."""
    print("\n## Without a part of the model\n")
    print("| without | precision | mean over lineages | median | 90th percentile | Kendall's tau |")
    print("| --- | --- | --- | --- | --- | --- |")
    plain = [measurement(row, graphs.of(row), builder=False) for row in rows]
    full = [measurement(row, graphs.of(row)) for row in rows]
    fixed = tuple(name for name in NAMES if name not in ("int8_ratio", "tf32_ratio"))
    bare = [replace(m, extra_ms=0.0) if row.how == "python" else m for row, m in zip(rows, full, strict=True)]
    results = {
        "nothing": ours,
        "the layers that engines list": cross_validate(plain, Coefficients(), NAMES)[0],
        "fitted rates of INT8 and TF32": cross_validate(full, Coefficients(), fixed)[0],
        "what Python adds": cross_validate(bare, Coefficients(), NAMES)[0],
    }
    for name, predicted in results.items():
        for precision in PRECISIONS:
            mine = np.flatnonzero([row.precision == precision for row in rows])
            mean, median, high, tau = _summary([rows[i] for i in mine], predicted[mine])
            print(f"| {name} | {precision} | {mean:.1%} | {median:.1%} | {high:.1%} | {tau:.3f} |")


def _ablations(measured: Sequence[Measurement], rows: Sequence[Row], ours: np.ndarray) -> None:
    """Simpler models, each fitted to the other lineages, by the same weights."""
    print("\n## Simpler models on the same split\n")
    print("| model | mean over lineages | median | 90th percentile | Kendall's tau |")
    print("| --- | --- | --- | --- | --- |")
    flops = np.array([sum(k.flops for k in m.kernels) for m in measured])
    moved = np.array([sum(size for k in m.kernels for _, size in k.traffic) for m in measured])
    unfused = np.array([_unfused_us(m) for m in measured])
    models: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "FLOPs times a constant, plus a constant": lambda train, test: _line(flops, measured, train, test),
        "bytes times a constant, plus a constant": lambda train, test: _line(moved, measured, train, test),
        "roofline of every node by itself (no fusion), scaled": lambda train, test: _scale(
            unfused, measured, train, test
        ),
        "gradient boosting on operator counts, FLOPs and bytes": lambda train, test: boosted(measured, train, test),
    }
    family = np.array([m.family for m in measured])
    for name, model in models.items():
        predicted = np.zeros(len(measured))
        for left in set(family):
            predicted[family == left] = model(np.flatnonzero(family != left), np.flatnonzero(family == left))
        _print_summary(name, _summary(rows, predicted))
    _print_summary("**ours**", _summary(rows, ours))


def _print_summary(name: str, figures: tuple[float, float, float, float]) -> None:
    mean, median, high, tau = figures
    print(f"| {name} | {mean:.1%} | {median:.1%} | {high:.1%} | {tau:.3f} |")


def _target(measured: Sequence[Measurement]) -> np.ndarray:
    return np.array([m.latency_ms for m in measured])


def _line(x: np.ndarray, measured: Sequence[Measurement], train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Latency = a x + b by least squares of relative errors."""
    y = _target(measured)
    table = np.stack([x, np.full(len(x), x.mean())], axis=1)
    found = np.linalg.lstsq(table[train] / y[train, None], np.ones(len(train)), rcond=None)[0]
    return np.maximum(table[test] @ found, 1e-3)


def _scale(x: np.ndarray, measured: Sequence[Measurement], train: np.ndarray, test: np.ndarray) -> np.ndarray:
    y = _target(measured)
    return x[test] * float(np.exp(np.mean(np.log(y[train] / x[train]))))


def _unfused_us(m: Measurement) -> float:
    """Every node a kernel of its own: the larger of its FLOPs and its bytes at the ceilings, and a launch."""
    total = 0.0
    for kernel in m.kernels:
        size = sum(size for _, size in kernel.traffic)
        nodes = max(1, len(kernel.nodes))
        total += max(kernel.flops / m.top.tensor_flop_per_us, size * nodes / m.top.read_bytes_per_us)
        total += nodes * m.top.launch_us
    return total


def _all_rows(rows: Sequence[Row], predicted: np.ndarray) -> None:
    print("\n## Every row, its lineage left out\n")
    print("| row | network | input | tier | published ms | predicted ms | error | source |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row, value, error in zip(rows, predicted, _errors(rows, predicted), strict=True):
        shape = "x".join(map(str, row.shape))
        times = f"{row.latency_ms:.3f} | {value:.3f} | {error:+.1%}"
        print(f"| {row.id} | {row.network} | {shape} | {row.tier} | {times} | {row.source} |")


if __name__ == "__main__":
    main()
