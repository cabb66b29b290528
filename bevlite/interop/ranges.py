"""Ranges that a quantized checkpoint holds (`_amax` of pytorch-quantization and nvidia-modelopt), as scales of ours.

A quantizer of theirs stands before one operand of one layer (`conv1._input_quantizer._amax`), or before the skip branch
of a block (`layer1.0.residual_quantizer._amax`, CUDA-BEVFusion). Ours are points of the placement: the same operand of
the layer that was filled from theirs, and what is added to the result of a block's last convolution. Points that read
the same values share one scale here, so the largest of theirs counts. Weights are rounded by their own largest value a
channel, which is what calibration by `max` left in `_weight_quantizer._amax`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bevlite.errors import BevliteError
from bevlite.interop.keymap import KeyMap
from bevlite.models.quantization.placement import SKIP, Placement, placement
from bevlite.models.quantization.plan import in_int8
from bevlite.variant import EVERYTHING, Variant

QUANTIZER = re.compile(r"(?P<layer>.+?)\.(?P<kind>_?input|_?weight|_?residual)_quantizer\._amax")
OTHER = re.compile(r".+_quantizer\.\w+")
"""What else quantizers keep (`_pre_quant_scale`, flags): nothing of it is needed."""
NO_RANGE = "the checkpoint holds no range of what it takes"
NO_SKIP = "the checkpoint holds no range of what is added to its result"
SHORTCUT = "downsample"
"""Convolution of a block's shortcut, whose result their quantizer of the skip reads."""
SHOWN = 4
"""Names in a note."""
CLIPPED = 0.01
"""By how much less than its largest a weight of theirs may be rounded to before it is said."""


@dataclass(frozen=True)
class Ranges:
    """Largest values by layer of theirs: of what it takes, of its weights (by output channel), of a block's skip."""

    inputs: Mapping[str, float]
    weights: Mapping[str, Tensor]
    skips: Mapping[str, float]

    def __bool__(self) -> bool:
        return bool(self.inputs)


@dataclass(frozen=True)
class TakenRanges:
    """A plan in INT8 with the scales of a checkpoint.

    variant: with the plan. scales: by point. unused: layers of theirs whose ranges answer to no layer in INT8 of ours.
    clipped: layers of ours whose weights theirs rounded to less than their largest value, which ours does not.
    """

    variant: Variant
    scales: Mapping[str, float]
    unused: tuple[str, ...]
    clipped: tuple[str, ...]


def split(given: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Ranges]:
    """The weights of a checkpoint, and the ranges that it holds beside them.

    Raises:
        BevliteError: a range that is not above 0, or one of several values for what has one scale.
    """
    weights, found = dict[str, Tensor](), {"input": dict[str, Tensor](), "weight": {}, "residual": {}}
    for name, value in given.items():
        told = QUANTIZER.fullmatch(name)
        if told is not None:
            if not value.numel() or not bool((value > 0).all()):
                raise BevliteError(f"{name}: found a range that is not above 0; accepted: a calibrated checkpoint")
            found[told["kind"].lstrip("_")][told["layer"]] = value.flatten()
        elif OTHER.fullmatch(name) is None:
            weights[name] = value
    for layer, value in (*found["input"].items(), *found["residual"].items()):
        if value.numel() != 1:
            raise BevliteError(
                f"{layer}: found ranges of {value.numel()} channels of what it takes; accepted: one a tensor, which "
                "TensorRT multiplies by"
            )
    inputs, skips = ({name: float(value) for name, value in found[kind].items()} for kind in ("input", "residual"))
    return weights, Ranges(inputs, found["weight"], skips)


