"""A backbone of another package on the whole road: count, predict, train, export. Installed first: pip install -e .

python examples/add_a_backbone/use_it.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import bevlite

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parents[1] / "configs" / "recipes" / "demo.yaml"


def main(folder: Path) -> None:
    """Do it in a folder."""
    variant = bevlite.load_variant(HERE / "variant.yaml")
    print(f"{variant.name} with backbone {variant.camera.backbone.type}, hash {variant.hash}")
    for cost in bevlite.module_costs(variant):
        print(f"  {cost.name:15}{cost.parameters / 1e6:8.3f} M parameters{cost.macs / 1e9:8.3f} GMACs")

    world = folder / "world"
    bevlite.synthesize(world, scenes=3, samples=2, sweeps=1, image_scale=0.1, workers=1)
    short = ["epochs=1", "workers=0"]
    run = bevlite.train(
        variant, data=world, recipe=RECIPE, out=folder / "tiny-cnn", recipe_overrides=short, resume=True, evaluate=False
    )
    for report in bevlite.export(run, tensorrt="10.3", samples=1):
        print(f"exported: {', '.join(file.name for file in report.files.values())}")
    found = bevlite.latency(run)
    print(f"predicted: {found.total_ms:.2f} ms [{found.lower_ms:.2f}, {found.upper_ms:.2f}] on {found.device}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "work_dirs/examples"))
