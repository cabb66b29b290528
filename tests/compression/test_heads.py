"""Attention heads as units: cut networks are the old ones without what those heads give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from bevlite.compression.choice import Costs, Limits, by_heads, by_ratio, for_budget
from bevlite.compression.coupling import channel_groups
from bevlite.compression.cut import cut
from bevlite.compression.groups import HEADS, Group, Member
from bevlite.compression.importance import importance
from bevlite.config import merge, to_yaml, validate
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError, ConfigError
from bevlite.models.attention import Attention
from bevlite.models.deformable import DeformableAttention
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from bevlite.variant import Variant
from tests.compression.test_coupling import given_to, outputs
from tests.tiny import TINY, lidar_only, live, short_recipe, tiny

ALONE = {"lidar": None, "fusion": {"type": "none"}, "heads": {"occupancy": None}}
SWIN = {**ALONE, "camera": {"backbone": {"type": "swin"}}}


def test_a_network_without_heads_is_the_one_in_which_they_give_nothing() -> None:
    """Swin, heads alone; test_coupling has every part with its heads and channels."""
    variant = Variant.model_validate(merge(TINY, SWIN))
    torch.manual_seed(0)
    network = live(Detector(variant))
    for key, value in network.named_parameters():
        if key.endswith(("bias_table", "qkv.weight", "attn.proj.weight")):
            nn.init.normal_(value, std=0.3)  # zero, or nearly so, before training: heads would hardly matter
    groups = channel_groups(variant)
    draw = np.random.default_rng(0)
    removed = {g.name: draw.choice(g.size, g.size // 3 or 1, replace=False) for g in groups if g.of_heads}
    assert removed
    smaller, left = cut(variant, network.state_dict(), groups, removed)
    again = Detector(validate_text(smaller)).eval()
    again.load_state_dict(left)
    quiet = Detector(variant).eval()
    quiet.load_state_dict(network.state_dict())
    for group, gone in removed.items():
        attention: Any = quiet.get_submodule(group.removesuffix(HEADS))
        width = attention.head_width
        for head in gone:  # what the last layer takes from them
            attention.proj.weight.data[:, head * width : (head + 1) * width] = 0
        assert again.get_submodule(group.removesuffix(HEADS)).heads == attention.heads - len(gone)
    given = given_to(network, variant)
    found, wanted, before = (outputs(one, given) for one in (again, quiet, network))
    for key, value in wanted.items():
        assert float((found[key] - value).abs().max()) < 2e-5 * float(value.abs().max()), key
    assert any(float((wanted[k] - before[k]).abs().max()) > 1e-3 * float(before[k].abs().max()) for k in before)
    sizes = [sum(p.numel() for p in one.parameters()) for one in (again, network)]
    assert sizes[0] < sizes[1]


def validate_text(variant: Variant) -> Variant:
    return validate(yaml.safe_load(to_yaml(variant)), Variant, "pruned.yaml")


def test_attention_is_that_of_torch_over_the_heads_that_are_left() -> None:
    """nn.MultiheadAttention with a zero for what two heads give, which has no notion of fewer heads."""
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(24, 6, batch_first=True)
    kept = [0, 2, 3, 5]
    rows = torch.cat([torch.arange(4 * head, 4 * head + 4) for head in kept])
    ours = Attention(24, 6)
    assert ours.heads == 6
    for number, name in enumerate(("query", "key", "value")):
        weight, bias = theirs.in_proj_weight[24 * number :][rows], theirs.in_proj_bias[24 * number :][rows]
        layer = nn.Linear(24, 16)
        layer.weight.data, layer.bias.data = weight.detach().clone(), bias.detach().clone()
        setattr(ours, name, layer)
    ours.out = nn.Linear(16, 24)
    ours.out.weight.data, ours.out.bias.data = theirs.out_proj.weight[:, rows].detach().clone(), theirs.out_proj.bias
    assert ours.heads == 4
    gone = torch.tensor([c for c in range(24) if c not in rows.tolist()])
    theirs.out_proj.weight.data[:, gone] = 0
    query, key, value = torch.randn(2, 5, 24), torch.randn(2, 7, 24), torch.randn(2, 7, 24)
    assert torch.allclose(ours(query, key, value), theirs(query, key, value)[0], atol=1e-6)


def test_every_channel_is_of_one_head() -> None:
    deformable = DeformableAttention(32, 4, 6, maps=2)
    for attention in (Attention(24, 6), deformable):
        for (name, side), channels in attention.head_channels(attention.heads).items():
            layer: Any = attention.get_submodule(name)
            size = layer.weight.shape[0 if side == "out" else 1]
            assert channels.shape[0] == attention.heads and sorted(channels.ravel()) == list(range(size))
    own = deformable.head_channels(4)["offsets", "out"][1]  # as `forward` reads them: map, head, point, x and y
    assert set(own) == set(np.arange(2 * 4 * 6 * 2).reshape(2, 4, 12)[:, 1].ravel())


def heads_of(sizes: dict[str, int], width: int = 32) -> list[Group]:
    return [
        Group(f"{path}{HEADS}", (
            Member(f"{path}.query", "out", np.arange(heads * width).reshape(heads, width)),
            Member(f"{path}.out", "in", np.arange(heads * width).reshape(heads, width)),
        ))
        for path, heads in sizes.items()
    ]  # fmt: skip


def test_heads_by_number_by_ratio_and_for_a_budget() -> None:
    groups = heads_of({"a.0.attn": 8, "a.1.attn": 8, "b.attn": 4})
    shares = {g.name: np.linspace(1, 2, g.size) / np.linspace(1, 2, g.size).sum() for g in groups}
    removed = by_heads(groups, shares, {"a": 6, "a.1": 8})
    assert {name: list(gone) for name, gone in removed.items()} == {"a.0.attn[heads]": [0, 1], "a.1.attn[heads]": []}
    removed = by_ratio(groups, shares, {"a": 0.5, "b": 0.3}, Limits(align=8))  # 32 channels a head: one at a time
    assert {name: len(gone) for name, gone in removed.items()} == {
        "a.0.attn[heads]": 4, "a.1.attn[heads]": 4, "b.attn[heads]": 1,
    }  # fmt: skip
    assert [g.step(8) for g in heads_of({"a": 8}, width=4)] == [2] and groups[0].step(64) == 2

    def costs(removed: dict[str, np.ndarray]) -> Costs:
        left = {g.name: g.size - len(removed.get(g.name, ())) for g in groups}
        return Costs(sum(left.values()), {m.path: left[g.name] / 2 for g in groups for m in g.members})

    found = for_budget(groups, shares, 14.0, costs, Limits(align=8))
    assert sum(len(gone) for gone in found.values()) == 6
    for wrong, said in (
        ({"c": 2}, "heads: found 'c', which names no attention whose heads can go; accepted: a.0.attn, a.1.attn"),
        ({"b": 5}, r"heads: b: found 5 to be left of 4 \(b.attn\); accepted: 1 to 4"),
        ({"b": 0}, "heads: b: found 0 to be left of 4"),
    ):
        with pytest.raises(BevliteError, match=said):
            by_heads(groups, shares, wrong)


def test_importance_of_a_head_is_the_norm_of_its_weights() -> None:
    torch.manual_seed(0)
    network = nn.ModuleDict({"attn": Attention(24, 6)})
    layers: Any = dict(network.named_modules())
    members = tuple(
        Member(f"attn.{name}", side, channels)
        for (name, side), channels in Attention(24, 6).head_channels(6).items()
    )  # fmt: skip
    found = importance(network, [Group(f"attn{HEADS}", members)])[f"attn{HEADS}"]
    weights = {name: layers[f"attn.{name}"].weight.detach().double() for name in ("query", "key", "value", "out")}
    wanted = []
    for head in range(6):
        own = slice(4 * head, 4 * head + 4)
        parts = [weights[name][own] for name in ("query", "key", "value")] + [weights["out"][:, own]]
        wanted.append(sum(float(part.square().sum()) for part in parts))
    assert found == pytest.approx(np.array(wanted) / sum(wanted))


def test_a_width_that_splits_a_head_is_refused() -> None:
    qkv = "camera.backbone.layers.0.blocks.0.attn.qkv"
    for width in (144, 200):
        with pytest.raises(ConfigError, match=rf"attn\.qkv: found {width}; accepted: 96 channels for each head"):
            variant = tiny(**SWIN, compression={"widths": {qkv: width}})
            with torch.device("meta"):
                Detector(variant)


def test_on_the_command_line(world: DataConfig, tmp_path: Path, command: Callable[..., str]) -> None:
    """Heads of the decoder of TransFusion: those with the least weights go, and what is left is rebuilt from text."""
    path = "fusion_heads.heads.detection.layers.0"
    variant = lidar_only(heads={"detection": {"type": "transfusion", "channels": 32, "heads": 4, "proposals": 20}})
    run = Run(tmp_path / "run")
    run.create(variant, world, short_recipe(), 0)
    torch.manual_seed(0)
    network = live(Detector(variant))
    for name in ("query", "key", "value"):
        layer: Any = network.get_submodule(f"{path}.cross_attention.{name}")
        layer.weight.data[8:16] *= 0.01
    save_weights(run, network.state_dict(), variant, {"epoch": 4})
    said = command("prune", run.path, "--heads", f"{path}.cross_attention=3")
    assert "8 ->      7 heads" in said  # of both attentions
    left = Run(run.path).variant("pruned")
    widths = {f"{path}.cross_attention.{name}": (24, 32) for name in ("query", "key", "value")}
    assert left.compression.widths == {**widths, f"{path}.cross_attention.out": (32, 24)}
    old, new = run.weights(stage="float"), Run(run.path).weights(stage="pruned")
    kept = [*range(8), *range(16, 32)]
    assert torch.equal(new[f"{path}.cross_attention.out.weight"], old[f"{path}.cross_attention.out.weight"][:, kept])
    meta = json.loads((run.checkpoints / "pruned.json").read_text())
    assert meta["plan"]["heads"] == {f"{path}.cross_attention": 3}
    assert meta["after"]["parameters"] == meta["before"]["parameters"] - 4 * 8 * 32 - 3 * 8
    assert meta["after"]["predicted_ms"] < meta["before"]["predicted_ms"]
    for wrong in ("lidar=2", f"{path}=9", path):
        assert "heads: found " in command("prune", run.path, "--heads", wrong, code=2).replace(f"{path}: ", "")
