"""Swin-T from the layers of timm (Liu et al., arXiv 2103.14030), made for fixed images, with two changes to choose.

`window: [8, 11]` divides all maps of 256 x 704 images, so that nothing is padded or cropped. `attention: conv` mixes
with a large depthwise convolution instead: no windows, no shifts, no softmax. As in the detectors that use Swin, each
map that is handed out is normalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from bevlite.models.attention import MultiHead, shares
from bevlite.models.contracts import Backbone, BackboneConfig, FeatureInfo
from bevlite.models.pretrained import State, fetch_from_timm, load_weights
from bevlite.registry import BACKBONES

NAME = "swin_tiny_patch4_window7_224"
COARSEST = 32
MASKED = -100.0
"""Added to the score of two positions that a shift brought together (the value of the paper's code)."""
TABLE = "relative_position_bias_table"
Side = Annotated[int, Field(ge=2, le=64)]
Pair = tuple[int, int]
"""Rows and columns."""


@BACKBONES.register
class SwinConfig(BackboneConfig):
    """Swin-T.

    attention: windows as published, or a depthwise convolution in their place.
    window: side of the windows, of which those at the border are padded; or rows and columns, which must divide every
        map. Of `attention: window`.
    pad: whether a map that windows do not divide is padded `after` it was shifted, as timm does, or `before`, as the
        detectors of mmdetection do, whose weights want it so.
    kernel: side of the depthwise convolution of `attention: conv`.
    drop_path: how many residual branches the last block leaves out in training; the first leaves out none.
    weights: `imagenet`, or a local timm state dict; tables of relative positions are interpolated to the window.
        With `attention: conv` everything else is taken.
    """

    added: ClassVar[Mapping[str, Any]] = {"pad": "after"}
    type: Literal["swin"] = "swin"
    attention: Literal["window", "conv"] = "window"
    window: Side | tuple[Side, Side] = 7
    pad: Literal["after", "before"] = "after"
    kernel: int = Field(default=7, ge=7, le=31)
    drop_path: float = Field(default=0.2, ge=0, lt=1)
    weights: str | None = None

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"found {kernel}; accepted: an odd number, such as {kernel - 1} or {kernel + 1}")
        return kernel

    def check(self, height: int, width: int) -> None:
        """Rows and columns of a window must divide the coarsest map, and with it all others."""
        if self.attention == "conv" or isinstance(self.window, int):
            return
        coarsest = height // COARSEST, width // COARSEST
        if any(size % side for size, side in zip(coarsest, self.window, strict=True)):
            near = [_nearest(side, size) for side, size in zip(self.window, coarsest, strict=True)]
            fits = f"{near}, or " if all(near) else ""
            raise ValueError(
                f"camera.backbone.window: found {list(self.window)} on images of {height} x {width}, whose coarsest "
                f"map has {coarsest[0]} x {coarsest[1]} positions; accepted: {fits}one number, which is padded"
            )

    def build(self) -> Backbone:
        """The network part."""
        return Swin(self)


def _nearest(side: int, size: int) -> int:
    """The side of a window that divides a map and is nearest to this one; 0 where there is none of 2 or more."""
    fitting = [other for other in range(2, min(size, 64) + 1) if size % other == 0]
    return min(fitting, key=lambda other: (abs(other - side), other), default=0)


