"""The declared list of modules and networks that latency models are fitted and checked on (built by `modules.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

from modules import ModuleSpec
from unseen_modules import add_unseen


class _List:
    """Collects specs of one family after the other; an id is the family and what tells its members apart."""

    def __init__(self) -> None:
        self.specs: list[ModuleSpec] = []

    def add(
        self,
        family: str,
        builder: str,
        label: str,
        arguments: dict[str, Any],
        *,
        heavy: bool = False,
        cpu: bool = False,
        channels_last: bool = True,
        unseen: bool = False,
    ) -> None:
        key = f"{family}/{label}"
        self.specs.append(ModuleSpec(key, family, builder, arguments, heavy, cpu, channels_last, unseen))


def specs() -> list[ModuleSpec]:
    """Everything, family after family; ids are unique."""
    out = _List()
    for part in (_bevlite_parts, _convolutions, _blocks, _products, _attentions, _memory_layers, _networks):
        part(out)
    add_unseen(partial(out.add, unseen=True))
    return out.specs


def interleaved(chosen: Sequence[ModuleSpec]) -> list[ModuleSpec]:
    """One of each family in turn, so that whatever part of the list is measured is diverse."""
    families: dict[str, list[ModuleSpec]] = {}
    for spec in chosen:
        families.setdefault(spec.family, []).append(spec)
    # A family of n lies evenly over the whole: its i-th member stands at (i + 1/2) / n.
    placed = [((i + 0.5) / len(members), spec) for members in families.values() for i, spec in enumerate(members)]
    return [spec for _, spec in sorted(placed, key=lambda pair: pair[0])]


def _bevlite_parts(out: _List) -> None:
    for backbone, height, width, cameras, channels, stride in (
        ("r18", 128, 352, 6, 128, 16),
        ("henet", 256, 704, 6, 256, 16),
        ("r50", 256, 704, 6, 256, 16),
        ("r34", 192, 480, 6, 256, 8),
        ("r18", 256, 704, 6, 128, 8),
        ("henet", 128, 352, 6, 128, 8),
        ("r50", 128, 352, 6, 256, 16),
        ("r34", 256, 704, 6, 192, 16),
        ("henet", 320, 800, 6, 128, 16),
        ("r18", 320, 800, 6, 256, 16),
        ("r50", 192, 480, 6, 128, 8),
        ("r18", 32, 96, 6, 64, 8),
        ("r34", 512, 1408, 1, 128, 16),
        ("r50", 320, 800, 6, 192, 16),
        ("henet", 512, 1408, 1, 64, 16),
    ):
        out.add(
            "camera",
            "camera",
            f"{backbone}_{cameras}x{height}x{width}_c{channels}_s{stride}",
            {"backbone": backbone, "height": height, "width": width, "cameras": cameras}
            | {"channels": channels, "stride": stride},
            heavy=True,
            cpu=height * width * cameras < 100_000,
        )
    for height, width, channels, stride, wide in (
        (256, 704, 256, 16, True),
        (128, 352, 128, 8, False),
        (320, 800, 192, 16, False),
        (256, 704, 64, 8, True),
    ):
        out.add(
            "neck",
            "neck",
            f"{'wide' if wide else 'narrow'}_6x{height}x{width}_c{channels}_s{stride}",
            {"height": height, "width": width, "cameras": 6, "channels": channels, "stride": stride, "wide": wide},
        )
    for height, width, stride, channels, cell_m, step, chunk in (
        (256, 704, 16, 64, 0.8, 1.0, 8),
        (128, 352, 16, 32, 0.8, 1.0, 8),
        (128, 352, 8, 64, 0.8, 1.0, 8),
        (256, 704, 16, 128, 0.8, 0.5, 8),
        (256, 704, 16, 80, 0.4, 1.0, 8),
        (320, 800, 16, 64, 1.6, 1.0, 16),
        (32, 96, 8, 32, 1.6, 2.0, 8),
        (192, 480, 8, 32, 0.8, 1.0, 4),
        (192, 480, 16, 48, 0.4, 0.5, 16),
        (256, 704, 8, 64, 0.8, 1.0, 8),
    ):
        out.add(
            "view_transform",
            "view_transform",
            f"{height}x{width}_s{stride}_c{channels}_g{cell_m}_d{step}_k{chunk}",
            {"height": height, "width": width, "stride": stride, "channels": channels}
            | {"cell_m": cell_m, "depth_step_m": step, "chunk": chunk},
            cpu=height <= 128,
            channels_last=False,
        )
    for label, settings in (
        ("g0.2_reference", {"cell_m": 0.2}),
        ("g0.4_small", {"cell_m": 0.4, "pillars": 20000, "width": 32, "channels": [64, 128], "layers": [3, 3]}),
        ("g0.2_narrow", {"cell_m": 0.2, "width": 32, "channels": [32, 64, 128], "layers": [3, 5, 5], "neck": 64}),
        ("g0.8_demo", {"cell_m": 0.8, "pillars": 6000, "points": 16, "width": 16, "channels": [16, 48]}),
        ("g0.4_wide", {"cell_m": 0.4, "pillars": 30000, "channels": [128, 256], "layers": [5, 5]}),
        ("g0.4_points10", {"cell_m": 0.4, "pillars": 30000, "points": 10, "channels": [64, 128], "layers": [5, 5]}),
        ("g0.2_shallow", {"cell_m": 0.2, "channels": [64, 128, 256], "layers": [1, 2, 2], "neck": 96}),
        ("g0.8_long", {"cell_m": 0.8, "pillars": 20000, "channels": [96, 192], "layers": [3, 5]}),
        ("g0.1_fine", {"cell_m": 0.1, "pillars": 60000, "points": 10, "width": 32, "channels": [32, 64, 128]}),
    ):
        extra: dict[str, Any] = {}
        stages = len(settings.get("channels", (1, 2, 3)))  # type: ignore[arg-type]
        if stages == 2:
            extra = {"strides": [1, 2] if settings["cell_m"] == 0.8 else [2, 2]}
            extra |= {} if "layers" in settings else {"layers": [0, 1]}
        if settings["cell_m"] == 0.1:
            extra = {"strides": [2, 2, 2], "layers": [1, 3, 3], "bev_cell_m": 0.4}
        out.add("lidar", "lidar", label, settings | extra, heavy=True, cpu="demo" in label)
    for cell_m, pillars, points, width in (
        (0.2, 40000, 20, 64),
        (0.4, 20000, 20, 32),
        (0.8, 6000, 16, 16),
        (0.2, 60000, 10, 64),
        (0.4, 30000, 32, 128),
    ):
        settings = {"cell_m": cell_m, "pillars": pillars, "points": points, "width": width}
        label = f"g{cell_m}_p{pillars}x{points}_c{width}"
        out.add("pillars", "pillars", label, settings, cpu=pillars <= 20000)
    for inputs, channels, size in (
        ((64, 384), 256, 128),
        ((32, 96), 48, 48),
        ((80, 256), 128, 128),
        ((64,), 64, 128),
        ((128, 384), 384, 128),
        ((64, 128), 96, 256),
        ((80, 192), 160, 64),
        ((384,), 256, 128),
    ):
        label = f"{'+'.join(map(str, inputs))}_to{channels}_{size}"
        settings = {"inputs": inputs, "channels": channels, "size": size}
        out.add("fusion", "fusion", label, settings, cpu=size <= 64)
    for cin, widths, layers, cout, size in (
        (256, (128, 256), (5, 5), 128, 128),
        (48, (48, 64), (0, 1), 48, 48),
        (128, (64, 128), (3, 3), 64, 128),
        (96, (96, 192), (5, 5), 96, 128),
        (256, (160, 320), (3, 5), 256, 128),
        (64, (64, 128, 256), (2, 2, 2), 64, 128),
        (128, (128, 256), (5, 5), 128, 256),
        (192, (64, 128), (1, 1), 128, 64),
        (64, (32, 64), (3, 3), 32, 256),
    ):
        settings = {"in_channels": cin, "channels": widths, "layers": layers, "out_channels": cout, "size": size}
        label = f"{cin}_{'-'.join(map(str, widths))}_l{'-'.join(map(str, layers))}_{size}"
        out.add("bev_encoder", "bev_encoder", label, settings, heavy=True, cpu=size <= 64)
    for cin, channels, size, separable in (
        (256, 64, 128, False),
        (96, 24, 48, True),
        (128, 64, 128, True),
        (128, 32, 128, False),
        (384, 96, 128, False),
        (64, 32, 256, True),
        (192, 48, 64, False),
        (256, 64, 128, True),
    ):
        label = f"{cin}_c{channels}_{size}{'_separable' if separable else ''}"
        settings = {"in_channels": cin, "channels": channels, "size": size, "separable": separable}
        out.add("centerpoint", "centerpoint", label, settings, heavy=True, cpu=size <= 64)
    for cin, channels, cell_m in (
        (256, 128, 0.8),
        (64, 32, 1.6),
        (128, 64, 0.4),
        (128, 96, 0.8),
        (256, 192, 0.8),
        (96, 64, 1.6),
    ):
        settings = {"in_channels": cin, "channels": channels, "cell_m": cell_m}
        out.add("flashocc", "flashocc", f"{cin}_c{channels}_g{cell_m}", settings, cpu=channels <= 32)
    for name, overrides in (
        ("demo", ()),
        ("reference-r50-lidar", ()),
        ("reference-r50-camera", ("camera.backbone.depth=18",)),
        ("reference-r50", ()),
    ):
        label = name + "".join(f"_{o.rpartition('.')[2].replace('=', '')}" for o in overrides)
        settings = {"name": name, "overrides": overrides}
        out.add("variant", "variant", label, settings, heavy=True, cpu=name == "demo")


def _conv_spec(out: _List, family: str, shape: tuple[int, int, int, int], cout: int, kernel: int, **extra: Any) -> None:
    batch, cin, height, width = shape
    label = f"{cin}-{cout}_b{batch}_{height}x{width}_k{kernel}"
    label += "".join(f"_{key[0]}{value}" for key, value in extra.items())
    arguments = {"batch": batch, "cin": cin, "height": height, "width": width, "cout": cout, "kernel": kernel}
    stride, groups = extra.get("stride", 1), extra.get("groups", 1)
    work = 2 * prod(shape) * cout * kernel**2 // groups // stride**2
    few = sum(s.family == family and s.cpu for s in out.specs) < 3
    out.add(family, "conv", label, arguments | extra, cpu=few and work < 2.5e9)


def _convolutions(out: _List) -> None:
    for shape, cout in (
        ((1, 256, 128, 128), 128),
        ((6, 64, 64, 176), 256),
        ((1, 64, 56, 56), 64),
        ((6, 1024, 16, 44), 256),
        ((1, 448, 128, 128), 256),
        ((6, 256, 64, 176), 64),
        ((1, 2048, 7, 7), 512),
        ((16, 512, 28, 28), 128),
        ((6, 256, 16, 44), 123),
        ((1, 16, 112, 112), 96),
        ((32, 256, 56, 56), 256),
        ((1, 128, 256, 256), 64),
        ((8, 96, 56, 56), 24),
        ((6, 512, 32, 88), 128),
        ((1, 960, 7, 7), 320),
        ((64, 512, 14, 14), 2048),
        ((1, 32, 200, 200), 288),
        ((16, 1024, 14, 14), 256),
        ((1, 1024, 64, 64), 1024),
        ((32, 64, 112, 112), 64),
    ):
        _conv_spec(out, "conv1x1", shape, cout, 1)
    for shape, cout in (
        ((1, 256, 128, 128), 256),
        ((6, 64, 64, 176), 64),
        ((1, 64, 56, 56), 64),
        ((1, 128, 128, 128), 128),
        ((6, 256, 16, 44), 256),
        ((1, 512, 7, 7), 512),
        ((1, 64, 256, 256), 64),
        ((16, 128, 28, 28), 128),
        ((1, 256, 64, 64), 256),
        ((6, 512, 8, 22), 512),
        ((1, 48, 48, 48), 48),
        ((32, 64, 56, 56), 64),
        ((6, 128, 32, 88), 128),
        ((1, 96, 128, 128), 96),
        ((1, 384, 128, 128), 64),
        ((1, 16, 96, 96), 16),
        ((1, 128, 256, 256), 128),
        ((1, 64, 128, 128), 384),
        ((64, 256, 14, 14), 256),
        ((1, 32, 512, 512), 32),
        ((16, 512, 14, 14), 512),
        ((1, 64, 128, 128), 2),
        ((1, 320, 128, 128), 320),
        ((6, 192, 32, 88), 192),
        ((32, 256, 28, 28), 256),
        ((1, 1024, 32, 32), 1024),
    ):
        _conv_spec(out, "conv3x3", shape, cout, 3)
    for shape, cout, kernel in (
        ((1, 64, 512, 512), 64, 3),
        ((6, 128, 64, 176), 128, 3),
        ((1, 128, 128, 128), 256, 3),
        ((6, 256, 64, 176), 512, 1),
        ((1, 16, 96, 96), 48, 3),
        ((16, 64, 56, 56), 128, 3),
        ((6, 512, 32, 88), 1024, 1),
        ((1, 256, 64, 64), 256, 3),
        ((6, 3, 256, 704), 32, 3),
        ((32, 256, 28, 28), 512, 3),
        ((1, 64, 256, 256), 128, 2),
        ((1, 32, 128, 128), 64, 3),
    ):
        _conv_spec(out, "conv_stride2", shape, cout, kernel, stride=2)
    for shape, cout, kernel, stride in (
        ((6, 3, 256, 704), 64, 7, 2),
        ((1, 64, 128, 128), 64, 5, 1),
        ((1, 3, 224, 224), 64, 7, 2),
        ((16, 32, 56, 56), 64, 5, 1),
        ((1, 128, 64, 64), 128, 7, 1),
        ((6, 64, 32, 88), 128, 5, 2),
        ((1, 3, 224, 224), 96, 4, 4),
        ((32, 3, 224, 224), 64, 7, 2),
        ((1, 3, 224, 224), 384, 16, 16),
    ):
        _conv_spec(out, "conv_large", shape, cout, kernel, stride=stride)
    for shape, cout, groups in (
        ((6, 128, 64, 176), 128, 2),
        ((1, 128, 56, 56), 128, 32),
        ((1, 256, 64, 64), 256, 4),
        ((16, 256, 28, 28), 256, 32),
        ((6, 64, 32, 88), 128, 8),
        ((1, 512, 14, 14), 512, 32),
        ((8, 96, 56, 56), 96, 4),
    ):
        _conv_spec(out, "conv_grouped", shape, cout, 3, groups=groups)
    for shape, cout, dilation in (
        ((1, 256, 64, 64), 256, 2),
        ((6, 128, 32, 88), 128, 2),
        ((1, 64, 128, 128), 64, 4),
        ((1, 512, 28, 28), 512, 6),
        ((1, 32, 56, 56), 32, 2),
    ):
        _conv_spec(out, "conv_dilated", shape, cout, 3, dilation=dilation)
    for shape, kernel, stride in (
        ((1, 96, 56, 56), 3, 1),
        ((6, 64, 64, 176), 3, 1),
        ((1, 256, 128, 128), 3, 1),
        ((16, 384, 28, 28), 5, 1),
        ((1, 960, 7, 7), 5, 1),
        ((6, 192, 64, 176), 3, 2),
        ((1, 96, 56, 56), 7, 1),
        ((32, 144, 56, 56), 3, 1),
        ((1, 64, 256, 256), 3, 2),
        ((6, 384, 16, 44), 7, 1),
        ((1, 32, 112, 112), 3, 1),
    ):
        _conv_spec(out, "depthwise", shape, shape[1], kernel, stride=stride, groups=shape[1])
    for batch, cin, size, cout, kernel, stride in (
        (1, 64, 128, 64, 3, 1),
        (1, 32, 112, 64, 3, 1),
        (6, 128, 64, 128, 3, 1),
        (1, 128, 56, 256, 3, 2),
        (16, 256, 28, 256, 3, 1),
        (1, 512, 14, 512, 3, 1),
        (1, 256, 128, 256, 5, 1),
        (1, 64, 256, 128, 3, 2),
        (32, 128, 56, 128, 3, 1),
        (1, 24, 48, 144, 3, 1),
    ):
        settings = {"batch": batch, "cin": cin, "size": size, "cout": cout, "kernel": kernel, "stride": stride}
        label = f"{cin}-{cout}_b{batch}_{size}_k{kernel}_s{stride}"
        out.add("separable", "separable", label, settings, cpu=batch == 1 and size < 120)
    for batch, cin, size, cout, factor in (
        (1, 256, 64, 256, 2),
        (1, 128, 64, 64, 2),
        (1, 64, 24, 48, 2),
        (1, 256, 32, 128, 4),
        (6, 128, 32, 128, 2),
        (1, 512, 16, 256, 2),
        (1, 256, 128, 64, 2),
    ):
        settings = {"batch": batch, "cin": cin, "size": size, "cout": cout, "factor": factor}
        out.add("transposed", "transposed", f"{cin}-{cout}_b{batch}_{size}_x{factor}", settings, cpu=size <= 24)


def _blocks(out: _List) -> None:
    for batch, width, inner, size, kernel, depthwise, act in (
        (1, 256, 64, 56, 3, False, "relu"),
        (6, 256, 64, 96, 3, False, "relu"),
        (1, 24, 144, 56, 3, True, "relu"),
        (16, 512, 128, 28, 3, False, "relu"),
        (1, 40, 240, 28, 5, True, "hswish"),
        (1, 2048, 512, 7, 3, False, "relu"),
        (6, 64, 256, 64, 3, True, "gelu"),
        (1, 80, 480, 14, 3, True, "silu"),
        (32, 1024, 256, 14, 3, False, "relu"),
        (16, 40, 240, 28, 3, True, "silu"),
    ):
        settings = {"batch": batch, "width": width, "inner": inner, "size": size, "kernel": kernel}
        settings |= {"depthwise": depthwise, "act": act}
        label = f"{width}-{inner}_b{batch}_{size}_k{kernel}{'_dw' if depthwise else ''}_{act}"
        out.add("bottleneck", "bottleneck", label, settings, cpu=batch == 1 and size > 7)
    for act, shape, cout in (
        ("silu", (1, 64, 128, 128), 64),
        ("gelu", (6, 64, 32, 88), 128),
        ("hswish", (1, 32, 112, 112), 32),
        ("none", (1, 128, 128, 128), 128),
        ("silu", (16, 128, 40, 40), 128),
    ):
        _conv_spec(out, "conv_act", shape, cout, 3, act=act)
    for batch, width, size in ((1, 256, 128), (1, 72, 28), (16, 480, 14), (6, 192, 64), (1, 960, 7)):
        settings = {"batch": batch, "width": width, "size": size}
        out.add("se_block", "se_block", f"{width}_b{batch}_{size}", settings, cpu=size <= 28 and batch == 1)


def _products(out: _List) -> None:
    for rows, cin, cout, act in (
        (1024, 256, 256, "none"),
        (1, 512, 1000, "none"),
        (196, 768, 3072, "gelu"),
        (4096, 1024, 1024, "relu"),
        (16384, 128, 128, "none"),
        (50, 384, 1536, "none"),
        (6272, 96, 384, "gelu"),
        (8192, 4096, 4096, "none"),
        (1, 4096, 4096, "none"),
        (40000, 64, 64, "relu"),
        (784, 192, 576, "none"),
        (16, 2048, 1000, "none"),
        (2048, 8192, 2048, "none"),
    ):
        settings = {"rows": rows, "cin": cin, "cout": cout, "act": act}
        label = f"{rows}x{cin}-{cout}_{act}"
        out.add("linear", "linear", label, settings, cpu=rows * cin * cout < 2.5e8, channels_last=False)
    for batch, tokens, width in (
        (1, 196, 768),
        (8, 196, 384),
        (1, 4096, 96),
        (1, 900, 256),
        (1, 49, 768),
        (16, 256, 512),
    ):
        settings = {"batch": batch, "tokens": tokens, "width": width}
        out.add("mlp", "mlp", f"b{batch}_{tokens}x{width}", settings, cpu=tokens == 49, channels_last=False)
    for batch, m, k, n in (
        (1, 4096, 4096, 4096),
        (8, 1024, 64, 1024),
        (12, 197, 64, 197),
        (64, 64, 64, 64),
        (1, 512, 512, 512),
        (20000, 1, 8, 64),
        (16, 2048, 128, 2048),
        (1, 16384, 64, 16),
        (4, 256, 2048, 256),
    ):
        settings = {"batch": batch, "m": m, "k": k, "n": n}
        small = batch * m * k * n < 2e8
        out.add("matmul", "matmul", f"b{batch}_{m}x{k}x{n}", settings, cpu=small, channels_last=False)


def _attentions(out: _List) -> None:
    for batch, heads, queries, keys, width in (
        (1, 12, 197, 197, 64),
        (1, 8, 1024, 1024, 32),
        (6, 8, 704, 704, 32),
        (1, 8, 900, 4224, 32),
        (1, 3, 197, 197, 64),
        (16, 12, 197, 197, 64),
        (1, 16, 4096, 4096, 64),
        (256, 4, 49, 49, 32),
        (1, 8, 128, 128, 128),
    ):
        settings = {"batch": batch, "heads": heads, "queries": queries, "keys": keys, "width": width}
        label = f"b{batch}_h{heads}_{queries}x{keys}x{width}"
        out.add("sdpa", "sdpa", label, settings, cpu=batch * heads * queries * keys < 1e6, channels_last=False)
    for batch, tokens, width, heads in (
        (1, 197, 192, 3),
        (1, 197, 768, 12),
        (8, 197, 384, 6),
        (1, 1024, 256, 8),
        (6, 704, 256, 8),
        (1, 2048, 512, 8),
    ):
        settings = {"batch": batch, "tokens": tokens, "width": width, "heads": heads}
        label = f"b{batch}_{tokens}x{width}_h{heads}"
        out.add("attention", "attention", label, settings, cpu=width == 192, channels_last=False)
    for batch, size, width, heads, window, shift in (
        (1, 56, 96, 3, 7, False),
        (1, 128, 64, 4, 8, True),
        (1, 28, 192, 6, 7, True),
        (6, 32, 128, 4, 8, False),
        (8, 56, 96, 3, 7, True),
        (1, 128, 128, 8, 16, False),
    ):
        settings = {"batch": batch, "size": size, "width": width, "heads": heads, "window": window, "shift": shift}
        label = f"b{batch}_{size}_c{width}_h{heads}_w{window}{'_shift' if shift else ''}"
        out.add("window_attention", "window_attention", label, settings, cpu=size == 28, channels_last=False)


def _memory_layers(out: _List) -> None:
    for rows, width in ((197, 192), (4096, 96), (1024, 256), (50000, 128), (1576, 768), (262144, 256), (49, 1024)):
        settings = {"rows": rows, "width": width}
        out.add("layernorm", "layernorm", f"{rows}x{width}", settings, cpu=rows < 2000, channels_last=False)
    for shape, axis in (
        ((12, 197, 197), -1),
        ((6, 59, 16, 44), 1),
        ((8, 1024, 1024), -1),
        ((6, 118, 32, 88), 1),
        ((1, 1000), -1),
        ((16, 2048, 2048), -1),
    ):
        label = f"{'x'.join(map(str, shape))}_a{axis}"
        settings = {"shape": shape, "axis": axis}
        out.add("softmax", "softmax", label, settings, cpu=prod(shape) < 1e6, channels_last=len(shape) == 4)
    for kind, batch, width, size, kernel, stride in (
        ("max", 6, 64, 128, 3, 2),
        ("global", 1, 256, 128, 0, 0),
        ("max", 1, 64, 112, 3, 2),
        ("avg", 1, 128, 56, 2, 2),
        ("max", 1, 256, 20, 5, 1),
        ("global", 16, 2048, 7, 0, 0),
        ("max", 32, 64, 112, 3, 2),
        ("avg", 16, 256, 56, 2, 2),
    ):
        settings = {"kind": kind, "batch": batch, "width": width, "size": size, "kernel": kernel, "stride": stride}
        label = f"{kind}_{width}_b{batch}_{size}_k{kernel}_s{stride}"
        out.add("pool", "pool", label, settings, cpu=batch == 1 and size < 120)
    for batch, width, size, factor, mode in (
        (6, 256, 16, 2.0, "bilinear"),
        (1, 128, 100, 2.0, "bilinear"),
        (1, 256, 20, 2.0, "nearest"),
        (1, 64, 64, 4.0, "bilinear"),
        (6, 128, 64, 2.0, "nearest"),
        (1, 64, 256, 0.5, "bilinear"),
        (1, 32, 48, 2.0, "bilinear"),
        (16, 256, 64, 2.0, "bilinear"),
    ):
        settings = {"batch": batch, "width": width, "size": size, "factor": factor, "mode": mode}
        out.add("resize", "resize", f"{mode}_{width}_b{batch}_{size}_x{factor}", settings, cpu=size <= 48 and batch < 2)
    for table, width, rows, local in (
        (40001, 64, 262144, False),
        (20001, 32, 65536, True),
        (6001, 16, 16384, False),
        (4224, 64, 160000, True),
        (100000, 64, 16384, False),
        (1000000, 128, 200000, False),
        (249217, 1, 160000, False),
        (16384, 256, 16384, True),
    ):
        settings = {"table": table, "width": width, "rows": rows, "local": local}
        label = f"{table}x{width}_{rows}{'_sorted' if local else ''}"
        out.add("gather", "gather", label, settings, cpu=rows * width < 3e6, channels_last=False)
    for kind, shape in (
        ("relu", (1, 256, 128, 128)),
        ("silu", (16, 128, 80, 80)),
        ("add", (6, 256, 64, 176)),
        ("gelu", (1, 197, 3072)),
        ("add_relu", (1, 64, 56, 56)),
        ("mul_add", (32, 256, 128, 128)),
        ("chain", (1, 256, 128, 128)),
        ("hswish", (1, 960, 7, 7)),
        ("sigmoid", (1, 10, 128, 128)),
        ("softplus", (1, 256, 200, 200)),
        ("gate", (6, 128, 64, 176)),
        ("relu", (64, 256, 128, 128)),
        ("add_relu", (6, 512, 32, 88)),
    ):
        label = f"{kind}_{'x'.join(map(str, shape))}"
        settings = {"kind": kind, "shape": shape}
        out.add("elementwise", "elementwise", label, settings, cpu=prod(shape) < 1e6, channels_last=len(shape) == 4)
    for batch, widths, size in (
        (1, (128, 128), 128),
        (6, (512, 2048), 32),
        (1, (64, 384), 128),
        (1, (64, 64, 64, 64), 80),
        (16, (256, 256), 56),
    ):
        settings = {"batch": batch, "widths": widths, "size": size}
        label = f"{'+'.join(map(str, widths))}_b{batch}_{size}"
        out.add("concat", "concat", label, settings, cpu=size == 80)
        if batch < 16:
            settings = {**settings, "cout": 128}
            out.add("concat_conv", "concat_conv", f"{label}_to128", settings, cpu=size == 80)
    for shape, order in (
        ((1, 256, 128, 128), (0, 2, 3, 1)),
        ((1, 16384, 64), (0, 2, 1)),
        ((6, 64, 64, 176), (0, 3, 1, 2)),
        ((1, 64, 16, 64, 64), (0, 2, 1, 3, 4)),
        ((16, 128, 80, 80), (0, 2, 3, 1)),
    ):
        label = f"{'x'.join(map(str, shape))}_{''.join(map(str, order))}"
        settings = {"shape": shape, "order": order}
        out.add("permute", "permute", label, settings, cpu=prod(shape) < 2e6, channels_last=False)
    for kind, shape, axis in (
        ("max", (1, 64, 20, 40000), 2),
        ("mean", (16, 256, 56, 56), 1),
        ("sum", (20000, 8, 64), 1),
        ("argmax", (1, 18, 16, 200, 200), 1),
        ("sum", (64, 1048576), 1),
        ("mean", (1, 197, 768), -1),
    ):
        label = f"{kind}_{'x'.join(map(str, shape))}_a{axis}"
        settings = {"kind": kind, "shape": shape, "axis": axis}
        out.add("reduce", "reduce", label, settings, cpu=prod(shape) < 2e6, channels_last=False)


def _networks(out: _List) -> None:
    for name, size, batch in (
        ("timm:resnet18", 224, 1),
        ("timm:mobilenetv2_100", 224, 1),
        ("timm:vit_small_patch16_224", 224, 1),
        ("yolox:yolox_s", 640, 1),
        ("timm:efficientnet_b0", 224, 1),
        ("timm:resnet50", 224, 16),
        ("timm:swin_tiny_patch4_window7_224", 224, 1),
        ("timm:vgg11", 224, 1),
        ("timm:mobilenetv3_large_100", 224, 1),
        ("timm:convnext_tiny", 224, 1),
        ("timm:resnet50", 224, 1),
        ("timm:regnety_008", 224, 1),
        ("timm:vit_tiny_patch16_224", 224, 1),
        ("timm:densenet121", 224, 1),
        ("timm:mobilenetv1_100", 224, 1),
        ("timm:efficientvit_b1", 224, 1),
        ("timm:resnet34", 320, 8),
        ("timm:ghostnet_100", 224, 1),
        ("timm:mixnet_s", 224, 1),
        ("timm:vit_base_patch16_224", 224, 8),
        ("timm:repvgg_a0", 224, 1),
        ("timm:efficientnet_b2", 288, 1),
        ("timm:mobilenetv3_small_100", 224, 8),
        ("yolox:yolox_tiny", 416, 1),
        ("timm:deit_small_patch16_224", 224, 8),
        ("timm:resnext50_32x4d", 224, 1),
        ("timm:mixer_s16_224", 224, 1),
        ("timm:mnasnet_100", 224, 1),
        ("timm:darknet53", 256, 1),
        ("timm:seresnet50", 224, 1),
        ("timm:poolformer_s12", 224, 1),
        ("timm:regnetx_032", 224, 8),
        ("timm:fbnetc_100", 224, 1),
        ("timm:dla34", 224, 1),
        ("timm:mobilenetv2_100", 224, 16),
        ("timm:efficientnet_b3", 300, 1),
        ("timm:vgg11_bn", 224, 8),
        ("timm:convnext_tiny", 384, 1),
    ):
        label = f"{name.replace(':', '-')}_b{batch}_{size}"
        settings = {"name": name, "size": size, "batch": batch}
        small = batch == 1 and any(part in name for part in ("mobilenet", "resnet18", "ghost", "mnasnet", "vit_tiny"))
        out.add("network", "network", label, settings, heavy=True, cpu=small)
