"""What calibration refuses, and warns of: values that FP16 does not hold, values that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save

import bevlite
from bevlite.config import to_yaml
from bevlite.run_folder import Run

FIRST, NORM, NEXT = (f"lidar.backbone.stages.1.{place}" for place in ("0.0", "0.1", "1.0"))


def changed(run: Run, **scales: float) -> None:
    """Weights of a run again, some of them multiplied."""
    variant = run.variant()
    weights = run.weights(variant, "float")
    for name, scale in scales.items():
        weights[name] = weights[name] * scale
    run.save_stage("float", save(weights), variant, {"epoch": 4})  # what training would refuse to keep, too


def test_a_layer_that_passes_what_fp16_holds_is_named(run: Run, command: Callable[..., str]) -> None:
    """Scaled up behind its norm, and down again in the layer behind it: between the two alone values are large."""
    calibrate = ("quantize", run.path, "--method", "max", "--samples", 1, "--no-evaluate")
    assert "FP16 holds" not in command(*calibrate)
    calm = bevlite.ranges(run, samples=1, stage="float")
    up = 2.0**20
    changed(run, **{f"{NORM}.weight": up, f"{NORM}.bias": up, f"{NEXT}.weight": 1 / up})
    wild = {one.path: one.given for one in bevlite.ranges(run, samples=1, stage="float")}
    assert wild[NORM] > 65504 and all(wild[one.path] == pytest.approx(one.given) for one in calm if one.path != NORM)
    said = command(*calibrate)
    overflows = json.loads((run.checkpoints / "calibration.json").read_text())["overflows"]
    # Its norm is folded into the layer: that is what gives the large values.
    assert set(overflows) == {FIRST} and overflows[FIRST] == pytest.approx(wild[NORM], rel=1e-4)
    assert said.count("FP16 holds 65504: keep it in FP32") == 1 and f"(--precision {FIRST}=fp32)" in said
    # And what it says to do can be done.
    said = command(*calibrate, "--precision", f"{FIRST}=fp32")
    assert "FP16 holds" not in said
    assert run.variant().compression.precision_of(FIRST) == "fp32"
    assert NEXT in json.loads((run.checkpoints / "calibration.json").read_text())["scales"]


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (f"{FIRST}.weight", "calibration: found NaN or infinity at lidar.backbone.stages.1.1.0; accepted: fin"),
        (
            "fusion_heads.heads.detection.heatmaps.0.bias",
            "calibration: found NaN or infinity in what fusion_heads.head",
        ),
    ],
)
def test_weights_that_are_no_numbers_are_one_line(run: Run, command: Callable[..., str], layer: str, said: str) -> None:
    changed(run, **{layer: float("nan")})
    found = command("quantize", run.path, "--method", "max", "--samples", 1, "--no-evaluate", code=2)
    assert said in found and found.strip().count("\n") <= 1
    assert run.stages == ("float",)


def test_points_that_are_no_numbers_are_one_line(run: Run, command: Callable[..., str], tmp_path: Path) -> None:
    data = run.data()
    root = tmp_path / "spoilt"
    shutil.copytree(data.root, root, ignore=shutil.ignore_patterns("CAM_*"))
    for file in root.glob("s*/LIDAR_TOP/*"):
        points = np.fromfile(file, np.float32)
        points[7] = np.nan
        points.tofile(file)
    (run.path / "data.yaml").write_text(to_yaml(data.model_copy(update={"root": str(root)})))
    said = command("quantize", run.path, "--method", "max", "--samples", 1, "--no-evaluate", code=2)
    assert "the point file holds NaN or infinite values" in said and said.strip().count("\n") <= 1
    assert run.stages == ("float",)
