"""Measured sensitivity: the table that was measured, as a file, and what it says of a cut that was not measured.

Importance (norms of weights, say) tells the channels of one group apart; it does not say how many a group needs. What
was measured does: cuts of one unit at a few ratios and the accuracy that each lost. A channel's price is then the
slope of the measured loss of its unit at where the cut has come to, times the importance that goes with it.

Losses of units are taken as factors of what is kept of the accuracy, so that their logarithms add up, against the
importance that went (`spent`: minus the logarithm of what a group keeps of it, summed over the groups of the unit). Of
a group of equal channels that is -log(1 - ratio), which grows without end as the last ones go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import numpy as np
from pydantic import Field
from scipy.stats import spearmanr

from bevlite.config import Config, validate, write_atomic
from bevlite.errors import BevliteError

LEAST_KEPT = 0.02
"""Share of the accuracy below which a network counts as lost: how much below says nothing."""
LEAST_SLOPE = 0.1
"""Of the median slope: no unit is free, whatever a few samples say."""
Share = Annotated[float, Field(ge=0, le=1)]


class MeasuredCut(Config):
    """One cut of a unit.

    groups: of the unit. channels, removed: of all its groups. spent: minus the logarithm of what each group kept of
    its importance, summed. loss: of the figure, absolute; lower, upper: 95 % of draws of scenes, error: their standard
    deviation; halves: by every other scene.
    """

    unit: str
    groups: tuple[str, ...]
    ratio: Share
    channels: Annotated[int, Field(ge=1)]
    removed: Annotated[int, Field(ge=1)]
    spent: Annotated[float, Field(ge=0)]
    loss: float
    lower: float
    upper: float
    error: Annotated[float, Field(ge=0)]
    halves: tuple[float, float] | None
    predicted_ms: Annotated[float, Field(ge=0)]
    saved_ms: float


class Sensitivity(Config):
    """What was measured of `figure` on some samples; milliseconds are predicted on `device`.

    whole, whole_ms: of the network as it is. by: what a unit is. rank_correlation: Spearman's, of the losses by two
    halves of the scenes.
    """

    network_hash: str
    stage: str
    figure: str
    whole: float
    whole_ms: float
    split: str
    samples: int
    scenes: int
    by: str
    device: str
    tensorrt: str
    rank_correlation: Annotated[float, Field(ge=-1, le=1)] | None

    def write(self, path: Path) -> None:
        """As JSON."""
        write_atomic(path, self.model_dump_json(indent=1) + "\n")


class PruningSensitivity(Sensitivity):
    """What cuts of a network cost and save."""

    importance: str
    align: int
    cuts: tuple[MeasuredCut, ...]


def read_sensitivity(path: Path, network_hash: str) -> PruningSensitivity:
    """A table of cuts from a file.

    Raises:
        BevliteError: it cannot be read, or is of another network.
    """
    table = read_table(path, PruningSensitivity, network_hash, "--prune")
    if table.whole <= 0 or not table.cuts:
        raise BevliteError(
            f"{path}: found {table.figure} {table.whole:g} of the whole network and {len(table.cuts)} cuts; accepted: "
            "a trained network, and a cut at least"
        )
    return table


Table = TypeVar("Table", bound=Sensitivity)


def read_table(path: Path, kind: type[Table], network_hash: str, option: str) -> Table:
    """A table of one kind from a file.

    Args:
        path: the file.
        kind: of table.
        network_hash: of the network that it must be of.
        option: of `bevlite analyze sensitivity`, which writes such tables.

    Raises:
        BevliteError: it cannot be read, or is of another network.
    """
    accepted = f"accepted: what `bevlite analyze sensitivity RUN {option}` wrote"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BevliteError(f"{path}: cannot be read ({error}); {accepted}") from None
    if not isinstance(content, dict):
        raise BevliteError(f"{path}: found no table; {accepted}")
    table = validate(content, kind, str(path))
    if table.network_hash != network_hash:
        raise BevliteError(
            f"{path}: found the sensitivity of another network (hash {table.network_hash}); accepted: one of this "
            f"network (hash {network_hash}), measured after the last cut"
        )
    return table


class Halved(Protocol):
    """What has a loss by every other scene, and by the rest."""

    @property
    def halves(self) -> tuple[float, float] | None:
        """Both; None of one scene."""
        ...


def rank_correlation(cuts: Sequence[Halved]) -> float | None:
    """Spearman's, of all losses by one half of the scenes and by the other; None where there is none."""
    halves = [cut.halves for cut in cuts if cut.halves is not None]
    first, second = {one for one, _ in halves}, {two for _, two in halves}
    if len(first) < 2 or len(second) < 2:
        return None
    return float(spearmanr([one for one, _ in halves], [two for _, two in halves]).statistic)


class Slopes:
    """What a little more of a group's importance costs, in accuracy, by where the cuts have come to."""

    def __init__(self, table: PruningSensitivity) -> None:
        self._table = table
        self._unit = {group: cut.unit for cut in table.cuts for group in cut.groups}
        self._curves = {unit: self._curve(unit) for unit in dict.fromkeys(cut.unit for cut in table.cuts)}

    def of(self, group: str, spent: Mapping[str, float]) -> float:
        """The slope of a group's unit.

        Args:
            group: its name. One that was not measured counts as the median of those that were.
            spent: of every group, minus the logarithm of what it keeps of its importance.
        """
        unit = self._unit.get(group)
        if unit is None:
            return self._median
        corners, slopes = self._curves[unit]
        reached = sum(value for name, value in spent.items() if self._unit.get(name) == unit)
        place = min(int(np.searchsorted(corners, reached + 1e-9, side="right")), len(slopes) - 1)
        return max(float(slopes[place]), LEAST_SLOPE * self._median)

    @cached_property
    def _median(self) -> float:
        return max(1e-6, float(np.median([slope for _, slopes in self._curves.values() for slope in slopes])))

    def _curve(self, unit: str) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the pieces of a unit's curve, and their slopes, which grow: the last one goes on."""
        points = [(0.0, 0.0)]
        for cut in sorted((c for c in self._table.cuts if c.unit == unit), key=lambda c: c.spent):
            if cut.spent <= points[-1][0]:
                continue
            # A loss that cannot be told from none may be as large as what the samples leave open.
            lost = max(cut.loss, cut.error)
            kept = max(LEAST_KEPT, 1 - lost / self._table.whole)
            points.append((cut.spent, max(points[-1][1], -float(np.log(kept)))))
        hull = _convex(points)
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(hull)]
        return np.array([x for x, _ in hull[1:]]), np.array(slopes)


def _convex(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lower edge of the points: where a first step costs more than a second one, both are taken together."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (y1 - y0) * (x - x1) < (y - y1) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y))
    return hull
