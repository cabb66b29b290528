"""Camera networks that differ in one part, trained alike on a generated world: what each view transform learns.

    python benchmarks/trained_parts.py OUT world
    python benchmarks/trained_parts.py OUT train [NETWORK ...]
    python benchmarks/trained_parts.py OUT table

Six cameras at 128 x 352 px and no LiDAR, so that the view transform has to find where things are. A network that was
trained already is left alone, and one that was stopped goes on, so several processes can share the list. The table has
NDS and mAP of the official devkit over the scenes that were not learnt from, with 95 % bootstrap intervals over these
scenes, and the difference to LSS from the same draws.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from generated_world import interval

from bevlite.data.config import load_data_config
from bevlite.evaluation.run import evaluate_run
from bevlite.metrics.bootstrap import DetectionBootstrap, resample
from bevlite.simulation.world.generate import generate_world
from bevlite.training.loop import train
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant

SCENES, UNSEEN, SAMPLES = 45, 15, 20
RECIPE: dict[str, Any] = {
    "epochs": 24,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "warmup_steps": 100,
    "ema_decay": 0.995,
    "class_balanced": True,
    "workers": 6,
    "augmentation": {"image": {"resize": [-0.05, 0.1], "rotate_deg": 2.0}},
}
LIFT = {"channels": 64, "depth_range_m": [1.0, 55.0], "depth_step_m": 1.0}
VIEWS: dict[str, dict[str, Any]] = {
    "lss": {"type": "lss", **LIFT},
    "pull": {"type": "pull", **LIFT},
    "column": {"type": "column", **LIFT},
    "lookup": {"type": "lookup", "channels": 64},
    "cft": {"type": "cft", "channels": 64, "query_stride": 2},
    "bevformer": {"type": "bevformer", "channels": 64},
    "lss, frame before": {"type": "lss", "temporal": True, **LIFT},
    "lss, in order": {"type": "lss", **LIFT},
}
IN_ORDER = ("bevformer", "lss, frame before", "lss, in order")
"""What has a past learns scene by scene, which excludes drawing rare classes more often; LSS so too, to compare."""
BACKBONES: dict[str, dict[str, Any]] = {
    "resnet-50": {"type": "resnet", "depth": 50},
    "efficientnet-b0": {"type": "efficientnet", "size": "b0"},
    "henet-tinye": {"type": "henet_tinye"},
}
NETWORKS = (*VIEWS, *BACKBONES)
FIGURES = ("NDS", "mAP", "mATE", "mASE", "mAOE", "mAVE", "mAAE")


def network(name: str) -> Variant:
    """The base with one part exchanged: a view transform, or a camera backbone in front of LSS."""
    return Variant.model_validate(
        {
            "name": name.replace(", ", "-").replace(" ", "-"),
            "bev": {"x_range_m": [-51.2, 51.2], "y_range_m": [-51.2, 51.2], "cell_m": 0.8},
            "camera": {
                "images": {"height": 128, "width": 352},
                "backbone": BACKBONES.get(name, {"type": "resnet", "depth": 18}),
                "neck": {"type": "lss_fpn", "channels": 128, "out_stride": 8},
                "view_transform": VIEWS.get(name, VIEWS["lss"]),
            },
            "fusion": {"type": "se", "channels": 128},
            "bev_encoder": {"type": "second_fpn", "channels": [64, 128], "layers": [2, 2], "out_channels": 128},
            "heads": {"detection": {"type": "centerpoint", "channels": 64}},
        }
    )


def main() -> None:
    """One step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("step", choices=("world", "train", "table"))
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; all without")
    options = parser.parse_args()
    out, step, names = options.out, options.step, options.networks or NETWORKS
    if unknown := [name for name in names if name not in NETWORKS]:
        parser.error(f"networks: found {', '.join(unknown)}; accepted: {'; '.join(NETWORKS)}")
    world = out / "world"
    if step == "world":
        sizes = dict(scenes=SCENES, val_scenes=UNSEEN, samples=SAMPLES)
        print(generate_world(world, **sizes, sweeps=1, image_scale=0.5, world=1))  # what the results are of
    elif step == "train":
        for name in names:
            learn(name, out)
    else:
        table(out)


def learn(name: str, out: Path) -> None:
    """Train one network and score it on the scenes that it has not seen."""
    variant = network(name)
    folder = out / variant.name
    recipe = Recipe.model_validate(RECIPE | ({"class_balanced": False} if name in IN_ORDER else {}))
    began = time.monotonic()
    train(variant, load_data_config(out / "world"), recipe, folder, resume=True)
    trained = time.monotonic()
    summary = evaluate_run(folder, draws=0, batch_size=8, workers=4)
    print(name, {k: round(summary[k], 4) for k in FIGURES if k in summary}, end=" ")
    print(f"trained in {trained - began:.0f} s, scored in {time.monotonic() - trained:.0f} s", flush=True)


def table(out: Path, draws: int = 300) -> None:
    """Figures with their intervals, and the difference to LSS from the same draws of scenes."""
    data = load_data_config(out / "world")
    print("| network | NDS [95 %] | mAP [95 %] | mATE | mAOE | NDS - LSS's | mAP - LSS's |\n|" + " --- |" * 7)
    base: dict[str, np.ndarray] = {}
    for name in NETWORKS:
        folder = out / network(name).name / "eval" / f"{data.val_split}-torch"
        if not (folder / "metrics.json").is_file():
            continue
        metrics = json.loads((folder / "metrics.json").read_text())
        detection = DetectionBootstrap(data, str(data.val_split), folder / "nusc_results.json")
        drawn = resample(detection.figures, len(detection.scenes), draws)
        base = base or drawn
        cells = [name, *(f"{metrics[k]:.3f} [{interval(drawn[k])}]" for k in ("NDS", "mAP"))]
        cells += [f"{metrics[k]:.3f}" for k in ("mATE", "mAOE")]
        for k in ("NDS", "mAP"):
            gain = drawn[k] - base[k]
            cells.append("-" if drawn is base else f"{gain.mean():+.3f} [{interval(gain)}]")
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
