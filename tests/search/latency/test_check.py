"""NVIDIA's compiler in a search: asked before training, each module once, its refusals reject a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bevlite.config import read_yaml
from bevlite.errors import ConfigError
from bevlite.export.check import witness
from bevlite.export.check.witness import Witness
from bevlite.rtx.graph import BuiltGraph, CompilerError
from search.config import load_search
from search.latency.check import NetworkCheck, Verdict, why_unchecked
from search.study.local_backend import make_backend
from tests.rtx.conftest import needs_compiler
from tests.search.fakes import SEARCH, load, run_study, write_search
from tests.tiny import lidar_only


def test_a_refused_network_is_rejected_before_training(tmp_path: Path) -> None:
    verdict = Verdict(refusals=("camera: pool (MaxPool): no dilations", "lidar: another"), asked=2, seconds=1.25)
    study, backend = run_study(tmp_path, trials=3, verdict=verdict)
    assert not any(call.startswith("begin") for call in backend.calls)
    asked = [record for record in study.records if "budget" not in record.reason]
    assert asked and all(record.state == "rejected" and not record.feasible for record in asked)
    said = "refused by NVIDIA's compiler (1.2 s): camera: pool (MaxPool): no dilations (and 1 more)"
    assert asked[0].reason == said
    # What is over the budget is not asked about: a prediction is quicker.
    checks = sum(call.startswith("check") for call in backend.calls)
    assert checks == len([record for record in asked if record.duplicate_of is None])


def test_what_is_taken_or_has_no_verdict_is_trained(tmp_path: Path) -> None:
    for verdict, words in (
        (Verdict(asked=4, seconds=0.84), "taken by NVIDIA's compiler (0.8 s)"),
        (Verdict(), "taken by NVIDIA's compiler (known)"),
        (Verdict(unsaid=("camera: crashed",)), "no verdict of NVIDIA's compiler (known)"),
    ):
        assert verdict.words == words
    _, backend = run_study(tmp_path, trials=2, verdict=Verdict(unsaid=("camera: crashed",)))
    assert any(call.startswith("begin") for call in backend.calls)


@needs_compiler
def test_every_module_is_asked_about_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = NetworkCheck(tmp_path / "nvidia", tmp_path / "graphs")
    first = check(lidar_only(), "10.3")
    assert first.asked == 2 and first.refusals == first.unsaid == () and first.seconds > 0
    again = NetworkCheck(tmp_path / "nvidia", tmp_path / "graphs")(lidar_only(), "10.3")
    assert again.asked == 0 and again.words == "taken by NVIDIA's compiler (known)"
    # Another form is another graph; another compiler may say something else.
    assert check(lidar_only(), "8.6").asked == 2
    monkeypatch.setattr("search.latency.check.installed_version", lambda: "1.9")
    assert check(lidar_only(), "10.3").asked == 2


def test_a_broken_file_is_asked_again_and_a_missing_verdict_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = iter(["refused", "none", "refused", "refused", "refused"])

    def say(modules: Any, **kwargs: Any) -> dict[str, Witness]:
        return {name: Witness(name, word(next(verdicts))) for name in modules}

    monkeypatch.setattr(witness, "witnesses", say)
    check = NetworkCheck(tmp_path / "nvidia", tmp_path / "graphs")
    first = check(lidar_only(), "10.3")
    assert (len(first.refusals), len(first.unsaid), first.asked) == (1, 1, 2)
    assert (check(lidar_only(), "10.3").asked, len(check(lidar_only(), "10.3").unsaid)) == (0, 1)  # of one process
    check = NetworkCheck(tmp_path / "nvidia", tmp_path / "graphs")
    second = check(lidar_only(), "10.3")
    assert (len(second.refusals), len(second.unsaid), second.asked) == (2, 0, 1)
    for file in (tmp_path / "nvidia").glob("*.json"):
        file.write_text(file.read_text()[:20])
    assert check(lidar_only(), "10.3").asked == 2


def word(verdict: str) -> BuiltGraph:
    found = BuiltGraph.model_validate({"source": "m", "compiler": "1.7", "capability": "8.6", "verdict": verdict})
    return found.model_copy(update={"errors": (CompilerError(stage="parse", reason=verdict),)})


def test_whether_a_search_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.latency.check.why_missing", lambda: "not here")
    assert why_unchecked(None) == "not here" and why_unchecked("none") == "switched off (device.check: none)"
    monkeypatch.setattr("search.latency.check.why_missing", lambda: None)
    assert why_unchecked(None) is None and why_unchecked("rtx") is None
    search = load(tmp_path, SEARCH + "device: {check: none}\n")
    assert make_backend(search, tmp_path / "study").check(search.base) is None
    monkeypatch.setattr(NetworkCheck, "__call__", lambda self, variant, tensorrt: Verdict(asked=len(tensorrt)))
    assert make_backend(load(tmp_path), tmp_path / "study").check(search.base) == Verdict(asked=len("10.3"))


def test_a_search_that_must_ask_and_cannot_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.config.why_missing", lambda: "tensorrt-rtx is not installed; accepted: it")
    file = write_search(tmp_path, SEARCH + "device: {check: rtx}\n")
    with pytest.raises(ConfigError, match=r"search\.yaml: device\.check: found rtx; tensorrt-rtx is not installed"):
        load_search(file)
    assert load_search(file, need_data=False).config.device.check == "rtx"  # a report asks nobody
    with pytest.raises(ConfigError, match=r"device\.check: found 'trt'; accepted: 'rtx' or 'none'"):
        load_search(write_search(tmp_path, SEARCH + "device: {check: trt}\n"))


def test_the_check_is_no_part_of_what_makes_trials_comparable(tmp_path: Path) -> None:
    identities = [
        load(tmp_path, SEARCH + f"device: {{check: {word}}}\n").identity() for word in ("none", "null")
    ]  # fmt: skip
    assert identities[0] == identities[1]
    assert read_yaml(tmp_path / "search.yaml")["device"]["check"] is None
