"""Two reference variants made smaller: pruned, trained on, and what each stage was worth on scenes never seen.

    python benchmarks/reference_variants.py OUT world
    python benchmarks/reference_variants.py OUT train cuda-bevfusion-r50      # the network that is made smaller
    python benchmarks/compressed_variants.py OUT prune [NETWORK ...]
    python benchmarks/compressed_variants.py OUT finetune [NETWORK ...]
    python benchmarks/compressed_variants.py OUT longer [NETWORK ...]         # whole, trained on as long
    python benchmarks/compressed_variants.py OUT quantize [NETWORK ...]
    python benchmarks/compressed_variants.py OUT qat [NETWORK ...]
    python benchmarks/compressed_variants.py OUT score [NETWORK ...]
    python benchmarks/compressed_variants.py OUT figures [NETWORK ...]
    python benchmarks/compressed_variants.py OUT predict                      # from text alone: nothing is trained
    python benchmarks/compressed_variants.py OUT table

OUT is that of `reference_variants.py`. What is done already is left alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from generated_world import interval
from reference_variants import FIGURES, NETWORKS, scored

import bevlite
from bevlite.analysis.complexity import BYTES, layer_costs
from bevlite.compression.narrow import narrowed
from bevlite.config import to_yaml, write_atomic
from bevlite.evaluation.run import evaluate_run
from bevlite.models.quantization.plan import in_int8
from bevlite.run_folder import Run
from bevlite.training.loop import train
from bevlite.training.recipe import load_recipe
from bevlite.variant import Variant, load_variant

RATIOS = {
    "cuda-bevfusion-r50": {"camera": 0.25, "view_transform": 0.4, "lidar": 0.45, "fusion_heads": 0.36},
    "bevfusion-swint": dict.fromkeys(("camera", "view_transform", "lidar", "fusion_heads"), 0.35),
}
"""What goes of each part: at least 45 % of the parameters and 44 % of the multiply-adds in all, and as much of the
parts in which the time stays that INT8 is predicted twice (Swin-T: 1.5 times) as fast as FP16 with all channels."""
RECOVER = {"epochs": 8, "learning_rate": 5e-4, "warmup_steps": 50}
"""How a pruned network learns again: as many steps as it was trained for, at half the rate."""
QAT = {"epochs": 3}
"""How a quantized network is trained on, where that is not the recipe of `bevlite qat`."""
VARIANTS = Path(__file__).resolve().parents[1] / "configs" / "variants"
STAGES = ("float", "pruned", "finetuned", "calibration", "qat")
LONGER = "trained-on"
"""What the whole network is called that was trained on."""


def main() -> None:
    """One step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("step", choices=(*STEPS, *JUDGED, "predict", "table"))
    parser.add_argument("networks", nargs="*", help=f"of {'; '.join(RATIOS)}; all without")
    parser.add_argument("--stage", choices=(*STAGES, LONGER), help="of score and figures: this one alone")
    options = parser.parse_args()
    names = options.networks or list(RATIOS)
    if unknown := [name for name in names if name not in RATIOS]:
        parser.error(f"networks: found {', '.join(unknown)}; accepted: {'; '.join(RATIOS)}")
    if options.step in ("predict", "table"):
        print(table(options.out) if options.step == "table" else predicted(names))
        return
    for name in names:
        began = time.monotonic()
        if options.step in JUDGED:
            JUDGED[options.step](options.out, name, options.stage)
        else:
            STEPS[options.step](options.out, name)
        print(f"{name}: {options.step} took {time.monotonic() - began:.0f} s", flush=True)


def run_of(out: Path, name: str) -> Path:
    """The folder of a network's run."""
    return out / "runs" / NETWORKS[name].variant(name).name


def longer_of(out: Path, name: str) -> Path:
    """The folder of the whole network that was trained on."""
    return out / "runs" / f"{NETWORKS[name].variant(name).name}-{LONGER}"


def prune(out: Path, name: str) -> None:
    """Remove channels, unless it was done."""
    path = run_of(out, name)
    if "pruned" not in Run(path).stages:
        made = bevlite.prune(path, ratios=RATIOS[name], say=print)
        print({"before": vars(made.before), "after": vars(made.after)}, flush=True)


def finetune(out: Path, name: str) -> None:
    """Train the pruned network on."""
    path = run_of(out, name)
    if "finetuned" not in Run(path).stages:
        settings = [f"{key}={value}" for key, value in RECOVER.items()]
        bevlite.finetune(path, recipe=path / "recipe.yaml", recipe_overrides=settings, evaluate=False)


def longer(out: Path, name: str) -> None:
    """Train the whole network on by the same recipe: what the pruned one would have learnt with all its channels."""
    run = Run(run_of(out, name))
    recipe = load_recipe(run.path / "recipe.yaml", [f"{key}={value}" for key, value in RECOVER.items()])
    variant = run.variant("float")
    train(variant, run.data(), recipe, longer_of(out, name), weights=run.weights(variant, "float"), resume=True)


def quantize(out: Path, name: str) -> None:
    """Calibrate the pruned network for INT8."""
    made = bevlite.quantize(run_of(out, name), evaluate=False, say=print)
    print({"int8": len(made.int8), "overflows": dict(made.overflows)}, flush=True)


def qat(out: Path, name: str) -> None:
    """Train it on as it will run."""
    path = run_of(out, name)
    if "qat" not in Run(path).stages:
        bevlite.qat(path, recipe_overrides=[f"{key}={value}" for key, value in QAT.items()], evaluate=False)


