"""The modules and networks that latency models are fitted and checked on, with random weights (`module_list.py`).

Every spec builds a torch module with example inputs, and exports the same computation to ONNX, so that a latency
model can read the graph of what was measured. Where a part of BEVLite differs between training and its exported form
(pillars, pooling, the class of a voxel), the exported form is what is built here.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import onnx
import torch
from module_builders import bevlite_parts, convolutions, memory_layers, products, whole_networks
from module_builders.built import Built

OPSET = 17
BUILDERS: dict[str, Callable[..., Built]] = {
    name.removeprefix("build_"): function
    for family in (bevlite_parts, convolutions, products, memory_layers, whole_networks)
    for name, function in vars(family).items()
    if name.startswith("build_")
}


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
