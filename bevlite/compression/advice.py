"""What else would make a network fit, each with the milliseconds that it is predicted to take then.

In a line each, for whoever was told that a limit is missed; `bevlite plan-b` says more (bevlite.compression.plan_b).
"""

from __future__ import annotations

from bevlite.compression.costs import Predictions
from bevlite.compression.plan_b.ways import Way, ways_of
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from bevlite.variant import Variant


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
    ways = list(ways_of(variant))
    chosen = [*[way for way in ways if way.kind == "resolution"][:1], *[way for way in ways if way.kind == "task"]]
    found = [f"{way.words}: {ms:.1f} ms instead of {whole.total_ms:.1f}, predicted, not trained"
             for way in chosen if (ms := _ms(predictions, way)) is not None]  # fmt: skip
    split = _split(whole)
    if split is not None:
        found.append(
            f"camera and LiDAR streams on two boards: {split:.1f} ms and what sending a BEV map takes, predicted"
        )
    return found


def _ms(predictions: Predictions, way: Way) -> float | None:
    """None for a network that cannot be."""
    try:
        return predictions.report(way.make()).total_ms
    except (ValueError, BevliteError):
        return None


def _split(report: LatencyReport) -> float | None:
    """Both streams beside each other, then what follows them; None without two streams."""
    ms = {row.name: row.latency_ms for row in report.modules}
    if not {"camera", "lidar"} <= set(ms):
        return None
    camera = ms["camera"] + ms.get("view_transform", 0.0)
    return report.total_ms - min(camera, ms["lidar"])
