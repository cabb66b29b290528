"""The latency model against published latencies on Orin boards: fit, leave one lineage out, other boards, ablations.

    python benchmarks/latency_orin.py --ablations    # the tables, from the shipped coefficients
    python benchmarks/latency_orin.py --fit          # fit anew, and write bevlite/latency/calibrations/orin.yaml

Networks are rebuilt with random weights and exported once into the folder of graphs. Rows of YOLOv5, v8, v9 and v10
need Ultralytics, which is no dependency of BEVLite; without it they are left out, and the tables say how many.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from published import Graphs
from published_rows import Row, measurement, read_rows
from regressor import boosted
from scipy.stats import kendalltau

from bevlite.config import to_yaml, write_atomic
from bevlite.latency.calibration.fitting import Measurement, calibrate, cross_validate, predict_ms
from bevlite.latency.coefficients import FITTABLE, SHIPPED, Coefficients, load_calibration

BOARD = "agx-orin-64gb"
OTHERS = ("orin-nx-16gb", "orin-nano-8gb", "drive-orin-x")
NAMES = tuple(FITTABLE)


def main() -> None:
    """Print the tables, and write the calibration when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=Path, default=Path("runs/graphs"), help="folder of exported graphs")
    parser.add_argument("--fit", action="store_true", help="fit the shipped coefficients anew")
    parser.add_argument("--ablations", action="store_true", help="what simpler models reach on the same split")
    options = parser.parse_args()
    graphs = Graphs(options.graphs)
    every = read_rows()
    rows = [row for row in every if graphs.available(row)]
    fitted = [row for row in rows if row.device == BOARD and row.tier in "AB" and row.precision == "fp16"]
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
    _others(rows, graphs, shipped.coefficients)
    if options.ablations:
        _ablations(measured, fitted, predicted)
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
    lineage = np.array([row.lineage for row in rows])
    error, inside = np.abs(_errors(rows, predicted)), np.abs(_errors(rows, in_sample))
    print("\n## One lineage left out, AGX Orin 64 GB, FP16, tiers A and B\n")
    print("| lineage | rows | networks | mean error, left out | largest | mean error, in the fit |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in sorted(set(lineage)):
        mine = lineage == name
        networks = len({row.network for row in rows if row.lineage == name})
        cells = f"{error[mine].mean():.1%} | {error[mine].max():.1%} | {inside[mine].mean():.1%}"
        print(f"| {name} | {mine.sum()} | {networks} | {cells} |")
    mean, median, high, tau = _summary(rows, predicted)
    means = [error[lineage == name].mean() for name in set(lineage)]
    print(
        f"\nOver {len(means)} lineages of {len(rows)} rows: mean {mean:.1%}, median {np.median(means):.1%}; with every "
        f"lineage weighing the same, median {median:.1%} and 90th percentile {high:.1%} of the rows' errors; "
        f"Kendall's tau {tau:.3f}."
    )
    low, top = 1 - c.band_below, 1 + c.band_above
    hit = [low <= row.latency_ms / value <= top for row, value in zip(rows, predicted, strict=True)]
    by_lineage = np.mean(
        [np.mean([h for h, n in zip(hit, lineage, strict=True) if n == name]) for name in set(lineage)]
    )
    print(
        f"Interval -{c.band_below:.1%} to +{c.band_above:.1%}: holds {np.mean(hit):.0%} of the rows, "
        f"{by_lineage:.0%} with every lineage weighing the same."
    )


def _others(rows: Sequence[Row], graphs: Graphs, c: Coefficients) -> None:
    print("\n## Other boards and precisions, nothing fitted to them\n")
    print("| board | precision | tier | rows | networks | median error | mean error | bias | Kendall's tau |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for device in (BOARD, *OTHERS):
        for precision in ("fp16", "int8", "fp32"):
            for tier in "ABC":
                if device == BOARD and precision == "fp16":
                    continue
                mine = [r for r in rows if (r.device, r.precision, r.tier) == (device, precision, tier)]
                if not mine:
                    continue
                values = predict_ms([measurement(row, graphs.of(row)) for row in mine], c)
                error = _errors(mine, values)
                tau = kendalltau(values, [r.latency_ms for r in mine]).statistic if len(mine) > 4 else float("nan")
                print(
                    f"| {device} | {precision} | {tier} | {len(mine)} | {len({r.network for r in mine})} | "
                    f"{np.median(np.abs(error)):.1%} | {np.abs(error).mean():.1%} | {error.mean():+.1%} | {tau:.3f} |"
                )


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
