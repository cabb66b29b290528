"""From nothing to ONNX on a laptop: a generated world, a short training, scores, a picture, an export.

python examples/train_and_export.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import bevlite

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def main(folder: Path) -> None:
    """Do it in a folder; what is there already is gone on with."""
    world = folder / "world"
    made = bevlite.synthesize(world, scenes=3, samples=2, sweeps=1, image_scale=0.1, workers=1)
    print(f"{made.root}: {made.samples} samples, {made.boxes} boxes")
    print(f"problems of the data: {bevlite.check_data(world).errors}")

    variant = bevlite.load_variant(CONFIGS / "variants" / "demo.yaml", overrides=["camera.backbone.depth=18"])
    run = bevlite.train(
        variant,
        data=world,
        recipe=CONFIGS / "recipes" / "demo.yaml",
        recipe_overrides=["epochs=2"],  # too few to learn anything
        out=folder / "demo",
        resume=True,
        evaluate=False,
    )
    figures = bevlite.evaluate(run)
    print(f"NDS {figures['NDS']:.3f}, mAP {figures['mAP']:.3f} on {figures['samples']} samples of {figures['split']}")
    print(f"picture: {bevlite.show(run, out=folder / 'demo.png')}")

    for report in bevlite.export(run, samples=1):
        versions = ", ".join(report.tensorrt)
        print(f"{report.emission} (opset {report.opset}) for TensorRT {versions}: {len(report.files)} modules")
        for row in report.parity:
            print(f"  {row.name:12} differs from torch by {row.relative:.2g}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "work_dirs/examples"))
