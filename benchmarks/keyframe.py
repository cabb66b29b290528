"""Overfit one real nuScenes keyframe at 256 x 704: camera + LiDAR, LiDAR only, camera only; then export and score ONNX.

    python benchmarks/keyframe.py DATA OUT [--epochs N] [--onnx] [--only camera lidar both]

Shows that real pixels and points go the whole road. Ceilings of the frame (annotations fed back as detections):
mAP 0.4943, mATE 0.50, mASE 0.50, mAOE 0.556. Exits with 1 when a figure misses its bar.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bevlite.data.config import load_data_config
from bevlite.evaluation.run import evaluate_run
from bevlite.export.run import export_run
from bevlite.training.loop import train
from bevlite.training.recipe import load_recipe
from bevlite.variant import load_variant

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
VARIANTS = {"both": "reference-r50", "lidar": "reference-r50-lidar", "camera": "reference-r50-camera"}
BARS = {"mAP": 0.42, "mATE": 0.58, "mASE": 0.55, "mAOE": 0.65}
ONNX_BAR = 0.002


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="the keyframe's root in nuScenes format")
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--onnx", action="store_true", help="export as well, and score through ONNX Runtime")
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    options = parser.parse_args()
    data = load_data_config(options.data)
    overrides = [f"epochs={options.epochs}"] if options.epochs else []
    recipe = load_recipe(CONFIGS / "recipes" / "one-frame.yaml", overrides)
    missed = False
    rows = []
    for name in options.only:
        # Occupancy labels do not come with the frame.
        variant = load_variant(CONFIGS / "variants" / f"{VARIANTS[name]}.yaml", ["heads.occupancy=null"])
        run = options.out / name
        train(variant, data, recipe, run, resume=True, progress=False)
        torch_figures = evaluate_run(run, split="mini_train", workers=0)
        row = [name, *(f"{torch_figures[k]:.4f}" for k in ("mAP", "mATE", "mASE", "mAOE", "NDS"))]
        good = torch_figures["mAP"] >= BARS["mAP"] and all(
            torch_figures[k] <= BARS[k] for k in ("mATE", "mASE", "mAOE")
        )
        if options.onnx:
            export_run(run)
            onnx_figures = evaluate_run(run, split="mini_train", backend="onnx", workers=0)
            gap = abs(onnx_figures["mAP"] - torch_figures["mAP"])
            good &= gap <= ONNX_BAR and abs(onnx_figures["NDS"] - torch_figures["NDS"]) <= ONNX_BAR
            row += [f"{onnx_figures['mAP']:.4f}", f"{onnx_figures['NDS']:.4f}"]
        rows.append([*row, "yes" if good else "NO"])
        missed |= not good
    header = ["network", "mAP", "mATE", "mASE", "mAOE", "NDS"]
    header += ["mAP (ONNX)", "NDS (ONNX)"] if options.onnx else []
    header += ["within bars"]
    print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
