"""The modules and networks that latency models are fitted and checked on, with random weights (`module_list.py`).

Every spec builds a torch module with example inputs, and exports the same computation to ONNX, so that a latency
model can read the graph of what was measured. Where a part of BEVLite differs between training and its exported form
(pillars, pooling, the class of a voxel), the exported form is what is built here.
"""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networks
import numpy as np
import onnx
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from bevlite.grid import BEVGrid
from bevlite.models.backbones.henet import HENetConfig
from bevlite.models.backbones.resnet import ResNetConfig
from bevlite.models.bev_encoders.second_fpn import SecondFPNConfig
from bevlite.models.detector import IMAGE_MEAN, IMAGE_STD, FusionHeads
from bevlite.models.fusion.se import SEFusionConfig
from bevlite.models.heads.detection.centerpoint import CenterPointConfig
from bevlite.models.heads.occupancy.flashocc import FlashOccConfig
from bevlite.models.lidar.backbones.second import SECONDConfig
from bevlite.models.lidar.necks.secfpn import SECFPNConfig
from bevlite.models.lidar.pillars.pfn import PFNConfig, PillarEncoder
from bevlite.models.necks.lss_fpn import LSSFPNConfig
from bevlite.models.view_transforms.lss import LiftSplat, LSSConfig
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.variant import Variant, load_variant

VARIANTS = Path(__file__).parents[1] / "configs" / "variants"
OPSET = 17

Built = tuple[nn.Module, tuple[Tensor, ...]]
"""A module in eval mode and its example inputs on the CPU: float32, uint8 or int32."""


@dataclass(frozen=True)
class ModuleSpec:
    """One thing to measure.

    heavy: takes long to compile. cpu: small enough to be measured on a CPU too. channels_last: its 4-D float inputs
    and weights are laid out with the channels innermost, as they lie inside a convolutional network. unseen: no rule
    of the latency model was chosen while looking at it.
    """

    id: str
    family: str
    builder: str
    arguments: dict[str, Any] = field(hash=False)
    heavy: bool = False
    cpu: bool = False
    channels_last: bool = True
    unseen: bool = False


def build(spec: ModuleSpec, seed: int = 0) -> Built:
    """The module, and inputs drawn at random (standard normal; index tables as the deployment makes them)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, inputs = BUILDERS[spec.builder](**spec.arguments)
    return module.eval(), inputs


def to_onnx(spec: ModuleSpec) -> onnx.ModelProto:
    """Export at opset 17 by the TorchScript exporter, in float32."""
    module, inputs = build(spec)
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, inputs, buffer, opset_version=OPSET, dynamo=False)
    return onnx.load_from_string(buffer.getvalue())


class Function(nn.Module):
    """A function of tensors as a module without weights."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        """Whatever the function gives."""
        return self.function(*inputs)


# --- parts of BEVLite -----------------------------------------------------------------------------------------------


class Camera(nn.Module):
    """Images (1, N, 3, H, W) uint8 to depth (N, D, h, w) and context (N, C, h, w), as the camera engine gives them."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, neck: nn.Module, view_transform: LiftSplat) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1))
        self.backbone, self.neck, self.view_transform = backbone, neck, view_transform

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalise in the type of the weights, then backbone, neck and depth net."""
        x = (images.flatten(0, 1).to(self.mean.dtype) - self.mean) / self.std
        return self.view_transform.prepare(self.neck(self.backbone(x)))


class Pool(nn.Module):
    """`LiftSplat.transform`, with its zero rows made on the device of its inputs."""

    def __init__(self, view_transform: LiftSplat) -> None:
        super().__init__()
        self.ny, self.nx = view_transform.grid.ny, view_transform.grid.nx

    def forward(self, depth: Tensor, context: Tensor, *tables: Tensor) -> Tensor:
        """depth (N, D, h, w), context (N, C, h, w) and the tables to (1, C, ny, nx)."""
        depth_index, feature_index, *levels, cell_index = tables
        channels = context.shape[1]
        weights = torch.cat([depth.new_zeros(1), depth.reshape(-1)])
        rows = context.permute(0, 2, 3, 1).reshape(-1, channels)
        r1, chunk = depth_index.shape
        gathered = torch.index_select(rows, 0, feature_index.reshape(-1)).reshape(r1, chunk, channels)
        weight = torch.index_select(weights, 0, depth_index.reshape(-1)).reshape(r1, 1, chunk)
        table = torch.cat([context.new_zeros(1, channels), (weight @ gathered).reshape(r1, channels)])
        for index in levels:
            sums = torch.index_select(table, 0, index.reshape(-1)).reshape(*index.shape, channels).sum(dim=1)
            table = torch.cat([table, sums])
        pooled = torch.index_select(table, 0, cell_index)
        return pooled.transpose(0, 1).reshape(1, channels, self.ny, self.nx)


class Lidar(nn.Module):
    """Pillars (1, 5, M, P) and index (1, ny, nx) to a map: the canvas is gathered, as in the exported graph."""

    def __init__(self, pillars: PillarEncoder, backbone: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.pillars, self.backbone, self.neck = pillars, backbone, neck

    def forward(self, pillars: Tensor, index: Tensor) -> Tensor:
        """(1, C, ny, nx)."""
        rows = self.pillars.encode(pillars)[0].transpose(0, 1)
        table = torch.cat([rows.new_zeros(1, rows.shape[1]), rows])
        canvas = torch.index_select(table, 0, index.reshape(-1)).transpose(0, 1)
        result: Tensor = self.neck(self.backbone(canvas.reshape(1, -1, index.shape[1], index.shape[2])))
        return result


class Maps(nn.Module):
    """A part that takes BEV maps and gives raw maps by name: a tuple of them, occupancy as the class of a voxel."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Maps (1, C, ny, nx) to raw maps."""
        raw = self.part(*maps)
        if "occupancy" in raw and raw["occupancy"].dtype != torch.int32:  # outside the exporter it gives logits
            raw["occupancy"] = raw["occupancy"].argmax(dim=1).to(torch.int32)
        return tuple(raw.values())


