"""The ledger: what is judged against what, by sums by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import bevlite
from bevlite.analysis.cost import module_costs
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import lidar_only, short_recipe


@pytest.fixture
def run(world: DataConfig, tmp_path: Path) -> Run:
    made, variant = Run(tmp_path / "run"), lidar_only()
    made.create(variant, world, short_recipe(), 0)
    torch.manual_seed(0)
    for stage in ("float", "pruned", "finetuned", "calibration"):
        save_weights(made, Detector(variant).state_dict(), variant, {"epoch": 2}, stage)  # type: ignore[arg-type]
    return made


def scored(run: Run, **figures: float) -> None:
    for line, nds in figures.items():
        run.record(line.replace("__", "/").replace("_", " "), {"NDS": nds, "mAP": nds / 2, "backend": "torch"})


def over(run: Run, **changes: float) -> dict[str, str]:
    return {line.name: line.over for line in bevlite.ledger(run, predict=False, **changes)}  # type: ignore[arg-type]


def test_each_stage_is_judged_against_what_it_may_lose(run: Run) -> None:
    scored(run, calibration=0.392, finetuned=0.398, pruned=0.1, float=0.4, float__without_lidar=0.0)
    lines = bevlite.ledger(run, predict=False)
    assert [line.name for line in lines] == ["float", "float/without lidar", "pruned", "finetuned", "calibration"]
    assert lines[0].lost is None  # what the others are held against
    assert [line.lost for line in lines[1:]] == pytest.approx([1.0, 0.75, 0.005, 0.02])
    assert not any(line.over for line in lines)  # what comes before training on, and a sensor's loss, are not judged
    costs = module_costs(run.variant("float"))
    assert lines[0].parameters == sum(c.parameters for c in costs) and lines[0].macs == sum(c.macs for c in costs)
    assert lines[0].weight_mb == pytest.approx(2e-6 * lines[0].parameters)  # FP16
    assert lines[0].predicted_ms is None

    found = over(run, max_pruning_drop=0.004)
    assert found["finetuned"].startswith("lost 0.5%: pruning may lose 0.4%; remove less where it costs most")
    assert not found["calibration"]  # 1.5 % below what it came from
    found = over(run, max_quantization_drop=0.01)
    assert "quantization lost 1.5% and may lose 1.0%; keep the layers that lose most in FP16" in found["calibration"]
    found = over(run, max_drop=0.015)
    assert (
        "in all 1.5% may be lost" in found["calibration"]
        and "split the network over two boards" in found["calibration"]
    )
    assert not found["finetuned"]


def test_a_pruned_network_that_nothing_follows_is_judged(run: Run) -> None:
    scored(run, float=0.4, pruned=0.39)
    assert over(run)["pruned"].startswith("lost 2.5%: pruning may lose 1.5%")
    scored(run, pruned=0.41)
    line = bevlite.ledger(run, predict=False)[-1]
    assert line.lost == pytest.approx(-0.025) and not line.over


def test_quantization_is_held_against_the_plain_score_before_it(run: Run) -> None:
    scored(run, float=0.4, float__without_lidar=0.01, calibration=0.389)
    assert "quantization lost 2.7% and may lose 2.0%" in over(run)["calibration"]
    scored(run, finetuned=0.398, finetuned__onnx=0.3, finetuned__without_lidar=0.0)
    assert "quantization lost 2.3% and may lose 2.0%" in over(run)["calibration"]


def test_milliseconds_and_a_picture(run: Run, tmp_path: Path) -> None:
    scored(run, float=0.4, finetuned=0.39)
    lines = bevlite.ledger(run, out=tmp_path / "ledger.png")
    assert lines[0].predicted_ms == pytest.approx(bevlite.latency(run.variant("float")).total_ms)
    assert (tmp_path / "ledger.png").stat().st_size > 10_000


def test_what_is_no_ledger_is_said(run: Run, tmp_path: Path) -> None:
    with pytest.raises(BevliteError, match="no ledger yet; accepted: a run that was scored"):
        bevlite.ledger(run)
    scored(run, qat=0.3)
    with pytest.raises(
        BevliteError, match="found a line 'qat' of a stage that the run does not hold; accepted: float, "
    ):
        bevlite.ledger(run)
    (run.path / "ledger.json").write_text("{")
    with pytest.raises(BevliteError, match=r"ledger\.json: cannot be read"):
        bevlite.ledger(run)
    with pytest.raises(BevliteError, match="not a run folder"):
        bevlite.ledger(tmp_path / "nothing")
    (run.path / "ledger.json").write_text(json.dumps({}))
    assert bevlite.ledger(run, predict=False) == []
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(BevliteError, match="drop: total: found"):
            bevlite.ledger(run, max_drop=wrong, predict=False)
