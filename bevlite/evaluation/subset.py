"""Networks scored on the same few samples of a split, one after the other: what a change to a network costs.

Samples lie spread over the scenes, scenes are drawn again with replacement, and each network meets the same draws, so
that the difference of two networks has an interval of its own (a paired bootstrap).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from bevlite.data.dataset import single_thread
from bevlite.data.index import Index, load_index
from bevlite.errors import BevliteError
from bevlite.inference.contract import Network
from bevlite.metrics.bootstrap import resample
from bevlite.models.samples import dataset_of, outline
from bevlite.run_folder import Run
from bevlite.tasks.contract import Scored
from bevlite.variant import Variant

DRAWS = 200
"""Of scenes with replacement."""
IN_MEMORY = 2_000_000_000
"""Bytes of batches that are kept from network to network; what is more is read again each time."""


@dataclass(frozen=True)
class Score:
    """What a network is worth: by all scenes, by every other one (none of one scene alone), and by `draws` (D,)."""

    value: float
    halves: tuple[float, float] | None
    draws: np.ndarray


@dataclass(frozen=True)
class Loss:
    """What one network lost against another on the same samples.

    lower, upper: 95 % of draws of scenes; error: their standard deviation. halves: by every other scene.
    """

    value: float
    lower: float
    upper: float
    error: float
    halves: tuple[float, float] | None


def loss(before: Score, after: Score) -> Loss:
    """Both from the same `Samples`."""
    lost = before.draws - after.draws
    lower, upper = np.percentile(lost, (2.5, 97.5))
    halves = None
    if before.halves is not None and after.halves is not None:
        halves = (before.halves[0] - after.halves[0], before.halves[1] - after.halves[1])
    return Loss(before.value - after.value, float(lower), float(upper), float(lost.std()), halves)


class Samples:
    """Some samples of a split, to score networks on that take the same inputs."""

    def __init__(self, run: Run, variant: Variant, *, samples: int, split: str | None = None, workers: int = 2) -> None:
        """Choose them.

        Args:
            run: whose data.
            variant: a network of the inputs and tasks that all others have too.
            samples: how many; a network with a past takes whole scenes, until there are as many.
            split: an official split; None for the validation split of the data.
            workers: loader processes.

        Raises:
            BevliteError: unusable data, a number that cannot be.
        """
        if not 1 <= samples <= 1_000_000:
            raise BevliteError(f"samples: found {samples}; accepted: 1 to 1000000")
        data = run.data()
        self.split = split or str(data.val_split)
        index = load_index(data)
        network = outline(variant)
        self.task = next((task for task in network.tasks if "nds" in task.scores), network.tasks[0])
        self.figure = next(iter(self.task.scores.values()))
        past = bool(network.states) or any("past" in host.needs for host in network.hosts)
        rows = spread(index, index.rows_of_split(self.split), samples, past)
        self.dataset = dataset_of(variant, data.root, index, rows)
        self.scored = Scored(
            data, self.split, index, rows, Path(), variant.camera is not None, variant.lidar is not None
        )
        self.scenes: tuple[str, ...] = tuple(sorted({str(name) for name in index.scenes[rows]}))
        self._workers = workers
        self._kept: list[dict[str, Any]] | None = None

    def score(self, network: Network) -> Score:
        """Run a network on all samples (raises BevliteError for a task that cannot be scored scene by scene)."""
        results = {}
        for batch in self._batches():
            outputs = network(batch)
            for i, token in enumerate(batch["token"]):
                results[token] = self.task.result(outputs, batch, i)
        figures = self.task.by_scene(results, self.scored)
        count = len(self.scenes)
        every = np.ones(count, dtype=np.int64)
        even = (np.arange(count) % 2 == 0).astype(np.int64)
        halves = None
        if count > 1:
            halves = (float(figures(even)[self.figure]), float(figures(1 - even)[self.figure]))
        draws = resample(figures, count, DRAWS)[self.figure]
        return Score(float(figures(every)[self.figure]), halves, draws)

    def _batches(self) -> Iterator[dict[str, Any]]:
        if self._kept is not None:
            yield from self._kept
            return
        past = self.dataset.has_past
        loader = DataLoader(
            Subset(self.dataset, range(len(self.dataset))), batch_size=1 if past else 4, num_workers=self._workers,
            collate_fn=self.dataset.collate, worker_init_fn=single_thread,
        )  # fmt: skip
        kept: list[dict[str, Any]] | None = []
        for batch in loader:
            if kept is not None and _bytes(batch) * len(loader) <= IN_MEMORY:
                kept.append(batch)
            else:
                kept = None
            yield batch
        self._kept = kept


def spread(index: Index, rows: np.ndarray, samples: int, whole_scenes: bool) -> np.ndarray:
    """So many of the rows, in order, spread evenly over them.

    Args:
        index: of which they are.
        rows: samples (S,), scene by scene.
        samples: how many; all where there are no more.
        whole_scenes: all samples of as many scenes as it takes.
    """
    if samples >= len(rows):
        return rows
    if not whole_scenes:
        return rows[np.linspace(0, len(rows) - 1, samples).round().astype(int)]
    names = list(dict.fromkeys(str(name) for name in index.scenes[rows]))
    count = max(1, round(samples * len(names) / len(rows)))
    chosen = {names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)}
    return rows[[str(name) in chosen for name in index.scenes[rows]]]


def _bytes(batch: Mapping[str, Any]) -> int:
    return sum(value.numel() * value.element_size() for value in batch.values() if isinstance(value, Tensor))
