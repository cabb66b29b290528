"""The reference variants side by side: what they cost, and what they learn from one short recipe on a generated world.

    python benchmarks/reference_variants.py OUT world             # 40 scenes to learn from, 20 never seen
    python benchmarks/reference_variants.py OUT train [NETWORK ...]
    python benchmarks/reference_variants.py OUT score [NETWORK ...]
    python benchmarks/reference_variants.py OUT figures [NETWORK ...]  # intervals over the unseen scenes
    python benchmarks/reference_variants.py OUT cost              # no GPU: parameters, MACs, predicted latency
    python benchmarks/reference_variants.py OUT table             # both as Markdown

Every network learns by `RECIPE`; what a network changes of it stands with it. One that was trained already is left
alone, and one that was stopped goes on, so several processes can share the list. Figures of accuracy are of the
generated world and say nothing of nuScenes; the published ones beside them are of the models that the variants follow,
on nuScenes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from generated_world import interval

from bevlite import latency
from bevlite.analysis.cost import module_costs
from bevlite.config import write_atomic
from bevlite.data.config import DataConfig, load_data_config
from bevlite.errors import BevliteError
from bevlite.evaluation.run import evaluate_run
from bevlite.metrics.bootstrap import DetectionBootstrap, map_figures, occupancy_figures, resample
from bevlite.simulation.world.generate import generate_world
from bevlite.training.loop import train
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant, load_variant

VARIANTS = Path(__file__).resolve().parents[1] / "configs" / "variants"
SCENES, UNSEEN, SAMPLES = 60, 20, 24
RECIPE: dict[str, Any] = {
    "epochs": 8,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "warmup_steps": 100,
    "ema_decay": 0.995,
    "class_balanced": True,
    "workers": 8,
    "augmentation": {"image": {"resize": [-0.05, 0.1], "rotate_deg": 2.0}},
}


@dataclass(frozen=True)
class Network:
    """A variant file with settings, what its recipe changes, and what is published of its model on nuScenes."""

    file: str
    settings: tuple[str, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    published: str = "-"

    def variant(self, name: str) -> Variant:
        """The network."""
        words = name.replace(", ", "-").replace(" ", "-")
        return load_variant(VARIANTS / f"{self.file}.yaml", [f"name={words}", *self.settings])


LITE2 = "camera.backbone={type: efficientnet_lite, size: 2, weights: imagenet}"
LIGHT = (
    LITE2,
    "camera.neck={type: lss_fpn, channels: 128, out_stride: 8}",
    "bev_encoder={type: fpn_lss, channels: [128, 256, 512], out_channels: 256}",
    "heads.detection={type: centerpoint, channels: 64, separable: true}",
)
"""A light camera network that starts from ImageNet, with room for 256 x 704 at stride 8."""
LIFT = (
    "type: lss, pooling: columns, channels: 80, depth_range_m: [1.0, 60.0], depth_step_m: 1.0, z_range_m: [-5.0, 3.0]"
)
LONGER = {"epochs": 50, "batch_size": 16, "learning_rate": 2e-3, "losses": {"depth": 1.0}, "ema_decay": 0.998}
FROM_NOTHING = {"epochs": 20}
"""Camera networks from random weights: 960 steps teach them next to nothing, 2400 take no longer than the largest."""
TAUGHT = {"losses": {"attention": 1.0}}
"""CFT: where queries look is taught by the calibration of the training data."""
UNTRAINED = {"epochs": 1, "learning_rate": 1e-12}
"""Not trained: only the running statistics of normalisations are those of the data."""
SMALL_CFT = (
    LITE2,
    "camera.images={height: 256, width: 704}",
    "camera.neck={type: bifpn, channels: 256, finest_stride: 8, levels: 4, out_stride: 64, stack: 3}",
)
"""Without a calibration, and otherwise as near to the light networks as its coarse map allows."""
NETWORKS: dict[str, Network] = {
    "bevfusion-swint": Network("bevfusion-swint", published="71.4 / 68.5, map 62.9 (a network of its own)"),
    "cuda-bevfusion-r50": Network("cuda-bevfusion-r50", published="71.0 / 67.9"),
    "horizon-bevfusion-henet": Network("horizon-bevfusion-henet", published="64.3 / -, occupancy 51.9 (other mask)"),
    "pointpillars-centerpoint": Network("pointpillars-centerpoint", published="59.6 / 48.7"),
    "bevdet-r50": Network("bevdet-r50", recipe=FROM_NOTHING, published="38.2 / 30.7 (CBGS)"),
    "horizon-bev-cft": Network("horizon-bev-cft", recipe={"epochs": 12} | TAUGHT, published="32.8 / 24.8"),
    "flashocc-m0": Network("flashocc-m0", recipe=FROM_NOTHING, published="occupancy 32.0"),
    "flashocc-m1": Network("flashocc-m1", recipe=FROM_NOTHING, published="occupancy 32.1"),
    "bevdet-r50, untrained": Network("bevdet-r50", recipe=UNTRAINED),
    "flashocc-m0, untrained": Network("flashocc-m0", recipe=UNTRAINED),
    "cuda-bevfusion-r50, LiDAR alone": Network("cuda-bevfusion-r50", ("camera=null",)),
    "bevdet, ResNet-18": Network("bevdet-r50", ("camera.backbone.depth=18",), FROM_NOTHING),
    "bevdet, HENet-TinyE": Network("bevdet-r50", ("camera.backbone={type: henet_tinye}",), FROM_NOTHING),
    "bevdet, EfficientNet-Lite2 from ImageNet": Network("bevdet-r50", (LITE2,), FROM_NOTHING),
    "bev-cft, EfficientNet-Lite2 from ImageNet": Network(
        "horizon-bev-cft", SMALL_CFT, FROM_NOTHING | TAUGHT | {"camera_backbone_factor": 0.1}
    ),
    "light camera, lss, frame before": Network(
        "bevdet-r50", (*LIGHT, f"camera.view_transform={{{LIFT}, temporal: true}}"), LONGER
    ),
    "light camera, lookup, frame before": Network(
        "bevdet-r50",
        (*LIGHT, "camera.view_transform={type: lookup, channels: 80, slices: 6, temporal: true}"),
        LONGER | {"losses": {}},
    ),
}
"""The reference variants; the LiDAR alone of one of them, trained as long; one camera network with other backbones; and
light camera networks by a longer recipe, which `LONGER` says."""
PAIRS = (
    ("bevfusion-swint", "cuda-bevfusion-r50, LiDAR alone"),
    ("cuda-bevfusion-r50", "cuda-bevfusion-r50, LiDAR alone"),
    ("bevdet, EfficientNet-Lite2 from ImageNet", "bevdet-r50"),
    ("bevdet, EfficientNet-Lite2 from ImageNet", "bevdet, ResNet-18"),
    ("bevdet-r50", "bevdet, ResNet-18"),
    ("bevdet, HENet-TinyE", "bevdet-r50"),
    ("bevdet, EfficientNet-Lite2 from ImageNet", "bev-cft, EfficientNet-Lite2 from ImageNet"),
    ("bevdet-r50", "bevdet-r50, untrained"),
    ("light camera, lookup, frame before", "light camera, lss, frame before"),
)
"""What is compared: both sensors with the LiDAR alone (the same network for both rows), and camera networks."""
FIGURES = ("NDS", "mAP", "occ_miou", "map_miou")


def main() -> None:
    """One step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("step", choices=("world", "train", "score", "figures", "cost", "table"))
    parser.add_argument("networks", nargs="*", help=f"of {'; '.join(NETWORKS)}; all without")
    options = parser.parse_args()
    out, step, names = options.out, options.step, options.networks or list(NETWORKS)
    if unknown := [name for name in names if name not in NETWORKS]:
        parser.error(f"networks: found {', '.join(unknown)}; accepted: {'; '.join(NETWORKS)}")
    out.mkdir(parents=True, exist_ok=True)
    if step == "world":
        made = generate_world(out / "world", scenes=SCENES, val_scenes=UNSEEN, samples=SAMPLES, image_scale=0.5)
        print(made)
    elif step == "train":
        for name in names:
            learn(name, out)
    elif step == "score":
        for name in names:
            score(name, out)
    elif step == "figures":
        figures(names, out)
    elif step == "cost":
        write_atomic(out / "cost.json", json.dumps({name: cost(name) for name in names}, indent=1) + "\n")
    else:
        print(table(names, out), differences(out), sep="\n\n")


