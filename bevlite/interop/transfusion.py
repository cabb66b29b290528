"""TransFusion's head of mit-han-lab/bevfusion to ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from bevlite.interop.frame import SourceFrame
from bevlite.interop.keymap import KeyMap, Make, Move, as_it_is
from bevlite.interop.shared import HEAT, numbered, width

BRANCHES = ("center", "height", "dim", "rot", "vel", HEAT)
"""Branches of its boxes in the order of ours (`BOX_BRANCHES`, then the classes)."""
ATTENTIONS = {"self_attn": "self_attention", "multihead_attn": "cross_attention"}
POSITIONS = {"self_posembed": "query_position", "cross_posembed": "key_position"}
PARTS = ("query", "key", "value")
"""What the rows of an `in_proj` are, a third each."""


def transfusion_settings(given: Mapping[str, Tensor], source: str) -> dict[str, object]:
    """Its sizes, as our configuration has them."""
    return {
        "type": "transfusion",
        "channels": width(given, f"{source}.shared_conv.weight"),
        "layers": numbered(given, f"{source}.decoder.#.linear1.weight"),
        "feed_forward": width(given, f"{source}.decoder.0.linear1.weight"),
        "branch_channels": width(given, f"{source}.prediction_heads.0.center.0.conv.weight"),
    }


def transfusion(plan: KeyMap, source: str, target: str, frame: SourceFrame) -> None:
    """Heat map, class embedding, decoder layers and branches."""
    plan.layer(f"{source}.shared_conv", f"{target}.shared", weight=frame.kernel)
    heat = f"{source}.heatmap_head"
    plan.conv_norm(f"{heat}.0.conv", f"{heat}.0.bn", f"{target}.heatmap.0", weight=frame.kernel)
    plan.layer(f"{heat}.1", f"{target}.heatmap.1", weight=frame.kernel)
    plan.layer(f"{source}.class_encoding", f"{target}.class_embedding", weight=as_map)
    for i in range(numbered(plan.ours, f"{target}.layers.#.norms.0.weight")):
        _decoder_layer(plan, f"{source}.decoder.{i}", f"{target}.layers.{i}", frame)
        _branches(plan, f"{source}.prediction_heads.{i}", f"{target}.branches.{i}", frame)


def _decoder_layer(plan: KeyMap, source: str, target: str, frame: SourceFrame) -> None:
    for theirs, ours in ATTENTIONS.items():
        embed = int(plan.ours[f"{target}.{ours}.query.weight"].shape[0])
        for place, part in enumerate(PARTS):
            for name in ("weight", "bias"):
                make = _rows(place * embed, (place + 1) * embed)
                plan.moves.append(Move(f"{target}.{ours}.{part}.{name}", (f"{source}.{theirs}.in_proj_{name}",), make))
        plan.layer(f"{source}.{theirs}.out_proj", f"{target}.{ours}.out")
    for theirs, ours in POSITIONS.items():
        embedding = f"{source}.{theirs}.position_embedding_head"
        first = f"{target}.{ours}.0"
        plan.conv_norm(f"{embedding}.0", f"{embedding}.1", first, weight=lambda w: as_map(_places(w, frame)))
        plan.layer(f"{embedding}.3", f"{target}.{ours}.1", weight=as_map)
    plan.layer(f"{source}.linear1", f"{target}.feed_forward.0")
    plan.layer(f"{source}.linear2", f"{target}.feed_forward.3")
    for i in range(3):
        plan.layer(f"{source}.norm{i + 1}", f"{target}.norms.{i}")


def _branches(plan: KeyMap, source: str, target: str, frame: SourceFrame) -> None:
    turns: dict[str, Make] = {"center": frame.pair, "dim": frame.size, "rot": frame.yaw, "vel": frame.pair}
    hidden = int(plan.ours[f"{target}.last.0.weight"].shape[1])
    for place, name in enumerate(BRANCHES):
        rows = place * hidden, (place + 1) * hidden
        first = f"{source}.{name}.0"
        plan.conv_norm(f"{first}.conv", f"{first}.bn", f"{target}.hidden", weight=as_map, rows=rows)
        turn = turns.get(name, as_it_is)
        plan.layer(
            f"{source}.{name}.1", f"{target}.last.{place}",
            weight=lambda w, turn=turn: as_map(turn(w)), bias=frame.height if name == "height" else turn,
        )  # fmt: skip


def _rows(first: int, last: int) -> Make:
    return lambda value: value[first:last]


def _places(weight: Tensor, frame: SourceFrame) -> Tensor:
    """A layer over (x, y) of a place: its input channels in our order."""
    return weight[:, [1, 0]] if frame.crossed else weight


def as_map(weight: Tensor) -> Tensor:
    """A kernel (O, I, 1) over a list as one (O, I, 1, 1) over a map."""
    return weight[..., None] if weight.ndim == 3 else weight
