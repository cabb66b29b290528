"""The DLA model against published times of one DLA core: fit, leave one network out, what FP16 costs.

    python benchmarks/latency_dla.py          # the tables, from the shipped figures
    python benchmarks/latency_dla.py --fit    # fit anew, and write bevlite/latency/calibrations/orin_dla.yaml

Two figures are fitted to five networks: the efficiency of convolutions and the fixed time of a layer. The share of
FP16 comes from two networks. Memory is the board's measured bandwidth, divided by the cores, and not fitted.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import dla_networks
import networks
import numpy as np
import onnx
from scipy.optimize import least_squares

from bevlite.config import to_yaml, write_atomic
from bevlite.latency.device import find_device
from bevlite.latency.dla.prediction import DlaPrediction, predict_dla
from bevlite.latency.dla.timing import CALIBRATION, DlaCalibration, shipped_dla
from bevlite.latency.onnx.graph import read_graph, strip_weights

DATA = Path(__file__).parent / "data" / "published_orin_dla.csv"
START = DlaCalibration(
    conv_efficiency=0.8,
    layer_us=8.0,
    fp16_share=0.02,
    crossing_us=50.0,
    band_below=0.3,
    band_above=0.3,
    rows=0,
    networks=0,
    left_out={},
)
PRIOR_SPREAD = 0.7
NOISE = 0.05


@dataclass(frozen=True)
class Row:
    """One published time of one DLA core. `use`: fit, fp16 (fits its share), check, or sparse (not modelled)."""

    id: str
    network: str
    shape: tuple[int, ...]
    precision: str
    fp16_outputs: bool
    device: str
    power_mode: str
    tensorrt: str
    latency_ms: float
    gpu_fallback: bool
    use: str
    measured: str
    source: str


def read_rows() -> list[Row]:
    """All rows of the table."""
    with DATA.open(encoding="utf-8", newline="") as file:
        return [
            Row(
                record["id"],
                record["network"],
                tuple(int(size) for size in record["shape"].split("x")),
                record["precision"],
                record["fp16_outputs"] == "yes",
                record["device"],
                record["power_mode"],
                record["tensorrt"],
                float(record["latency_ms"]),
                record["gpu_fallback"] == "yes",
                record["use"],
                record["measured"],
                record["source"],
            )
            for record in csv.DictReader(file)
        ]


class Model:
    """Predictions of rows; networks are exported once into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._placed: dict[Row, DlaPrediction] = {}

    def prediction(self, row: Row) -> DlaPrediction:
        """Placement and layers of a row, with the shipped or starting figures."""
        if row not in self._placed:
            version = ".".join(row.tensorrt.split(".")[:2])
            self._placed[row] = predict_dla(
                read_graph(self._file(row)),
                find_device(row.device),
                "fp16" if row.precision == "fp16" else "int8",
                version,
                power_mode=row.power_mode,
                fp16_outputs=row.fp16_outputs,
                calibration=START,
            )
        return self._placed[row]

    def ms(self, rows: Sequence[Row], c: DlaCalibration) -> np.ndarray:
        """Predicted times in ms. Where no GPU took part, what the rules leave to it is not counted either."""
        found = []
        for row in rows:
            again = self.prediction(row).with_calibration(c)
            found.append(again.latency_ms if row.gpu_fallback else again.dla_ms)
        return np.array(found)

    def _file(self, row: Row) -> Path:
        file = self.folder / f"dla_{row.network.replace(':', '_')}_{'x'.join(map(str, row.shape))}.onnx"
        if not file.is_file():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                onnx.save(strip_weights(networks.to_onnx(dla_networks.build(row.network), row.shape)), file)
        return file