class Whole(nn.Module):
    """All modules of a variant in a row."""

    def __init__(self, camera: nn.Module | None, pool: nn.Module | None, lidar: nn.Module | None, heads: Maps) -> None:
        super().__init__()
        self.camera, self.pool, self.lidar, self.heads = camera, pool, lidar, heads

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Images, tables, pillars and index, as far as the variant has the sensor, to raw maps."""
        maps, rest = [], list(inputs)
        if self.camera is not None and self.pool is not None:
            tables = rest[1:-2] if self.lidar is not None else rest[1:]
            maps.append(self.pool(*self.camera(rest[0]), *tables))
        if self.lidar is not None:
            maps.append(self.lidar(*rest[-2:]))
        result: tuple[Tensor, ...] = self.heads(*maps)
        return result


def _images(cameras: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (1, cameras, 3, height, width), dtype=torch.uint8)


def _tables(view_transform: LiftSplat) -> tuple[Tensor, ...]:
    """The pooling tables of the nominal rig: how local the gathers are decides how fast they run."""
    tables = view_transform.geometry(nominal_pixel_to_bev(*view_transform.image_size))
    return tuple(torch.from_numpy(np.ascontiguousarray(table)) for table in tables.values())


def _pillars(points: int, slots: int, ny: int, nx: int, filled: float) -> tuple[Tensor, Tensor]:
    """Pillars and their index map: `filled` of the slots are used, denser near the car."""
    rng = np.random.default_rng(0)
    used = min(int(filled * slots), ny * nx // 2)
    y, x = np.mgrid[0:ny, 0:nx]
    distance = np.hypot(y - ny / 2, x - nx / 2) / (max(ny, nx) / 2)
    weight = np.exp(-3 * distance).reshape(-1)
    cells = np.sort(rng.choice(ny * nx, used, replace=False, p=weight / weight.sum()))
    index = np.zeros(ny * nx, dtype=np.int32)
    index[cells] = np.arange(1, used + 1, dtype=np.int32)
    return torch.randn(1, 5, points, slots), torch.from_numpy(index.reshape(1, ny, nx))


def build_camera(
    backbone: str, height: int, width: int, cameras: int = 6, channels: int = 256, stride: int = 16
) -> Built:
    config = HENetConfig() if backbone == "henet" else ResNetConfig.model_validate({"depth": int(backbone[1:])})
    body = config.build()
    neck = LSSFPNConfig.model_validate({"channels": channels, "out_stride": stride}).build(body.feature_info)
    view = LSSConfig().build(channels, stride, (height, width), cameras, BEVGrid())
    assert isinstance(view, LiftSplat)
    return Camera(body, neck, view), (_images(cameras, height, width),)


def build_neck(height: int, width: int, cameras: int, channels: int, stride: int, wide: bool = True) -> Built:
    widths = (256, 512, 1024, 2048) if wide else (64, 128, 256, 512)
    info = [(c, 4 << i) for i, c in enumerate(widths)]
    body = ResNetConfig(depth=50 if wide else 18).build()
    neck = LSSFPNConfig.model_validate({"channels": channels, "out_stride": stride}).build(body.feature_info)
    maps = tuple(torch.randn(cameras, c, height // s, width // s) for c, s in info)
    return _Listed(neck), maps


class _Listed(nn.Module):
    """A part that takes a list of maps, as one that takes them one by one."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *maps: Tensor) -> Any:
        return self.part(maps)


