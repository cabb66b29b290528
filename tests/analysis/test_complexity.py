"""Counts by layer against counts by hand, and against those of whole modules."""

from __future__ import annotations

from pathlib import Path

import pytest

import bevlite
from bevlite.analysis.complexity import by_part, layer_costs
from bevlite.analysis.cost import module_costs
from bevlite.variant import load_variant
from tests.tiny import tiny

VARIANTS = Path(__file__).resolve().parents[2] / "configs" / "variants"


@pytest.mark.parametrize("name", ["tiny", "bevfusion-swint", "horizon-bev-cft", "horizon-bevfusion-henet"])
def test_layers_sum_to_their_modules(name: str) -> None:
    variant = tiny() if name == "tiny" else load_variant(VARIANTS / f"{name}.yaml")
    layers = layer_costs(variant)
    assert len({(one.module, one.path) for one in layers}) == len(layers)
    for module in module_costs(variant):
        own = [one for one in layers if one.module == module.name]
        assert sum(one.macs for one in own) == module.macs
        assert sum(one.parameters for one in own) == module.parameters
    for depth in (1, 2, 3):
        parts = by_part(layers, depth)
        assert sum(p.macs for p in parts) == sum(one.macs for one in layers)
        assert sum(p.activations for p in parts) == sum(one.activations for one in layers)
        assert all(len(p.path.split(".")) <= depth for p in parts)


def test_predicted_milliseconds_are_those_of_the_engines() -> None:
    variant = tiny()
    _, ms = bevlite.complexity(variant, predict=True)
    report = bevlite.latency(variant)
    assert ms is not None
    kernels = sum(kernel.latency_ms for row in report.modules for kernel in row.kernels)
    assert sum(ms.values()) == pytest.approx(kernels)


def test_counts_by_hand() -> None:
    """A convolution, a linear layer, and the products of attention in windows (Swin-T, 6 x 256 x 704)."""
    layers = {one.path: one for one in layer_costs(load_variant(VARIANTS / "bevfusion-swint.yaml"))}
    patch = layers["camera.backbone.patch_embed.proj"]
    positions = 6 * 64 * 176
    assert patch.parameters == 96 * 3 * 4 * 4 + 96
    assert patch.macs == positions * 96 * 3 * 4 * 4
    assert patch.activations == positions * 96
    assert (patch.weight_bytes("fp32"), patch.weight_bytes("int8")) == (4 * patch.parameters, patch.parameters)
    assert patch.activation_bytes("fp16") == 2 * patch.activations
    assert layers["camera.backbone.layers.0.blocks.0.mlp.fc1"].macs == positions * 96 * 384
    # Queries with keys, and weights with values: 49 x 49 x 96 each in every window; 70 x 182 positions with padding.
    windows = 6 * 10 * 26
    own = [one for path, one in layers.items() if path.startswith("camera.backbone.layers.0.blocks.0")]
    products = sum(one.macs for one in own if not path_of_weights(one.path))
    assert products == windows * 2 * 49 * 49 * 96


def path_of_weights(path: str) -> bool:
    return path.endswith(("qkv", "proj", "fc1", "fc2", "norm1", "norm2"))