def fit(model: Model, rows: Sequence[Row], names: Sequence[str], start: DlaCalibration) -> DlaCalibration:
    """Named figures by least squares of logarithms, networks alike, near their start where rows say little."""
    measured = np.array([row.latency_ms for row in rows])
    weights = np.sqrt([1 / sum(other.network == row.network for other in rows) for row in rows])
    prior = np.log([getattr(start, name) for name in names])

    def changed(x: np.ndarray) -> DlaCalibration:
        return start.model_copy(update=dict(zip(names, np.exp(x).tolist(), strict=True)))

    def residuals(x: np.ndarray) -> np.ndarray:
        error = np.log(model.ms(rows, changed(x)) / measured)
        return np.concatenate([weights * error / NOISE, (x - prior) / PRIOR_SPREAD])

    return changed(least_squares(residuals, prior, diff_step=1e-2).x)


def calibrate(model: Model, rows: Sequence[Row]) -> DlaCalibration:
    """Fit and cross-validate; the band holds every row of every network that was left out."""
    fitted = [row for row in rows if row.use == "fit"]
    names = ("conv_efficiency", "layer_us")
    found = fit(model, fitted, names, START)
    left_out, ratios = {}, []
    for network in sorted({row.network for row in fitted}):
        inside = [row for row in fitted if row.network == network]
        others = fit(model, [row for row in fitted if row.network != network], names, START)
        ratio = np.array([row.latency_ms for row in inside]) / model.ms(inside, others)
        ratios.extend(ratio)
        left_out[network] = round(float(np.abs(1 / ratio - 1).mean()), 3)
    found = fit(model, [row for row in rows if row.use == "fp16"], ("fp16_share",), found)
    return found.model_copy(
        update={
            "conv_efficiency": round(found.conv_efficiency, 3),
            "layer_us": round(found.layer_us, 2),
            "fp16_share": round(found.fp16_share, 4),
            "band_below": ceil((1 - min(ratios)) * 100) / 100,
            "band_above": ceil((max(ratios) - 1) * 100) / 100,
            "rows": len(fitted),
            "networks": len(left_out),
            "left_out": left_out,
        }
    )


def main() -> None:
    """Print the tables, and write the figures when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=Path, default=Path("runs/graphs"), help="folder of exported graphs")
    parser.add_argument("--fit", action="store_true", help="fit the shipped figures anew")
    options = parser.parse_args()
    model, rows = Model(options.graphs), read_rows()
    if options.fit:
        text = "# Written by benchmarks/latency_dla.py --fit\n" + to_yaml(calibrate(model, rows))
        write_atomic(CALIBRATION, text)
        shipped_dla.cache_clear()
    c = shipped_dla()
    print("# One DLA core of Orin, predicted against published\n")
    print(
        f"Fitted to {c.rows} rows of {c.networks} networks: convolutions at {c.conv_efficiency:.0%} of the dense INT8 "
        f"rate, {c.layer_us:g} us a layer and image at 1600 MHz. FP16 at {c.fp16_share:.1%} of the INT8 rate, from two "
        f"networks. Band, from networks left out: -{c.band_below:.0%} to +{c.band_above:.0%}.\n"
    )
    print("| network left out | mean error |\n| --- | --- |")
    for network, error in c.left_out.items():
        print(f"| {network} | {error:.1%} |")
    mean = np.mean(list(c.left_out.values()))
    print(f"\nOver {c.networks} networks: mean {mean:.1%}. All rows, with the shipped fit:\n")
    print("| row | network | input | precision | board, mode | published ms | predicted ms | error | use | source |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        where = f"{row.network} | {'x'.join(map(str, row.shape))} | {row.precision}"
        where += f"{', FP16 out' if row.fp16_outputs else ''} | {row.device}, {row.power_mode} | {row.latency_ms:.3f}"
        if row.use == "sparse":
            print(f"| {row.id} | {where} | | | 2:4 sparse, not modelled | {row.source} |")
            continue
        value = float(model.ms([row], c)[0])
        error = f"{value / row.latency_ms - 1:+.1%}"
        print(f"| {row.id} | {where} | {value:.3f} | {error} | {row.use} | {row.source} |")


if __name__ == "__main__":
    main()
