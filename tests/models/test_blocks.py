"""Blocks that go: found in any part, named as text, and left out of a network that is otherwise the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from bevlite.analysis.cost import module_costs
from bevlite.config import as_dict, merge, to_yaml, validate
from bevlite.errors import ConfigError
from bevlite.models.blocks import Block, Removed, removable_blocks
from bevlite.models.detector import Detector
from bevlite.models.quantization.placement import placement
from bevlite.testing import hosts
from bevlite.variant import Variant, load_variant
from tests.models.test_detector import inputs
from tests.tiny import TINY, live, tiny

HERE = os.path.dirname(__file__)
SWIN = "camera.backbone.layers"
ALONE = {"lidar": None, "fusion": {"type": "none"}, "heads": {"occupancy": None}}
CASES: dict[str, dict[str, Any]] = {
    "resnet": {"heads": {"occupancy": None}},
    "swin": {**ALONE, "camera": {"backbone": {"type": "swin"}}},
    "bifpn": {**ALONE, "camera": {"neck": {"type": "bifpn"}}},
    "cft": {**ALONE, "camera": {"view_transform": {"type": "cft", "decoder_layers": 4, "encoder_layers": 2}}},
}


def blocks_of(variant: Variant) -> dict[str, Block]:
    with torch.device("meta"):
        return removable_blocks(Detector(variant).eval())


def without(variant: Variant, removed: Any) -> Variant:
    """Through text, as a file has it."""
    content = merge(as_dict(variant), {"compression": {"removed": list(removed)}})
    return validate(yaml.safe_load(to_yaml(content)), Variant, "pruned.yaml")


def as_many_as_may_go(blocks: Mapping[str, Block]) -> list[str]:
    """All blocks but one of each row."""
    gone: list[str] = []
    for path, block in blocks.items():
        inside = any(path.startswith(f"{other}.") for other in gone)
        if not inside and not set(block.siblings) <= {*gone, path}:
            gone.append(path)
    return gone


def given_to(network: Detector, variant: Variant) -> dict[str, Tensor]:
    made_up = [hosts.given(host, hosts.made_up_frame(), batch=1) for host in network.hosts]
    return {key: value for one in made_up for key, value in one.items()} | inputs(variant)


@pytest.mark.parametrize("name", ["bifpn", "cft"])
def test_a_network_without_blocks_is_the_one_in_which_they_are_skipped(name: str) -> None:
    variant = Variant.model_validate(merge(TINY, CASES[name]))
    blocks = blocks_of(variant)
    gone = as_many_as_may_go(blocks)
    torch.manual_seed(0)
    network = live(Detector(variant))
    assert isinstance(network, Detector) and gone
    again = Detector(without(variant, gone)).eval()
    weights = {k: v for k, v in network.state_dict().items() if not any(k.startswith(f"{p}.") for p in gone)}
    again.load_state_dict(weights)  # strict: what is left has the names that it had
    assert sum(isinstance(one, Removed) for one in again.modules()) == len(gone)
    for path in gone:
        kept = blocks[path].passes
        skipped: Any = network.get_submodule(path)
        skipped.forward = lambda *a, kept=kept: a[kept] if isinstance(kept, int) else tuple(a[p] for p in kept)
    given = given_to(again, variant)
    with torch.no_grad():
        found, wanted = again(given), network(given)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert torch.equal(found[key], value), key
    again.train()
    sum(value.float().square().mean() for value in again(given).values()).backward()  # type: ignore[union-attr]
    costs = [sum(cost.parameters for cost in module_costs(one)) for one in (again.variant, variant)]
    assert costs[0] < costs[1]


def test_what_can_go() -> None:
    """By what the layers are: residual blocks and convolutions that keep the shape; none that changes it."""
    found = blocks_of(tiny())
    assert {p for p in found if p.startswith("camera.backbone")} == {
        f"camera.backbone.body.layer{stage}.{block}" for stage, block in ((1, 0), (1, 1), (2, 1), (3, 1), (4, 1))
    }
    assert "lidar.backbone.stages.0.1" in found and "lidar.backbone.stages.0.0" not in found  # 8 to 16 channels
    assert found["lidar.backbone.stages.0.1"].siblings == ("lidar.backbone.stages.0.0", "lidar.backbone.stages.0.1")
    assert not any(p.startswith(("fusion_heads.heads.detection.branches", "camera.neck.norms")) for p in found)
    deep = tiny(camera={"view_transform": {"type": "cft", "decoder_layers": 3, "encoder_layers": 2}})
    own = [path for path in blocks_of(deep) if path.startswith("view_transform")]
    assert own == [f"view_transform.encoder.{i}" for i in range(2)] + [f"view_transform.decoder.{i}" for i in range(3)]


@pytest.mark.parametrize(
    ("name", "paths", "silent"),
    [
        ("resnet", ["camera.backbone.body.layer1.1", "camera.backbone.body.layer3.1"], ["bn2"]),
        ("swin", [f"{SWIN}.2.blocks.4", f"{SWIN}.2.blocks.5", f"{SWIN}.0.blocks.0"], ["attn.proj", "mlp.fc2"]),
    ],
)
def test_a_residual_block_with_silent_branches_is_no_block(name: str, paths: list[str], silent: list[str]) -> None:
    variant = Variant.model_validate(merge(TINY, CASES[name]))
    torch.manual_seed(0)
    network = live(Detector(variant))
    for path in paths:
        for layer in silent:
            last: Any = network.get_submodule(f"{path}.{layer}")
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    again = Detector(without(variant, paths)).eval()
    again.load_state_dict(network.state_dict(), strict=False)
    given = inputs(variant)
    with torch.no_grad():
        found, wanted = again(given), network(given)
    assert all(torch.allclose(found[key], wanted[key], rtol=1e-6, atol=1e-6) for key in wanted)


def test_a_window_stays_shifted_when_one_before_it_goes() -> None:
    variant = Variant.model_validate(merge(TINY, CASES["swin"]))
    with torch.device("meta"):
        network: Any = Detector(without(variant, [f"{SWIN}.2.blocks.0", f"{SWIN}.2.blocks.3"]))
    shifts = [getattr(block, "shifts", None) for block in network.camera.backbone.layers[2].blocks]
    assert shifts == [None, True, False, None, False, True]


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (
            ["lidar.backbone.stages.0.0"],
            r"'lidar\.backbone\.stages\.0\.0', which is no block that can go \(did you",
        ),
        (["camera.backbone.body.layer9.0"], r"compression\.removed: found 'camera\.backbone\.body\.layer9\.0'"),
        ([f"camera.backbone.body.layer1.{i}" for i in (0, 1)], r"found all 2 blocks of camera\.backbone\.body\.layer1"),
        ([""], r"removed.*accepted: a path such as camera\.backbone"),
    ],
)
def test_what_cannot_go_is_one_line(removed: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught, torch.device("meta"):
        Detector(without(tiny(), removed))
    assert "\n" not in str(caught.value)


def test_a_block_inside_another_one_that_goes() -> None:
    variant = Variant.model_validate(merge(TINY, CASES["swin"]))
    with pytest.raises(ConfigError, match=r"inside 'camera\.backbone\.layers\.0', which goes as a whole"):
        Detector(without(variant, [f"{SWIN}.0", f"{SWIN}.0.blocks.1"]))


def test_identities() -> None:
    """An empty list is no other network: the hashes are those of before there was such a key."""
    root = os.path.join(HERE, "..", "..", "configs", "variants")
    before = {"cuda-bevfusion-r50": ("90702ed90cac", "d488a2920b91"), "demo": ("7b12a6f08e1d", "5189581d32b7")}
    for name, hashes in before.items():
        variant = load_variant(os.path.join(root, f"{name}.yaml"), ["compression.removed=[]"])
        assert (variant.network_hash, variant.hash) == hashes
        assert "removed" not in as_dict(variant)["compression"]
    one, other = "lidar.backbone.stages.0.1", "camera.backbone.body.layer1.0"
    first, second = without(tiny(), [one, other]), without(tiny(), [other, one, one])
    assert first.network_hash == second.network_hash and first == second
    assert len({v.network_hash for v in (tiny(), first, without(tiny(), [one]))}) == 3
    assert len({v.hash for v in (tiny(), first, without(tiny(), [one]))}) == 3


def test_int8_is_placed_in_what_is_left() -> None:
    gone = "camera.backbone.body.layer1.1"
    whole, left = placement(tiny()), placement(without(tiny(), [gone]))
    assert set(whole.products) - set(left.products) == {f"{gone}.conv1", f"{gone}.conv2"}
    assert set(left.products) < set(whole.products)


def test_widths_and_blocks_together() -> None:
    """Widths are of what is left: a layer inside a block that is gone has none."""
    gone = "lidar.backbone.stages.1.1"
    widths = {"lidar.backbone.stages.0.1.0": 12, "lidar.backbone.stages.1.0.0": 20}
    network: Any = Detector(without(tiny(compression={"widths": widths}), [gone]))
    assert network.lidar.backbone.stages[1][0][0].in_channels == 12
    assert network.eval()(inputs(tiny()))["boxes"].shape == (1, 60, 64, 64)
    with pytest.raises(ConfigError, match=r"stages\.1\.1\.0: found no layer"):
        Detector(without(tiny(compression={"widths": {f"{gone}.0": 8}}), [gone]))
