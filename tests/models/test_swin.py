"""Swin against timm's own network, its windows on other images, and the convolution in place of attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor
from torch.nn import functional

from bevlite.errors import ConfigError
from bevlite.models.backbones.swin import ConvBlock, SwinConfig, WindowBlock, resized_table
from bevlite.variant import Variant
from tests.tiny import tiny

NAME = "swin_tiny_patch4_window7_224"
TABLE = "relative_position_bias_table"


def timms(size: tuple[int, int], window: Any) -> Any:
    """timm's network for images of a size, with tables and a final norm that matter."""
    torch.manual_seed(0)
    network = timm.create_model(NAME, img_size=size, window_size=window).eval()
    for key, value in network.named_parameters():
        if TABLE in key or key.startswith("norm."):
            torch.nn.init.normal_(value)
    return network


@pytest.mark.parametrize(("size", "window"), [((224, 256), 7), ((256, 352), (8, 11))])
def test_maps_are_those_of_timm(size: tuple[int, int], window: Any, tmp_path: Path) -> None:
    """Padded windows on maps of 56 x 64 to 7 x 8, and windows that divide maps of 64 x 88 to 8 x 11."""
    network = timms(size, window)
    save_file(network.state_dict(), tmp_path / "swin.safetensors")
    ours = SwinConfig(window=window, weights=str(tmp_path / "swin.safetensors")).build().eval()
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        maps = ours(images)
        theirs = network.forward_intermediates(images, norm=True, intermediates_only=True)
    for i, (mine, other) in enumerate(zip(maps, theirs, strict=True)):
        if i < 3:  # timm's last norm is that of our last map; the others have none at timm
            other = functional.layer_norm(other.permute(0, 2, 3, 1), other.shape[1:2]).permute(0, 3, 1, 2)
        assert mine.shape == other.shape and (mine - other).abs().max() < 1e-4 * other.abs().max()


def test_a_map_that_one_window_spans_is_shifted_along_the_other_side_alone() -> None:
    block = WindowBlock(SwinTransformerBlock(8, (8, 22), 2, window_size=(8, 11), shift_size=(4, 5)))
    assert block.shift_on(8, 22) == (0, 5) and block.shift_on(16, 44) == (4, 5) and block.shift_on(8, 11) == (0, 0)


def test_tables_are_interpolated_between_their_positions() -> None:
    """A plane stays that plane, but for what cubic interpolation overshoots; the offset of 0 stays where it is."""
    rows, columns = torch.meshgrid(torch.arange(13.0) - 6, torch.arange(13.0) - 6, indexing="ij")
    table = torch.stack([3 * rows - 2 * columns, rows * 0 + 7], dim=-1).reshape(169, 2)
    resized = resized_table(table, (8, 11)).reshape(15, 21, 2)
    # Sample i of n lies at (i + 1/2) * 13 / n - 1/2 of the old ones, whose sixth is the offset of 0.
    down, across = (((torch.arange(n) + 0.5) * 13 / n - 6.5) for n in (15, 21))
    plane = 3 * down[:, None] - 2 * across[None]
    assert torch.allclose(resized[2:-2, 3:-3, 0], plane[2:-2, 3:-3], atol=0.5)
    assert resized[7, 10, 0].abs() < 1e-5 and torch.allclose(resized[..., 1], torch.full((15, 21), 7.0))
    assert torch.equal(resized_table(table, (7, 7)), table)


def test_weights_of_square_windows_serve_other_windows_and_the_convolution(tmp_path: Path) -> None:
    network = timms((224, 224), 7)
    file = tmp_path / "swin.pth"
    torch.save(network.state_dict(), file)
    ours: Any = SwinConfig(window=[8, 11], weights=str(file)).build()
    found = ours.layers[2].blocks[3].attn
    assert found.relative_position_bias_table.shape == (15 * 21, 12)
    theirs = network.layers[2].blocks[3]
    assert torch.equal(
        found.relative_position_bias_table, resized_table(theirs.attn.relative_position_bias_table, (8, 11))
    )
    assert torch.equal(found.qkv.weight, theirs.attn.qkv.weight)
    conv: Any = SwinConfig(attention="conv", kernel=9, weights=str(file)).build()
    assert conv.layers[2].blocks[3].mix[0].kernel_size == (9, 9)
    assert torch.equal(conv.layers[2].blocks[3].mlp.fc1.weight, theirs.mlp.fc1.weight)
    torch.save({k: v for k, v in network.state_dict().items() if "layers.1.blocks.0.mlp" not in k}, file)
    with pytest.raises(ConfigError, match=r"lacks 4 of \d+ tensors \(first: layers.1.blocks.0.mlp.fc1.weight\)"):
        SwinConfig(weights=str(file)).build()


def test_the_convolution_learns_what_needs_its_neighbours() -> None:
    """To move a map by three columns: an MLP on each position alone cannot."""
    torch.manual_seed(0)
    block = ConvBlock(SwinTransformerBlock(8, (8, 8), 2, window_size=4), 7)
    x = torch.randn(4, 8, 12, 8)
    wanted = torch.roll(x, 3, dims=2)[:, :, 3:]

    def error(maps: Tensor) -> Tensor:
        return (maps[:, :, 3:] - wanted).square().mean()

    optimizer = torch.optim.Adam(block.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        error(block(x)).backward()
        optimizer.step()
    with torch.no_grad():
        assert error(block(x)) < 0.3 * wanted.square().mean()
        block.mix[0].weight[..., torch.arange(7) != 3] = 0  # without the columns beside
        assert error(block(x)) > wanted.square().mean()


def test_branches_are_left_out_more_often_with_depth() -> None:
    network: Any = SwinConfig(drop_path=0.3).build()
    rates = [getattr(block.drop_path2, "drop_prob", 0.0) for stage in network.layers for block in stage.blocks]
    assert rates == pytest.approx([0.3 * i / 11 for i in range(12)])


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ({"window": [7, 7]}, ("camera.backbone.window: found [7, 7] on images of 256 x 704", "8 x 22", "[8, 11]")),
        ({"window": [8, 12]}, ("found [8, 12]", "accepted: [8, 11], or one number")),
        ({"window": [8]}, ("window",)),
        ({"window": 1}, ("window", "2")),
        ({"window": [8, 11, 3]}, ("window",)),
        ({"kernel": 8}, ("found 8; accepted: an odd number, such as 7 or 9",)),
        ({"kernel": 5}, ("kernel", "7")),
        ({"drop_path": 1.0}, ("drop_path", "less than 1")),
        ({"attention": "global"}, ("attention", "'window' or 'conv'")),
    ],
)
def test_what_does_not_fit_is_refused_when_read(backbone: dict[str, Any], words: tuple[str, ...]) -> None:
    changes = {"images": {"height": 256, "width": 704}, "backbone": {"type": "swin", **backbone}}
    with pytest.raises(ValueError) as error:
        tiny(camera=changes)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("height", "width", "window", "accepted"),
    [
        (256, 704, [8, 11], ""),
        (256, 704, [4, 22], ""),
        (64, 192, [8, 11], "[2, 6], or"),
        (32, 96, [8, 11], "accepted: one"),
    ],
)
def test_windows_that_divide_every_map(height: int, width: int, window: list[int], accepted: str) -> None:
    def read() -> Variant:
        return tiny(
            camera={"images": {"height": height, "width": width}, "backbone": {"type": "swin", "window": window}}
        )

    if not accepted:
        read()
        return
    with pytest.raises(ValueError) as error:
        read()
    assert accepted in str(error.value)
