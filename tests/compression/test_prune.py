"""A trained run is pruned, trained on, scored and exported, by command and by function."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bevlite
from bevlite.analysis.cost import module_costs
from bevlite.errors import BevliteError
from bevlite.run_folder import Run


def total(variant: Any) -> tuple[int, int]:
    costs = module_costs(variant)
    return sum(c.parameters for c in costs), sum(c.macs for c in costs)


def test_ratios_by_part_and_training_on(run: Run) -> None:
    before = run.variant("float")
    made = bevlite.prune(run, ratios={"lidar": 0.5, "fusion_heads.bev_encoder": 0.25})
    again = Run(run.path)
    assert again.stages == ("float", "pruned") and again.variant() == made.variant
    assert made.variant.network_hash != before.network_hash == again.variant("float").network_hash
    for path, (old, new) in made.groups.items():
        share = 0.5 if path.startswith("lidar") else 0.25 if "bev_encoder" in path else 0.0
        assert new == min(old, -(-max(1, round(old * (1 - share))) // 8) * 8), path
    assert total(made.variant) == (made.after.parameters, made.after.macs) < total(before)
    meta = json.loads((run.checkpoints / "pruned.json").read_text())
    assert meta["from"] == "float" and meta["after"]["parameters"] == made.after.parameters
    assert meta["plan"]["ratios"] == {"lidar": 0.5, "fusion_heads.bev_encoder": 0.25}
    network = bevlite.build(run)
    assert sum(p.numel() for p in network.parameters()) < total(before)[0]

    done = bevlite.finetune(run, progress=False)
    assert done.stages == ("float", "pruned", "finetuned") and done.variant() == made.variant
    assert done.weights_meta("finetuned")["epochs"] == 1  # a quarter of four
    old, new = (done.weights(stage=stage) for stage in ("pruned", "finetuned"))
    assert any(not torch.equal(old[name], new[name]) for name in old)
    bevlite.evaluate(run, stage="float", progress=False)
    assert set(json.loads((run.path / "ledger.json").read_text())) == {"finetuned", "float"}
    assert len(list((run.path / "eval").iterdir())) == 2
    again = bevlite.prune(run, ratios={"lidar": 0.25}, stage="finetuned")  # step by step, from what was learnt again
    assert again.before == made.after and again.after.parameters < made.after.parameters
    assert Run(run.path).stages == ("float", "pruned") and not (run.path / "finetune").exists()
    assert set(json.loads((run.path / "ledger.json").read_text())) == {"float"}  # no figure of another network stays
    assert [folder.name for folder in (run.path / "eval").iterdir()] == ["mini_val-torch"]


def test_a_budget_on_the_command_line(run: Run, command: Callable[..., str]) -> None:
    whole = bevlite.latency(run.variant()).total_ms
    budget = 0.975 * whole  # most of it is decoding and the start of kernels, which stay
    said = command("prune", run.path, "--budget-ms", f"{budget:.3f}", "--importance", "taylor", "--samples", 4)
    meta = json.loads((run.checkpoints / "pruned.json").read_text())
    assert meta["after"]["predicted_ms"] <= budget < meta["before"]["predicted_ms"] == pytest.approx(whole)
    assert bevlite.latency(run.path).total_ms == pytest.approx(meta["after"]["predicted_ms"])
    assert "ms, predicted (agx-orin-64gb)" in said and "written:" in said and "lidar.backbone" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "prune: found neither of ratios and a budget; accepted: one of them"),
        (("--ratio", "lidar=0.5", "--budget-ms", "3"), "prune: found both of ratios and a budget"),
        (("--ratio", "lidar"), "--ratio: found 'lidar'; accepted: PART=SHARE"),
        (("--ratio", "lidar=1"), "ratio: lidar: found 1; accepted: 0 or more and less than 1"),
        (
            ("--ratio", "radar=0.5"),
            "ratio: found 'radar', below which no channel can go; accepted: lidar, fusion_heads",
        ),
        (("--budget-ms", "nan"), "budget: found nan ms; accepted: more than 0"),
        (("--budget-ms", "0.01"), "budget: found 0.01 ms; accepted: "),
        (("--budget-ms", "3", "--guide", "luck"), "guide: found 'luck'; accepted: latency, macs, uniform"),
        (("--budget-ms", "3", "--importance", "luck"), "importance: found 'luck'; accepted: l2, l1, taylor, bn"),
        (("--budget-ms", "3", "--most", "1"), "most: found 1; accepted: more than 0 and less than 1"),
        (("--ratio", "lidar=0.5", "--stage", "qat"), "stage: found 'qat'; accepted: float"),
    ],
)
def test_what_cannot_be_followed_is_one_line_and_costs_nothing(
    run: Run, command: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in command("prune", run.path, *arguments, code=2)
    assert Run(run.path).stages == ("float",)


def test_a_run_without_a_pruned_network_cannot_be_trained_on(run: Run, tmp_path: Path) -> None:
    with pytest.raises(BevliteError, match="stage: found 'pruned'; accepted: float"):
        bevlite.finetune(run)
    with pytest.raises(BevliteError, match="not a run folder"):
        bevlite.prune(tmp_path / "nothing", ratios={"lidar": 0.5})
    assert np.isfinite([v.float().abs().max() for v in run.weights().values()]).all()
