"""The precision plan of a network in INT8, layer by layer, as text."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bevlite.errors import ConfigError
from bevlite.models.quantization.placement import Placement, placement
from bevlite.models.samples import outline
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
        wanted: precision by pattern, over that of the variant; where neither speaks of INT8, all else is INT8 wherever
            it is worth trying.
        floats: more layers that stay in FP16, by path, with the reason.

    Raises:
        ConfigError: a pattern that no product answers to, a layer that cannot be quantized, nothing left in INT8.
    """
    plan = {**variant.compression.precision, **wanted}
    if "int8" not in plan.values() and EVERYTHING not in wanted:
        plan |= {EVERYTHING: "int8"}
    bare = variant.model_copy(update={"compression": variant.compression.model_copy(update={"precision": plan})})
    places = placement(variant)
    _check(variant, places, wanted)
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
    return _back(bare, places, stay, eight - stay)


def with_int8(variant: Variant, places: Placement, layers: Collection[str]) -> Variant:
    """A variant of a plan layer by layer (`in_int8`) with fewer layers in INT8: the others go back to FP16.

    Args:
        variant: the network.
        places: of it.
        layers: what stays in INT8, of those that are; none for a network without.
    """
    plan = variant.compression.precision
    if not layers:
        floats = {pattern: "fp16" if word == "int8" else word for pattern, word in plan.items()}
        return variant.model_copy(update={"compression": variant.compression.model_copy(update={"precision": floats})})
    eight = places.quantized(variant.compression.precision_of)
    return _back(variant, places, eight - set(layers), eight & set(layers))


def _back(variant: Variant, places: Placement, stay: Collection[str], eight: Collection[str]) -> Variant:
    """A variant some of whose layers go to FP16; `eight` are left in INT8."""
    before = variant.compression
    plan = before.precision | dict.fromkeys(_shortest(variant, places, stay, eight), "fp16")
    after = before.model_copy(update={"precision": plan})
    # Where another pattern says more of a layer than its branch does, or less, the layer is named itself.
    wanted = {path: "fp16" if path in stay else before.precision_of(path) for path in places.products}
    plan |= {path: word for path, word in wanted.items() if after.precision_of(path) != word}
    after = before.model_copy(update={"precision": plan})
    return Variant.model_validate(variant.model_copy(update={"compression": after}).model_dump())


def _check(variant: Variant, places: Placement, wanted: Mapping[str, str]) -> None:
    for pattern, word in wanted.items():
        if word not in ("fp32", "fp16", "int8"):
            raise ConfigError(f"precision: {pattern}: found '{word}'; accepted: fp32, fp16, int8")
        product = places.products.get(pattern)
        if word == "int8" and product is not None and not product.able:
            raise ConfigError(f"precision: {pattern}: found int8 for a layer that stays in FP16: {product.floats}")
        only = variant.model_copy(
            update={"compression": variant.compression.model_copy(update={"precision": {pattern: "fp32"}})}
        )
        of = only.compression.precision_of
        if pattern == EVERYTHING or any(of(path) == "fp32" for path in (*places.products, *variant.modules)):
            continue
        if not any(of(path) == "fp32" for path in _layers(variant)):  # norms, say, which multiply by no matrix
            raise ConfigError(
                f"precision: found '{pattern}', which no module or layer answers to; accepted: "
                f"{', '.join(variant.modules)}, or layers below them"
            )


def _layers(variant: Variant) -> list[str]:
    """Every layer of a network by path."""
    return [path for module in outline(variant).modules for path, _ in module.network.named_modules() if path]


def _shortest(variant: Variant, places: Placement, stay: Collection[str], eight: Collection[str]) -> list[str]:
    """Paths that name some layers and none of the others: whole branches where all of a branch stays."""
    found: list[str] = []
    for module in variant.modules:
        below = [path for path in places.products if path == module or path.startswith(f"{module}.")]
        if variant.compression.precision_of(module) == "int8" and not any(path in eight for path in below):
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
