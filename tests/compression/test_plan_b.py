"""Ways out of a missed budget: predicted as `latency` does it, priced from a ledger, sorted, written as variants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bevlite.api.packaging import plan_b
from bevlite.compression.ledger import Line
from bevlite.compression.plan_b import losses as module
from bevlite.compression.plan_b.losses import Losses
from bevlite.compression.plan_b.plan import PlanB
from bevlite.compression.plan_b.ways import Way, ways_of
from bevlite.variant import load_variant
from tests.tiny import lidar_only, tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[PlanB, Path]:
    out = tmp_path_factory.mktemp("plan_b")
    return plan_b(tiny(), budget_ms=5.0, out=out), out


@pytest.mark.slow
def test_every_way_is_there_or_said_to_be_impossible(made: tuple[PlanB, Path]) -> None:
    found, _ = made
    kinds = {step.kind for step in found.steps}
    assert kinds >= {"prune", "resolution", "task", "int8", "boards"}
    named = {way.words for way in ways_of(tiny(), dla=True)}
    told = [step.words for step in found.steps] + [line.split(":")[0] for line in found.impossible]
    assert set(told) == named and len(told) == len(named)
    assert all(step.watts is None for step in found.steps) and "no power model" in found.notes[0]


@pytest.mark.slow
def test_sorted_by_loss_for_each_millisecond(made: tuple[PlanB, Path]) -> None:
    steps = made[0].steps
    known = [s.loss_per_ms for s in steps if s.loss_per_ms is not None]
    assert known == sorted(known) and known[0] == 0.0
    groups = [2 if s.saved_ms <= 0 else 1 if s.loss is None else 0 for s in steps]
    assert groups == sorted(groups) and {0, 1} <= set(groups)
    unknown = [s.saved_ms for s, group in zip(steps, groups, strict=True) if group == 1]
    assert unknown == sorted(unknown, reverse=True)


@pytest.mark.slow
def test_files_are_variants_that_can_be_trained(made: tuple[PlanB, Path]) -> None:
    found, out = made
    for step in found.steps:
        variant = load_variant(out / step.file)
        assert variant.network_hash == step.network_hash
    written = json.loads((out / "plan_b.json").read_text())
    assert [row["file"] for row in written["steps"]] == sorted(step.file for step in found.steps)
    from bevlite.api.predicting import latency

    step = next(step for step in found.steps if step.kind == "resolution")
    assert latency(out / step.file).total_ms == pytest.approx(step.ms)
    assert found.ms - step.ms == pytest.approx(step.saved_ms) and step.fits == (step.ms <= 5.0)


def test_a_network_of_one_sensor_has_fewer_ways() -> None:
    kinds = [way.kind for way in ways_of(lidar_only())]
    assert "resolution" not in kinds and "boards" not in kinds and "task" not in kinds


def test_prices_come_from_the_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def line(name: str, stage: str, nds: float, parameters: int) -> Line:
        lost = 1 - nds / 0.5
        return Line(name, stage, {"NDS": nds, "occ_miou": 0.3}, parameters, 1, 1.0, None, lost)  # type: ignore[arg-type]

    lines = [
        line("float", "float", 0.5, 1_000_000),
        line("finetuned", "finetuned", 0.45, 562_500),  # 25 % of the channels on both sides
        line("calibration", "calibration", 0.44, 562_500),
    ]
    monkeypatch.setattr(module, "read_ledger", lambda path, allowed: lines)
    priced = Losses(tiny(), tmp_path)

    def of(kind: str, on: str = "", ratio: float = 0.0) -> float | None:
        return priced.of(Way(kind, "", tiny, on, ratio), tiny()).loss  # type: ignore[arg-type]

    assert of("prune", ratio=0.25) == pytest.approx(0.1)  # as much as the ledger's own pruning lost
    assert of("prune", ratio=1 - 0.75**2) == pytest.approx(1 - 0.9**2)  # twice over, what is kept is multiplied
    assert of("int8", "camera") == pytest.approx(0.02)  # what INT8 lost beyond pruning, at most
    assert of("task", "occupancy") == 0.0 and of("task", "detection") == 1.0
    assert of("boards") == 0.0 and of("dla", "camera") == 0.0 and of("grid") is None
    assert priced.of(Way("task", "", tiny, "occupancy"), tiny()).gone == "occ_miou 0.300"
    assert Losses(tiny()).of(Way("prune", "", tiny, ratio=0.5), tiny()).loss is None