class Swin(Backbone):
    """Images (B*N, 3, H, W) to maps at strides 4, 8, 16 and 32 with 96, 192, 384 and 768 channels.

    Inside, maps are (B*N, H, W, C). Names of layers are those of timm.
    """

    def __init__(self, config: SwinConfig) -> None:
        import timm  # loads torchvision, seconds that a command which builds no network need not wait

        super().__init__()
        # Windows of one size whatever the images: weights then belong to the window alone.
        body: Any = timm.create_model(
            NAME,
            pretrained=False,
            num_classes=0,
            window_size=config.window,
            drop_path_rate=config.drop_path,
            always_partition=True,
            strict_img_size=False,
        )
        self.feature_info = [FeatureInfo(info["num_chs"], info["reduction"]) for info in body.feature_info]
        self.patch_embed = nn.ModuleDict({"proj": body.patch_embed.proj, "norm": body.patch_embed.norm})
        self.layers = nn.ModuleList(Stage(stage, config) for stage in body.layers)
        self.norms = nn.ModuleList(nn.LayerNorm(info.channels) for info in self.feature_info)
        if config.weights:
            new = [key for key in self.state_dict() if key.startswith("norms.") or ".mix." in key]
            load_weights(self, config.weights, lambda: fetch_from_timm(NAME), self._adapted, new)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Four maps, finest first."""
        x = self.patch_embed["norm"](self.patch_embed["proj"](images).permute(0, 2, 3, 1))
        maps = []
        for stage, norm in zip(self.layers, self.norms, strict=True):
            x = stage(x)
            maps.append(norm(x).permute(0, 3, 1, 2))  # channels last, as the layers after it are in training
        return maps

    def _adapted(self, state: State) -> State:
        """Tables of relative positions for our windows; the final norm as that of the coarsest map."""
        found = dict(state)
        for key, ours in self.state_dict().items():
            if key.endswith(TABLE) and key in found and found[key].shape != ours.shape:
                block: Any = self.get_submodule(key.removesuffix(f".attn.{TABLE}"))
                found[key] = resized_table(found[key], block.window)
        for name in ("weight", "bias"):
            if f"norm.{name}" in found:
                found[f"norms.3.{name}"] = found[f"norm.{name}"]
        return found


def resized_table(table: Tensor, window: Pair) -> Tensor:
    """Biases of relative positions ((2n-1)^2, heads) of a square window for another one, interpolated bicubically."""
    side = round(len(table) ** 0.5)
    image = table.T.reshape(1, -1, side, side).float()
    size = (2 * window[0] - 1, 2 * window[1] - 1)
    resized = functional.interpolate(image, size=size, mode="bicubic", align_corners=False)
    return resized.flatten(2)[0].T.to(table.dtype)


class Stage(nn.Module):
    """A merging of 2 x 2 positions (none in the first stage), and blocks on (B, H, W, C)."""

    def __init__(self, stage: Any, config: SwinConfig) -> None:
        """`stage` of timm, whose layers it takes."""
        super().__init__()
        first = isinstance(stage.downsample, nn.Identity)
        self.downsample = stage.downsample if first else Merging(stage.downsample)
        self.blocks = nn.Sequential(
            *(
                WindowBlock(b, config.pad) if config.attention == "window" else ConvBlock(b, config.kernel)
                for b in stage.blocks
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H/2, W/2, 2 * C), or the same shape in the first stage."""
        out: Tensor = self.blocks(self.downsample(x))
        return out


class Merging(nn.Module):
    """2 x 2 positions to one, on a map with even sides."""

    def __init__(self, merging: Any) -> None:
        """`merging` of timm, whose layers it takes."""
        super().__init__()
        self.norm, self.reduction = merging.norm, merging.reduction

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H/2, W/2, 2 * C)."""
        batch, height, width, channels = map(int, x.shape)
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 4, 2, 5)
        out: Tensor = self.reduction(self.norm(x.reshape(batch, height // 2, width // 2, 4 * channels)))
        return out


class Block(nn.Module):
    """Two residual branches: a mixing of positions, and an MLP. The layers of a block of timm."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.norm2, self.mlp = block.norm1, block.norm2, block.mlp
        self.drop_path1, self.drop_path2 = block.drop_path1, block.drop_path2

    def mixed(self, x: Tensor) -> Tensor:
        """Positions of (B, H, W, C) mixed."""
        raise TypeError(f"{type(self).__name__} has no mixed()")

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        x = x + self.drop_path1(self.mixed(self.norm1(x)))
        out: Tensor = x + self.drop_path2(self.mlp(self.norm2(x)))
        return out


