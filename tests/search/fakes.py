"""A search that takes milliseconds: latency and accuracy are formulas, and every call is logged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.config import read_yaml, to_yaml
from bevlite.devices.report.latency import LatencyReport, ModuleRow
from bevlite.errors import ConfigError, TrainingError
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant
from search.config import ResolvedSearch, load_search
from search.latency.check import Verdict
from search.space.draw import draw
from search.space.space import Params
from search.study.backend import Parent, Scanned
from search.study.study import Study
from tests.search.waiting import wait_until

BASE = """
bev: {x_range_m: [-51.2, 51.2], y_range_m: [-51.2, 51.2], cell_m: 0.8}
camera:
  images: {height: 256, width: 704}
  backbone: {type: resnet, depth: 50}
  neck: {type: lss_fpn, channels: 256, out_stride: 16}
  view_transform: {type: lss, channels: 64, depth_range_m: [1.0, 60.0], depth_step_m: 1.0}
lidar:
  sweeps: 10
  pillars: {type: pfn, cell_m: 0.2, z_range_m: [-3.2, 4.8], max_pillars: 40000, max_points: 20, channels: 64}
  backbone: {type: second, channels: [64, 128, 256], layers: [3, 5, 5], strides: [2, 2, 2]}
  neck: {type: secfpn, channels: 128}
fusion: {type: se, channels: 256}
bev_encoder: {type: second_fpn, channels: [128, 256], layers: [5, 5], out_channels: 128}
heads:
  detection: {type: centerpoint, channels: 64}
"""

SEARCH = """
base: base.yaml
space:
  camera:
    choices:
      none: {camera: null}
      r18: {camera.backbone.depth: 18}
      r34: {camera.backbone.depth: 34}
      r50: {camera.backbone.depth: 50}
  camera.view_transform.channels:
    values: [32, 48, 64, 80]
    when: {camera: [r18, r34, r50]}
  fusion.channels: [128, 192, 256]
