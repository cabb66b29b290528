"""What values the layers of a trained network hold on real samples, beside what FP16 and INT8 can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from bevlite.analysis.histogram import Histogram
from bevlite.data.dataset import single_thread
from bevlite.data.index import load_index
from bevlite.errors import BevliteError
from bevlite.inference.torch import TorchNetwork
from bevlite.models.samples import dataset_of, spread
from bevlite.run_folder import Run, Stage

FP16_MAX = 65504.0
MARGIN = 8.0
"""A value that comes this near to the largest of FP16 is a risk: other samples hold larger ones."""
WATCHED = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)


@dataclass
class LayerRange:
    """One layer over all samples.

    weight: largest absolute weight (0 without weights). taken, given: largest absolute value of what it takes and
    gives; typical: the value that 99.9 % of what it takes are below, in absolute terms. channels: of what it gives;
    silent: those of a batch norm that are never above zero, so that a ReLU lets nothing of them through. finite:
    whether all values were.
    """

    path: str
    kind: str
    weight: float = 0.0
    taken: float = 0.0
    given: float = 0.0
    typical: float = 0.0
    channels: int = 0
    silent: int = 0
    finite: bool = True
    _highest: Tensor | None = field(default=None, repr=False)
    _values: Histogram = field(default_factory=Histogram, repr=False)

    @property
    def headroom(self) -> float:
        """How many times larger values FP16 could hold; 0 where they were not finite."""
        return FP16_MAX / max(self.taken, self.given, 1e-30) if self.finite else 0.0

    @property
    def overflows(self) -> bool:
        """Whether FP16 is a risk."""
        return self.headroom < MARGIN

    @property
    def lost_bits(self) -> float:
        """Bits of INT8 that a scale by the largest value spends on the last 0.1 % of what the layer takes."""
        return max(0.0, float(torch.log2(torch.tensor(self.taken / self.typical)))) if self.typical > 0 else 0.0


def run_ranges(
    path: Any, *, samples: int = 16, stage: Stage | None = None, say: Callable[[str], None] = lambda _: None
) -> list[LayerRange]:
    """The ranges of a run's network over samples of its training split, spread over it.

    Args:
        path: the run folder.
        samples: how many; 1 to 100000.
        stage: weights of which stage; None for the last one.
        say: told of each tenth.

    Raises:
        BevliteError: not a run, no weights, unusable data.
    """
    if not 1 <= samples <= 100_000:
        raise BevliteError(f"samples: found {samples}; accepted: 1 to 100000")
    run = Run(path)
    run.variant()  # whether it is a run at all
    stage = run.chosen(stage)
    variant, data = run.variant(stage), run.data()
    index = load_index(data)
    dataset = dataset_of(variant, data.root, index, index.rows_of_split(str(data.train_split)), truth=False)
    network = TorchNetwork(run, stage=stage)
    loader = DataLoader(
        Subset(dataset, spread(dataset, samples)), batch_size=1, num_workers=2, collate_fn=dataset.collate,
        worker_init_fn=single_thread,
    )  # fmt: skip
    return layer_ranges(network.network, _said(loader, network, say))


def _said(loader: DataLoader, network: TorchNetwork, say: Callable[[str], None]) -> Iterable[Callable[[], object]]:
    for done, batch in enumerate(loader, start=1):
        yield partial(network, batch)
        if done % max(1, len(loader) // 10) == 0:
            say(f"{done} of {len(loader)} samples")


def layer_ranges(network: nn.Module, runs: Iterable[Callable[[], object]]) -> list[LayerRange]:
    """Watch every layer with weights while a network is run; in the order in which they first run."""
    found: dict[str, LayerRange] = {}
    hooks = [
        layer.register_forward_hook(_watch(found, path, layer))
        for path, layer in network.named_modules()
        if isinstance(layer, WATCHED)
    ]
    try:
        for run in runs:
            run()
    finally:
        for hook in hooks:
            hook.remove()
    for one in found.values():
        if one._highest is not None:
            one.channels, one.silent = len(one._highest), int((one._highest <= 0).sum())
        one.typical = one._values.quantile(0.999)
    return list(found.values())


def _watch(found: dict[str, LayerRange], path: str, layer: nn.Module) -> Callable[[nn.Module, Any, Tensor], None]:
    norm = isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))

    def hook(_: nn.Module, inputs: Any, made: Tensor) -> None:
        one = found.setdefault(path, LayerRange(path, type(layer).__name__))
        taken = inputs[0].detach().float().abs()
        weight = getattr(layer, "weight", None)
        one.weight = float(weight.detach().abs().max()) if weight is not None else 0.0
        largest, given = float(taken.max()), float(made.detach().float().abs().max())
        one.finite &= bool(torch.isfinite(torch.tensor([largest, given, one.weight])).all())
        one.taken, one.given = max(one.taken, largest), max(one.given, given)
        if norm:
            axes = [axis for axis in range(made.ndim) if axis != 1]
            highest = made.detach().float().amax(axes)
            one._highest = highest if one._highest is None else torch.maximum(one._highest, highest)
        elif one.finite and largest > 0:
            one._values.add(taken)

    return hook