class WindowAttention(MultiHead):
    """Attention inside windows with biases of relative positions. The layers of an attention of timm."""

    head_parameters = (TABLE,)
    relative_position_index: Tensor

    def __init__(self, attention: Any) -> None:
        """`attention` of timm, whose layers it takes."""
        super().__init__()
        self.head_width = attention.qkv.out_features // 3 // attention.num_heads
        self.scale: float = attention.scale
        self.qkv, self.proj = attention.qkv, attention.proj
        self.relative_position_bias_table = attention.relative_position_bias_table
        self.register_buffer("relative_position_index", attention.relative_position_index, persistent=False)

    @property
    def heads(self) -> int:
        """By the width of queries, keys and values."""
        return int(self.qkv.out_features) // (3 * self.head_width)

    def head_channels(self, heads: int) -> Mapping[tuple[str, Literal["out", "in"]], np.ndarray]:
        """All queries, then all keys, then all values."""
        return {("qkv", "out"): shares(heads, self.head_width, 3), ("proj", "in"): shares(heads, self.head_width)}

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Windows (B * windows, positions, C) to the same, with a mask (windows, positions, positions)."""
        count, positions, heads = int(windows.shape[0]), int(windows.shape[1]), self.heads
        query, key, value = self.qkv(windows).reshape(count, positions, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        bias = torch.index_select(self.relative_position_bias_table, 0, self.relative_position_index.flatten())
        bias = bias.reshape(positions, positions, heads).permute(2, 0, 1)
        scores = (query * self.scale) @ key.transpose(-2, -1) + bias
        if mask is not None:
            of_windows = scores.reshape(-1, len(mask), heads, positions, positions) + mask[:, None]
            scores = of_windows.reshape(count, heads, positions, positions)
        mixed = torch.softmax(scores, dim=-1) @ value
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, positions, -1))
        return out


class WindowBlock(Block):
    """Attention inside windows, every second time shifted by half a window. Sizes and masks are constants of a graph.

    timm decides at construction whether a map is shifted; here the map itself tells, by the same rule: not along a side
    that one window spans. mmdetection, which pads before, shifts every map.
    """

    def __init__(self, block: Any, pad: Literal["after", "before"] = "after") -> None:
        super().__init__(block)
        self.pads_first = pad == "before"
        self.attn = WindowAttention(block.attn)
        self.window: Pair = tuple(block.window_size)
        self.shifts = any(block.target_shift_size)

    def mixed(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        batch, height, width, channels = map(int, x.shape)
        rows, columns = self.window
        shift = self.shift_on(height, width)
        below, right = -height % rows, -width % columns
        if any(shift) and not self.pads_first:
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
        if below or right:
            x = functional.pad(x, (0, 0, 0, right, 0, below))
        if any(shift) and self.pads_first:
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
        size = height + below, width + right
        down, across = size[0] // rows, size[1] // columns
        windows = x.reshape(batch, down, rows, across, columns, channels).transpose(2, 3)
        windows = windows.reshape(-1, rows * columns, channels)
        windows = self.attn(windows, shift_mask(size, self.window, shift, x.device) if any(shift) else None)
        x = windows.reshape(batch, down, across, rows, columns, channels).transpose(2, 3)
        x = x.reshape(batch, *size, channels)
        if any(shift) and self.pads_first:
            x = torch.roll(x, shift, (1, 2))
        if below or right:
            x = x[:, :height, :width]
        return torch.roll(x, shift, (1, 2)) if any(shift) and not self.pads_first else x

    def shift_on(self, height: int, width: int) -> Pair:
        """By how many rows and columns a map of this size is shifted."""
        if not self.shifts:
            return 0, 0
        rows, columns = self.window
        if self.pads_first:
            return rows // 2, columns // 2
        return rows // 2 if height > rows else 0, columns // 2 if width > columns else 0


@lru_cache(maxsize=64)
def shift_mask(size: Pair, window: Pair, shift: Pair, device: torch.device) -> Tensor:
    """What is added to the scores of a shifted map: (windows, positions, positions), 0 or `MASKED`.

    A shift carries the first rows and columns to the end. Positions see each other where both or neither were carried.
    """
    region = np.zeros(size, dtype=np.int64)
    for axis, weight in ((0, 3), (1, 1)):
        along = np.zeros(size[axis], dtype=np.int64)
        if shift[axis]:
            along[size[axis] - window[axis] :] = 1
            along[size[axis] - shift[axis] :] = 2
        region += weight * (along[:, None] if axis == 0 else along[None])
    down, across = size[0] // window[0], size[1] // window[1]
    windows = region.reshape(down, window[0], across, window[1]).swapaxes(1, 2).reshape(down * across, -1)
    mask = np.where(windows[:, :, None] == windows[:, None], 0.0, MASKED).astype(np.float32)
    with torch.inference_mode(False):
        return torch.from_numpy(mask).to(device)


class ConvBlock(Block):
    """A depthwise convolution and a pointwise projection in place of attention."""

    def __init__(self, block: Any, kernel: int) -> None:
        super().__init__(block)
        channels = block.dim
        self.mix = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels),
            nn.Conv2d(channels, channels, 1),
        )

    def mixed(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        out: Tensor = self.mix(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out
