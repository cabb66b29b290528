"""Pruning at one predicted latency, by four guides: what NDS is left.

    python benchmarks/pruning_guides.py OUT [--seeds 0 1 2] [--saved 0.35]
    python benchmarks/pruning_guides.py OUT --network pointpillars-centerpoint      # of real size, for a GPU

For each seed a LiDAR network learns a generated world, is pruned until its engines are predicted to take that share
less of an AGX Orin's time, by milliseconds, by multiply-adds, by one ratio for all layers, and by milliseconds with the
sensitivity of each layer measured (on scenes that were learnt from), and is trained on. The small one needs no GPU and
has a world of its own (10 scenes to learn from, 6 others); that of real size learns the world of
`reference_variants.py OUT world` by its recipe. NDS is the official devkit's on scenes that were not learnt from. What
is done already is not done again; `--guides` takes some of them, `--guides` with nothing behind it only trains and
measures, so that processes can share the work.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from reference_variants import NETWORKS, RECIPE

import bevlite
from bevlite.config import write_atomic
from bevlite.data.config import load_data_config
from bevlite.errors import NothingFound
from bevlite.evaluation.run import evaluate_run
from bevlite.run_folder import Run
from bevlite.training.recipe import Recipe, load_recipe
from bevlite.variant import Variant, load_variant

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
SMALL = "lidar-with-room"
REAL = "pointpillars-centerpoint"
TRAINED_ON = {SMALL: 0.25, REAL: 0.5}
"""Epochs after pruning, as a share of those before."""


def main() -> None:
    """The seeds that are asked for, then the table of all that was done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--network", choices=(SMALL, REAL), default=SMALL)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--guides", nargs="*", choices=GUIDES, default=list(GUIDES))
    parser.add_argument("--epochs", type=int, help="24 of the small network, 8 of the other without")
    parser.add_argument("--saved", type=float, default=0.35)
    parser.add_argument("--most", type=float, help="of the channels of a layer that may go; a table of its own")
    options = parser.parse_args()
    world = options.out / "world"
    if not (world / "v1.0-trainval").is_dir():
        if options.network == REAL:
            parser.error(f"{world}: not found; accepted: what reference_variants.py OUT world makes")
        bevlite.synthesize(world, scenes=16, val_scenes=6, samples=10, image_scale=0.25)
    for seed in options.seeds:
        of_seed(options, world, seed)
    found = sorted(options.out.glob(f"guides/seed-*-*[a-z]{_words(options)}/guide.json"))
    print(table([json.loads(file.read_text()) for file in found]))


def _words(options: Any) -> str:
    """What a run with another limit is called behind its guide."""
    return "" if options.most is None else f"-most-{options.most:g}"


def taught(options: Any, seed: int) -> tuple[Variant, Recipe]:
    """The network and how it learns."""
    if options.network == SMALL:
        changes = [f"epochs={options.epochs or 24}", f"seed={seed}", "augmentation.image=null"]
        recipe = load_recipe(ROOT / "configs" / "recipes" / "demo.yaml", changes)
        return load_variant(ROOT / "configs" / "variants" / "demo.yaml", SETTINGS), recipe
    changed = {"seed": seed} | ({"epochs": options.epochs} if options.epochs else {})
    return NETWORKS[REAL].variant(REAL), Recipe.model_validate(RECIPE | changed)


def of_seed(options: Any, world: Path, seed: int) -> None:
    """One training, several ways to prune it."""
    variant, recipe = taught(options, seed)
    folder = options.out / "guides"
    whole = Run(folder / f"seed-{seed}")
    if not whole.stages or whole.weights_meta("float")["epoch"] < recipe.epochs:
        bevlite.train(variant, data=load_data_config(world), recipe=recipe, out=whole.path, resume=True, evaluate=False)
    before = scored(whole, "float")
    table = whole.path / "sensitivity.json"
    if not table.is_file() and (MEASURED in options.guides or not options.guides):
        split = str(whole.data().train_split)
        bevlite.sensitivity(whole, prune=True, samples=60, split=split, json_path=table, say=print)
    report = bevlite.latency(variant)
    budget_ms = report.total_ms - options.saved * sum(module.latency_ms for module in report.modules)
    limit = {} if options.most is None else {"most": options.most}
    for guide in options.guides:
        run = Run(folder / f"seed-{seed}-{guide}{_words(options)}")
        file = run.path / "guide.json"
        if not file.is_file():
            shutil.rmtree(run.path, ignore_errors=True)
            shutil.copytree(whole.path, run.path, ignore=shutil.ignore_patterns("sensitivity*"))
            how: dict[str, Any] = {"sensitivity": table} if guide == MEASURED else {"guide": guide}
            made = bevlite.prune(run, budget_ms=budget_ms, **how, **limit)
            cut = scored(run, "pruned")
            epochs = round(recipe.epochs * TRAINED_ON[options.network])
            bevlite.finetune(run, recipe_overrides=[f"epochs={epochs}"], evaluate=False, progress=False)
            sizes = {"before": vars(made.before), "after": vars(made.after)}
            scores = {"float": before, "pruned": cut, "finetuned": scored(run, "finetuned")}
            write_atomic(file, json.dumps({"seed": seed, "guide": guide, **sizes, "scores": scores}) + "\n")
        print(file.read_text(), end="", flush=True)


def scored(run: Run, stage: str) -> dict[str, float]:
    """NDS and mAP of a stage."""
    words = "" if stage == "float" else f"-{stage}"
    file = run.path / "eval" / f"{run.data().val_split}-torch{words}" / "metrics.json"
    if not file.is_file():
        try:
            evaluate_run(run.path, stage=stage, draws=0, batch_size=8, workers=5, progress=False)
        except NothingFound:  # after a deep cut
            return dict.fromkeys(FIGURES, 0.0)
    summary = json.loads(file.read_text())
    return {name: summary[name] for name in FIGURES}


def table(found: list[dict[str, Any]]) -> str:
    """A line a guide: means over the seeds, with their standard deviation."""
    lines = [
        "| guide | parameters [M] | MACs [G] | AGX Orin [ms], predicted | NDS float | NDS pruned | NDS trained on |",
        "|" + " --- |" * 7,
    ]
    for guide in GUIDES:
        rows = [one for one in found if one["guide"] == guide]
        if not rows:
            continue
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