constraints: {budget_ms: 60}
data: {root: ROOT}
recipe: recipe.yaml
fidelity: {rungs: [1, 2, 4], min_trials: 4, margin: 0.01}
trials: 12
seed: 3
sampler: tpe
startup_trials: 4
"""

LOST = 0.01
"""By a network that is quantized."""
CAMERA_MS = {None: 0.0, 18: 20.0, 34: 30.0, 50: 50.0}


def write_search(folder: Path, text: str = SEARCH) -> Path:
    """The search file with all that it names, in a folder."""
    (folder / "base.yaml").write_text(BASE)
    (folder / "recipe.yaml").write_text("epochs: 9\n")
    tables = folder / "data" / "v1.0-mini"
    tables.mkdir(parents=True, exist_ok=True)
    for table in ("sample", "scene"):
        (tables / f"{table}.json").write_text("[]")
    file = folder / "search.yaml"
    file.write_text(text.replace("ROOT", str(folder / "data")))
    return file


def latency_ms(variant: Variant) -> float:
    """Grows with everything."""
    depth = variant.camera.backbone.depth if variant.camera else None
    channels = variant.camera.view_transform.channels if variant.camera else 0
    return CAMERA_MS[depth] + channels / 8 + variant.fusion.channels / 16


def accuracy(variant: Variant, epoch: int) -> float:
    """Grows with everything, and with training."""
    depth = variant.camera.backbone.depth if variant.camera else 0
    channels = variant.camera.view_transform.channels if variant.camera else 0
    return round((0.1 + depth / 100 + channels / 1000 + variant.fusion.channels / 5000) * (1 - 0.5**epoch), 6)


class FakeBackend:
    """Formulas instead of work. `log` is a file, so that calls of a killed process are known too.

    A process that logs a call which matches `hold` stands still there until there is a file `go` in the folder.
    """

    def __init__(
        self, folder: Path, hold: str | None = None, nan_depth: int | None = None, verdict: Verdict | None = None
    ) -> None:
        self.log_file, self._go = folder / "calls.log", folder / "go"
        self._hold = hold
        self.nan_depth = nan_depth
        self._verdict = verdict

    def log(self, text: str) -> None:
        with self.log_file.open("a") as stream:
            stream.write(text + "\n")
        if self._hold is not None and re.search(self._hold, text):
            wait_until(self._go.exists)

    @property
    def calls(self) -> list[str]:
        return self.log_file.read_text().splitlines() if self.log_file.exists() else []

    def latency(self, variant: Variant) -> LatencyReport:
        self.log(f"latency {variant.hash}")
        value = latency_ms(variant)
        row = ModuleRow(name="camera", latency_ms=value, lower_ms=value * 0.8, upper_ms=value * 1.3)
        return LatencyReport(
            kind="predicted",
            device="agx-orin-64gb",
            precision="fp16",
            predictor="fake",
            modules=(row,),
            total_ms=value,
            lower_ms=value * 0.8,
            upper_ms=value * 1.3,
        )

    def scan(
        self, search: ResolvedSearch, most: int, among: Sequence[Params] | None = None
    ) -> tuple[list[Scanned], int]:
        self.log("scan" if among is None else f"scan of {len(among)}")
        rows, invalid = [], 0
        for params in islice(draw(search.space, search.config.seed), most) if among is None else among:
            try:
                variant = search.space.build(search.base, params, "scan")
                value = latency_ms(variant)
            except ConfigError:
                invalid += 1
                continue
            rows.append(Scanned(params, value, value * 0.8, value * 1.3, variant.network_hash))
        return rows, invalid

    def check(self, variant: Variant) -> Verdict | None:
        self.log(f"check {variant.hash}")
        return self._verdict

    def whole(self, variant: Variant) -> LatencyReport | None:
        return None

    def parameters(self, variant: Variant) -> int:
        return int(latency_ms(variant) * 1e5)

    def train(
        self, variant: Variant, recipe: Recipe, run: Path, until_epoch: int, parent: Parent | None = None
    ) -> None:
        if parent is not None:
            self.log(f"inherit {run.name} from {parent.run.name} {dict(parent.ratios)}")
        if self.nan_depth is not None and variant.camera and variant.camera.backbone.depth == self.nan_depth:
            raise TrainingError("the loss is NaN at step 7")
        run.mkdir(parents=True, exist_ok=True)
        (run / "variant.yaml").write_text(to_yaml(variant))
        state = run / "epoch"
        done = int(state.read_text()) if state.exists() else 0
        for epoch in range(done + 1, until_epoch + 1):
            self.log(f"begin {run.name} {epoch}")
            state.write_text(str(epoch))
            self.log(f"end {run.name} {epoch}")

    def quantize(self, variant: Variant, trained: Path, run: Path) -> None:
        self.log(f"quantize {run.name} of {trained.name}")
        run.mkdir(parents=True, exist_ok=True)
        (run / "variant.yaml").write_text(to_yaml(variant))
        (run / "epoch").write_text((trained / "epoch").read_text())
        (run / "quantized").touch()

    def evaluate(self, run: Path, draws: bool = False) -> dict[str, Any]:
        variant = Variant.model_validate(read_yaml(run / "variant.yaml"))
        value = accuracy(variant, int((run / "epoch").read_text())) - LOST * (run / "quantized").exists()
        found = {"split": "mini_val", "samples": 81, "NDS": value, "mAP": value / 2, "per_class": {"car": 0.5}}
        drawn = {name: np.linspace(0.9, 1.1, 21) * found[name] for name in ("NDS", "mAP")}
        return found | ({"draws": {"samples": "those", **drawn}} if draws else {})

    def export(self, run: Path) -> None:
        self.log(f"export {run.name}")
        (run / "onnx").mkdir(exist_ok=True)


def load(folder: Path, text: str = SEARCH, trials: int | None = None) -> ResolvedSearch:
    """The resolved search of a folder."""
    search = load_search(write_search(folder, text))
    return search if trials is None else search.with_trials(trials)


def run_study(folder: Path, text: str = SEARCH, trials: int | None = None, **fake: Any) -> tuple[Study, FakeBackend]:
    """Run a study to its end."""
    backend = FakeBackend(folder, **fake)
    study = Study(load(folder, text, trials), folder / "study", backend, lambda line: None)
    study.run()
    return study, backend
