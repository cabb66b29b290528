"""Networks of timm and YOLOX."""

from __future__ import annotations

from module_lists.listing import Listing


def networks(out: Listing) -> None:
    """Whole networks by image size and batch."""
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
