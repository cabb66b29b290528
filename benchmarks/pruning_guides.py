"""Pruning at one predicted latency, by four guides: what NDS is left.

    python benchmarks/pruning_guides.py OUT [--seeds 3] [--epochs 24] [--saved 0.35]

For each seed a LiDAR network with room to spare learns a small generated world (no GPU is needed), is pruned until its
engines are predicted to take that share less of an AGX Orin's time, by milliseconds, by multiply-adds, by one ratio for
all layers, and by milliseconds with the sensitivity of each layer measured (on scenes that were learnt from), and is
trained on for a quarter of the epochs. NDS is the official devkit's on scenes that were not learnt from. What is done
already is not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import bevlite
from bevlite.config import write_atomic
from bevlite.data.config import load_data_config
from bevlite.run_folder import Run
from bevlite.training.recipe import load_recipe
from bevlite.variant import load_variant

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = (
    "name=lidar-with-room",
    "camera=null",
    "lidar.pillars.channels=32",
    "lidar.backbone={type: second, channels: [64, 128], layers: [2, 3], strides: [1, 2]}",
    "lidar.neck={type: secfpn, channels: 96}",
    "fusion={type: conv, channels: 96}",
    "bev_encoder={type: second_fpn, channels: [96, 128], layers: [2, 2], out_channels: 96}",
    "heads.detection={type: centerpoint, channels: 48, separable: true}",
)
MEASURED = "measured"
"""By milliseconds, with importance weighed by what cuts of each layer were measured to cost."""
GUIDES = ("latency", "macs", "uniform", MEASURED)
FIGURES = ("NDS", "mAP")


def main() -> None:
    """All seeds, then the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--saved", type=float, default=0.35)
    options = parser.parse_args()
    world = options.out / "world"
    if not (world / "v1.0-trainval").is_dir():
        bevlite.synthesize(world, scenes=16, val_scenes=6, samples=10, image_scale=0.25)
    found = [one for seed in range(options.seeds) for one in of_seed(options, world, seed)]
    write_atomic(options.out / "pruning_guides.json", json.dumps(found, indent=1) + "\n")
    print(table(found))


def of_seed(options: Any, world: Path, seed: int) -> list[dict[str, Any]]:
    """One training, four ways to prune it."""
    variant = load_variant(ROOT / "configs" / "variants" / "demo.yaml", SETTINGS)
    changes = [f"epochs={options.epochs}", f"seed={seed}", "augmentation.image=null"]
    recipe = load_recipe(ROOT / "configs" / "recipes" / "demo.yaml", changes)
    whole = Run(options.out / f"seed-{seed}")
    if not whole.stages or whole.weights_meta("float")["epoch"] < options.epochs:
        bevlite.train(variant, data=load_data_config(world), recipe=recipe, out=whole.path, resume=True, evaluate=False)
    table = whole.path / "sensitivity.json"
    if not table.is_file():
        split = str(whole.data().train_split)
        bevlite.sensitivity(whole, prune=True, samples=60, split=split, json_path=table, say=print)
    report = bevlite.latency(variant)
    budget_ms = report.total_ms - options.saved * sum(module.latency_ms for module in report.modules)
    found = []
    for guide in GUIDES:
        run = Run(options.out / f"seed-{seed}-{guide}")
        file = run.path / "guide.json"
        if not file.is_file():
            shutil.rmtree(run.path, ignore_errors=True)
            shutil.copytree(whole.path, run.path)
            before = scored(run, "float")
            how: dict[str, Any] = {"sensitivity": table} if guide == MEASURED else {"guide": guide}
            made = bevlite.prune(run, budget_ms=budget_ms, **how)
            cut = scored(run, "pruned")
            bevlite.finetune(run, evaluate=False, progress=False)
            sizes = {"before": vars(made.before), "after": vars(made.after)}
            scores = {"float": before, "pruned": cut, "finetuned": scored(run, "finetuned")}
            write_atomic(file, json.dumps({"seed": seed, "guide": guide, **sizes, "scores": scores}) + "\n")
        found.append(json.loads(file.read_text()))
        print(found[-1], flush=True)
    return found


def scored(run: Run, stage: str) -> dict[str, float]:
    """NDS and mAP of a stage."""
    summary = bevlite.evaluate(run, stage=stage, progress=False)
    return {name: summary[name] for name in FIGURES}


def table(found: list[dict[str, Any]]) -> str:
    """A line a guide: means over the seeds, with their standard deviation."""
    lines = [
        "| guide | parameters [M] | MACs [G] | AGX Orin [ms], predicted | NDS float | NDS pruned | NDS trained on |",
        "|" + " --- |" * 7,
    ]
    for guide in GUIDES:
        rows = [one for one in found if one["guide"] == guide]
        sizes = [
            f"{mean(r['before'][key] for r in rows) / unit:.3g} -> {mean(r['after'][key] for r in rows) / unit:.3g}"
            for key, unit in (("parameters", 1e6), ("macs", 1e9), ("predicted_ms", 1.0))
        ]
        scores = [spread([r["scores"][stage]["NDS"] for r in rows]) for stage in ("float", "pruned", "finetuned")]
        lines.append(f"| {guide} | " + " | ".join([*sizes, *scores]) + " |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.4f} ± {stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


if __name__ == "__main__":
    main()
