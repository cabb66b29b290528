"""Plan B: every way out predicted, priced and sorted, and written as variant files."""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path
from typing import Annotated

from pydantic import Field

from bevlite.compression.costs import Predictions
from bevlite.compression.plan_b.losses import Losses
from bevlite.compression.plan_b.ways import Kind, Way, ways_of
from bevlite.config import Config, to_yaml, write_atomic
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from bevlite.latency.dla.prediction import WORTH_IT, DlaPrediction, predict_dla
from bevlite.latency.onnx.graph import read_graph
from bevlite.models.modules import CAMERA_BEV
from bevlite.models.samples import outline
from bevlite.run_folder import Run
from bevlite.variant import Variant, load_variant

PLAN = "plan_b.json"
LINK_GBIT_S = 10.0
"""Ethernet of an AGX Orin developer kit. A BEV map in FP16 over it, at its full rate, is what a second board costs."""
NO_POWER = "watts: there is no power model, so none are predicted; measure with bevlite deploy"
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Step(Config):
    """One way out.

    ms: predicted, with its interval; saved_ms against the network as it is; fits: whether the median meets the budget,
    surely: whether the upper end does. watts: null, as there is no model. loss: relative, of NDS, as a share; null
    where it is not known. source: from what. gone: what is lost beside it. file: the variant, to be trained as it is.
    build: keys of the device file that it needs.
    """

    kind: Kind
    words: str
    ms: Milliseconds
    lower_ms: Milliseconds
    upper_ms: Milliseconds
    saved_ms: float
    fits: bool
    surely: bool
    watts: float | None = None
    loss: float | None
    source: str
    gone: str = ""
    file: str = ""
    network_hash: str
    build: dict[str, dict[str, int]] = {}
    note: str = ""

    @property
    def loss_per_ms(self) -> float | None:
        """Share of NDS for each millisecond saved; None where the loss is not known or nothing is saved."""
        return None if self.loss is None or self.saved_ms <= 0 else self.loss / self.saved_ms


class PlanB(Config):
    """All ways out of one network on one board, the cheapest first. Everything is predicted. `impossible` names ways
    that this network does not take, and why."""

    network: str
    device: str
    tensorrt: str
    power_mode: str
    predictor: str
    budget_ms: Milliseconds
    ms: Milliseconds
    lower_ms: Milliseconds
    upper_ms: Milliseconds
    steps: tuple[Step, ...]
    impossible: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the network as it is meets the budget."""
        return self.ms <= self.budget_ms


def plan_b_of(variant: Variant, board: PredictedDevice, budget_ms: float, out: Path | None, run: Path | None) -> PlanB:
    """Predict and price every way out of a network, and write each as a variant file.

    Args:
        variant: the network, with its widths and its precision plan.
        board: whose predicted latency counts.
        budget_ms: what is to be met.
        out: folder of the variant files and of `plan_b.json`; None writes nothing.
        run: folder of a run of it, for its ledger and its sensitivity tables.

    Raises:
        BevliteError: the network itself cannot be predicted.
    """
    predictions, losses = Predictions(board), Losses(variant, run)
    whole = predictions.report(variant)
    steps: list[tuple[Step, Variant]] = []
    impossible: list[str] = []
    for way in ways_of(variant, dla=board.config.dla is not None):
        try:
            made = way.make()
            predicted = _predicted(way, made, predictions, whole)
            steps.append((_step(way, predicted, made, losses, whole, budget_ms), made))
        except (ValueError, BevliteError) as error:
            impossible.append(f"{way.words}: {_one_line(error)}")
    ordered = sorted(steps, key=lambda pair: _rank(pair[0]))
    found = PlanB(
        network=variant.name,
        device=board.name,
        tensorrt=board.tensorrt,
        power_mode=str(board.power_mode),
        predictor=whole.predictor or "",
        budget_ms=budget_ms,
        ms=whole.total_ms,
        lower_ms=whole.lower_ms,
        upper_ms=whole.upper_ms,
        steps=tuple(_written(step, made, number, out) for number, (step, made) in enumerate(ordered, start=1)),
        impossible=tuple(impossible),
        notes=(NO_POWER, *whole.notes),
    )
    if out is not None:
        rows = [step.model_dump(mode="json") | {"loss_per_ms": step.loss_per_ms} for step in found.steps]
        text = json.dumps(found.model_dump(mode="json") | {"steps": rows, "fits": found.fits}, indent=1)
        write_atomic(out / PLAN, text + "\n")
    return found


class _Predicted(Config):
    """What a way takes: milliseconds with an interval, its module's place, and what is to be said of it."""

    ms: float
    lower_ms: float
    upper_ms: float
    build: dict[str, dict[str, int]] = {}
    note: str = ""


