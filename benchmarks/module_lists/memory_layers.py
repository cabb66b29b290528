"""Layers that move data more than they compute."""

from __future__ import annotations

from math import prod

from module_lists.listing import Listing


def memory_layers(out: Listing) -> None:
    """Layers that move more than they compute: norms, softmax, elementwise, pooling, resizing, copies."""
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
