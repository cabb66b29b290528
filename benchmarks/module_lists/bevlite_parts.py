"""Parts of BEVLite, and whole variants."""

from __future__ import annotations

from typing import Any

from module_lists.listing import Listing


def bevlite_parts(out: Listing) -> None:
    """Parts of this repository from camera backbones to heads, LiDAR streams, and whole variants."""
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