def score(out: Path, name: str, only: str | None = None) -> None:
    """Score every stage that there is."""
    for label, path, stage in _stages(out, name):
        if only in (None, label) and stage in Run(path).stages and not evaluation(path, stage).is_file():
            evaluate_run(path, stage=stage, draws=0, batch_size=8, workers=5)


def evaluation(path: Path, stage: str) -> Path:
    """The figures of a stage."""
    words = "" if stage == "float" else f"-{stage}"
    return path / "eval" / f"{Run(path).data().val_split}-torch{words}" / "metrics.json"


def figures(out: Path, name: str, only: str | None = None) -> None:
    """Figures of every stage that was scored with draws of scenes, and what it costs."""
    for label, path, stage in _stages(out, name):
        file = evaluation(path, stage)
        if only not in (None, label) or not file.is_file():
            continue
        run = Run(path)
        metrics, drawn = scored(run.data(), file.parent)
        kept = {"metrics": metrics, "drawn": drawn, "variant": to_yaml(run.variant(stage))}  # type: ignore[arg-type]
        write_atomic(out / "compressed" / f"{run_of(out, name).name}-{label}.json", json.dumps(kept) + "\n")
        print(name, label, {k: round(metrics[k], 4) for k in FIGURES if k in metrics}, flush=True)


def _stages(out: Path, name: str) -> list[tuple[str, Path, str]]:
    whole = [(LONGER, longer_of(out, name), "float")] if longer_of(out, name).is_dir() else []
    return [(stage, run_of(out, name), stage) for stage in STAGES] + whole


def table(out: Path) -> str:
    """Every stage of every network, with differences in the same draws of scenes."""
    lines = [
        "| network | stage | parameters [M] | MACs [G] | weights [MB] | AGX Orin [ms], predicted | NDS [95 %] | mAP | "
        "map mIoU | relative loss of NDS against float [95 %] | against the whole network, trained on as long |",
        "|" + " --- |" * 11,
    ]
    for name in RATIOS:
        words = NETWORKS[name].variant(name).name
        files = {label: out / "compressed" / f"{words}-{label}.json" for label in (*STAGES, LONGER)}
        kept = {label: json.loads(file.read_text()) for label, file in files.items() if file.is_file()}
        for label, found in kept.items():
            variant = Variant.model_validate(yaml.safe_load(found["variant"]))
            layers = layer_costs(variant)
            stored = sum(one.parameters * BYTES[variant.compression.precision_of(one.path)] for one in layers)
            report = bevlite.latency(variant)
            drawn = np.array(found["drawn"]["NDS"])
            cells = [
                name, label, f"{sum(one.parameters for one in layers) / 1e6:.1f}",
                f"{sum(one.macs for one in layers) / 1e9:.1f}", f"{stored / 1e6:.1f}",
                f"{report.total_ms:.1f} [{report.lower_ms:.1f}, {report.upper_ms:.1f}]",
                f"{found['metrics']['NDS']:.3f} [{interval(drawn)}]",
                *(f"{found['metrics'][k]:.3f}" if k in found["metrics"] else "-" for k in ("mAP", "map_miou")),
                lost(found, kept["float"]) if label != "float" else "-",
                lost(found, kept[LONGER]) if LONGER in kept and label in ("finetuned", "calibration", "qat") else "-",
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def lost(found: dict[str, Any], reference: dict[str, Any]) -> str:
    """Relative loss of NDS, and its interval in the same draws of scenes."""
    whole = reference["metrics"]["NDS"]
    if not whole:
        return "-"
    drawn = 1 - np.array(found["drawn"]["NDS"]) / np.array(reference["drawn"]["NDS"])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{1 - found['metrics']['NDS'] / whole:+.1%} [{low:+.1%}, {high:+.1%}]"


def predicted(names: Sequence[str]) -> str:
    """What each network costs whole, with fewer channels, and with these in INT8, from their text alone."""
    lines = [
        "| network | as | parameters [M] | MACs [G] | weights [MB] | of FP32 with all channels | AGX Orin [ms], "
        "predicted | camera, view transform, LiDAR, fusion and heads [ms] | faster |",
        "|" + " --- |" * 9,
    ]
    for name in names:
        whole = load_variant(VARIANTS / f"{name}.yaml")
        smaller = narrowed(whole, RATIOS[name])
        counted = sum(one.parameters for one in layer_costs(whole))
        before = bevlite.latency(whole).total_ms
        for words, variant in (("FP16", whole), ("FP16, pruned", smaller), ("INT8, pruned", in_int8(smaller, {}))):
            layers, report = layer_costs(variant), bevlite.latency(variant)
            stored = sum(one.parameters * BYTES[variant.compression.precision_of(one.path)] for one in layers)
            cells = [
                name, words, f"{sum(one.parameters for one in layers) / 1e6:.1f}",
                f"{sum(one.macs for one in layers) / 1e9:.1f}", f"{stored / 1e6:.1f}",
                f"{stored / (BYTES['fp32'] * counted):.1%}",
                f"{report.total_ms:.1f} [{report.lower_ms:.1f}, {report.upper_ms:.1f}]",
                ", ".join(f"{module.latency_ms:.1f}" for module in report.modules),
                f"{before / report.total_ms:.2f} x",
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


STEPS = {"prune": prune, "finetune": finetune, "longer": longer, "quantize": quantize, "qat": qat}
JUDGED = {"score": score, "figures": figures}


if __name__ == "__main__":
    main()