def _predicted(way: Way, made: Variant, predictions: Predictions, whole: LatencyReport) -> _Predicted:
    if way.kind == "boards":
        return _on_two_boards(made, whole)
    if way.kind == "dla":
        return _on_a_dla(way.on, made, predictions, whole)
    report = predictions.report(made)
    return _Predicted(ms=report.total_ms, lower_ms=report.lower_ms, upper_ms=report.upper_ms)


def _step(way: Way, found: _Predicted, made: Variant, losses: Losses, whole: LatencyReport, budget_ms: float) -> Step:
    cost = losses.of(way, made)
    return Step(
        kind=way.kind,
        words=way.words,
        ms=found.ms,
        lower_ms=found.lower_ms,
        upper_ms=found.upper_ms,
        saved_ms=whole.total_ms - found.ms,
        fits=found.ms <= budget_ms,
        surely=found.upper_ms <= budget_ms,
        loss=cost.loss,
        source=cost.source,
        gone=cost.gone,
        network_hash=made.network_hash,
        build=found.build,
        note=found.note,
    )


def _on_a_dla(module: str, variant: Variant, predictions: Predictions, whole: LatencyReport) -> _Predicted:
    """One module on a DLA core, the rest on the GPU, one frame at a time (raises BevliteError where it is no DLA's)."""
    request, board = predictions.request(variant), predictions.board
    precision = variant.compression.precision_of(module)
    if precision == "fp32":
        raise BevliteError("found FP32; accepted: FP16 or INT8 on a DLA")
    found: DlaPrediction = predict_dla(
        read_graph(request.modules[module]), board.config, precision, board.tensorrt,
        power_mode=board.power_mode, coefficients=board.coefficients,
    )  # fmt: skip
    share = found.product_share
    if share < WORTH_IT:
        raise BevliteError(f"the DLA takes {share:.0%} of its products; accepted: {WORTH_IT:.0%} at least")
    row = next(row for row in whole.modules if row.name == module)
    fps = 1000 / max(whole.total_ms - row.latency_ms + found.gpu_ms, found.dla_ms, 1e-6)
    return _Predicted(
        ms=whole.total_ms - row.latency_ms + found.latency_ms,
        lower_ms=whole.lower_ms - row.lower_ms + found.lower_ms,
        upper_ms=whole.upper_ms - row.upper_ms + found.upper_ms,
        build={"dla": {module: 0}},
        note=f"one frame at a time; the GPU takes the next one meanwhile: at most {fps:.1f} frames a second",
    )


def _on_two_boards(variant: Variant, whole: LatencyReport) -> _Predicted:
    """Both streams beside each other, then a map over the network, then what follows."""
    rows = {row.name: row for row in whole.modules}
    camera = [rows[name] for name in ("camera", "view_transform") if name in rows]
    if not camera or "lidar" not in rows:
        raise BevliteError("found one engine for both streams; accepted: modules of their own")
    shape = next(s.shape for m in outline(variant).modules for s in m.inputs if s.name == CAMERA_BEV)
    cells = prod(shape)
    sent_ms = cells * 2 * 8 / (LINK_GBIT_S * 1e6)

    def without(ends: list[float], lidar: float, total: float) -> float:
        return total - min(sum(ends), lidar) + sent_ms

    return _Predicted(
        ms=without([row.latency_ms for row in camera], rows["lidar"].latency_ms, whole.total_ms),
        lower_ms=without([row.lower_ms for row in camera], rows["lidar"].lower_ms, whole.lower_ms),
        upper_ms=without([row.upper_ms for row in camera], rows["lidar"].upper_ms, whole.upper_ms),
        note=f"with {sent_ms:.2f} ms to send {cells * 2 / 1e6:.1f} MB over {LINK_GBIT_S:g} Gbit/s (assumed)",
    )


def _rank(step: Step) -> tuple[int, float]:
    """By loss for each millisecond; then what is not known, by what it saves; last what saves nothing."""
    if step.saved_ms <= 0:
        return 2, -step.saved_ms
    per_ms = step.loss_per_ms
    # Of what costs nothing, what saves more comes first.
    return (1, -step.saved_ms) if per_ms is None else (0, per_ms if per_ms > 0 else -step.saved_ms)


def _written(step: Step, made: Variant, number: int, out: Path | None) -> Step:
    if out is None:
        return step
    slug = re.sub(r"[^a-z0-9]+", "-", step.words.lower()).strip("-")
    file = out / f"{number:02d}-{slug}.yaml"
    named = made.model_copy(update={"name": f"{made.name}-{slug}"[:120].rstrip("-.")})
    write_atomic(file, to_yaml(named))
    return step.model_copy(update={"file": file.name})


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "accepted" in line] or lines[:1]
    return re.sub(r"^Value error, | \[type=.*$", "", told[0])[:240] if told else type(error).__name__


def network_of(path: Path) -> tuple[Variant, Path | None]:
    """A variant of a file, or the last stage of a run, whose folder comes with it (raises BevliteError)."""
    if path.is_dir():
        return Run(path).variant(), path
    return load_variant(path), None
