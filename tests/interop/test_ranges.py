"""Ranges of a quantized checkpoint: held against torch's own rounding in the layers of the other code base."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import bevlite
from bevlite.errors import BevliteError
from bevlite.interop.ranges import NO_RANGE, NO_SKIP, split
from bevlite.models.detector import Detector
from bevlite.models.quantization.network import quantize
from bevlite.run_folder import Run
from tests.interop.plain import settled
from tests.interop.test_bevdet import SMALL, Block, Plain

ENCODER = "img_bev_encoder_"
OURS = "fusion_heads.bev_encoder."


def round_to(x: Tensor, largest: float) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(x, largest / 127, 0, -127, 127)


def round_weight(weight: Tensor) -> Tensor:
    scale = weight.flatten(1).abs().amax(1) / 127
    return torch.fake_quantize_per_channel_affine(weight, scale, torch.zeros_like(scale, dtype=torch.int), 0, -127, 127)


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    return {
        name: layer for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d) and name.startswith(ENCODER)
    }  # fmt: skip


def observed(network: Plain, bev: Tensor) -> dict[str, Tensor]:
    """What quantizers before the convolutions and the plain skips of the BEV encoder would keep."""
    found: dict[str, Tensor] = {}

    def see(name: str, value: Tensor) -> None:
        found[f"{name}._amax"] = value.abs().amax().float()

    hooks = []
    for name, layer in convolutions(network).items():
        hooks.append(
            layer.register_forward_pre_hook(lambda _, given, name=name: see(f"{name}._input_quantizer", given[0]))
        )
        found[f"{name}._weight_quantizer._amax"] = layer.weight.detach().abs().amax((1, 2, 3), keepdim=True)
    for name, block in network.named_modules():
        if isinstance(block, Block) and name.startswith(ENCODER):
            hooks.append(
                block.register_forward_pre_hook(lambda _, given, n=name: see(f"{n}.residual_quantizer", given[0]))
            )
    network.found(bev)
    for hook in hooks:
        hook.remove()
    return found


@contextmanager
def in_int8(network: Plain, ranges: dict[str, Tensor], floats: set[str]) -> Iterator[None]:
    """The convolutions of theirs, rounded by torch, and the skips of blocks without a convolution in them."""
    before = {name: layer.forward for name, layer in convolutions(network).items()}
    for name, layer in convolutions(network).items():
        if name in floats:
            continue
        largest = float(ranges[f"{name}._input_quantizer._amax"])

        def forward(x: Tensor, layer: nn.Conv2d = layer, largest: float = largest) -> Tensor:
            return functional.conv2d(
                round_to(x, largest), round_weight(layer.weight), layer.bias, layer.stride, layer.padding
            )

        layer.forward = forward  # type: ignore[method-assign]
    plain = Block.forward

    def block_forward(self: Block, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "downsample"):
            return torch.relu(out + self.downsample(x))
        name = next(n for n, one in network.named_modules() if one is self)
        return torch.relu(out + round_to(x, float(ranges[f"{name}.residual_quantizer._amax"])))

    Block.forward = block_forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        Block.forward = plain  # type: ignore[method-assign]
        for name, layer in convolutions(network).items():
            layer.forward = before[name]  # type: ignore[method-assign]


@torch.no_grad()
def test_it_rounds_as_the_checkpoint_did(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = settled(Plain(True, (1, 2, 2, 1, 2, 2)))
    assert isinstance(theirs, Plain)
    bev = torch.randn(1, 64, 16, 16)
    ranges = observed(theirs, bev)
    # Where ours has one scale for joined maps, theirs has one a reader: with one range for all both round alike.
    largest = torch.stack([value for name, value in ranges.items() if "weight" not in name]).amax()
    common = 127 * 2.0 ** torch.ceil(torch.log2(largest / 127))  # ours are numbers of FP16: steps that it holds
    ranges |= {name: common for name in ranges if "weight" not in name}
    unknown = {"img_backbone.fc._input_quantizer._amax": torch.tensor(1.0)}
    torch.save({**theirs.state_dict(), **ranges, **unknown}, tmp_path / "ptq.pth")
    made = bevlite.import_checkpoint(tmp_path / "ptq.pth", out=tmp_path / "run", overrides=SMALL)
    run = Run(tmp_path / "run")
    assert run.stages == ("float", "calibration") and run.variant() == made.variant
    said = json.loads((run.path / "import.json").read_text())["notes"]
    assert any("run in INT8 with the ranges of the checkpoint" in note for note in said)
    assert any("4 layers of the checkpoint have ranges that are not used: img_backbone.fc" in note for note in said)
    network = Detector(made.variant).eval()
    network.load_state_dict(run.weights(stage="calibration"))
    scales = run.scales()
    assert scales is not None
    taken = quantize(network, scales)
    # Where both branches are convolutions, ours adds in the shortcut, and of its other branch nothing is known.
    floats = {name for name in convolutions(theirs) if name.endswith("downsample")}
    assert len(taken.layers) == len(convolutions(theirs)) - len(floats)
    # Layer by layer: in a chain, values that fall to either side of a step send all others elsewhere.
    given = torch.randn(1, 128, 8, 8)
    with in_int8(theirs, ranges, floats):
        block = theirs.img_bev_encoder_backbone["layers"][0][1]  # type: ignore[index]
        expected = block(given).transpose(2, 3)
    ours = network.fusion_heads.bev_encoder.stages[0][1]
    with taken:
        found = ours(given.transpose(2, 3))
    whole = ours(given.transpose(2, 3))
    rounding = (whole - expected).square().mean().sqrt()
    assert (found - expected).square().mean().sqrt() < 0.4 * rounding


@torch.no_grad()
def test_each_range_goes_to_its_layer(tmp_path: Path) -> None:
    theirs = settled(Plain(True, (1, 2, 2, 1, 2, 2)))
    assert isinstance(theirs, Plain)
    ranges = {
        f"{name}._input_quantizer._amax": torch.tensor(1.0 + number) for number, name in enumerate(convolutions(theirs))
    }
    skip = f"{ENCODER}backbone.layers.1.1"
    ranges[f"{skip}.residual_quantizer._amax"] = torch.tensor(99.0)
    short = f"{ENCODER}neck.up2.4.weight"
    ranges[short.replace("weight", "_weight_quantizer._amax")] = 0.5 * theirs.state_dict()[short].abs().amax((1, 2, 3))
    torch.save({**theirs.state_dict(), **ranges}, tmp_path / "ptq.pth")
    made = bevlite.import_checkpoint(tmp_path / "ptq.pth", out=tmp_path / "run", overrides=SMALL)
    scales = Run(tmp_path / "run").scales()
    assert scales is not None

    def of(name: str) -> float:
        return float(ranges[f"{ENCODER}{name}._input_quantizer._amax"])

    # What the second convolution of a block takes, nobody else does.
    for stage in range(3):
        for block in range(2):
            ours = f"{OURS}stages.{stage}.{block}.second.0"
            held = scales.get(ours)  # none: of a block whose skip has no range
            assert held == (of(f"backbone.layers.{stage}.{block}.conv2") if (stage, block) != (0, 1) else held)
    # The skip is what the first convolution of the block takes: one scale, the larger.
    assert scales[f"{OURS}stages.1.1.first.0"] == scales[f"{OURS}stages.1.1.second.0+skip"] == 99.0
    # Joined maps share one: what reads the first stage, and what reads it joined with the last.
    joined = [of("neck.conv.0"), of("backbone.layers.1.0.conv1")]
    assert scales[f"{OURS}join.0.0"] == scales[f"{OURS}stages.1.0.first.0"] == max(joined)
    assert any("clips below their largest value" in note and "out.1" in note for note in made.notes)


def test_a_checkpoint_without_ranges_of_ours(tmp_path: Path) -> None:
    state: dict[str, Any] = dict(settled(Plain(True, (1, 2, 2, 1, 2, 2))).state_dict())
    torch.save({**state, "img_backbone.fc._input_quantizer._amax": torch.tensor(1.0)}, tmp_path / "ptq.pth")
    made = bevlite.import_checkpoint(tmp_path / "ptq.pth", out=tmp_path / "run", overrides=SMALL)
    assert Run(tmp_path / "run").stages == ("float",)
    assert "1 layers of the checkpoint have ranges of INT8, none of which answers to a layer here" in made.notes


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("a._input_quantizer._amax", torch.tensor(0.0), "found a range that is not above 0"),
        (
            "a._input_quantizer._amax",
            torch.ones(3),
            "found ranges of 3 channels of what it takes; accepted: one a tensor",
        ),
        ("a.residual_quantizer._amax", torch.zeros(0), "found a range that is not above 0"),
    ],
)
def test_ranges_that_cannot_be(name: str, value: Tensor, said: str) -> None:
    with pytest.raises(BevliteError, match=said):
        split({name: value})


def test_what_is_a_range_and_what_a_weight() -> None:
    """As pytorch-quantization and as modelopt name them; what else their quantizers keep is no weight."""
    given = {
        "a.weight": torch.ones(2, 2), "a._input_quantizer._amax": torch.tensor(2.0),
        "a._weight_quantizer._amax": torch.ones(2, 1), "b.input_quantizer._amax": torch.tensor([3.0]),
        "b.input_quantizer._pre_quant_scale": torch.ones(2), "c.0.residual_quantizer._amax": torch.tensor(4.0),
    }  # fmt: skip
    weights, ranges = split(given)
    assert list(weights) == ["a.weight"]
    assert ranges.inputs == {"a": 2.0, "b": 3.0} and ranges.skips == {"c.0": 4.0} and set(ranges.weights) == {"a"}
    assert NO_RANGE != NO_SKIP