def take(ranges: Ranges, plan: KeyMap, variant: Variant) -> TakenRanges | None:
    """The network in INT8 where the checkpoint was; None where no layer of ours has all its ranges.

    Args:
        ranges: of the checkpoint.
        plan: where its tensors went.
        variant: the network that was filled.
    """
    places = placement(variant)
    theirs = _layers(plan, places)
    known = _points(ranges, theirs)
    able = {path for path, product in places.products.items() if product.able and path in known}
    layers, why = _complete(places, able, known)
    if not layers:
        return None
    floats = {path: why.get(path, NO_RANGE) for path in places.products if path not in layers}
    named = {path: "int8" for path in layers if places.products[path].floats}  # theirs had it, whatever ours advises
    chosen = in_int8(variant, {EVERYTHING: "int8", **named}, floats)
    held = places.quantized(chosen.compression.precision_of)
    scales = {
        point: max(known[one] for one in group if one in known) for group in places.scales(held) for point in group
    }
    used = {theirs[path] for path in held}
    unused = tuple(sorted(layer for layer in ranges.inputs if layer not in used))
    return TakenRanges(chosen, scales, unused, tuple(_clipped(ranges, theirs, sorted(held), plan)))


def ranges_notes(ranges: Ranges, taken: TakenRanges | None) -> tuple[str, ...]:
    """What the user should know of the ranges of a checkpoint."""
    if taken is None:
        return (
            f"{len(ranges.inputs)} layers of the checkpoint have ranges of INT8, none of which answers to a layer here",
        )
    eight = len({point.removesuffix(SKIP) for point in taken.scales})
    said = [f"{eight} layers run in INT8 with the ranges of the checkpoint (stage calibration)"]
    if taken.unused:
        said.append(
            f"{len(taken.unused)} layers of the checkpoint have ranges that are not used: {_some(taken.unused)}"
        )
    if taken.clipped:
        said.append(
            f"{len(taken.clipped)} layers have weights that the checkpoint clips below their largest value, and this "
            f"network does not: {_some(taken.clipped)}"
        )
    return tuple(said)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _layers(plan: KeyMap, places: Placement) -> dict[str, str]:
    """Layers of theirs by layer of ours, where one of ours comes from one of theirs as a whole."""
    sources: dict[str, set[str]] = {}
    for move in plan.moves:
        layer, _, name = move.target.rpartition(".")
        if name == "weight" and layer in places.products:
            sources.setdefault(layer, set()).add(move.sources[0].rpartition(".")[0])
    return {layer: next(iter(names)) for layer, names in sources.items() if len(names) == 1}


def _points(ranges: Ranges, theirs: Mapping[str, str]) -> dict[str, float]:
    """What is known by point."""
    found: dict[str, float] = {}
    for layer, source in theirs.items():
        if source in ranges.inputs:
            found[layer] = ranges.inputs[source]
        block, _, name = source.rpartition(".")
        if block in ranges.skips and name != SHORTCUT:  # to the shortcut's result the other branch is added
            found[layer + SKIP] = ranges.skips[block]
    return found


def _complete(
    places: Placement, layers: Iterable[str], known: Mapping[str, float]
) -> tuple[frozenset[str], dict[str, str]]:
    """The layers whose points all have a range, themselves or by what reads the same values; why others have none."""
    left, why = set(layers), dict[str, str]()
    while True:
        lost = {
            point.removesuffix(SKIP): NO_SKIP if point.endswith(SKIP) else NO_RANGE
            for group in places.scales(left)
            if not any(point in known for point in group)
            for point in group
        }
        if not lost:
            return frozenset(left), why
        why |= lost
        left -= set(lost)


def _clipped(ranges: Ranges, theirs: Mapping[str, str], layers: Iterable[str], plan: KeyMap) -> Iterable[str]:
    for layer in layers:
        kept, weight = ranges.weights.get(theirs[layer]), plan.given.get(f"{theirs[layer]}.weight")
        if kept is None or weight is None:
            continue
        largest = weight.flatten(1).abs().amax(1)
        if kept.numel() not in (1, largest.numel()):
            continue  # of a transposed convolution: channels along another axis
        if bool((kept < (1 - CLIPPED) * (largest if kept.numel() > 1 else torch.max(largest))).any()):
            yield layer
