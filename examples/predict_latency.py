"""How long a network takes on a board that is not there, and what makes it faster. Nothing is trained.

python examples/predict_latency.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import bevlite

VARIANT = Path(__file__).resolve().parents[1] / "configs" / "variants" / "reference-r50.yaml"
CHANGES = {
    "as it is": [],
    "ResNet-18": ["camera.backbone.depth=18"],
    "LiDAR alone": ["camera=null"],
    "half the width after the fusion": ["fusion.channels=128"],
}


def main(folder: Path) -> None:
    """Print predictions, and write a page with plots."""
    for name, changes in CHANGES.items():
        found = bevlite.latency(VARIANT, overrides=changes)
        print(f"{name:32} {found.total_ms:7.2f} ms [{found.lower_ms:.2f}, {found.upper_ms:.2f}]")

    for board, mode in (("agx-orin-64gb", "30W"), ("orin-nano-8gb", "")):
        found = bevlite.latency(VARIANT, device=board, power_mode=mode)
        print(f"{board + ' ' + found.conditions.power_mode:32} {found.total_ms:7.2f} ms")

    page = folder / "latency.html"
    found = bevlite.latency(VARIANT, html_path=page)
    print("where the time goes:", ", ".join(f"{row.name} {row.latency_ms:.2f} ms" for row in found.modules))
    print(f"page: {page}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "work_dirs/examples"))
