"""The networks that NVIDIA published DLA times of and that torchvision lacks, with random weights.

Built from their public descriptions; the work agrees with what is published of them (SSD-ResNet-34 433 GOPs and
SSD-MobileNetV1 2.47 GOPs an image in MLPerf's rules).
"""

from __future__ import annotations

from collections.abc import Callable

import networks
from torch import Tensor, nn


class SSD(nn.Module):
    """A backbone in two parts, further maps, and at each map a convolution for boxes and one for classes."""

    def __init__(self, parts: list[nn.Module], heads: list[tuple[int, int, int]], kernel: int, classes: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.boxes, self.scores = (
            nn.ModuleList(nn.Conv2d(c, boxes * n, kernel, stride, kernel // 2) for c, boxes, stride in heads)
            for n in (4, classes)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to the raw maps of boxes, then of classes."""
        maps = []
        for part in self.parts:
            x = part(x)
            maps.append(x)
        return tuple(head(m) for heads in (self.boxes, self.scores) for head, m in zip(heads, maps, strict=True))


def _ssd_resnet34() -> nn.Module:
    """SSD-ResNet-34 of MLPerf inference (1200 x 1200, 81 classes): the third stage keeps the size, the last is gone."""
    r = networks.build("torchvision:resnet34")
    r.layer3[0].conv1.stride = r.layer3[0].downsample[0].stride = (1, 1)
    parts: list[nn.Module] = [nn.Sequential(r.conv1, r.bn1, r.relu, r.maxpool, r.layer1, r.layer2, r.layer3)]
    steps = ((256, 256, 512, 2, 1), (512, 256, 512, 2, 1), (512, 128, 256, 2, 1), (256, 128, 256, 2, 1))
    for cin, middle, cout, stride, padding in (*steps, (256, 128, 256, 1, 0)):
        first, second = nn.Conv2d(cin, middle, 1), nn.Conv2d(middle, cout, 3, stride, padding)
        parts.append(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()))
    heads = [(256, 4, 3), (512, 6, 3), (512, 6, 2), (256, 6, 2), (256, 4, 2), (256, 4, 2)]
    return SSD(parts, heads, kernel=3, classes=81)


def _conv6(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(cout), nn.ReLU6())


def _separable(cin: int, cout: int, stride: int) -> nn.Module:
    return nn.Sequential(_conv6(cin, cin, 3, stride, cin), _conv6(cin, cout, 1))


def _ssd_mobilenet_v1() -> nn.Module:
    """SSD-MobileNetV1 of MLPerf inference (300 x 300, 91 classes)."""
    widths = ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2))
    trunk = [_separable(*width) for width in (*widths, *((512, 512, 1),) * 5)]
    parts: list[nn.Module] = [nn.Sequential(_conv6(3, 32, 3, 2), *trunk)]
    parts.append(nn.Sequential(_separable(512, 1024, 2), _separable(1024, 1024, 1)))
    for cin, middle, cout in ((1024, 256, 512), (512, 128, 256), (256, 128, 256), (256, 64, 128)):
        parts.append(nn.Sequential(_conv6(cin, middle, 1), _conv6(middle, cout, 3, 2)))
    heads = [(512, 3, 1), (1024, 6, 1), (512, 6, 1), (256, 6, 1), (256, 6, 1), (128, 6, 1)]
    return SSD(parts, heads, kernel=1, classes=91)


OWN: dict[str, Callable[[], nn.Module]] = {
    "mlperf:ssd_resnet34": _ssd_resnet34,
    "mlperf:ssd_mobilenet_v1": _ssd_mobilenet_v1,
}


def build(name: str) -> nn.Module:
    """A network of the table of published DLA times: random weights, eval mode."""
    if name == "torchvision:resnet34_features":
        r = networks.build("torchvision:resnet34")
        return nn.Sequential(r.conv1, r.bn1, r.relu, r.maxpool, r.layer1, r.layer2, r.layer3, r.layer4).eval()
    own = {
        "mlperf:ssd_resnet34": _ssd_resnet34,
        "mlperf:ssd_mobilenet_v1": _ssd_mobilenet_v1,
    }
    return own[name]().eval() if name in own else networks.build(name)
