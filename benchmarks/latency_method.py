"""The method of the latency model on hardware that was measured.

    python benchmarks/latency_method.py                        # modules on an H200 through torch's compiler
    python benchmarks/latency_method.py --backend onnxruntime  # the small modules on a CPU, through ONNX Runtime

The same kernel models as for TensorRT, with the fusion rules of the declared backend, are fitted to two thirds of the
families of measurements and tested on the third that was left out, three times. TensorRT's own fusion is not tested
by it. `measure_modules.py` makes the measurements. The rules of the backend were made while looking at the modules of
`module_list.py`; those of `unseen_modules.py` are reported apart.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import module_list
import modules
import numpy as np
import onnx
from inductor.backend import Inductor
from inductor.coefficients import CompilerCoefficients
from scipy.stats import kendalltau

from bevlite.latency.calibration.fitting import Measurement, band, cross_validate, fit, predict_ms
from bevlite.latency.coefficients import Coefficients, Tile
from bevlite.latency.device import find_device
from bevlite.latency.gpu.backend import Backend, RuleBackend
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.gpu.features import Precision
from bevlite.latency.gpu.fusion import Rules
from bevlite.latency.onnx.graph import Graph, read_graph, strip_weights

HERE = Path(__file__).parent
FOLDS = 3
ONNXRUNTIME = Rules(attention=False, gemm_epilogue=False, builder=False)
"""Convolutions take norm, residual and activation, matrix products a bias; LayerNorm is one kernel."""

DEFAULT_TILES = Coefficients().tiles
LIBRARY_TILES = tuple(
    Tile(m=m, n=n)
    for m, n in ((256, 96), (128, 192), (128, 96), (64, 192), (64, 96), (64, 48), (64, 8), (16, 64), (8, 64))
)
"""Further tiles that kernels of cuBLAS and cuDNN have on an H200, by their names."""


@dataclass(frozen=True)
class Measured:
    """Where measurements come from, and how they are modelled. What starts the fit was chosen while looking at them."""

    data: Path
    device: str
    precision: Precision
    backend: Backend

    @property
    def names(self) -> tuple[str, ...]:
        """The coefficients that the fit moves."""
        return tuple(name for name in self.backend.bounds if not name.startswith("nms_"))


BACKENDS = {
    "inductor": Measured(
        HERE / "data" / "modules_h200_2026-11-21.csv",
        "h200",
        "fp16",
        Inductor(
            start=CompilerCoefficients(
                product_fill_cycles=2600.0,
                k_step_cycles=250.0,
                conv_latency=1.8,
                gather_efficiency=0.9,
                stem_efficiency=0.1,
                stem_latency=20.0,
                switch_share=0.35,
                exposed_share=0.2,
                tiles_together=3,
                tiles=(*DEFAULT_TILES, *LIBRARY_TILES),
                l2_speedup=1.8,
                l2_resident_share=0.65,
                l2_edge=8.0,
                strided_efficiency=0.15,
            )
        ),
    ),
    "onnxruntime": Measured(
        HERE / "data" / "modules_ort_cpu_2026-11-21.csv",
        str(HERE / "devices" / "xeon_2_threads.yaml"),
        "fp32",
        RuleBackend(
            ONNXRUNTIME,
            Coefficients(
                tiles=tuple(Tile(m=m, n=n) for m, n in ((128, 128), (64, 64), (16, 64), (16, 16), (4, 16), (1, 16))),
                tf32_ratio=1.0,
                launch_share=8.0,
                product_fill_cycles=5000.0,
                stem_efficiency=1.0,
                gather_efficiency=1.0,
            ),
        ),
    ),
}


def graph_of(spec: modules.ModuleSpec, folder: Path) -> Graph:
    """The module as a graph without weights, exported once."""
    file = folder / f"module_{hashlib.sha256(spec.id.encode()).hexdigest()[:16]}.onnx"
    if not file.is_file():
        onnx.save(strip_weights(modules.to_onnx(spec)), file)
    return read_graph(file)


def measurements(measured: Measured, folder: Path) -> list[Measurement]:
    """Every module that was measured quietly and has a kernel."""
    folder.mkdir(parents=True, exist_ok=True)
    backend, top = measured.backend, ceilings(find_device(measured.device))
    specs = {spec.id: spec for spec in module_list.specs()}
    found = []
    with measured.data.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not row["ms"] or row["noisy"] or row["id"] not in specs:
                continue
            graph = graph_of(specs[row["id"]], folder)
            kernels = backend.features(graph, backend.fuse(graph), measured.precision)
            if kernels:
                found.append(Measurement(tuple(kernels), float(row["ms"]), top, row["family"], row["id"]))
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, default="inductor")
    parser.add_argument("--graphs", type=Path, default=Path("runs/graphs"), help="folder of exported graphs")
    options = parser.parse_args()
    chosen = BACKENDS[options.backend]
    backend, start, names = chosen.backend, chosen.backend.start, chosen.names
    rows = measurements(chosen, options.graphs)
    measured = np.array([m.latency_ms for m in rows])
    family = np.array([m.family for m in rows])
    fold_of = {name: i % FOLDS for i, name in enumerate(sorted(set(family)))}
    fold = np.array([fold_of[name] for name in family])
    predicted, inside = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    for left in range(FOLDS):
        train = [m for m, f in zip(rows, fold, strict=True) if f != left]
        test = np.flatnonzero(fold == left)
        coefficients, held = fit(train, start, names, backend)
        # The interval must not come from what the fit has seen either.
        halves = [Measurement(m.kernels, m.latency_ms, m.top, str(fold_of[m.family]), m.network) for m in train]
        below, above = band(halves, cross_validate(halves, start, names, backend)[0])
        predicted[test] = predict_ms([rows[i] for i in test], coefficients, backend)
        ratio = measured[test] / predicted[test]
        inside[test] = (ratio >= 1 - below) & (ratio <= 1 + above)
        values = ", ".join(f"{name} {getattr(coefficients, name):.3g}" for name in names if name not in held)
        print(f"Fold {left + 1}: {values}; interval -{below:.0%} to +{above:.0%}.\n")
    error = predicted / measured - 1
    print("| family | modules | median error | mean error | bias | inside the interval |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in sorted(set(family)):
        mine = family == name
        size = np.abs(error[mine])
        cells = f"{np.median(size):.0%} | {size.mean():.0%} | {error[mine].mean():+.0%} | {inside[mine].mean():.0%}"
        print(f"| {name} | {mine.sum()} | {cells} |")
    unseen = {spec.id for spec in module_list.specs() if spec.unseen}
    new = np.array([m.network in unseen for m in rows])
    print("\n| modules | n | median error | 90th percentile | Kendall's tau | inside the interval |")
    print("| --- | --- | --- | --- | --- | --- |")
    parts = [("rules made from them", ~new), ("no rule made from", new)] if new.any() else []
    for label, mine in [("all", np.full(len(rows), True)), *parts]:
        size = np.abs(error[mine])
        tau = kendalltau(predicted[mine], measured[mine]).statistic
        cells = f"{np.median(size):.1%} | {np.quantile(size, 0.9):.1%} | {tau:.3f} | {inside[mine].mean():.0%}"
        print(f"| {label} | {mine.sum()} | {cells} |")


if __name__ == "__main__":
    main()
