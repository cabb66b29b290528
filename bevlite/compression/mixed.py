"""Which layers go back from INT8 to FP16: those that lose most for the milliseconds that they save.

Losses were measured unit by unit (`analyze sensitivity --quantize`). What stays in INT8 is expected to lose its share
of what the whole network lost: the sum of its units' losses over that of all. Losses of units alone do not add up to
what all of them lose together, and that was measured too. A unit that seemed to win pays for no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from bevlite.compression.costs import Predictions
from bevlite.compression.measured_int8 import QuantizationSensitivity, QuantizedUnit, read_int8_sensitivity
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.models.quantization.placement import Placement
from bevlite.models.quantization.plan import with_int8
from bevlite.variant import Variant

SAVES_NOTHING = "saves no time in INT8, as predicted"
TINY_MS = 1e-6
Predict = Callable[[frozenset[str]], float]
"""From the layers in INT8 to the milliseconds of the network."""


@dataclass(frozen=True)
class MixedLimits:
    """What a mixed network may lose, as a share of the accuracy in float, and the milliseconds that it may take."""

    max_drop: float | None = None
    budget_ms: float | None = None

    def __post_init__(self) -> None:
        if self.max_drop is not None and not 0 <= self.max_drop <= 1:
            raise BevliteError(f"max_drop: found {self.max_drop:g}; accepted: 0 to 1, a share of the accuracy (or 2%)")
        if self.budget_ms is not None and not 0 < self.budget_ms < float("inf"):
            raise BevliteError(f"budget_ms: found {self.budget_ms:g}; accepted: more than 0")


@dataclass
class Mixed:
    """What was chosen.

    floats: why layers go back to FP16, by path. predicted_ms: of the network then. drop: the share of the accuracy that
    what stays in INT8 is expected to lose. missed: which limit is not kept, and what was reached; empty where all are.
    """

    predicted_ms: float
    drop: float
    floats: dict[str, str] = field(default_factory=dict)
    missed: str = ""


def mixed_plan(
    variant: Variant,
    places: Placement,
    file: Path,
    limits: MixedLimits,
    board: PredictedDevice,
    say: Callable[[str], None] = lambda _: None,
) -> Mixed:
    """As `choose`, of a network with all candidates in INT8 (`in_int8`).

    Layers that its plan names one by one stay in INT8.

    Raises:
        BevliteError: a file that cannot be read, or is of another network, board or choice of layers.
    """
    table = read_int8_sensitivity(file, variant.network_hash)
    found = f"{table.device} {table.power_mode}, TensorRT {table.tensorrt}"
    wanted = f"{board.name} {board.power_mode}, TensorRT {board.tensorrt}"
    if found != wanted:
        raise BevliteError(f"{file}: found milliseconds of {found}; accepted: of {wanted} (--device, --power-mode, "
                           "--tensorrt)")  # fmt: skip
    plan = variant.compression
    layers = places.quantized(plan.precision_of)
    predictions = Predictions(board)

    def predict(inside: frozenset[str]) -> float:
        return predictions.of(with_int8(variant, places, inside)).total_ms

    fixed = {path for path, word in plan.precision.items() if word == "int8"} & set(places.products)
    return choose(table, layers, limits, predict, fixed=fixed, say=say)


def choose(
    table: QuantizationSensitivity,
    layers: frozenset[str],
    limits: MixedLimits,
    predict: Predict,
    *,
    fixed: Collection[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Mixed:
    """Which layers of a network in INT8 go back.

    First those that are predicted to save nothing and lost something, or nothing; then in order of the loss for a
    millisecond, until what is left is expected to lose no more than it may. With a budget alone, all that it affords.
    What a step takes is predicted anew each time, since a layer between two in INT8 saves more than one by itself.

    Args:
        table: what was measured.
        layers: all candidates for INT8.
        limits: without any, layers that save no time go back, and no others.
        predict: milliseconds of the network with some layers in INT8.
        fixed: layers that stay in INT8 whatever they lose.
        say: told of each step.

    Raises:
        BevliteError: candidates that were not measured.
    """
    own = _own(table, layers, fixed)
    expected = _Expected(table)
    inside, made = layers, Mixed(predict(layers), 0.0)

    def back(unit: QuantizedUnit, most_ms: float, why: str) -> None:
        nonlocal inside
        left = inside - own[unit.unit]
        if not left:  # a network in INT8 with nothing in it is none
            return
        ms = predict(left)
        if ms <= most_ms:
            inside, made.predicted_ms = left, ms
            made.floats |= dict.fromkeys(sorted(own[unit.unit]), why)
            say(f"{unit.unit} back to FP16 ({why}): {ms:.3f} ms predicted, {expected.of(inside):.2%} expected to go")

    units = [unit for unit in table.units if own.get(unit.unit)]
    for unit in sorted(units, key=lambda unit: unit.saved_ms):
        if unit.saved_ms <= 0 and unit.loss >= 0:
            back(unit, made.predicted_ms, SAVES_NOTHING)
    dear = [unit for unit in units if unit.loss > 0 and own[unit.unit] <= inside]
    if limits.max_drop is not None or limits.budget_ms is not None:
        for unit in sorted(dear, key=_price, reverse=True):
            if limits.max_drop is not None and expected.of(inside) <= limits.max_drop:
                break
            why = f"loses {unit.loss:.4f} {table.figure} for {max(unit.saved_ms, 0.0):.4f} ms"
            back(unit, limits.budget_ms if limits.budget_ms is not None else float("inf"), why)
    made.drop = expected.of(inside)
    made.missed = _missed(made, limits)
    return made


def _own(table: QuantizationSensitivity, layers: frozenset[str], fixed: Collection[str]) -> dict[str, frozenset[str]]:
    """Candidates by unit; units with a layer that has to stay are left out."""
    own = {unit.unit: layers & frozenset(unit.layers) for unit in table.units}
    missing = sorted(layers - frozenset().union(*own.values()))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BevliteError(
            f"sensitivity: found no measurement of {missing[0]}{more}; accepted: a table of all layers that may be in "
            "INT8 (bevlite quantize without --sensitivity, then bevlite analyze sensitivity RUN --quantize)"
        )
    return {unit: held if not held & set(fixed) else frozenset() for unit, held in own.items()}


class _Expected:
    """The loss that is expected of some layers in INT8, as a share of the accuracy in float."""

    def __init__(self, table: QuantizationSensitivity) -> None:
        self._all = max(0.0, table.lost.loss) / table.whole
        self._layers = {unit.unit: frozenset(unit.layers) for unit in table.units}
        losses = {unit.unit: max(0.0, unit.loss) for unit in table.units}
        # Where no unit alone lost anything, nobody knows whose the loss of all is.
        self._losses = losses if sum(losses.values()) > 0 else dict.fromkeys(losses, 1.0)

    def of(self, inside: frozenset[str]) -> float:
        """Of units with a layer inside."""
        left = sum(loss for unit, loss in self._losses.items() if self._layers[unit] & inside)
        return self._all * left / sum(self._losses.values())


def _price(unit: QuantizedUnit) -> float:
    return unit.loss / max(unit.saved_ms, TINY_MS)


def _missed(made: Mixed, limits: MixedLimits) -> str:
    over = []
    if limits.max_drop is not None and made.drop > limits.max_drop:
        over.append(f"{made.drop:.2%} is expected to be lost, {limits.max_drop:.2%} may be")
    if limits.budget_ms is not None and made.predicted_ms > limits.budget_ms:
        over.append(f"{made.predicted_ms:.2f} ms are predicted, {limits.budget_ms:g} are the budget")
    if not over:
        return ""
    reached = f"reached: {made.drop:.2%} lost, {made.predicted_ms:.2f} ms"
    return f"mixed precision: {'; '.join(over)} ({reached}); train it on (bevlite qat), or allow more"
