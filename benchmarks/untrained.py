"""Does every completed trial of a study beat its own network before training?

    python benchmarks/untrained.py STUDY [--seeds N]

Builds each completed network with random weights, as training would start, scores it on the validation split of the
study, and prints both. Exits with 1 when a trial is not better than every untrained one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from bevlite.data.config import load_data_config
from bevlite.evaluation.run import evaluate_run
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from bevlite.training.recipe import load_recipe
from bevlite.variant import Variant, load_variant
from search import search_status


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--seeds", type=int, default=2, help="random initialisations of each network")
    options = parser.parse_args()
    outcome = search_status(options.study).outcome
    failed = False
    print("| trial | NDS | NDS untrained | mAP | mAP untrained |\n|" + " --- |" * 5)
    for record in outcome.records:
        if record.state != "completed" or record.score is None or record.duplicate_of is not None:
            continue
        folder = options.study / "trials" / f"{record.number:04d}"
        variant = load_variant(folder / "variant.yaml")
        scores = [untrained(variant, folder, seed) for seed in range(options.seeds)]
        nds, mean_ap = (record.score["metrics"][key] for key in ("NDS", "mAP"))
        cells = [f"{nds:.3f}", ", ".join(f"{s['NDS']:.3f}" for s in scores)]
        cells += [f"{mean_ap:.3f}", ", ".join(f"{s['mAP']:.3f}" for s in scores)]
        print(f"| {record.number} | " + " | ".join(cells) + " |", flush=True)
        failed |= nds <= max(s["NDS"] for s in scores) or mean_ap <= max(s["mAP"] for s in scores)
    return int(failed)


def untrained(variant: Variant, trial: Path, seed: int) -> dict[str, float]:
    """NDS and mAP of a network with random weights, on the validation split of a trial's data."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run")
        run.create(variant, load_data_config(trial / "data.yaml"), load_recipe(trial / "recipe.yaml"), seed)
        torch.manual_seed(seed)
        save_weights(run, Detector(variant).state_dict(), variant, {"epoch": 0, "step": 0})
        summary = evaluate_run(run.path, progress=False)
    return {key: float(summary[key]) for key in ("NDS", "mAP")}


if __name__ == "__main__":
    sys.exit(main())
