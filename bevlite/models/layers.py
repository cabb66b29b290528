"""The convolution blocks that several parts share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, eps: float = 1e-5
) -> nn.Sequential:
    """Convolution without bias, padded to keep the size at stride 1, then batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels, eps=eps),
        nn.ReLU(inplace=True),
    )


def separable_conv_bn_relu(in_channels: int, out_channels: int, stride: int = 1, eps: float = 1e-5) -> nn.Sequential:
    """Depthwise 3x3, pointwise 1x1, then batch norm and ReLU after the pointwise alone (Horizon's separable head)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels, eps=eps),
        nn.ReLU(inplace=True),
    )


def split_for(x: Tensor, readers: Sequence[nn.Module]) -> Sequence[Tensor]:
    """Channels of a map (B, C, H, W) for layers that read a share each, in their order.

    While widths are being found the layers do not know their own yet: the shares are then equal.
    """
    wanted = [int(reader.in_channels) for reader in readers]  # type: ignore[arg-type]
    if sum(wanted) != x.shape[1]:
        return x.chunk(len(readers), dim=1)
    return x.split(wanted, dim=1)