def build_view_transform(
    height: int, width: int, stride: int, channels: int, cell_m: float = 0.8, depth_step_m: float = 1.0, chunk: int = 8
) -> Built:
    config = LSSConfig(channels=channels, depth_step_m=depth_step_m, chunk=chunk)
    view = config.build(8, stride, (height, width), 6, BEVGrid(cell_m=cell_m))
    assert isinstance(view, LiftSplat)
    depths, h, w = len(config.depths_m), height // stride, width // stride
    depth = torch.randn(6, depths, h, w).softmax(dim=1)
    return Pool(view), (depth, torch.randn(6, channels, h, w), *_tables(view))


def build_lidar(
    cell_m: float,
    pillars: int = 40000,
    points: int = 20,
    width: int = 64,
    channels: Sequence[int] = (64, 128, 256),
    layers: Sequence[int] = (3, 5, 5),
    strides: Sequence[int] = (2, 2, 2),
    neck: int = 128,
    bev_cell_m: float = 0.8,
    extent_m: float = 51.2,
) -> Built:
    encoder = PFNConfig(cell_m=cell_m, max_pillars=pillars, max_points=points, channels=width).build()
    second = SECONDConfig.model_validate({"channels": channels, "layers": layers, "strides": strides}).build(width)
    fpn = SECFPNConfig(channels=neck).build(second.feature_info, round(bev_cell_m / cell_m))
    size = round(2 * extent_m / cell_m)
    return Lidar(encoder, second, fpn), _pillars(points, pillars, size, size, 0.7)


def build_pillars(cell_m: float, pillars: int, points: int, width: int, extent_m: float = 51.2) -> Built:
    encoder = PFNConfig(cell_m=cell_m, max_pillars=pillars, max_points=points, channels=width).build()
    size = round(2 * extent_m / cell_m)
    return Lidar(encoder, nn.Identity(), nn.Identity()), _pillars(points, pillars, size, size, 0.7)


def build_fusion(inputs: Sequence[int], channels: int, size: int) -> Built:
    part = SEFusionConfig(channels=channels).build(inputs)
    return _Listed(part), tuple(torch.randn(1, c, size, size) for c in inputs)


def build_bev_encoder(
    in_channels: int, channels: Sequence[int], layers: Sequence[int], out_channels: int, size: int
) -> Built:
    settings = {"channels": channels, "layers": layers, "out_channels": out_channels}
    part = SecondFPNConfig.model_validate(settings).build(in_channels)
    return part, (torch.randn(1, in_channels, size, size),)


def build_centerpoint(in_channels: int, channels: int, size: int, separable: bool = False) -> Built:
    head = CenterPointConfig(channels=channels, separable=separable).build(in_channels, BEVGrid())
    return Maps(head), (torch.randn(1, in_channels, size, size),)


def build_flashocc(in_channels: int, channels: int, cell_m: float) -> Built:
    bev = BEVGrid(cell_m=cell_m)
    head = FlashOccConfig(channels=channels).build(in_channels, bev)
    return Maps(head), (torch.randn(1, in_channels, bev.ny, bev.nx),)


def build_variant(name: str, overrides: Sequence[str] = ()) -> Built:
    variant: Variant = load_variant(VARIANTS / f"{name}.yaml", overrides)
    camera = pool = lidar = None
    inputs: list[Tensor] = []
    widths: list[int] = []
    if variant.camera is not None:
        stream = variant.camera
        size = (stream.images.height, stream.images.width)
        body = stream.backbone.build()
        neck = stream.neck.build(body.feature_info)
        view = stream.view_transform.build(
            stream.neck.channels, stream.neck.out_stride, size, stream.images.cameras, variant.bev
        )
        camera, pool = Camera(body, neck, view), Pool(view)
        inputs += [_images(stream.images.cameras, *size), *_tables(view)]
        widths.append(stream.view_transform.channels)
    if variant.lidar is not None:
        config = variant.lidar.pillars
        second = variant.lidar.backbone.build(config.channels)
        fpn = variant.lidar.neck.build(second.feature_info, round(variant.bev.cell_m / config.cell_m))
        lidar = Lidar(config.build(), second, fpn)
        ratio = round(variant.bev.cell_m / config.cell_m)
        inputs += _pillars(config.max_points, config.max_pillars, variant.bev.ny * ratio, variant.bev.nx * ratio, 0.7)
        widths.append(fpn.out_channels)
    return Whole(camera, pool, lidar, Maps(FusionHeads(variant, widths))), tuple(inputs)


