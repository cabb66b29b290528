"""What a way out is likely to cost in accuracy: from what was measured of this very run, or not known."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from bevlite.compression.ledger import QUANTIZATION, Allowed, Line, read_ledger
from bevlite.compression.measured import PruningSensitivity, read_sensitivity
from bevlite.compression.measured_int8 import QuantizationSensitivity, read_int8_sensitivity
from bevlite.compression.plan_b.ways import Way
from bevlite.errors import BevliteError
from bevlite.tasks.contract import TASKS
from bevlite.variant import Variant

MAIN = "detection"
"""The task whose accuracy is lost: its first score, NDS."""


@dataclass(frozen=True)
class Cost:
    """A relative loss of NDS as a share (None: not known), where it comes from, and what is gone beside it."""

    loss: float | None
    source: str
    gone: str = ""


UNKNOWN = Cost(None, "not known: no run of this kind was scored")


class Losses:
    """Prices of ways, from the ledger and the sensitivity tables of a run; of a variant alone nothing is known."""

    def __init__(self, variant: Variant, run: Path | None = None) -> None:
        self._variant = variant
        self._lines: list[Line] = []
        self._cuts: PruningSensitivity | None = None
        self._units: QuantizationSensitivity | None = None
        if run is None:
            return
        try:
            self._lines = read_ledger(run, Allowed())
        except BevliteError:
            self._lines = []  # nothing was scored yet
        folder = run / "sensitivity"
        if (folder / "prune.json").is_file() and _is_of(folder / "prune.json", variant):
            self._cuts = read_sensitivity(folder / "prune.json", variant.network_hash)
        if (folder / "quantize.json").is_file() and _is_of(folder / "quantize.json", variant):
            self._units = read_int8_sensitivity(folder / "quantize.json", variant.network_hash)

    def of(self, way: Way, made: Variant) -> Cost:
        """What a way costs."""
        if way.kind == "prune":
            return self._pruning(way.ratio)
        if way.kind == "int8":
            return self._int8(way.on)
        if way.kind == "task":
            return self._task(way.on)
        if way.kind == "dla":
            if made.compression.precision_of(way.on) == "int8":
                return self._int8(way.on)
            return Cost(0.0, "the same weights in FP16 on another unit: rounding alone")
        if way.kind == "boards":
            return Cost(0.0, "the same network")
        return UNKNOWN

    def _pruning(self, ratio: float) -> Cost:
        if self._cuts is not None:
            return Cost(*_of_cuts(self._cuts, ratio))
        line = next((one for one in reversed(self._lines) if one.name in ("finetuned", "pruned")), None)
        start = next((one for one in self._lines if one.name == "float"), None)
        if line is None or start is None or line.lost is None or not 0 < line.parameters < start.parameters:
            return UNKNOWN
        # Channels go on both sides of most layers: parameters fall by about the square of what is kept.
        spent, wanted = -math.log(line.parameters / start.parameters), -2 * math.log(1 - ratio)
        loss = 1 - max(1e-3, 1 - max(0.0, line.lost)) ** (wanted / spent)
        return Cost(loss, f"ledger: {line.name} lost {line.lost:.1%}, scaled by what goes")

    def _int8(self, module: str) -> Cost:
        if self._units is not None:
            found = [unit for unit in self._units.units if any(p.split(".")[0] == module for p in unit.layers)]
            if found:
                loss = sum(max(0.0, unit.loss) for unit in found) / self._units.whole
                return Cost(loss, f"measured: {len(found)} units of {module} rounded alone, before training on")
        line = next((one for one in reversed(self._lines) if one.name in QUANTIZATION), None)
        if line is None or line.lost is None:
            return UNKNOWN
        base = next((o for o in reversed(self._lines) if o.stage not in QUANTIZATION and o.name == o.stage), None)
        before = base.lost if base is not None and base.lost is not None else 0.0
        return Cost(max(0.0, line.lost - before), f"ledger: {line.name} lost so much with all that it has in INT8")

    def _task(self, task: str) -> Cost:
        last = self._lines[-1].scores if self._lines else {}
        own = [f"{key} {last[key]:.3f}" for key in TASKS.members[task].scores.values() if key in last]
        gone = ", ".join(own) or f"the task {task}"
        if task == MAIN:
            return Cost(1.0, "the task itself goes", gone)
        return Cost(0.0, "weights of the rest stay as they are", gone)


def _of_cuts(table: PruningSensitivity, ratio: float) -> tuple[float | None, str]:
    """All units cut at about a ratio: what is kept of the accuracy is multiplied, as the guide of pruning does it."""
    nearest: dict[str, tuple[float, float]] = {}
    for cut in table.cuts:
        off = abs(cut.ratio - ratio)
        if cut.unit not in nearest or off < nearest[cut.unit][0]:
            nearest[cut.unit] = (off, max(0.0, cut.loss))
    kept = math.prod(max(1e-3, 1 - loss / table.whole) for _, loss in nearest.values())
    return 1 - kept, f"measured: {len(nearest)} cuts of one unit each, before training on; less after it"


def _is_of(file: Path, variant: Variant) -> bool:
    """Whether a table is of this network; one of the network before a cut says nothing any more."""
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")).get("network_hash") == variant.network_hash)
    except (OSError, ValueError, AttributeError):
        return False
