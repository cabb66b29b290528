"""Predicted against published latencies on Jetson AGX Orin, with random weights.

    python benchmarks/latency_published.py > benchmarks/results/latency_published_agx-orin_<date>.md

Rebuilds every network of data/published_agx_orin.csv, predicts it, and prints a Markdown table with sources.
Rows marked `calibration` decided the fitted coefficients; rows marked `check` did not.
"""

from __future__ import annotations

import csv
import statistics
import warnings
from dataclasses import dataclass
from pathlib import Path

import networks
import onnx

from bevlite.latency.coefficients import DEFAULT, PREDICTOR_VERSION
from bevlite.latency.device import find_device
from bevlite.latency.predictor import predict_onnx

DATA = Path(__file__).parent / "data" / "published_agx_orin.csv"


@dataclass(frozen=True)
class Row:
    """One published latency and its prediction."""

    network: str
    shape: str
    precision: str
    use: str
    published_ms: float
    predicted_ms: float
    inside: bool
    source: str

    @property
    def error(self) -> float:
        """Predicted over published, minus one."""
        return self.predicted_ms / self.published_ms - 1


def predict_rows() -> list[Row]:
    device = find_device("agx-orin-64gb")
    models: dict[tuple[str, str], onnx.ModelProto] = {}
    rows = []
    with DATA.open(encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file):
            key = record["network"], record["input_shape"]
            if key not in models:
                shape = tuple(int(size) for size in key[1].split("x"))
                models = {key: networks.to_onnx(networks.build(key[0], shape[-1]), shape)} | (
                    models if key[0].startswith("torchvision") else {}
                )
            # None of the sources states a CUDA graph, so launches cost what they cost in a stream.
            prediction = predict_onnx(
                models[key],
                device,
                record["precision"],
                ".".join((record["tensorrt"] or "10.3").split(".")[:2]),
                cuda_graph=False,
            )
            published = float(record["latency_ms"])
            rows.append(
                Row(
                    *key,
                    record["precision"],
                    record["use"],
                    published,
                    prediction.latency_ms,
                    prediction.lower_ms <= published <= prediction.upper_ms,
                    record["source"],
                )
            )
    return rows


def summary(rows: list[Row]) -> str:
    errors = sorted(abs(row.error) for row in rows)
    inside = sum(row.inside for row in rows)
    return (
        f"{len(rows)} rows: mean absolute error {statistics.mean(errors):.1%}, median "
        f"{statistics.median(errors):.1%}, largest {errors[-1]:.1%}, mean error "
        f"{statistics.mean(row.error for row in rows):+.1%}; {inside} of {len(rows)} inside the interval"
    )


def main() -> None:
    warnings.filterwarnings("ignore")
    rows = predict_rows()
    print("# Predicted against published latency, Jetson AGX Orin\n")
    print("Every figure in the column `predicted` comes from a model; none was measured.\n")
    interval = f"-{DEFAULT.band_below:.0%} to +{DEFAULT.band_above:.0%}"
    print(f"- Predictor {PREDICTOR_VERSION}, interval {interval} (INT8: to +{DEFAULT.band_above_int8:.0%}).")
    for use in ("calibration", "check"):
        print(f"- {use}: {summary([row for row in rows if row.use == use])}.")
    print("\n| network | input | precision | use | published ms | predicted ms | error | inside | source |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        inside = "yes" if row.inside else "**no**"
        print(
            f"| {row.network} | {row.shape} | {row.precision} | {row.use} | {row.published_ms:.3f} "
            f"| {row.predicted_ms:.3f} | {row.error:+.1%} | {inside} | {row.source} |"
        )


if __name__ == "__main__":
    main()
