from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bevlite.config import read_yaml
from bevlite.errors import BevliteError
from bevlite.variant import load_variant
from search import cli, resume_search, run_search, search_status, search_winner, write_search_report
from search.report.live import working_line
from search.report.status import StudyStatus
from search.study import local_backend
from tests.search.fakes import SEARCH, FakeBackend, write_search

RUNNER = CliRunner()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    backend = FakeBackend(tmp_path)
    monkeypatch.setattr(local_backend, "make_backend", lambda search, out, devices: backend)
    return backend


def run(*arguments: object, code: int = 0) -> str:
    result = RUNNER.invoke(cli.app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_the_whole_road(tmp_path: Path, fake: FakeBackend) -> None:
    file, study = write_search(tmp_path, SEARCH + "final: {epochs: 6}\n"), tmp_path / "study"
    printed = run("run", file, "--out", study, "--trials", 8, "--budget-ms", 55)
    assert "best: trial" in printed and "mini_val, 81 samples" in printed and "predicted" in printed
    assert (study / "pareto.png").read_bytes()[:4] == b"\x89PNG"
    winner = load_variant(study / "winner.yaml")
    note = json.loads((study / "winner.json").read_text())
    assert note["epochs"] == 6 and note["exported"] and note["score"]["samples"] == 81
    assert (study / "winner" / "epoch").read_text() == "6"
    number = note["trial"]
    assert winner.name == f"winner-trial-{number}"
    assert "8 of 8 trials" in run("status", study)
    assert "8 of 8 trials" in run("status", study, "--json", tmp_path / "status.json")
    status = StudyStatus.model_validate_json((tmp_path / "status.json").read_text())
    assert status.best is not None and (status.best.number, status.best.state) == (number, "completed")
    assert status.best.latency_kind == "predicted" and 0 < (status.best.latency_ms or 0) <= status.budget_ms == 55
    assert (status.trials, status.asked, status.spent) == (8, 8, 8) and sum(status.counts.values()) == 8
    assert number in {trial.number for trial in status.pareto} and not status.running and status.why_none is None
    best = run("best", study)
    assert f"best: trial {number}" in best and "final training, 6 epochs" in best
    assert read_yaml(study / "search.yaml")["constraints"]["budget_ms"] == 55

    calls = list(fake.calls)
    again = run("run", study / "search.yaml", "--out", study)
    assert f"best: trial {number}" in again
    assert fake.calls == calls  # nothing was trained, predicted or exported again


def test_the_report_holds_what_it_must(tmp_path: Path, fake: FakeBackend) -> None:
    file, study = write_search(tmp_path), tmp_path / "study"
    run("run", file, "--out", study, "--trials", 10)
    run("report", study)
    html = (study / "report.html").read_text()
    for text in (
        "winner",
        "mini_val, 81 samples",
        "10 predicted",
        "nothing was measured",
        "budget 60 ms",
        "Pareto table",
        "All trials",
        "bevlite search run search.yaml --out NEW_STUDY",
        "Seed 3",
        "optuna 5",
        "camera.view_transform.channels",
        "Plotly.newPlot",
    ):
        assert text in html, text
    # One file: nothing is loaded from elsewhere.
    own = re.sub(r"<script>.*?</script>", "", html, flags=re.S)
    assert not re.search(r"(?:src|href)=", own)
    rows = (study / "trials.csv").read_text().splitlines()
    assert len(rows) == 11


def test_the_winner_is_read_from_its_run_as_it_would_be_built(tmp_path: Path, fake: FakeBackend) -> None:
    file, study = write_search(tmp_path), tmp_path / "study"
    run("run", file, "--out", study, "--trials", 8)
    written, winner = (study / "winner.yaml").read_text(), search_winner(study)
    assert winner is not None and winner.run == study / "winner"
    (study / "trials" / f"{winner.trial.number:04d}" / "variant.yaml").unlink()
    (study / "winner.yaml").unlink()
    assert write_search_report(study) == study / "report.html"
    assert (study / "winner.yaml").read_text() == written
    built = search_winner(study)
    assert built is not None and built.variant == winner.variant


def test_a_study_is_gone_on_with_from_python(tmp_path: Path, fake: FakeBackend) -> None:
    file, study, said = write_search(tmp_path), tmp_path / "study", list[str]()
    assert run_search(file, tmp_path / "tight", trials=3, budget_ms=5).outcome.records == ()
    assert search_winner(tmp_path / "tight") is None
    view = run_search(file, study, trials=3, budget_ms=50, say=said.append)
    assert len(view.outcome.records) == 3 and "3 trials" in said[0]
    again = resume_search(study, trials=4, say=said.append)
    assert [r.params for r in again.outcome.records[:3]] == [r.params for r in view.outcome.records]
    assert search_status(study).outcome == again.outcome and again.outcome.budget_ms == 50
    with pytest.raises(BevliteError, match="no study"):
        resume_search(tmp_path / "nothing")


def test_no_feasible_trial(tmp_path: Path, fake: FakeBackend) -> None:
    file, study = write_search(tmp_path), tmp_path / "study"
    printed = run("run", file, "--out", study, "--trials", 3, "--budget-ms", 5)
    assert "none of the 39 networks that were scanned may fit 5 ms. The nearest:" in printed
    assert "predicted 8.0 ms [6.4, 10.4]  camera=none fusion.channels=128" in printed
    assert "may fit with a budget of 6.4 ms" in run("best", study, code=1)
    run("status", study, "--json", tmp_path / "none.json")
    none = StudyStatus.model_validate_json((tmp_path / "none.json").read_text())
    assert none.best is None and "may fit with a budget of 6.4 ms" in (none.why_none or "")
    assert "may fit with a budget of 6.4 ms" in (study / "report.html").read_text()
    assert not (study / "winner.yaml").exists()


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, fake: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    file, study = write_search(tmp_path), tmp_path / "study"
    evaluate, count = fake.evaluate, iter(range(100))

    def interrupted(path: Path, draws: bool = False) -> dict[str, object]:
        if next(count) == 4:
            raise KeyboardInterrupt
        return evaluate(path, draws)

    monkeypatch.setattr(fake, "evaluate", interrupted)
    printed = run("run", file, "--out", study, "--trials", 4, code=130)
    assert f"Go on with: bevlite search run {study / 'search.yaml'} --out {study}" in printed
    assert "was interrupted" in run("status", study, "--json", tmp_path / "s.json")
    status = StudyStatus.model_validate_json((tmp_path / "s.json").read_text())
    assert [(trial.state, trial.at_work) for trial in status.running] == [("running", False)]
    words = working_line(search_status(study))
    assert re.fullmatch(
        r"\d+ of 4 trials; trial \d+ after epoch \d+ of \d+; about \d+ min of training left.*", words
    ), words
    assert "resumed" in run("run", study / "search.yaml", "--out", study)
    assert "4 of 4 trials" in run("status", study)


def test_growing_moves_an_older_winner_aside(tmp_path: Path, fake: FakeBackend) -> None:
    text = SEARCH + "anchors: [{camera: none, fusion.channels: 128}, {camera: r18}]\n"
    file, study = write_search(tmp_path, text), tmp_path / "study"
    run("run", file, "--out", study, "--trials", 1)
    run("run", file, "--out", study, "--trials", 2)
    assert json.loads((study / "winner.json").read_text())["trial"] == 1
    assert (study / "winner-trial-0-4-epochs" / "epoch").is_file()


def test_no_study(tmp_path: Path) -> None:
    for name in ("status", "best", "report"):
        with pytest.raises(BevliteError, match="no study"):
            run(name, tmp_path / "nothing")