# --- single layers --------------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "hswish": nn.Hardswish,
    "none": nn.Identity,
}


def _conv(
    cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, dilation: int = 1, act: str = "relu"
) -> nn.Sequential:
    padding = 0 if kernel == stride else dilation * (kernel // 2)  # patches do not overlap
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(cout),
        ACTIVATIONS[act](),
    )


def build_conv(batch: int, cin: int, height: int, width: int, cout: int, kernel: int, **settings: Any) -> Built:
    return _conv(cin, cout, kernel, **settings), (torch.randn(batch, cin, height, width),)


def build_separable(batch: int, cin: int, size: int, cout: int, kernel: int = 3, stride: int = 1) -> Built:
    depthwise = _conv(cin, cin, kernel, stride, groups=cin)
    return nn.Sequential(depthwise, _conv(cin, cout, 1)), (torch.randn(batch, cin, size, size),)


class Bottleneck(nn.Module):
    """1x1, kxk, 1x1 and the input added, then ReLU (ResNet), or without the last ReLU (inverted residual)."""

    def __init__(self, width: int, inner: int, kernel: int, depthwise: bool, act: str) -> None:
        super().__init__()
        self.first = _conv(width, inner, 1, act=act)
        self.second = _conv(inner, inner, kernel, groups=inner if depthwise else 1, act=act)
        self.third = _conv(inner, width, 1, act="none")
        self.act = nn.Identity() if depthwise else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        result: Tensor = self.act(x + self.third(self.second(self.first(x))))
        return result


def build_bottleneck(
    batch: int, width: int, inner: int, size: int, kernel: int = 3, depthwise: bool = False, act: str = "relu"
) -> Built:
    return Bottleneck(width, inner, kernel, depthwise, act), (torch.randn(batch, width, size, size),)


def build_se_block(batch: int, width: int, size: int, ratio: int = 4) -> Built:
    squeeze = nn.Conv2d(width, width // ratio, 1)
    expand = nn.Conv2d(width // ratio, width, 1)
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), squeeze, nn.ReLU(), expand, nn.Sigmoid())
    return _Gated(gate), (torch.randn(batch, width, size, size),)


class _Gated(nn.Module):
    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


def build_transposed(batch: int, cin: int, size: int, cout: int, factor: int) -> Built:
    layers = nn.Sequential(nn.ConvTranspose2d(cin, cout, factor, factor, bias=False), nn.BatchNorm2d(cout), nn.ReLU())
    return layers, (torch.randn(batch, cin, size, size),)


def build_linear(rows: int, cin: int, cout: int, act: str = "none", bias: bool = True) -> Built:
    return nn.Sequential(nn.Linear(cin, cout, bias=bias), ACTIVATIONS[act]()), (torch.randn(1, rows, cin),)


def build_mlp(batch: int, tokens: int, width: int, ratio: int = 4) -> Built:
    return _MLP(width, ratio), (torch.randn(batch, tokens, width),)


