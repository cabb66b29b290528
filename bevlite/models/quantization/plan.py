"""The precision plan of a network in INT8, layer by layer, as text."""

from __future__ import annotations

from collections.abc import Mapping

from bevlite.errors import ConfigError
from bevlite.models.quantization.placement import Placement, placement
from bevlite.variant import EVERYTHING, MODULES, Variant


def is_resolved(variant: Variant) -> bool:
    """Whether a plan with INT8 speaks of layers: Q/DQ then stand where it says, and nowhere else."""
    plan = variant.compression.precision
    return "int8" in plan.values() and not set(plan) <= {EVERYTHING, *MODULES}


def in_int8(variant: Variant, wanted: Mapping[str, str], floats: Mapping[str, str] | None = None) -> Variant:
    """A variant whose plan says of every layer whether it runs in INT8.

    What `wanted` puts in INT8 module by module is weighed by the rules of the placement: layers that are better off
    without are named in FP16, the shortest way. What it says of layers by themselves stays as it is.

    Args:
        variant: the network.
        wanted: precision by pattern, over that of the variant; empty for what the variant says, or for INT8 wherever it
            is worth trying where it says nothing of INT8.
        floats: more layers that stay in FP16, by path, with the reason.

    Raises:
        ConfigError: a pattern that no product answers to, a layer that cannot be quantized, nothing left in INT8.
    """
    plan = {**variant.compression.precision, **wanted}
    if not wanted and "int8" not in plan.values():
        plan |= {EVERYTHING: "int8"}
    bare = variant.model_copy(update={"compression": variant.compression.model_copy(update={"precision": plan})})
    places = placement(variant)
    _check(bare, places, wanted)
    of = bare.compression.precision_of
    asked = {path for path, word in plan.items() if word == "int8" and path in places.products}
    eight = places.quantized(of)
    stay = {
        path
        for path, product in places.products.items()
        if of(path) == "int8" and path not in asked and (product.floats or path in (floats or {}) or path not in eight)
    }
    if not eight - stay:
        raise ConfigError(f"{variant.name}: precision: found no layer for INT8; accepted: at least one (of "
                          f"{len(places.products)}, {len(stay)} are better off in FP16)")  # fmt: skip
    plan |= dict.fromkeys(_shortest(variant, places, stay, eight - stay), "fp16")
    compression = variant.compression.model_copy(update={"precision": plan})
    return Variant.model_validate(variant.model_copy(update={"compression": compression}).model_dump())


def _check(bare: Variant, places: Placement, wanted: Mapping[str, str]) -> None:
    for pattern, word in wanted.items():
        if word not in ("fp32", "fp16", "int8"):
            raise ConfigError(f"precision: {pattern}: found '{word}'; accepted: fp32, fp16, int8")
        product = places.products.get(pattern)
        if word == "int8" and product is not None and not product.able:
            raise ConfigError(f"precision: {pattern}: found int8 for a layer that stays in FP16: {product.floats}")
        only = bare.model_copy(
            update={"compression": bare.compression.model_copy(update={"precision": {pattern: "fp32"}})}
        )
        of = only.compression.precision_of
        if pattern != EVERYTHING and not any(of(path) == "fp32" for path in (*places.products, *bare.modules)):
            raise ConfigError(
                f"precision: found '{pattern}', which no module or layer answers to; accepted: "
                f"{', '.join(bare.modules)}, or layers below them"
            )


def _shortest(variant: Variant, places: Placement, stay: set[str], eight: frozenset[str] | set[str]) -> list[str]:
    """Paths that name some layers and none of the others: whole branches where all of a branch stays."""
    found: list[str] = []
    for module in variant.modules:
        below = [path for path in places.products if path == module or path.startswith(f"{module}.")]
        if not any(path in eight for path in below):
            found.append(module)
    for path in places.products:
        if path not in stay or any(path == one or path.startswith(f"{one}.") for one in found):
            continue
        parts = path.split(".")
        for depth in range(2, len(parts) + 1):
            branch = ".".join(parts[:depth])
            if not any(one == branch or one.startswith(f"{branch}.") for one in eight):
                found.append(branch)
                break
    return found
