"""Networks with published latencies, with random weights: timm, torchvision, Ultralytics, and YOLOX from its paper.

Ultralytics is needed for YOLOv5, v8, v9 and v10 alone; it is no dependency of BEVLite (`pip install ultralytics`).
"""

from __future__ import annotations

import importlib
import importlib.util
import io

import onnx
import timm
import torch
import torchvision
from detectors import DETR, RetinaNet
from torch import nn
from yolov5 import YOLOv5s
from yolox import YOLOX, YOLOX_SIZES


def can_build(name: str) -> bool:
    """Whether the package that the network comes from is installed."""
    return not name.startswith("ultralytics:") or importlib.util.find_spec("ultralytics") is not None


def _ultralytics(model: str) -> nn.Module:
    """A YOLO as it is exported: convolutions fused with their norms, one output; v10 with its own selection."""
    kind = "PoseModel" if model.endswith("-pose") else "DetectionModel"
    network = getattr(importlib.import_module("ultralytics.nn.tasks"), kind)(f"{model}.yaml", verbose=False).eval()
    head = network.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", False
    if model.startswith("yolov10"):
        head.end2end = True
    for module in network.modules():
        if type(module).__name__ == "C2f":
            module.forward = module.forward_split
    network.fuse(verbose=False)
    return network  # type: ignore[no-any-return]


def build(name: str, size: int = 224, shape: tuple[int, ...] = ()) -> nn.Module:
    """`timm:resnet18`, `torchvision:resnet50`, `ultralytics:yolov8n` or `yolox:yolox_s`: random weights, eval mode."""
    library, _, model = name.partition(":")
    if library == "ultralytics":
        return _ultralytics(model)
    if library == "detr":
        return DETR(*(shape[-2:] if shape else (size, size))).eval()
    if library == "retinanet":
        return RetinaNet().eval()
    if library == "yolox":
        return YOLOX(*YOLOX_SIZES[model]).eval()
    if name == "yolov5:yolov5s":
        return YOLOv5s().eval()
    if library == "torchvision":
        return torchvision.models.get_model(model, weights=None).eval()
    arguments = {"img_size": size} if model.startswith("vit") else {}
    return timm.create_model(model, pretrained=False, exportable=True, **arguments).eval()


def to_onnx(network: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    """Export a network of one input at opset 17 by the TorchScript exporter."""
    buffer = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(network, (torch.zeros(shape),), buffer, opset_version=17, dynamo=False)
    return onnx.load_from_string(buffer.getvalue())
