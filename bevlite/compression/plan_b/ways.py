"""The ways out of one network, as other networks or other places of the same one. Nothing is predicted here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from bevlite.compression.narrow import narrowed
from bevlite.config import as_dict
from bevlite.variant import Variant

Kind = Literal["prune", "resolution", "grid", "task", "int8", "dla", "boards"]
RATIOS = (0.25, 0.5)
"""Shares of all channels that are pruned."""
IMAGE_SHARES = (0.75, 0.5)
"""Of the height and width of images that a lower resolution keeps."""
IMAGE_STEP = 64
"""Pixels that it is a multiple of, so that coarse maps of most necks still divide it."""
CELL_FACTORS = (4 / 3, 2.0)
"""How much larger the cells of a smaller BEV grid are."""


@dataclass(frozen=True)
class Way:
    """One way: what is done in words, and how to make the network of it (raises ValueError or BevliteError where it
    cannot be). on: the module that it is about, or the task; ratio: share of channels that go."""

    kind: Kind
    words: str
    make: Callable[[], Variant]
    on: str = ""
    ratio: float = 0.0


def ways_of(variant: Variant, *, dla: bool = False) -> Iterator[Way]:
    """Every way that this network has; `dla` where the board has such cores."""
    yield from (_pruned(variant, ratio) for ratio in RATIOS)
    yield from _smaller_images(variant)
    yield from (_coarser(variant, factor) for factor in CELL_FACTORS)
    yield from _without_a_task(variant)
    for module in variant.modules:
        if variant.compression.precision_of(module) != "int8":
            yield Way("int8", f"{module} in INT8", partial(_in_int8, variant, module), module)
    if dla:
        for module in variant.modules:
            yield Way("dla", f"{module} on a DLA core", lambda: variant, module)
            if variant.compression.precision_of(module) != "int8":
                yield Way("dla", f"{module} on a DLA core in INT8", partial(_in_int8, variant, module), module)
    if variant.camera is not None and variant.lidar is not None:
        yield Way("boards", "camera and LiDAR streams on two boards", lambda: variant)


def _pruned(variant: Variant, ratio: float) -> Way:
    words = f"{ratio:.0%} of the channels of every part less"
    return Way("prune", words, lambda: narrowed(variant, {"*": ratio}), ratio=ratio)


def _smaller_images(variant: Variant) -> Iterator[Way]:
    if variant.camera is None:
        return
    images, content = variant.camera.images, as_dict(variant)
    tried = {(images.height, images.width)}
    for share in IMAGE_SHARES:
        height, width = (
            max(IMAGE_STEP, round(share * n / IMAGE_STEP) * IMAGE_STEP) for n in (images.height, images.width)
        )
        if (height, width) in tried:
            continue
        tried.add((height, width))
        smaller = {**content["camera"], "images": {**content["camera"]["images"], "height": height, "width": width}}
        words = f"images of {height} x {width} instead of {images.height} x {images.width}"
        yield Way("resolution", words, partial(_valid, content | {"camera": smaller}))


def _coarser(variant: Variant, factor: float) -> Way:
    """Larger cells, and pillars that grow with them, over the same range."""
    content, cell_m = as_dict(variant), variant.bev.cell_m * factor
    changed = content | {"bev": {**content["bev"], "cell_m": cell_m}}
    if variant.lidar is not None:
        pillars = {**content["lidar"]["pillars"], "cell_m": variant.lidar.pillars.cell_m * factor}
        changed["lidar"] = {**content["lidar"], "pillars": pillars}
    words = f"BEV cells of {cell_m:.3g} m instead of {variant.bev.cell_m:g} m"
    return Way("grid", words, lambda: _valid(changed))


def _without_a_task(variant: Variant) -> Iterator[Way]:
    if len(variant.tasks) < 2:
        return
    content = as_dict(variant)
    for task in variant.tasks:
        heads = {name: head for name, head in content["heads"].items() if name != task}
        plan = _without(content["compression"], f"fusion_heads.heads.{task}.")
        changed = content | {"heads": heads, "compression": plan}
        yield Way("task", f"without the task {task}", partial(_valid, changed), task)


def _in_int8(variant: Variant, module: str) -> Variant:
    content = as_dict(variant)
    precision = {**content["compression"]["precision"], module: "int8"}
    return _valid(content | {"compression": {**content["compression"], "precision": precision}})


def _valid(content: Mapping[str, Any]) -> Variant:
    return Variant.model_validate(dict(content))


def _without(compression: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A plan that says nothing of layers that are gone."""
    return {
        key: {path: word for path, word in value.items() if not f"{path}.".startswith(prefix)}
        if isinstance(value, dict)
        else value
        for key, value in compression.items()
    }
