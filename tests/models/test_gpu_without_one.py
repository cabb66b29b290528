"""Nothing of a network stays behind on the CPU when it runs on a GPU: with tensors that only say where they are.

No GPU is needed. torch's fake tensors have a device, a type and a shape, and refuse what a GPU would refuse.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import modules_of
from bevlite.variant import load_variant

VARIANTS = sorted((Path(__file__).resolve().parents[2] / "configs" / "variants").glob("*.yaml"))


def on_a_gpu(network: nn.Module) -> None:
    """Every tensor of a network as one of a GPU, without values."""
    for module in network.modules():
        for name, value in module._parameters.items():
            if value is not None:
                fake = torch.empty(value.shape, dtype=value.dtype, device="cuda")
                module._parameters[name] = nn.Parameter(fake, requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cuda")


@pytest.mark.parametrize("file", VARIANTS, ids=lambda file: file.stem)
def test_the_deployed_form_runs_on_a_gpu(file: Path) -> None:
    variant = load_variant(file)
    with torch.device("meta"):
        network = Detector(variant).eval()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), deployed_form():
        on_a_gpu(network)
        known: dict[str, torch.Tensor] = {}
        for module in modules_of(network):
            for spec in module.inputs:
                made = torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device="cuda")
                known.setdefault(spec.name, made)
            known |= dict(
                zip(module.outputs, module.network(*(known[spec.name] for spec in module.inputs)), strict=True)
            )
        assert len(known) > 3 and all(value.device.type == "cuda" for value in known.values())
