"""The order in which samples are drawn: a function of seed and epoch, whatever the number of workers and devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from bevlite.data.classes import DETECTION_CLASSES
from bevlite.data.index import Index


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, item): the epoch travels with the item, so that augmentation in loader processes knows it.

    weights: (S,) chance of each sample, drawn with replacement; None for every sample once. With several devices
    each takes every `replicas`-th sample, and the last few are dropped so that all take as many.
    """

    def __init__(
        self, count: int, seed: int, weights: np.ndarray | None = None, rank: int = 0, replicas: int = 1
    ) -> None:
        self.count, self.seed, self.weights = count, seed, weights
        self.rank, self.replicas, self.epoch = rank, replicas, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count // self.replicas or 1

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        if self.weights is None:
            order = rng.permutation(self.count)
        else:
            order = rng.choice(self.count, self.count, p=self.weights / self.weights.sum())
        if self.count < self.replicas:
            order = np.resize(order, self.replicas)
        mine = order[self.rank :: self.replicas][: len(self)]
        return iter([(self.epoch, int(item)) for item in mine])


class SceneBatches(Sampler[list[tuple[int, int, bool]]]):
    """Batches of a network with a past: each of `batch_size` streams walks through clips of scenes in order of time.

    Yields lists of (epoch, item, begins). Scenes are cut into clips, anew every epoch; these are shuffled, laid behind
    each other and cut into equal streams, so that every batch is full; where a cut goes through a clip the rest begins
    without a past.
    """

    def __init__(
        self,
        scenes: Sequence[str],
        batch_size: int,
        seed: int,
        rank: int = 0,
        replicas: int = 1,
        clip: int | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        """`clip` frames a clip, None for whole scenes; `weights` (S,): chance of each sample, clips are then drawn with
        replacement by the sum of theirs."""
        names, start = np.unique(np.asarray(scenes), return_index=True)
        self._scenes = [np.flatnonzero(np.asarray(scenes) == name) for name in names[np.argsort(start)]]
        self._count, self.batch_size, self.seed = len(scenes), batch_size, seed
        self._clip, self._weights = clip, weights
        self.rank, self.replicas, self.epoch = rank, replicas, 0

    @property
    def sampler(self) -> SceneBatches:
        """The sampler behind the batches, whose epoch the training loop sets: these themselves."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._count // (self.batch_size * self.replicas)

    def __iter__(self) -> Iterator[list[tuple[int, int, bool]]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        clips = self._order(self._clips(rng), rng)
        items = np.concatenate(clips)[: self._count]
        begins = np.concatenate([np.arange(len(clip)) == 0 for clip in clips])
        steps = len(self)
        first = self.rank * self.batch_size
        for step in range(steps):
            places = [(first + stream) * steps + step for stream in range(self.batch_size)]
            yield [(self.epoch, int(items[p]), bool(begins[p] or step == 0)) for p in places]

    def _clips(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The scenes, each cut at every `clip`-th frame from a random one on."""
        if self._clip is None:
            return self._scenes
        cuts = [np.arange(rng.integers(1, self._clip + 1), len(scene), self._clip) for scene in self._scenes]
        return [clip for scene, at in zip(self._scenes, cuts, strict=True) for clip in np.split(scene, at)]

    def _order(self, clips: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        """Clips in the order of an epoch, as many frames as there are samples or some more."""
        if self._weights is None:
            return [clips[i] for i in rng.permutation(len(clips))]
        chance = np.array([self._weights[clip].sum() for clip in clips])
        drawn, frames = [], 0
        while frames < self._count:
            drawn.append(clips[rng.choice(len(clips), p=chance / chance.sum())])
            frames += len(drawn[-1])
        return drawn


def class_balanced_weights(index: Index, rows: np.ndarray) -> np.ndarray:
    """Weight of each sample so that its classes are drawn as often as those of others (CBGS, Zhu et al., 2019)."""
    present = np.zeros((len(rows), len(DETECTION_CLASSES)), dtype=bool)
    for i, row in enumerate(rows):
        classes = index.box_classes[index.box_start[row] : index.box_start[row + 1]]
        present[i, classes[classes >= 0]] = True
    share = present.sum(axis=0) / max(1, present.sum())
    weight_of_class = np.divide(1 / len(share), share, out=np.zeros_like(share), where=share > 0)
    weights = (present * weight_of_class).sum(axis=1)
    floor = weights[weights > 0].min() if (weights > 0).any() else 1.0
    return np.maximum(weights, floor)
