"""Plans with fewer layers in INT8: exactly those, and all else as the plan had it."""

from __future__ import annotations

import pytest

from bevlite.models.quantization.placement import Placement, placement
from bevlite.models.quantization.plan import in_int8, with_int8
from bevlite.variant import Variant
from tests.tiny import lidar_only

WIDE = {"backbone": {"channels": [32, 64], "layers": [1, 1], "strides": [2, 2]}}


@pytest.fixture(scope="module")
def network() -> tuple[Variant, Placement]:
    variant = lidar_only(lidar=WIDE)
    return variant, placement(variant)


def words(variant: Variant, places: Placement) -> dict[str, str]:
    return {path: variant.compression.precision_of(path) for path in places.products}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"lidar": "fp32", "fusion_heads": "int8"},
        {"lidar.backbone.stages.0": "fp32", "*": "int8"},
        {"*": "fp16", "lidar.backbone": "int8", "fusion_heads.bev_encoder.backbone": "int8"},
        {"*": "int8", "*.stages.1*": "fp32"},
    ],
)
def test_every_set_of_layers_is_a_plan(network: tuple[Variant, Placement], wanted: dict[str, str]) -> None:
    variant, places = network
    full = in_int8(variant, wanted)
    before = words(full, places)
    layers = [path for path, word in before.items() if word == "int8"]
    assert layers == [path for path in places.products if path in places.quantized(full.compression.precision_of)]
    for kept in [set(layers[:1]), set(layers[1:]), set(layers[::2]), {p for p in layers if p.startswith("lidar")}]:
        if kept:
            found = with_int8(full, places, kept)
            assert words(found, places) == {
                path: "fp16" if word == "int8" and path not in kept else word for path, word in before.items()
            }
            # A module without any is no engine in INT8.
            for module in variant.modules:
                if not any(path.startswith(f"{module}.") for path in kept):
                    assert found.compression.precision_of(module) != "int8"
    assert set(words(with_int8(full, places, ()), places).values()) <= {"fp16", "fp32"}


def test_one_layer_by_name_leaves_the_others_in_int8(network: tuple[Variant, Placement]) -> None:
    variant, places = network
    layer = next(path for path, word in words(in_int8(variant, {}), places).items() if word == "int8")
    found = words(in_int8(variant, {layer: "fp32"}), places)
    assert found == words(in_int8(variant, {}), places) | {layer: "fp32"}
    norm = next(one.norm for one in places.products.values() if one.norm)
    assert in_int8(variant, {norm: "fp32"}).compression.precision_of(norm) == "fp32"


def test_more_layers_stay_in_fp16_with_a_reason(network: tuple[Variant, Placement]) -> None:
    variant, places = network
    before = words(in_int8(variant, {}), places)
    some = [path for path, word in before.items() if word == "int8"][:2]
    assert words(in_int8(variant, {}, dict.fromkeys(some, "why")), places) == before | dict.fromkeys(some, "fp16")
