"""One command from a run to a package: it goes on where it was stopped, and says what was not measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bevlite.api.packaging import release
from bevlite.compression.compress import Compressed
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.report.deploy import Budgets
from bevlite.packaging import release as module
from bevlite.packaging.release import EXIT_CODES, Limits, release_run
from tests.devices.boards import over_ssh
from tests.packaging.conftest import Unpacked

BOARD = "agx-orin-64gb"


@pytest.fixture
def run(tmp_path: Path, exported: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "run"))


def test_a_killed_release_goes_on(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(run / "onnx")
    out = tmp_path / "package"
    with monkeypatch.context() as patch:

        def killed(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(module, "package_run", killed)
        with pytest.raises(KeyboardInterrupt):
            release(run, device=BOARD, out=out, budget_ms=20.0)
    assert set(json.loads((run / "release.json").read_text())["done"]) == {"compress"} and not out.exists()
    made = release(run, device=BOARD, out=out, budget_ms=20.0)
    assert made.verdict == "predicted" and EXIT_CODES[made.verdict] == 3 and made.plan is None
    assert [step.split(":")[0] for step in made.steps] == ["compress", "export", "deploy", "package"]
    assert "kept" in made.steps[0] and made.steps[1] == "export: kept" and "NOTHING WAS MEASURED" in made.steps[2]
    assert (out / "manifest.json").is_file()
    other = release(run, device=BOARD, out=out, budget_ms=19.0)
    assert "not needed" in other.steps[0], "another limit is another release"


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, Path]]:
    """What Plan B was asked for: a budget, and where its variants go. It has tests of its own."""
    asked: list[tuple[float, Path]] = []

    def plan(variant: Any, board: Any, budget_ms: float, out: Path, run: Path) -> SimpleNamespace:
        asked.append((budget_ms, out))
        return SimpleNamespace(steps=())

    monkeypatch.setattr(module, "plan_b_of", plan)
    return asked


def test_what_is_too_slow_is_compressed_first(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: list[tuple[float, Path]]
) -> None:
    goals = []

    def compressed(path: Path, goal: Any, board: Any, **_: Any) -> Compressed:
        goals.append((goal.budget_ms, goal.allowed.total, goal.guide, board.name))
        return Compressed((), "")

    monkeypatch.setattr(module, "compress_run", compressed)
    made = release(run, device=BOARD, out=tmp_path / "p", budget_ms=2.5, max_drop=0.05, guide="macs")
    assert goals == [(2.5, 0.05, "macs", BOARD)]
    # Nothing became faster here: the limit is missed, and said to be.
    assert "2.5 ms to be met" in made.stopped and made.plan is not None and made.package == tmp_path / "p"
    assert planned == [(2.5, run / "plan_b")]


def test_a_stage_that_loses_too_much_makes_no_package(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: list[tuple[float, Path]]
) -> None:
    monkeypatch.setattr(module, "compress_run", lambda *_, **__: Compressed((), "pruning may lose 1.5%"))
    made = release(run, device=BOARD, out=tmp_path / "p", budget_ms=2.5)
    assert made.verdict == "fail" and made.package is None and made.stopped == "pruning may lose 1.5%"
    assert len(planned) == 1 and not (tmp_path / "p").exists() and not (run / "release.json").exists()


def test_on_a_board_everything_is_measured_once(
    unpacked: Unpacked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: list[tuple[float, Path]]
) -> None:
    """On an emulated board, which proves nothing; what a deploy does has tests of its own."""
    run = Path(shutil.copytree(unpacked.run, tmp_path / "run"))
    (run / "ledger.json").write_text(json.dumps({"float": {"NDS": 0.5}}))
    budgets = []

    def deployed(path: Path, device: BoardDevice, given: Budgets) -> SimpleNamespace:
        budgets.append(given)
        slow = SimpleNamespace(name="latency P99", found=3.25, unit="ms", met=False)
        return SimpleNamespace(limits=[slow], engine=SimpleNamespace(accurate=True), verdict="emulated")

    monkeypatch.setattr(module, "deploy", deployed)
    limits = Limits(20.0, drop=0.04, power_w=50.0)
    for _ in range(2):
        with over_ssh(unpacked.server) as device:
            made = release_run(run, device, limits, tmp_path / "package")
        assert made.verdict == "emulated" and made.stopped == "latency P99 3.25 ms" and made.package is not None
    assert len(budgets) == 1, "the second call keeps what the first one measured"
    # Of 4 % of an NDS of 0.5 nothing was lost yet.
    assert budgets[0].drop == pytest.approx(0.02) and budgets[0].power_w == 50.0 and budgets[0].latency_ms == 20.0
    assert made.steps[-2] == "deploy: kept (emulated)" and len(planned) == 2