def learn(name: str, out: Path) -> None:
    """Train one network, or go on with it."""
    network = NETWORKS[name]
    variant = network.variant(name)
    folder = out / "runs" / variant.name
    began = time.monotonic()
    train(variant, load_data_config(out / "world"), Recipe.model_validate(RECIPE | network.recipe), folder, resume=True)
    print(f"{name}: trained in {time.monotonic() - began:.0f} s", flush=True)


def score(name: str, out: Path) -> None:
    """Score one network on the scenes that it has not seen."""
    began = time.monotonic()
    folder = out / "runs" / NETWORKS[name].variant(name).name
    if list(folder.glob("eval/*/metrics.json")):
        return
    summary = evaluate_run(folder, draws=0, batch_size=8, workers=5)
    scores = {k: round(summary[k], 4) for k in FIGURES if k in summary}
    print(f"{name}: {scores}, scored in {time.monotonic() - began:.0f} s", flush=True)


def figures(names: Iterable[str], out: Path, draws: int = 300) -> None:
    """Every figure of the networks that were scored, a file each, with the values of the same draws of scenes."""
    data = load_data_config(out / "world")
    for name in names:
        words = NETWORKS[name].variant(name).name
        run, file = out / "runs" / words, out / "figures" / f"{words}.json"
        folder = run / "eval" / f"{data.val_split}-torch"
        if file.is_file() or not (folder / "metrics.json").is_file():
            continue
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        metrics, drawn = scored(data, folder, draws)
        found = {
            "metrics": metrics,
            "drawn": drawn,
            "seconds": round(sum(line["seconds"] for line in lines), 1),
            "steps": lines[-1]["step"],
            "loss": lines[-1]["loss"],
        }
        write_atomic(file, json.dumps(found) + "\n")
        print(name, {k: round(metrics[k], 3) for k in FIGURES if k in metrics}, flush=True)


