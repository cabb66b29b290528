"""What a training says: a header before it, a line an epoch, and how far it is where nobody sees a bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import nn

from bevlite.data.config import DataConfig
from bevlite.data.dataset import BEVDataset
from bevlite.reporting.progress import Pulse, duration
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant


def header(
    variant: Variant, network: nn.Module, data: DataConfig, dataset: BEVDataset, recipe: Recipe, batch_size: int,
    trainer: lightning.Trainer, done: int,
) -> str:  # fmt: skip
    """Network, parameters, data, device and epochs of a training, a line each; `done` epochs are behind it."""
    weights = list(network.parameters())
    count, learn = sum(w.numel() for w in weights), sum(w.numel() for w in weights if w.requires_grad)
    frozen = f", of which {learn / 1e6:.2f} M learn" if learn < count else ""
    scenes = len({str(scene) for scene in dataset.index.scenes[dataset.rows]})
    root = trainer.strategy.root_device
    name = torch.cuda.get_device_name(root) if root.type == "cuda" else f"{torch.get_num_threads()} threads"
    times = f"{trainer.num_devices} x " if trainer.num_devices > 1 else ""
    steps = len(dataset) // max(1, batch_size * trainer.num_devices)
    on = f", going on after epoch {done}" if done else ""
    return "\n".join(
        (
            f"network  {variant.name} ({variant.network_hash}), {count / 1e6:.2f} M parameters{frozen}",
            f"data     {data.root} ({data.version}), {data.train_split}: {len(dataset)} samples of {scenes} scenes",
            f"device   {times}{root.type} ({name}), {trainer.precision}",
            f"epochs   {recipe.epochs} of {steps} steps, {batch_size} samples a step and device, seed {recipe.seed}"
            f"{on}",
        )
    )


class EpochBar(TQDMProgressBar):
    """Lightning's bar, which counts the epochs of the recipe from 1 as everything else does."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: object) -> None:
        """Name the epoch."""
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}/{self.epochs}")


class Progress:
    """The lines of a training: after every epoch, and in between where there is no bar and nothing was said for long.

    Args:
        epochs: of the recipe.
        last_epoch: the one that ends this training.
        shown: whether anything is said.
    """

    def __init__(self, epochs: int, last_epoch: int, shown: bool) -> None:
        self.epochs, self.last_epoch, self.shown = epochs, last_epoch, shown
        self._pulse = Pulse(self.line, _say)
        self._done, self._step, self._steps = 0, 0, 0
        self._seconds: list[float] = []
        self._began = time.monotonic()

    def start(self) -> None:
        """From here on something is said now and then."""
        if self.shown and not sys.stderr.isatty():
            self._pulse.__enter__()

    def stop(self) -> None:
        """No more."""
        self._pulse.__exit__()

    def epoch_began(self, done: int, steps: int | float) -> None:
        """After `done` epochs, one of so many steps begins."""
        self._done, self._step, self._began = done, 0, time.monotonic()
        self._steps = int(steps) if steps != float("inf") else 0

    def step_done(self, step: int) -> None:
        """So many steps of this epoch are done."""
        self._step = step

    def epoch_done(self, means: Mapping[str, float]) -> None:
        """An epoch is over, with these losses."""
        seconds = time.monotonic() - self._began
        self._seconds.append(seconds)
        self._done, self._step = self._done + 1, 0
        if self.shown:
            terms = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
            left = self.seconds_left
            to_go = f", about {duration(left)} to go" if left else ""
            _say(f"epoch {self._done}/{self.epochs}  {terms}  ({seconds:.1f} s{to_go})")
            self._pulse.beat()

    @property
    def seconds_left(self) -> float | None:
        """Of this training, from its epochs so far, or the steps of its first; None before there are any."""
        here = time.monotonic() - self._began
        part = self._step / self._steps if self._steps else 0.0
        if self._seconds:
            epoch = sum(self._seconds) / len(self._seconds)
        elif part:
            epoch = here / part
        else:
            return None
        return max(0.0, (self.last_epoch - self._done - part) * epoch)

    def line(self) -> str:
        """How far it is within an epoch."""
        left = self.seconds_left
        to_go = f", about {duration(left)} to go" if left is not None else ""
        here = duration(time.monotonic() - self._began)
        return f"epoch {self._done + 1}/{self.epochs}  step {self._step}/{self._steps}  ({here} so far{to_go})"


def _say(text: str) -> None:
    print(text, flush=True)
