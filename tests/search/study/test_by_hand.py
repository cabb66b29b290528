"""What a person does to a study: networks queued, trials taken out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bevlite.config import read_yaml
from bevlite.errors import BevliteError, ConfigError
from search.study.by_hand import chosen, queue, take_out, weights_of
from search.study.curves import ELSEWHERE
from search.study.study import Study
from tests.search.fakes import SEARCH, load, run_study

WORDS = ["camera=r18", "camera.view_transform.channels=80", "fusion.channels=128"]


def test_what_is_queued_is_tried_next_and_once(tmp_path: Path) -> None:
    study, backend = run_study(tmp_path, SEARCH.replace("trials: 12", "trials: 3"))
    params = chosen(study.search, WORDS)
    assert params == {"camera": "r18", "camera.view_transform.channels": 80, "fusion.channels": 128}
    number = queue(study.search, study.folder, params)
    assert number == 3
    with pytest.raises(BevliteError, match=r"^add: trial 3 is this network \(waiting\)"):
        queue(study.search, study.folder, params)
    again = Study(study.search, study.folder, backend, lambda _: None)  # three trials were enough
    assert again.unfinished
    again.run()
    assert again.records[3].params == params and again.records[3].state == "completed"
    assert len(again.records) == 4 and not again.unfinished
    with pytest.raises(BevliteError, match=r"^add: trial 3 is this network \(completed\)"):
        queue(study.search, study.folder, params)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["camera"], "add: found 'camera'; accepted: choice=value, of camera, camera.view_transform.channels, fusion"),
        (["engine=v8"], "add: engine: unknown choice; accepted: camera, "),
        (["camera=r19"], "add: camera: found 'r19'; accepted: none, r18, r34, r50"),
        (["fusion.channels=100"], "add: fusion.channels: found 100; accepted: 128, 192, 256"),
        (
            ["camera=none", "camera.view_transform.channels=48"],
            "add: camera.view_transform.channels: found it with camera=none; accepted: with camera r18, r34, r50",
        ),
        ([], "add: found nothing"),
    ],
)
def test_wrong_words(tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(load(tmp_path), words)
    assert str(caught.value).startswith(said)


def test_a_trial_taken_out_is_a_run_of_its_own(tmp_path: Path) -> None:
    study, backend = run_study(tmp_path, SEARCH.replace("trials: 12", "trials: 4"))
    record = next(one for one in study.records if one.state == "completed")
    out = take_out(study.search, study.folder, record, tmp_path / "mine", backend)
    assert (out / "epoch").read_text() == "4" and (out / "onnx").is_dir()
    assert read_yaml(out / "variant.yaml")["name"] == f"trial-{record.number}"
    assert study.trial_folder(record.number).is_dir()  # the study keeps it
    with pytest.raises(BevliteError, match=r"mine: exists; accepted: a new folder$"):
        take_out(study.search, study.folder, record, tmp_path / "mine", backend)


def test_where_weights_are(tmp_path: Path) -> None:
    """Its own run, that of the trial that trained the network, or nowhere."""
    study, _ = run_study(tmp_path, SEARCH.replace("trials: 12", "trials: 4"))
    record = next(one for one in study.records if one.state == "completed")
    shared = replace(record, trained_in=9)
    assert weights_of(study.folder, record) == study.trial_folder(record.number)
    assert weights_of(study.folder, shared) == study.trial_folder(9)
    assert weights_of(study.folder, replace(shared, quantized=record.score)) == study.trial_folder(record.number)
    with pytest.raises(BevliteError, match="was trained in another search"):
        weights_of(study.folder, replace(record, trained_in=ELSEWHERE))
    with pytest.raises(BevliteError, match=r"was not trained \(rejected\)"):
        weights_of(study.folder, replace(record, trained_in=None, rungs={}, state="rejected"))
