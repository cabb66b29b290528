"""Networks of timm and YOLOX."""

from __future__ import annotations

import networks
import timm
import torch

from module_builders.built import Built


def build_network(name: str, size: int, batch: int = 1) -> Built:
    library, _, model = name.partition(":")
    if library == "timm":  # not `exportable`: that would write attention out as separate products
        arguments = {"img_size": size} if model.startswith("vit") else {}
        network = timm.create_model(model, pretrained=False, **arguments)
    else:
        network = networks.build(name, size)
    return network, (torch.randn(batch, 3, size, size),)
