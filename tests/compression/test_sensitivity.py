"""Cuts tried one by one: each scored as a pruned run is, kept where it was stopped, and used by a budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import bevlite
from bevlite.compression.groups import Group, Member
from bevlite.compression.sensitivity import CutPlan, trials_of, units
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import WIDE, lidar_only, live, short_recipe


def groups(*names: str, size: int = 32) -> list[Group]:
    return [Group(name, (Member(name, "out", np.arange(size)),)) for name in names]


def test_units_by_what_they_are_in() -> None:
    found = groups("camera.backbone.a", "camera.backbone.b[0:8]", "camera.backbone.b[8:16]", "camera.neck.c",
                   "fusion_heads.heads.detection.d", "fusion_heads.heads.occupancy.e")  # fmt: skip
    names = {by: list(units(found, by)) for by in ("module", "part", "layer", "group")}  # type: ignore[arg-type]
    assert names["module"] == ["camera", "fusion_heads"]
    assert names["part"] == ["camera.backbone", "camera.neck", "fusion_heads.heads.detection",
                             "fusion_heads.heads.occupancy"]  # fmt: skip
    assert len(names["layer"]) == 5 and "camera.backbone.b" in names["layer"]
    assert names["group"] == [group.name for group in found]
    assert all(sum(map(len, units(found, by).values())) == 6 for by in names)  # type: ignore[arg-type]


def test_cuts_are_aligned_and_tried_once() -> None:
    shares = {"a": np.arange(32) / 496, "b": np.full(8, 1 / 8), "c": np.full(12, 1 / 12)}
    found = [Group(n, (Member(n, "out", np.arange(len(s))),)) for n, s in shares.items()]
    plan = CutPlan(ratios=(0.5, 0.2, 0.25, 0.3))
    trials = trials_of(found, shares, plan)
    # Of 32 channels 26, 24, 22, 16 would stay: 32, 24, 24, 16 do. 8 stay 8. Of 12, 10, 9, 8, 6: 12, 12, 8, 8.
    assert [(t.unit, t.ratio, sum(map(len, t.removed.values()))) for t in trials] == [
        ("a", 0.25, 8), ("a", 0.5, 16), ("c", 0.3, 4)
    ]  # fmt: skip
    assert trials[0].removed["a"].tolist() == list(range(8))
    assert trials[0].spent == pytest.approx(-np.log(1 - sum(range(8)) / 496))
    assert trials[2].spent == pytest.approx(-np.log(8 / 12))


def test_a_trial_is_what_pruning_gives_and_resumes(
    world: DataConfig, tmp_path: Path, command: Callable[..., str]
) -> None:
    run, variant = Run(tmp_path / "run"), lidar_only(lidar=WIDE, heads={"occupancy": {}, "detection": None})
    run.create(variant, world, short_recipe(), 0)
    torch.manual_seed(0)
    save_weights(run, live(Detector(variant)).state_dict(), variant, {"epoch": 4})
    file, picture = tmp_path / "s.json", tmp_path / "s.png"
    asked = ("analyze", "sensitivity", run.path, "--prune", "--by", "module", "--ratios", "0.5", "--workers", 0)
    said = command(*asked, "--json", file, "--out", picture)
    table = json.loads(file.read_text())
    cuts = {one["unit"]: one for one in table["cuts"]}
    assert set(cuts) == {"lidar", "fusion_heads"} and table["whole"] > 0
    assert "3 of 3: fusion_heads at 0.5" in said and picture.stat().st_size > 20_000
    assert "rank correlation of two halves of the scenes: none" in said  # one scene
    made = bevlite.prune(run, ratios={"fusion_heads": 0.5})
    pruned = bevlite.evaluate(run, progress=False)["occ_miou"]
    one = cuts["fusion_heads"]
    assert one["loss"] == pytest.approx(table["whole"] - pruned, abs=1e-9) and abs(one["loss"]) > 1e-5
    assert one["removed"] == sum(old - new for old, new in made.groups.values()) > 0
    assert one["saved_ms"] == pytest.approx(made.before.predicted_ms - made.after.predicted_ms) and one["saved_ms"] > 0
    assert one["predicted_ms"] == pytest.approx(made.after.predicted_ms)

    with pytest.raises(BevliteError, match="found the sensitivity of another network"):
        bevlite.prune(run, budget_ms=1, sensitivity=file, stage="pruned")

    trials = sorted(run.path.glob("sensitivity/*/trial-*.json"))
    assert len(trials) == 3
    trials[1].unlink()
    again = command(*asked, "--json", file)
    assert again.count(" of 3: ") == 1 and json.loads(file.read_text()) == table

    bevlite.prune(run, budget_ms=2 * table["whole_ms"], sensitivity=file, stage="float")
    assert json.loads((run.checkpoints / "pruned.json").read_text())["plan"]["sensitivity"] == str(file)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "sensitivity: found nothing to try; accepted: --prune"),
        (("--prune", "--ratios", "a"), "--ratios: found 'a'; accepted: numbers with commas"),
        (("--prune", "--ratios", "0.5,1"), "ratios: found 0.5, 1; accepted: more than 0 and less than 1"),
        (("--prune", "--by", "luck"), "by: found 'luck'; accepted: module, part, layer, group"),
        (("--prune", "--importance", "taylor"), "importance: found 'taylor'; accepted: l2, l1, bn"),
        (("--prune", "--samples", "0"), "samples: found 0; accepted: 1 to 1000000"),
        (("--prune", "--stage", "qat"), "stage: found 'qat'; accepted: float"),
        (("--prune", "--ratios", "0.01"), "sensitivity: found no channel that may go of "),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Run, command: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in command("analyze", "sensitivity", run.path, *arguments, code=2)


def test_a_sensitivity_goes_with_a_budget(run: Run, command: Callable[..., str]) -> None:
    asked = ("prune", run.path, "--sensitivity", run.path / "no.json")
    assert "sensitivity: found ratios; accepted: with a budget" in command(*asked, "--ratio", "lidar=0.5", code=2)
    assert "sensitivity: found the guide uniform" in command(*asked, "--budget-ms", 2, "--guide", "uniform", code=2)
    assert "no.json: cannot be read" in command(*asked, "--budget-ms", 2, code=2)
