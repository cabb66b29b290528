"""What a task says. Nobody outside a task's file names a raw map.

A task is one file in this folder, or a module of another package that an entry point of `bevlite.parts` names::

    @TASKS.register
    class GroundHeight(Task):
        name = "ground_height"
        heads = GROUND_HEIGHT_HEADS
        ...

Its name is the key under `heads` of a variant, its loss weights are keys under `losses` of a recipe, and its scores
are names that the objectives of a search know.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from bevlite.data.config import DataConfig
from bevlite.data.frame import Reader
from bevlite.errors import BevliteError
from bevlite.grid import BEVGrid
from bevlite.kernels.step import Floats, Step
from bevlite.registry import Registry, Shelf

if TYPE_CHECKING:  # names of tasks and scores are wanted where no network is: by the command line, by a search
    from torch import Tensor

    from bevlite.data.index import Index

Arrays = dict[str, np.ndarray]
"""What is kept of one sample, by name: small, and the same whatever the network ran on."""


Kind = Literal["values", "classes", "set"]


@dataclass(frozen=True)
class RawMap:
    """One output of a network as engines give it, for a batch of one.

    kind: `values` are compared by their differences, `classes` (INT32) by how many differ, `set` (columns in no
    order that counts, with the rows of `bevlite.runtime.decoding.QueryRows`) as a set.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    kind: Kind = "values"

    @property
    def dtype(self) -> str:
        """Of the output."""
        return "int32" if self.kind == "classes" else "float32"


@dataclass(frozen=True)
class Scored:
    """The samples of a split that a score is made of.

    Attributes:
        data: the resolved data configuration.
        split: the split.
        index, rows: its samples.
        folder: where a score may write files of its own.
        camera, lidar: the sensors that the network uses.
    """

    data: DataConfig
    split: str
    index: Index
    rows: np.ndarray
    folder: Path
    camera: bool
    lidar: bool

    def tokens(self) -> list[str]:
        """Tokens of the samples, in the order of `rows`."""
        return [str(token) for token in self.index.tokens[self.rows]]


@dataclass(frozen=True)
class DrawnBoxes:
    """Boxes to draw: (K, 9) in the BEV frame, their classes (K,) by number, and scores (K,) of what was found."""

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class Raster:
    """A picture from above: (rows, columns, 3) uint8, ahead up and left to the left; reach of its sides in m.

    legend: what its colours (red, green, blue of 0..255) mean.
    """

    image: np.ndarray
    title: str
    reach_m: float
    legend: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """What a task adds to the picture of a sample: boxes, truth and found, or rasters."""

    truth: DrawnBoxes | None = None
    found: DrawnBoxes | None = None
    class_names: Sequence[str] = ()
    rasters: Sequence[Raster] = ()


class Task(ABC):
    """One task of one network: made from its head's configuration and the BEV grid of the variant."""

    name: ClassVar[str]
    heads: ClassVar[Registry]
    weights: ClassVar[Mapping[str, float]]
    """Its losses by name, with the weight that a recipe starts from."""
    scores: ClassVar[Mapping[str, str]]
    """Names that an objective of a search uses, and under which figure of the score each stands; larger is better.

    The first is the one whose loss on a board counts (0..1).
    """
    steps: tuple[str, ...] = ()
    """Steps after the engines that cost time (bevlite.latency.pipeline)."""

    def __init__(self, head: Any, bev: BEVGrid) -> None:
        self.head, self.bev = head, bev

    @property
    @abstractmethod
    def maps(self) -> tuple[RawMap, ...]:
        """The raw maps of its head, in the order of export."""

    @property
    @abstractmethod
    def truth(self) -> Reader:
        """What it is taught with."""

    def check_training(self, root: Path, split: str, index: Index, rows: np.ndarray) -> None:
        """Before the training: whether these samples of a split can teach it anything (raises DataError)."""
        self.truth.check(root, index, rows)

    @abstractmethod
    def losses(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], weights: Mapping[str, float]) -> dict[
        str, Tensor
    ]:  # fmt: skip
        """Weighted losses by name, from the head's maps as trained and a batch with the truth."""

    def deployed(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The head's maps as engines give them (`maps`), from those as trained."""
        return {raw.name: outputs[raw.name] for raw in self.maps}

    def board_step(self, floats: Floats = "float32") -> Step | None:
        """From deployed maps, which are `floats`, to the result as kernels on a board; None where there are none."""
        return None

    @abstractmethod
    def result(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], i: int) -> Arrays:
        """Sample `i` of a batch decoded, or held against its truth, from deployed maps as numpy."""

    def on_board(self) -> dict[str, Any]:
        """How a board decodes its maps, as plain data: a way of `bevlite.board.outputs` with its settings.

        Raises:
            BevliteError: the task does not say how.
        """
        raise BevliteError(f"{self.name}: does not say how a board decodes it; accepted: a task that gives `on_board`")

    @abstractmethod
    def score(self, results: Mapping[str, Arrays], scored: Scored) -> dict[str, Any]:
        """Figures of a split from the results of its samples by token; `scores` are among them (raises DataError)."""

    def by_scene(self, results: Mapping[str, Arrays], scored: Scored) -> Callable[[np.ndarray], Mapping[str, float]]:
        """Figures, the first of `scores` among them, when the i-th scene (by name) counts `multiplicity[i]` times.

        Samples may be any of the split's; nothing is written. Matching is done before this returns.

        Raises:
            BevliteError: the task does not say how.
        """
        raise BevliteError(f"{self.name}: cannot be scored scene by scene; accepted: a task that gives `by_scene`")

    @classmethod
    @abstractmethod
    def table(cls, figures: Mapping[str, Any]) -> str:
        """The figures as plain text, for the end of an evaluation."""

    def picture(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], min_score: float) -> Picture:
        """Truth beside prediction of the first sample of a batch."""
        return Picture()


C = TypeVar("C", bound=type[Task])


class Tasks(Shelf[type[Task]]):
    """Every task by its name."""

    def register(self, task: C) -> C:
        """Class decorator: make the task known.

        Raises:
            ValueError: another task has its name, or the name of one of its losses or scores.
        """
        for other in self.registered:
            for kind, mine, theirs in (("losses", task.weights, other.weights), ("scores", task.scores, other.scores)):
                both = sorted(set(mine) & set(theirs))
                if both and other.name != task.name:
                    raise ValueError(f"tasks {other.name} and {task.name}: two {kind} are called '{both[0]}'")
        self.add(task.name, task)
        return task

    def weights(self) -> dict[str, float]:
        """Every loss of every task, with the weight that a recipe starts from."""
        return {name: weight for task in self.members.values() for name, weight in task.weights.items()}

    def scores(self) -> dict[str, tuple[str, str]]:
        """Every name that an objective may use: the task it belongs to, and the figure that it stands for."""
        return {name: (task.name, key) for task in self.members.values() for name, key in task.scores.items()}


TASKS = Tasks("task", "bevlite.tasks")
