"""The usual table at the end of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SUMMARY = ("mAP", "mATE", "mASE", "mAOE", "mAVE", "mAAE", "NDS")


def accuracy_table(summary: Mapping[str, Any]) -> str:
    """NDS, mAP, the five errors and the figures a class as plain text; then occupancy IoU."""
    lines = [f"{summary['split']}: {summary['samples']} samples, {summary['backend']}"]
    if "NDS" in summary:
        lines += [f"{name + ':':6} {summary[name]:.4f}" for name in SUMMARY]
        lines += ["", f"{'Object class':22}{'AP':>8}{'ATE':>8}{'ASE':>8}{'AOE':>8}{'AVE':>8}{'AAE':>8}"]
        for name, row in summary["per_class"].items():
            lines.append(f"{name:22}" + "".join(_cell(row[key]) for key in ("AP", "ATE", "ASE", "AOE", "AVE", "AAE")))
    if "occ_miou" in summary:
        lines += ["", f"Occupancy mIoU: {summary['occ_miou']:.4f} (17 classes, voxels seen by a camera)"]
        known = {k: v for k, v in summary["occ_per_class"].items() if v is not None and k != "free"}
        lines += [f"{name:22}{value:8.3f}" for name, value in known.items()]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return f"{'nan':>8}" if value is None else f"{value:8.3f}"