def scored(data: DataConfig, folder: Path, draws: int = 300) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """What an evaluation found, and its figures in draws of scenes (the same draws for every network)."""
    drawn: dict[str, list[float]] = {}
    if (folder / "nusc_results.json").is_file():
        detection = DetectionBootstrap(data, str(data.val_split), folder / "nusc_results.json")
        drawn |= _listed(resample(detection.figures, len(detection.scenes), draws))
    for saved, counts, of in (
        ("occupancy_confusion.npz", "matrices", occupancy_figures),
        ("map_counts.npz", "counts", map_figures),
    ):
        if (folder / saved).is_file():
            with np.load(folder / saved, allow_pickle=False) as kept:
                scenes = _scenes(data, kept["tokens"])
                drawn |= _listed(resample(of(kept[counts], scenes), len(set(scenes)), draws))
    metrics = json.loads((folder / "metrics.json").read_text())
    return metrics, {k: v for k, v in drawn.items() if k in FIGURES}


def _listed(drawn: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: [round(float(v), 5) for v in values] for name, values in drawn.items()}


def _scenes(data: Any, tokens: np.ndarray) -> np.ndarray:
    from bevlite.data.index import load_index

    index = load_index(data)
    scene_of = dict(zip(index.tokens, index.scenes, strict=True))
    return np.array([scene_of[token] for token in tokens])


