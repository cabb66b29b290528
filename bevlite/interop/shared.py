"""Layers that several code bases have alike: SECOND, SECFPN, ResNet, CenterPoint's head; and their sizes in a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count

from torch import Tensor

from bevlite.errors import BevliteError
from bevlite.interop.frame import SourceFrame
from bevlite.interop.keymap import KeyMap, Move
from bevlite.models.contracts import IMAGE_MEAN, IMAGE_STD

HEAT = "heatmap"
"""What both heads call the branch of their classes."""
BRANCHES = (HEAT, "reg", "height", "dim", "rot", "vel")
"""Branches of mmdetection3d's head in the order of ours: the heat map first, then `BOX_BRANCHES`."""


def numbered(given: Mapping[str, Tensor], pattern: str) -> int:
    """How many layers there are whose names end in a number; `#` in the pattern stands for it."""
    return next(i for i in count() if pattern.replace("#", str(i)) not in given)


def width(given: Mapping[str, Tensor], name: str, axis: int = 0) -> int:
    """Channels of a tensor along an axis (raises BevliteError when it is not there)."""
    if name not in given:
        raise BevliteError(f"the checkpoint has no {name}; accepted: a checkpoint of this form")
    return int(given[name].shape[axis])


def second_sizes(given: Mapping[str, Tensor], source: str) -> dict[str, list[int]]:
    """`channels` and `layers` of a SECOND in a checkpoint, as its configuration has them."""
    stages = range(numbered(given, f"{source}.blocks.#.0.weight"))
    found = []
    for i in stages:
        pattern = re.compile(rf"{re.escape(source)}\.blocks\.{i}\.(\d+)\.weight$")
        places = [int(match[1]) for key in given if (match := pattern.match(key))]
        found.append((width(given, f"{source}.blocks.{i}.0.weight"), max(places) // 3))
    if not found:
        raise BevliteError(f"the checkpoint has no {source}.blocks; accepted: a checkpoint of this form")
    return {"channels": [c for c, _ in found], "layers": [n for _, n in found]}


def second(plan: KeyMap, source: str, target: str, frame: SourceFrame) -> None:
    """SECOND: sequences of convolution, norm and ReLU."""
    for i in range(numbered(plan.ours, f"{target}.stages.#.0.0.weight")):
        for j in range(numbered(plan.ours, f"{target}.stages.{i}.#.0.weight")):
            block = f"{source}.blocks.{i}"
            plan.conv_norm(f"{block}.{3 * j}", f"{block}.{3 * j + 1}", f"{target}.stages.{i}.{j}", weight=frame.kernel)


def secfpn(plan: KeyMap, source: str, target: str, frame: SourceFrame) -> None:
    """SECFPN: a convolution, transposed where a map grows, and a norm for each map."""
    for i in range(numbered(plan.ours, f"{target}.blocks.#.0.weight")):
        block = f"{source}.deblocks.{i}"
        plan.conv_norm(f"{block}.0", f"{block}.1", f"{target}.blocks.{i}", weight=frame.kernel)


def resnet(plan: KeyMap, source: str, target: str, *, swapped_colours: bool = False) -> None:
    """ResNet of mmdetection or torchvision to timm's, whose names are the same.

    Args:
        plan: the plan.
        source, target: names of the networks.
        swapped_colours: it was trained on BGR, normalised with the figures of RGB in their order.
    """
    layers = dict.fromkeys(name.rpartition(".")[0] for name in plan.ours if name.startswith(f"{target}."))
    for layer in layers:
        plan.layer(source + layer.removeprefix(target), layer)
    if swapped_colours:
        conv = f"{source}.conv1.weight"
        plan.replace(Move(f"{target}.conv1.weight", (conv,), _colours_swapped))
        plan.replace(Move(f"{target}.bn1.running_mean", (f"{source}.bn1.running_mean", conv), _less_colours))
    plan.leave(rf"{re.escape(source)}\.fc\.", "a classifier of images")


def _colours_swapped(weight: Tensor) -> Tensor:
    """Channels from BGR to RGB, each scaled to our deviation."""
    scale = weight.new_tensor([IMAGE_STD[i] / IMAGE_STD[2 - i] for i in range(3)])
    return weight.flip(1) * scale.view(1, 3, 1, 1)


def _less_colours(mean: Tensor, weight: Tensor) -> Tensor:
    """What the other means add to every place but the border, taken off the running mean."""
    shift = weight.new_tensor([(IMAGE_MEAN[2 - i] - IMAGE_MEAN[i]) / IMAGE_STD[i] for i in range(3)])
    return mean - (weight.sum(dim=(2, 3)) * shift).sum(dim=1)


def center_head(plan: KeyMap, source: str, target: str, frame: SourceFrame) -> None:
    """CenterHead with SeparateHead: a shared convolution, then two for every branch of every group."""
    plan.conv_norm(f"{source}.shared_conv.conv", f"{source}.shared_conv.bn", f"{target}.shared", weight=frame.kernel)
    hidden = plan.ours[f"{target}.shared.0.weight"].shape[0]
    turns = {"reg": frame.pair, "dim": frame.size, "rot": frame.yaw, "vel": frame.pair}
    for group in range(numbered(plan.ours, f"{target}.hidden.#.0.weight")):
        for place, name in enumerate(BRANCHES):
            branch, rows = f"{source}.task_heads.{group}.{name}", (place * hidden, (place + 1) * hidden)
            plan.conv_norm(
                f"{branch}.0.conv", f"{branch}.0.bn", f"{target}.hidden.{group}", weight=frame.kernel, rows=rows
            )
            last = f"{target}.heatmaps.{group}" if name == HEAT else f"{target}.branches.{group}.{place - 1}"
            turn = turns.get(name)
            plan.layer(
                f"{branch}.1", last,
                weight=(lambda w, turn=turn: frame.kernel(turn(w) if turn else w)),
                bias=frame.height if name == "height" else (turn or (lambda b: b)),
            )  # fmt: skip


def center_head_settings(given: Mapping[str, Tensor], source: str) -> dict[str, object]:
    """`channels` and `groups` of a CenterPoint head, as its configuration has them (raises BevliteError)."""
    groups = numbered(given, f"{source}.task_heads.#.heatmap.1.weight")
    if groups not in {1, 6}:
        raise BevliteError(
            f"{source}.task_heads: found {groups} groups of classes; accepted: the six of nuScenes, or one"
        )
    channels = width(given, f"{source}.shared_conv.conv.weight")
    return {"channels": channels, "groups": "six" if groups == 6 else "one"}