class _MLP(nn.Module):
    """LayerNorm, linear, GELU, linear, plus the input."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.norm, self.act = nn.LayerNorm(width), nn.GELU()
        self.first, self.second = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.second(self.act(self.first(self.norm(x))))
        return result


def build_matmul(batch: int, m: int, k: int, n: int) -> Built:
    return Function(torch.matmul), (torch.randn(batch, m, k), torch.randn(batch, k, n) / k**0.5)


def build_sdpa(batch: int, heads: int, queries: int, keys: int, width: int) -> Built:
    """F.scaled_dot_product_attention on (B, heads, tokens, width per head)."""
    query = torch.randn(batch, heads, queries, width)
    return Function(functional.scaled_dot_product_attention), (
        query,
        torch.randn(batch, heads, keys, width),
        torch.randn(batch, heads, keys, width),
    )


class Attention(nn.Module):
    """LayerNorm, multi-head self-attention over all tokens, plus the input: (B, N, C) to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens that have looked at each other."""
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        result: Tensor = x + self.project(mixed)
        return result


def build_attention(batch: int, tokens: int, width: int, heads: int) -> Built:
    return Attention(width, heads), (torch.randn(batch, tokens, width),)


class WindowAttention(nn.Module):
    """Attention inside windows of a map, optionally shifted by half a window (Swin): (B, H, W, C) to the same."""

    def __init__(self, width: int, heads: int, window: int, shift: bool) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2 if shift else 0
        self.attention = Attention(width, heads)

    def forward(self, x: Tensor) -> Tensor:
        """Cut into windows, attend, put together."""
        b, h, w, c = x.shape
        s = self.window
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.reshape(b, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, s * s, c)
        x = self.attention(x)
        x = x.reshape(b, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x


def build_window_attention(
    batch: int, size: int, width: int, heads: int, window: int = 8, shift: bool = False
) -> Built:
    return WindowAttention(width, heads, window, shift), (torch.randn(batch, size, size, width),)


def build_layernorm(rows: int, width: int) -> Built:
    return nn.LayerNorm(width), (torch.randn(1, rows, width),)


def build_softmax(shape: Sequence[int], axis: int = -1) -> Built:
    return nn.Softmax(dim=axis), (torch.randn(*shape),)


def build_pool(kind: str, batch: int, width: int, size: int, kernel: int, stride: int) -> Built:
    layer: nn.Module
    if kind == "global":
        layer = nn.AdaptiveAvgPool2d(1)
    elif kind == "max":
        layer = nn.MaxPool2d(kernel, stride, kernel // 2 if kernel % 2 else 0)
    else:
        layer = nn.AvgPool2d(kernel, stride)
    return layer, (torch.randn(batch, width, size, size),)


def build_resize(batch: int, width: int, size: int, factor: float, mode: str) -> Built:
    corners = False if mode == "bilinear" else None
    layer = nn.Upsample(scale_factor=factor, mode=mode, align_corners=corners)
    return layer, (torch.randn(batch, width, size, size),)


def build_gather(table: int, width: int, rows: int, local: bool = False) -> Built:
    index = torch.randint(0, table, (rows,), dtype=torch.int32)
    index = index.sort().values if local else index
    return Function(lambda t, i: torch.index_select(t, 0, i)), (torch.randn(table, width), index)


def build_elementwise(kind: str, shape: Sequence[int]) -> Built:
    functions: dict[str, Callable[..., Tensor]] = {
        "relu": torch.relu,
        "silu": functional.silu,
        "gelu": functional.gelu,
        "hswish": functional.hardswish,
        "sigmoid": torch.sigmoid,
        "add": torch.add,
        "add_relu": lambda x, y: torch.relu(x + y),
        "mul_add": lambda x, y: x * y + x,
        "chain": lambda x: torch.tanh(torch.sigmoid(x) * x + 0.5) - torch.exp(-x.abs()),
        "softplus": functional.softplus,
        "gate": lambda x, y: x * torch.sigmoid(y),
    }
    count = len(inspect.signature(functions[kind]).parameters) if kind in ("add_relu", "mul_add", "gate") else 1
    count = 2 if kind == "add" else count
    return Function(functions[kind]), tuple(torch.randn(*shape) for _ in range(count))


def build_concat(batch: int, widths: Sequence[int], size: int) -> Built:
    return Function(lambda *maps: torch.cat(maps, dim=1)), tuple(torch.randn(batch, c, size, size) for c in widths)


def build_concat_conv(batch: int, widths: Sequence[int], size: int, cout: int) -> Built:
    return _ConcatConv(sum(widths), cout), tuple(torch.randn(batch, c, size, size) for c in widths)


class _ConcatConv(nn.Module):
    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = _conv(cin, cout, 1)

    def forward(self, *maps: Tensor) -> Tensor:
        result: Tensor = self.conv(torch.cat(maps, dim=1))
        return result


def build_permute(shape: Sequence[int], order: Sequence[int]) -> Built:
    return Function(lambda x: x.permute(*order).contiguous()), (torch.randn(*shape),)


def build_reduce(kind: str, shape: Sequence[int], axis: int) -> Built:
    functions = {
        "mean": lambda x: x.mean(dim=axis),
        "sum": lambda x: x.sum(dim=axis),
        "max": lambda x: x.amax(dim=axis),
        "argmax": lambda x: x.argmax(dim=axis).to(torch.int32),
    }
    return Function(functions[kind]), (torch.randn(*shape),)


def build_network(name: str, size: int, batch: int = 1) -> Built:
    library, _, model = name.partition(":")
    if library == "timm":  # not `exportable`: that would write attention out as separate products
        arguments = {"img_size": size} if model.startswith("vit") else {}
        network = timm.create_model(model, pretrained=False, **arguments)
    else:
        network = networks.build(name, size)
    return network, (torch.randn(batch, 3, size, size),)


BUILDERS: dict[str, Callable[..., Built]] = {
    name.removeprefix("build_"): function
    for name, function in list(globals().items())
    if name.startswith("build_") and callable(function)
}
