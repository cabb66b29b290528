"""What else would make a network fit, each with the milliseconds that it is predicted to take then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bevlite.compression.costs import Predictions
from bevlite.config import as_dict
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from bevlite.variant import Variant

SMALLER = 0.75
"""Share of the height and width of images that a lower resolution keeps."""
STEP = 64
"""Pixels that it is a multiple of, so that coarse maps of most necks still divide it."""


def ways_out(variant: Variant, board: PredictedDevice) -> list[str]:
    """Lower resolution, one task less, two boards: a line each, of those that this network can take.

    Args:
        variant: as it stands, with its widths and its precision plan.
        board: whose predicted latency counts.
    """
    predictions = Predictions(board)
    try:
        whole = predictions.report(variant)
    except BevliteError:
        return []
    found = [f"{words}: {ms:.1f} ms instead of {whole.total_ms:.1f}, predicted, not trained"
             for words, other in _others(variant) if (ms := _ms(predictions, other)) is not None]  # fmt: skip
    split = _split(whole)
    if split is not None:
        found.append(
            f"camera and LiDAR streams on two boards: {split:.1f} ms and what sending a BEV map takes, predicted"
        )
    return found


def _ms(predictions: Predictions, content: dict[str, Any]) -> float | None:
    """None for a network that cannot be."""
    try:
        return predictions.report(Variant.model_validate(content)).total_ms
    except (ValueError, BevliteError):
        return None


def _others(variant: Variant) -> Iterator[tuple[str, dict[str, Any]]]:
    content = as_dict(variant)
    if variant.camera is not None:
        images = variant.camera.images
        height, width = (max(STEP, round(SMALLER * size / STEP) * STEP) for size in (images.height, images.width))
        smaller = {**content["camera"], "images": {**content["camera"]["images"], "height": height, "width": width}}
        yield f"images of {height} x {width} instead of {images.height} x {images.width}", content | {"camera": smaller}
    if len(variant.tasks) > 1:
        for task in variant.tasks:
            heads = {name: head for name, head in content["heads"].items() if name != task}
            yield f"without the task {task}", content | {
                "heads": heads, "compression": _without(content["compression"], f"fusion_heads.heads.{task}.")
            }  # fmt: skip


def _without(compression: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A plan that says nothing of layers that are gone."""
    return {
        key: {path: word for path, word in value.items() if not f"{path}.".startswith(prefix)}
        if isinstance(value, dict)
        else value
        for key, value in compression.items()
    }


def _split(report: LatencyReport) -> float | None:
    """Both streams beside each other, then what follows them; None without two streams."""
    ms = {row.name: row.latency_ms for row in report.modules}
    if not {"camera", "lidar"} <= set(ms):
        return None
    camera = ms["camera"] + ms.get("view_transform", 0.0)
    return report.total_ms - min(camera, ms["lidar"])
