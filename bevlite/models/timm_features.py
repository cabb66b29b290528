"""A backbone around a feature extractor of timm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bevlite.models.contracts import IMAGE_MEAN, IMAGE_STD, Backbone, FeatureInfo

TAPS = (1, 2, 3, 4)
"""Of timm's usual five maps, at strides 2 to 32, those at 4, 8, 16 and 32."""


class TimmFeatures(Backbone):
    """Images (B*N, 3, H, W) to the maps of `body`, finest first."""

    def __init__(self, name: str, taps: Sequence[int] = TAPS, **options: Any) -> None:
        """`name` of a timm model, indices of the maps that are handed out, and options of timm's constructor."""
        import timm  # loads torchvision, seconds that a command which builds no network need not wait

        super().__init__()
        self.body: nn.Module = timm.create_model(
            name, pretrained=False, features_only=True, out_indices=tuple(taps), **options
        )
        for module in list(self.body.modules()):
            for child_name, child in module.named_children():
                if isinstance(child, timm.layers.Conv2dSame):
                    setattr(module, child_name, SameConv2d(child))
        info: Any = self.body.feature_info
        notes: Any = self.body.pretrained_cfg
        self.feature_info = [FeatureInfo(c, s) for c, s in zip(info.channels(), info.reduction(), strict=True)]
        self.colours = Colours(notes["mean"], notes["std"]) if differs(notes["mean"], notes["std"]) else nn.Identity()

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps."""
        maps: list[Tensor] = self.body(self.colours(images))
        return maps


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does, with more after than before where the sum is odd.

    timm's computes the padding from the shape of the map, and so does a graph that is traced; here it is a constant.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        """`conv` of timm, whose weights it takes."""
        kernel, stride, dilation = conv.kernel_size, conv.stride, conv.dilation
        with torch.device("meta"):
            super().__init__(conv.in_channels, conv.out_channels, kernel, stride, 0, dilation, conv.groups)  # type: ignore[arg-type]
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        pads: list[int] = []
        for axis in (1, 0):  # as `pad` wants them, the last axis first
            size, step = int(x.shape[2 + axis]), self.stride[axis]
            span = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            total = max((-(-size // step) - 1) * step + span - size, 0)
            pads += [total // 2, total - total // 2]
        return self._conv_forward(nn.functional.pad(x, pads), self.weight, self.bias)


class Colours(nn.Module):
    """Images (B, 3, H, W) from our normalisation to another one, given as mean and deviation of RGB from 0 to 1.

    Published weights belong to the normalisation that they were trained with. A compiler joins this with the
    normalisation before it into one pass over the images.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        pairs = list(zip(IMAGE_MEAN, IMAGE_STD, mean, std, strict=True))
        scale = torch.tensor([ours / (255 * theirs) for _, ours, _, theirs in pairs])
        shift = torch.tensor([(ours - 255 * theirs) / (255 * spread) for ours, _, theirs, spread in pairs])
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """The same shape."""
        return images * self.scale + self.shift


def differs(mean: Sequence[float], std: Sequence[float]) -> bool:
    """Whether mean and deviation of RGB from 0 to 1 are others than what our images are normalised with."""
    ours = [value / 255 for value in (*IMAGE_MEAN, *IMAGE_STD)]
    return any(abs(a - b) > 1e-4 for a, b in zip((*mean, *std), ours, strict=True))
