"""Camera, LiDAR and both on a generated world: 40 scenes to learn from, 20 never seen.

    python benchmarks/generated_world.py OUT [--scenes 60] [--samples 40] [--steps world lidar camera both longer table]

Each step is skipped when it is done already, so the command can be stopped and started again. Prints NDS, mAP and
occupancy mIoU with 95 % bootstrap intervals over the unseen scenes, and the difference of both to each alone from the
same draws. `longer` is the control: the LiDAR network trained on from itself for as long as both together, so that
`both - longer` is what the camera adds and not what more training does.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from bevlite.data.config import DataConfig, load_data_config
from bevlite.data.index import load_index
from bevlite.evaluation.run import evaluate_run
from bevlite.metrics.bootstrap import DetectionBootstrap, occupancy_figures, resample
from bevlite.simulation.world.generate import generate_world
from bevlite.training.loop import train
from bevlite.training.recipe import load_recipe
from bevlite.variant import load_variant

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
NETWORKS = {
    "lidar": "reference-r50-lidar",
    "camera": "reference-r50-camera",
    "both": "reference-r50",
    "longer": "reference-r50-lidar",
}
START = {
    "both": {"camera": "camera", "lidar": "lidar", "heads": "lidar"},
    "longer": {"lidar": "lidar", "heads": "lidar"},
}
"""Runs from which streams and heads of the second stage start."""
FIGURES = ("NDS", "mAP", "mATE", "mASE", "mAOE", "mAVE", "mAAE", "occ_miou")


def main() -> None:
    """Every step that is asked for, in order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--image-scale", type=float, default=0.5)
    parser.add_argument("--world", type=int, default=1, help="version of the world; the kept results are of version 1")
    parser.add_argument("--epochs", nargs="*", default=[], help="other than the recipes': lidar=16 both=16")
    parser.add_argument("--draws", type=int, default=500, help="of the bootstrap")
    parser.add_argument("--steps", nargs="*", default=["world", *NETWORKS, "table"])
    options = parser.parse_args()
    world = options.out / "world"
    if "world" in options.steps:
        began = time.monotonic()
        sizes = dict(scenes=options.scenes, samples=options.samples)
        print(generate_world(world, **sizes, image_scale=options.image_scale, world=options.world))
        print(f"world: {time.monotonic() - began:.0f} s", flush=True)
    data = load_data_config(world)
    for name in NETWORKS:
        if name in options.steps:
            asked = [count for network, _, count in (e.partition("=") for e in options.epochs) if network == name]
            run_one(name, data, options.out, asked)
    if "table" in options.steps:
        print_table(data, options.out, options.draws)


def run_one(name: str, data: DataConfig, out: Path, epochs: list[str]) -> None:
    """Train one of the networks and score it on the scenes it has not seen."""
    variant = load_variant(CONFIGS / "variants" / f"{NETWORKS[name]}.yaml")
    file = CONFIGS / "recipes" / ("reference-fusion.yaml" if name in START else "reference.yaml")
    recipe = load_recipe(file, [f"epochs={count}" for count in epochs])
    init = {stream: out / run for stream, run in START.get(name, {}).items()}
    began = time.monotonic()
    train(variant, data, recipe, out / name, init=init, resume=True)
    trained = time.monotonic()
    summary = evaluate_run(out / name, draws=0, batch_size=8, workers=8)
    print(name, {k: round(summary[k], 4) for k in FIGURES if k in summary}, end=" ")
    print(f"trained in {trained - began:.0f} s, scored in {time.monotonic() - trained:.0f} s", flush=True)


def print_table(data: DataConfig, out: Path, draws: int) -> None:
    """Figures with their intervals, and the differences between networks from the same draws."""
    index = load_index(data)
    draws_of = {}
    rows = []
    for name in NETWORKS:
        folder = out / name / "eval" / f"{data.val_split}-torch"
        if not (folder / "metrics.json").is_file():
            continue  # left out of --steps
        metrics = json.loads((folder / "metrics.json").read_text())
        detection = DetectionBootstrap(data, str(data.val_split), folder / "nusc_results.json")
        drawn = resample(detection.figures, len(detection.scenes), draws)
        with np.load(folder / "occupancy_confusion.npz", allow_pickle=False) as saved:
            scene_of = dict(zip(index.tokens, index.scenes, strict=True))
            occupancy = occupancy_figures(saved["matrices"], np.array([scene_of[t] for t in saved["tokens"]]))
        drawn |= resample(occupancy, len(detection.scenes), draws)
        draws_of[name] = drawn
        cells = [f"{metrics[k]:.3f} [{interval(drawn[k])}]" for k in ("NDS", "mAP", "occ_miou")]
        rows.append([name, *cells, *(f"{metrics[k]:.3f}" for k in FIGURES[2:7])])
    print("| network | NDS [95 %] | mAP [95 %] | occupancy mIoU [95 %] | mATE | mASE | mAOE | mAVE | mAAE |")
    print("|" + " --- |" * 9)
    for row in rows:
        print("| " + " | ".join(row) + " |")
    for alone in (other for other in draws_of if other != "both" and "both" in draws_of):
        for figure in ("NDS", "mAP", "occ_miou"):
            gain = draws_of["both"][figure] - draws_of[alone][figure]
            print(f"both - {alone}, {figure}: {gain.mean():+.3f}, 95 % [{interval(gain)}]")


def interval(values: np.ndarray) -> str:
    low, high = np.percentile(values, [2.5, 97.5])
    return f"{low:.3f}, {high:.3f}"


if __name__ == "__main__":
    main()
