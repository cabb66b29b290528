"""Groups of channels: cut networks are the old ones with those channels silenced, and Torch-Pruning finds the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_pruning
from torch import Tensor, nn

from bevlite.compression.coupling import _small, _Tracer, channel_groups
from bevlite.compression.cut import cut
from bevlite.compression.groups import Group
from bevlite.errors import BevliteError
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import Module, modules_of
from bevlite.registry import Registry
from bevlite.testing import hosts
from bevlite.variant import Variant, load_variant
from tests.models.test_detector import inputs
from tests.models.test_widths import every_part, with_part
from tests.tiny import lidar_only, live, tiny

MIXED_IN = (nn.LayerNorm,)
"""A norm over channels changes with those that are gone: such a network is no silenced one."""


def given_to(network: Any, variant: Variant) -> dict[str, Tensor]:
    made_up = [hosts.given(host, hosts.made_up_frame(), batch=1) for host in network.hosts]
    return {key: value for one in made_up for key, value in one.items()} | inputs(variant)


def outputs(network: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        return {k: v for k, v in network(given).items() if not k.startswith("auxiliary/")}


def silenced(network: nn.Module, groups: list[Group], removed: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Weights with which nobody takes anything from the channels that are to go."""
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    layers = dict(network.named_modules())
    for group in groups:
        for member in group.members:
            layer: Any = layers[member.path]
            if member.side != "in" or not isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                continue
            channels = torch.from_numpy(member.channels[removed[group.name]])
            weight = weights[f"{member.path}.weight"]
            if isinstance(layer, nn.ConvTranspose2d) or getattr(layer, "groups", 1) > 1:
                weight[channels] = 0
            else:
                weight[:, channels] = 0
    return weights


