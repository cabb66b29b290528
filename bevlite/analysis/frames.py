"""One frame for a network in its deployed form: from data, or made up in the shapes of a variant."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bevlite.data.dataset import single
from bevlite.data.index import load_index
from bevlite.errors import BevliteError
from bevlite.models.contracts import TensorSpec
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import Module, modules_of
from bevlite.models.samples import dataset_of, outline
from bevlite.run_folder import Run
from bevlite.variant import Variant

SPANS = (65536, 4096, 256, 16, 1)
"""Rows of a table that made-up indices go through: fewer where a table is shorter."""


@dataclass(frozen=True)
class FrameInputs:
    """Inputs of a network's modules by name, and in words where they are from."""

    inputs: Mapping[str, Tensor]
    source: str


def frame_of_run(run: Run, variant: Variant) -> FrameInputs:
    """The first sample of a run's validation split (raises BevliteError where its data are not there)."""
    data = run.data()
    index = load_index(data)
    dataset = dataset_of(variant, data.root, index, index.rows_of_split(str(data.val_split))[:1], truth=False)
    network = outline(variant)
    arrays = network.deployed(single(dataset.collate([dataset[0]]), 0))
    inputs = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
    return FrameInputs(
        inputs | _states(network.states), f"sample {dataset.index.tokens[dataset.rows[0]]} of {data.val_split}"
    )


def made_up_frame(network: Detector, seed: int = 0) -> FrameInputs:
    """Noise, and indices at random that stay within the tables that they go through.

    The network is run once on the CPU to find how far its tables go.
    """
    source = torch.Generator().manual_seed(seed)
    known: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    with torch.inference_mode(), deployed_form():
        for module in modules_of(network):
            for span in SPANS:
                own = {
                    spec.name: _noise(spec, span, source)
                    for spec in module.inputs
                    if spec.name not in known or spec.source == "state"
                }
                try:
                    made = module.network(*(own[s.name] if s.name in own else known[s.name] for s in module.inputs))
                    break
                except (IndexError, RuntimeError):  # as torch says it on a CPU, of one operator or another
                    if span == SPANS[-1]:
                        raise
            given |= own
            known |= dict(zip(module.outputs, made, strict=True))
    return FrameInputs(given, "made up: noise in the shapes of the variant")


def frame_for(network: Detector, run: Run | None) -> FrameInputs:
    """A sample of a run's data; a made-up one for a variant alone, and where the data are not there."""
    if run is None:
        return made_up_frame(network)
    try:
        return frame_of_run(run, network.variant)
    except (BevliteError, OSError) as error:
        return FrameInputs(made_up_frame(network).inputs, f"made up, as the data cannot be read: {error}")


def at_once(module: Module, batch: int) -> bool:
    """Whether so many frames, one behind the other along the first axes, go through a module in one call.

    Tables are of one frame: what gathers by them takes frame after frame.
    """
    if batch == 1:
        return True
    if any(spec.axes[:1] not in (("batch",), ("camera",)) for spec in module.inputs):
        return False
    one = module.example("meta")
    many = {name: value.repeat(batch, *[1] * (value.ndim - 1)) for name, value in one.items()}
    meta = copy.deepcopy(module.network).to("meta")
    with torch.no_grad(), torch.device("meta"), deployed_form():
        try:
            single_frame, frames = meta(*one.values()), meta(*many.values())
        except (RuntimeError, IndexError, ValueError):
            return False
    return all(tuple(b.shape) == (batch * a.shape[0], *a.shape[1:]) for a, b in zip(single_frame, frames, strict=True))


def _states(specs: tuple[TensorSpec, ...]) -> dict[str, Tensor]:
    return {spec.name: torch.zeros(spec.shape) for spec in specs}


def _noise(spec: TensorSpec, span: int, source: torch.Generator) -> Tensor:
    if spec.dtype == "int32":
        flat = torch.randint(1, span + 1, (math.prod(spec.shape),), generator=source, dtype=torch.int32)
        return flat.reshape(spec.shape)
    if spec.dtype == "uint8":
        return torch.randint(0, 256, spec.shape, generator=source, dtype=torch.uint8)
    return torch.zeros(spec.shape) if spec.source == "state" else torch.rand(spec.shape, generator=source)
