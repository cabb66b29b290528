"""Parts of variants and networks that were chosen before they were measured, and that no rule was made from.

The rules of the backend and the form of the kernel models were chosen while looking at the other modules
(`module_list.py`). These are the check: they are predicted as all others, and reported apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Add = Callable[..., None]

CAMERAS = (
    ("r18", 256, 704, 6, 64, 16),
    ("r50", 256, 704, 6, 128, 8),
    ("r34", 320, 800, 6, 256, 16),
    ("henet", 256, 704, 6, 64, 8),
    ("r18", 192, 480, 6, 64, 16),
    ("henet", 192, 480, 6, 256, 16),
    ("r50", 384, 1056, 6, 256, 16),
    ("r34", 128, 352, 6, 128, 16),
    ("r18", 384, 1056, 6, 128, 16),
    ("henet", 384, 1056, 6, 192, 16),
    ("r50", 256, 704, 1, 256, 16),
    ("r34", 256, 704, 5, 96, 8),
)
NECKS = (
    (256, 704, 128, 16, True),
    (256, 704, 256, 8, True),
    (384, 1056, 256, 16, True),
    (128, 352, 64, 8, True),
    (256, 704, 128, 16, False),
    (256, 704, 256, 8, False),
    (192, 480, 96, 16, False),
    (512, 1408, 128, 16, False),
)
VIEW_TRANSFORMS = (
    (256, 704, 16, 48, 0.8, 1.0, 8),
    (256, 704, 16, 64, 0.8, 0.5, 8),
    (256, 704, 16, 80, 0.8, 1.0, 16),
    (384, 1056, 16, 64, 0.8, 1.0, 8),
    (192, 480, 16, 64, 0.8, 1.0, 8),
    (128, 352, 16, 64, 1.6, 1.0, 8),
    (320, 800, 16, 96, 0.4, 1.0, 8),
    (128, 352, 8, 48, 0.4, 2.0, 4),
)
LIDARS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("g0.2_wide", {"cell_m": 0.2, "channels": [96, 192, 384], "layers": [3, 5, 5]}),
    ("g0.2_thin", {"cell_m": 0.2, "pillars": 30000, "width": 32, "channels": [32, 64, 96], "layers": [2, 3, 3]}),
    ("g0.2_deep", {"cell_m": 0.2, "channels": [64, 128, 256], "layers": [5, 7, 7], "neck": 96}),
    ("g0.4_thin", {"cell_m": 0.4, "pillars": 20000, "width": 32, "channels": [32, 64], "strides": [2, 2]}
     | {"layers": [2, 3]}),
    ("g0.4_deep", {"cell_m": 0.4, "pillars": 30000, "channels": [64, 192], "strides": [2, 2], "layers": [7, 7]}),
    ("g0.8_wide", {"cell_m": 0.8, "pillars": 12000, "channels": [128, 256], "strides": [1, 2], "layers": [3, 3]}),
    ("g0.2_points32", {"cell_m": 0.2, "pillars": 25000, "points": 32, "channels": [64, 128, 256]}),
    ("g0.4_three", {"cell_m": 0.4, "pillars": 30000, "channels": [64, 96, 128], "layers": [3, 3, 3]}),
)  # fmt: skip
PILLARS = ((0.2, 30000, 20, 32), (0.4, 30000, 20, 64), (0.8, 12000, 32, 48), (0.2, 20000, 10, 96))
FUSIONS = (
    ((64, 256), 128, 128),
    ((48, 192), 96, 128),
    ((96, 384), 192, 128),
    ((64, 384), 256, 64),
    ((64, 256), 128, 256),
    ((256,), 128, 128),
    ((128, 128), 128, 128),
    ((32, 128), 64, 96),
)
BEV_ENCODERS = (
    (256, (128, 256), (3, 3), 128, 128),
    (256, (96, 192), (5, 5), 192, 128),
    (128, (128, 256), (5, 5), 128, 128),
    (192, (128, 192), (2, 4), 128, 128),
    (96, (48, 96), (3, 3), 64, 128),
    (256, (128, 256), (5, 5), 128, 64),
    (128, (96, 192), (3, 5), 96, 256),
    (64, (64, 128, 192), (3, 3, 3), 96, 128),
    (160, (80, 160), (4, 4), 80, 128),
)
CENTERPOINTS = (
    (128, 64, 128, False),
    (192, 64, 128, False),
    (128, 48, 256, False),
    (256, 96, 64, False),
    (96, 32, 128, True),
    (192, 64, 256, True),
    (64, 24, 128, False),
)
FLASHOCCS = ((128, 128, 0.8), (192, 96, 0.8), (64, 64, 0.4), (128, 48, 0.8), (256, 256, 1.6))
VARIANTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("r18", "reference-r50", ("camera.backbone.depth=18",)),
    ("r34_narrow", "reference-r50", ("camera.backbone.depth=34", "fusion.channels=128", "camera.neck.channels=128")),
    ("shallow", "reference-r50", ("bev_encoder.layers=[3,3]", "lidar.backbone.layers=[1,2,2]")),
    ("separable", "reference-r50", ("heads.detection.separable=true", "bev_encoder.channels=[96,192]")),
    ("camera_small", "reference-r50-camera", ("camera.images.height=128", "camera.images.width=352")),
    ("lidar_thin", "reference-r50-lidar", ("lidar.pillars.channels=32", "lidar.backbone.channels=[32,64,128]")),
    ("demo_r34", "demo", ("camera.backbone.depth=34", "fusion.channels=64")),
)
NETWORKS = (
    ("timm:resnet26", 224, 1),
    ("timm:resnet101", 224, 1),
    ("timm:resnet18", 224, 8),
    ("timm:resnet34", 224, 1),
    ("timm:wide_resnet50_2", 224, 1),
    ("timm:resnet50", 512, 1),
    ("timm:regnetx_008", 224, 1),
    ("timm:regnetx_016", 224, 1),
    ("timm:regnety_016", 224, 1),
    ("timm:efficientnet_b1", 240, 1),
    ("timm:efficientnet_lite0", 224, 1),
    ("timm:efficientnetv2_rw_t", 288, 1),
    ("timm:mobilenetv2_140", 224, 1),
    ("timm:mobilenetv3_large_100", 224, 16),
    ("timm:mobilenetv4_conv_small", 224, 1),
    ("timm:mobilenetv4_conv_medium", 256, 1),
    ("timm:mobileone_s1", 224, 1),
    ("timm:hrnet_w18_small", 224, 1),
    ("timm:convnext_nano", 224, 1),
    ("timm:vit_small_patch16_224", 224, 8),
    ("timm:vit_base_patch16_224", 224, 1),
    ("timm:deit_tiny_patch16_224", 224, 16),
    ("timm:swin_small_patch4_window7_224", 224, 1),
    ("timm:swin_tiny_patch4_window7_224", 224, 8),
    ("timm:vgg13", 224, 1),
    ("timm:vgg16_bn", 224, 4),
    ("timm:densenet169", 224, 1),
    ("timm:dla60", 224, 1),
    ("timm:cspdarknet53", 256, 1),
    ("timm:cspresnet50", 256, 1),
    ("timm:fastvit_t8", 256, 1),
    ("timm:edgenext_small", 256, 1),
    ("timm:repvgg_b0", 224, 1),
    ("timm:inception_v3", 299, 1),
    ("timm:xception41", 299, 1),
    ("timm:lcnet_100", 224, 1),
    ("timm:tinynet_a", 192, 1),
    ("timm:rexnet_100", 224, 1),
    ("timm:selecsls42b", 224, 1),
    ("timm:ese_vovnet19b_dw", 224, 1),
    ("timm:skresnet18", 224, 1),
    ("timm:mobilevit_s", 256, 1),
    ("timm:mixer_b16_224", 224, 1),
    ("yolox:yolox_m", 640, 1),
    ("yolox:yolox_s", 416, 4),
)


def add_unseen(add: Add) -> None:
    """Declare all of them by a list's `add` (families and builders as in `modules.py`)."""
    for backbone, height, width, cameras, channels, stride in CAMERAS:
        settings: dict[str, Any] = {"backbone": backbone, "height": height, "width": width, "cameras": cameras}
        label = f"{backbone}_{cameras}x{height}x{width}_c{channels}_s{stride}"
        add("camera", "camera", label, settings | {"channels": channels, "stride": stride}, heavy=True)
    for height, width, channels, stride, wide in NECKS:
        settings = {"height": height, "width": width, "cameras": 6, "channels": channels, "stride": stride}
        label = f"{'wide' if wide else 'narrow'}_6x{height}x{width}_c{channels}_s{stride}"
        add("neck", "neck", label, settings | {"wide": wide})
    for height, width, stride, channels, cell_m, step, chunk in VIEW_TRANSFORMS:
        settings = {"height": height, "width": width, "stride": stride, "channels": channels, "cell_m": cell_m}
        label = f"{height}x{width}_s{stride}_c{channels}_g{cell_m}_d{step}_k{chunk}"
        settings |= {"depth_step_m": step, "chunk": chunk}
        add("view_transform", "view_transform", label, settings, channels_last=False)
    for label, settings in LIDARS:
        add("lidar", "lidar", label, settings, heavy=True)
    for cell_m, pillars, points, width in PILLARS:
        settings = {"cell_m": cell_m, "pillars": pillars, "points": points, "width": width}
        add("pillars", "pillars", f"g{cell_m}_p{pillars}x{points}_c{width}", settings)
    for inputs, channels, size in FUSIONS:
        settings = {"inputs": inputs, "channels": channels, "size": size}
        add("fusion", "fusion", f"{'+'.join(map(str, inputs))}_to{channels}_{size}", settings)
    for cin, widths, layers, cout, size in BEV_ENCODERS:
        settings = {"in_channels": cin, "channels": widths, "layers": layers, "out_channels": cout, "size": size}
        label = f"{cin}_{'-'.join(map(str, widths))}_l{'-'.join(map(str, layers))}_{cout}_{size}"
        add("bev_encoder", "bev_encoder", label, settings, heavy=True)
    for cin, channels, size, separable in CENTERPOINTS:
        settings = {"in_channels": cin, "channels": channels, "size": size, "separable": separable}
        label = f"{cin}_c{channels}_{size}{'_separable' if separable else ''}"
        add("centerpoint", "centerpoint", label, settings, heavy=True)
    for cin, channels, cell_m in FLASHOCCS:
        settings = {"in_channels": cin, "channels": channels, "cell_m": cell_m}
        add("flashocc", "flashocc", f"{cin}_c{channels}_g{cell_m}", settings)
    for label, name, overrides in VARIANTS:
        add("variant", "variant", f"{name}_{label}", {"name": name, "overrides": overrides}, heavy=True)
    for name, size, batch in NETWORKS:
        label = f"{name.replace(':', '-')}_b{batch}_{size}"
        add("network", "network", label, {"name": name, "size": size, "batch": batch}, heavy=True)