@pytest.mark.parametrize(("registry", "place", "name"), every_part())
def test_a_network_without_channels_is_the_one_in_which_they_are_silent(
    registry: Registry, place: str, name: str
) -> None:
    variant = with_part(registry, place, name)
    torch.manual_seed(0)
    network = live(Detector(variant))
    groups = channel_groups(variant)
    draw = np.random.default_rng(0)
    layers = dict(network.named_modules())
    plain = [g for g in groups if not any(isinstance(layers[m.path], MIXED_IN) for m in g.members)]
    removed = {g.name: draw.choice(g.size, max(1, g.size // 2), replace=False) for g in plain if g.size > 1}
    plain = [g for g in plain if g.name in removed]
    smaller, left = cut(variant, network.state_dict(), groups, removed)
    again = Detector(smaller).eval()  # from text alone
    again.load_state_dict(left)
    if name in ("transfusion", "bevfusion") and place == "heads.detection":
        return  # which queries come is decided by ties of rounding
    quiet = Detector(variant).eval()
    quiet.load_state_dict(silenced(network, plain, removed))
    given = given_to(network, variant)
    found, wanted, before = (outputs(one, given) for one in (again, quiet, network))
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        scale = float(value.abs().max())
        assert float((found[key] - value).abs().max()) < 2e-5 * scale, key
    assert any(float((wanted[k] - before[k]).abs().max()) > 1e-3 * float(before[k].abs().max()) for k in before)
    sizes = [sum(p.numel() for p in one.parameters()) for one in (again, network)]
    # Of transformers what goes on by heads, or through a norm over channels, stays.
    assert sizes[0] < (0.45 if name not in ("swin", "cft", "bevformer") else 0.8) * sizes[1]


def test_norms_over_channels_go_with_their_groups() -> None:
    """Swin: the channels of a stage, its norms, and all that takes them, in one group; heads go whole."""
    from bevlite.registry import BACKBONES

    variant = with_part(BACKBONES, "camera.backbone", "swin")
    groups = channel_groups(variant)
    layers = dict(Detector(variant).named_modules())
    normed = [g for g in groups if any(isinstance(layers[m.path], nn.LayerNorm) for m in g.members)]
    assert normed
    paths = {m.path for g in normed for m in g.members}
    assert any(path.endswith("mlp.fc2") for path in paths)
    assert any(path.endswith("attn.qkv") for path in paths)  # what it takes
    given_by = {m.path for g in groups for m in g.outs if not g.of_heads}
    assert any(path.endswith("mlp.fc1") for path in given_by)
    assert not any(path.endswith("attn.qkv") for path in given_by)
    smaller, left = cut(
        variant, Detector(variant).state_dict(), groups, {g.name: np.arange(g.size // 4) for g in normed}
    )
    again = Detector(smaller).eval()
    again.load_state_dict(left)
    assert all(torch.isfinite(v).all() for v in outputs(again, given_to(again, variant)).values())


@pytest.mark.parametrize("fusion", ["add", "conv", "dynamic", "se"])
def test_both_maps_that_are_joined_can_lose_channels(fusion: str) -> None:
    """The camera's map mixes with depths on its way, the LiDAR's beside it does not: neither holds the other fast."""
    sizes = {group.name: group.size for group in channel_groups(tiny(fusion={"type": fusion}))}
    assert sizes["lidar.neck.blocks.0.0"] == sizes["lidar.neck.blocks.1.0"] == 12
    assert sizes["view_transform.depth_net"] == 8  # what it gives beside the depths


def test_groups_do_not_depend_on_the_size_of_maps() -> None:
    variant = load_variant(Path(__file__).resolve().parents[2] / "configs" / "variants" / "demo.yaml")
    smaller = _small(variant)
    assert smaller.camera is not None and smaller.camera.images.cameras == 1
    assert smaller.bev.cell_m > variant.bev.cell_m
    found, wanted = (
        [(g.name, [(m.path, m.side, m.channels.tolist()) for m in g.members]) for g in _Tracer(one).groups()]
        for one in (smaller, variant)
    )
    assert found == wanted


class _Named(nn.Module):
    """A module as Torch-Pruning wants it."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self.network = module.network

    def forward(self, given: list[Tensor]) -> tuple[Tensor, ...]:
        out: tuple[Tensor, ...] = self.network(*given)
        return out


def theirs(graph: Any, layer: nn.Module, channel: int, names: dict[nn.Module, str]) -> set[tuple[str, str, int]]:
    """What Torch-Pruning would remove with one channel of a layer."""
    prune = graph.get_pruner_of_module(layer).prune_out_channels
    found = set()
    for dependency, numbers in graph.get_pruning_group(layer, prune, idxs=[channel]):
        target = dependency.target.module
        if target not in names:
            continue
        side = "in" if "in_channels" in dependency.handler.__name__ else "out"
        if isinstance(target, (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)):
            side = "in"
        found |= {(names[target], side, int(number)) for number in numbers}
        if getattr(target, "groups", 1) > 1:
            found |= {(names[target], other, int(number)) for number in numbers for other in ("in", "out")}
    return found


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"camera": {"backbone": {"type": "efficientnet_lite"}, "neck": {"type": "fpn"}}},
        {"lidar": {"backbone": {"type": "second_dw"}}},
        {"bev_encoder": {"type": "fpn_lss"}},
    ],
    ids=["tiny", "efficientnet", "depthwise", "fpn_lss"],
)
def test_torch_pruning_finds_the_same_groups(change: dict[str, Any]) -> None:
    """Within a module: its graphs end there, ours go on."""
    # It follows gradients from the outputs, and the class of a voxel has none.
    variant = tiny(**change, heads={"occupancy": None})
    network = Detector(variant).eval()
    names = {layer: path for path, layer in network.named_modules()}
    groups = channel_groups(variant)
    compared = 0
    for module in modules_of(network):
        if module.name == "view_transform":  # what it does is gathers, which have no rule there
            continue
        with deployed_form():
            graph = torch_pruning.DependencyGraph().build_dependency(
                _Named(module), list(module.example().values()), forward_fn=lambda m, x: m(x), verbose=False
            )
        inside = {path for layer, path in names.items() if any(layer is one for one in module.network.modules())}
        for group in groups:
            if not {m.path for m in group.members} <= inside:
                continue
            if "[" in group.name:  # it hands the parts of a split map to its readers in another order (1.6)
                continue
            for number in {0, group.size // 2, group.size - 1}:
                ours = {(m.path, m.side, int(m.channels[number])) for m in group.members}
                first = group.outs[0]
                layer = network.get_submodule(first.path)
                assert ours == theirs(graph, layer, int(first.channels[number]), names), group.name
                compared += 1
    assert compared > 40


def test_every_channel_is_in_one_group_at_most_and_pruned_networks_have_groups_again() -> None:
    variant = lidar_only()
    groups = channel_groups(variant)
    seen: set[tuple[str, str, int]] = set()
    for group in groups:
        for member in group.members:
            own = {(member.path, member.side, int(channel)) for channel in member.channels}
            assert len(own) == group.size and not own & seen
            seen |= own
    smaller, _ = cut(variant, {}, groups, {g.name: np.arange(g.size // 2) for g in groups if g.size > 1})
    again = channel_groups(smaller)
    assert {g.name.split("[")[0] for g in again} == {g.name.split("[")[0] for g in groups}
    assert sum(g.size for g in again) < 0.6 * sum(g.size for g in groups)


def test_what_cannot_be_cut_is_said() -> None:
    variant = lidar_only()
    groups = channel_groups(variant)
    with pytest.raises(BevliteError, match=r"found all \d+ channels to remove; accepted: fewer"):
        cut(variant, {}, groups, {groups[0].name: np.arange(groups[0].size)})
    with pytest.raises(BevliteError, match=r"found group 'camera\.nothing'; accepted: lidar"):
        cut(variant, {}, groups, {"camera.nothing": np.array([0])})
