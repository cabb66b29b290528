"""How far the figures of an evaluation would vary with other scenes: kept beside them, so that two can be compared.

Scenes are drawn with replacement. The same draws meet every evaluation of the same samples, so that the difference of
two has an interval of its own (a paired bootstrap), whenever and on whatever they were run.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bevlite.config import write_atomic
from bevlite.evaluation.samples import SampleResult
from bevlite.metrics.bootstrap import resample
from bevlite.tasks.contract import Scored, Task

DRAWS = 200
"""As many as an end of a 95 % interval needs to stand still within a tenth of its width."""
FILE = "draws.npz"
ENDS = (2.5, 97.5)
"""Percent of the draws below and above them."""


@dataclass(frozen=True)
class Draws:
    """Figures by name, each (D,) for D draws of the scenes; `samples` is the identity of what was scored."""

    samples: str
    figures: Mapping[str, np.ndarray]

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % of the draws of each figure."""
        return {name: interval(values) for name, values in self.figures.items()}

    def relative_loss(self, before: Draws, figure: str) -> tuple[float, float] | None:
        """95 % of the share of a figure that was lost since `before`; None where the two cannot be paired."""
        own, earlier = self.figures.get(figure), before.figures.get(figure)
        if self.samples != before.samples or own is None or earlier is None or own.shape != earlier.shape:
            return None
        return interval(1 - own / earlier) if (earlier > 0).all() else None


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % of some values (D,): lower and upper end."""
    lower, upper = np.percentile(values, ENDS)
    return float(lower), float(upper)


def draw(
    tasks: Iterable[Task], results: Mapping[str, SampleResult], scored: Scored, draws: int = DRAWS
) -> Draws | None:
    """Figures of an evaluation for other scenes.

    Args:
        tasks: what was solved; one that cannot be scored scene by scene is left out.
        results: of the samples by token, and in there by task.
        scored: the samples.
        draws: how many.

    Returns:
        The draws; None where there is one scene alone, which says nothing of others.
    """
    scenes = len({str(name) for name in scored.index.scenes[scored.rows]})
    if scenes < 2:
        return None
    figures: dict[str, np.ndarray] = {}
    for task in tasks:
        if type(task).by_scene is not Task.by_scene:
            own = {token: results[token][task.name] for token in scored.tokens()}
            figures |= resample(task.by_scene(own, scored), scenes, draws)
    identity = hashlib.sha256(" ".join([scored.split, *scored.tokens()]).encode()).hexdigest()[:16]
    return Draws(identity, figures) if figures else None


def write_draws(folder: Path, draws: Draws) -> None:
    """Keep them in the folder of their evaluation."""
    stream = io.BytesIO()
    np.savez_compressed(stream, samples=np.array(draws.samples), **draws.figures)
    write_atomic(folder / FILE, stream.getvalue())


def read_draws(folder: Path) -> Draws | None:
    """Those of an evaluation; None where none were drawn, or what is there cannot be read."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as held:
            figures = {name: held[name] for name in held.files if name != "samples"}
            return Draws(str(held["samples"]), figures)
    except (OSError, ValueError, KeyError):
        return None