def cost(name: str) -> dict[str, Any]:
    """Parameters and MACs, and latency on an AGX Orin as it is predicted, in FP16 and INT8."""
    variant = NETWORKS[name].variant(name)
    costs = module_costs(variant)
    result: dict[str, Any] = {
        "parameters": sum(c.parameters for c in costs),
        "macs": sum(c.macs for c in costs),
    }
    for precision in ("fp16", "int8"):
        try:
            report = latency(variant, precision=precision)
        except BevliteError as error:
            result[precision] = {"refused": str(error)}
            continue
        result[precision] = {
            "total_ms": report.total_ms,
            "interval_ms": [report.lower_ms, report.upper_ms],
            "modules_ms": {m.name: m.latency_ms for m in report.modules},
        }
    print(name, result, flush=True)
    return result


def table(names: Iterable[str], out: Path) -> str:
    """Cost and figures beside each other."""
    costs = json.loads((out / "cost.json").read_text()) if (out / "cost.json").is_file() else {}
    found = {}
    for name in names:
        file = out / "figures" / f"{NETWORKS[name].variant(name).name}.json"
        if file.is_file():
            found[name] = json.loads(file.read_text())
    lines = [
        "| network | parameters [M] | MACs [G] | AGX Orin FP16 [ms], predicted | INT8 [ms], predicted | steps | "
        "NDS [95 %] | mAP [95 %] | occupancy mIoU [95 %] | map mIoU [95 %] | published, nuScenes val: NDS / mAP |",
        "|" + " --- |" * 11,
    ]
    for name in names:
        steps = str(found[name]["steps"]) if name in found else "-"
        cells = [name, *_cost_cells(costs.get(name)), steps, *_figure_cells(found.get(name)), NETWORKS[name].published]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(out: Path) -> str:
    """Figures of pairs of networks against each other, from the same draws of scenes."""
    lines = [
        "| difference | NDS [95 %] | mAP [95 %] | map mIoU [95 %] | half NDS, half map mIoU [95 %] |",
        "|" + " --- |" * 5,
    ]
    for ours, theirs in PAIRS:
        files = [out / "figures" / f"{NETWORKS[name].variant(name).name}.json" for name in (ours, theirs)]
        if not all(file.is_file() for file in files):
            continue
        kept = [json.loads(file.read_text()) for file in files]
        a, b = (one["drawn"] for one in kept)
        steps = [one["steps"] for one in kept]
        unlike = f" (after {steps[0]} and {steps[1]} steps)" if steps[0] != steps[1] else ""
        gains = {k: np.array(a[k]) - np.array(b[k]) for k in ("NDS", "mAP", "map_miou") if k in a and k in b}
        if "map_miou" in gains:
            gains["mix"] = (gains["NDS"] + gains["map_miou"]) / 2
        cells = [
            f"{gains[k].mean():+.3f} [{interval(gains[k])}]" if k in gains else "-"
            for k in ("NDS", "mAP", "map_miou", "mix")
        ]
        lines.append(f"| {ours} - {theirs}{unlike} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cost_cells(cost: dict[str, Any] | None) -> list[str]:
    if cost is None:
        return ["-"] * 4
    cells = [f"{cost['parameters'] / 1e6:.1f}", f"{cost['macs'] / 1e9:.1f}"]
    for precision in ("fp16", "int8"):
        found = cost[precision]
        if "refused" in found:
            cells.append("refused")
        else:
            low, high = found["interval_ms"]
            cells.append(f"{found['total_ms']:.1f} [{low:.1f}, {high:.1f}]")
    return cells


def _figure_cells(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["-"] * len(FIGURES)
    metrics, drawn = found["metrics"], found["drawn"]
    cells = []
    for k in FIGURES:
        said = f" [{interval(np.array(drawn[k]))}]" if k in drawn else ", no interval"
        cells.append(f"{metrics[k]:.3f}{said}" if k in metrics else "-")
    return cells


if __name__ == "__main__":
    main()
