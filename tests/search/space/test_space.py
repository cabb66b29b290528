from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from bevlite.config import validate
from bevlite.errors import ConfigError
from search.config import load_search
from search.space.space import Choice, Space
from tests.search.fakes import BASE, SEARCH, load, write_search


def test_conditional_choices_are_made_only_where_they_hold(tmp_path: Path) -> None:
    space = load(tmp_path).space
    for seed in range(30):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        params = space.sample(study.ask())
        assert ("camera.view_transform.channels" in params) == (params["camera"] != "none")
        assert params["fusion.channels"] in (128, 192, 256)


def test_size_counts_conditional_combinations(tmp_path: Path) -> None:
    assert load(tmp_path).space.size() == 3 + 3 * 4 * 3


def test_a_choice_sets_all_its_keys(tmp_path: Path) -> None:
    search = load(tmp_path)
    variant = search.space.build(search.base, {"camera": "none", "fusion.channels": 192}, "x")
    assert variant.camera is None and variant.fusion.channels == 192 and variant.lidar is not None
    params = {"camera": "r18", "camera.view_transform.channels": 48}
    variant = search.space.build(search.base, params, "x")
    assert variant.camera is not None
    assert (variant.camera.backbone.depth, variant.camera.view_transform.channels) == (18, 48)


def test_ranges_and_lists_as_values() -> None:
    space = validate(
        {
            "choices": {
                "lidar.pillars.max_pillars": {"low": 10000, "high": 40000, "step": 10000},
                "bev_encoder.channels": [[64, 128], [128, 256]],
                "lr": {"low": 0.001, "high": 0.1, "log": True, "path": "x.y"},
            }
        },
        Space,
        "test",
    )
    params = space.sample(optuna.create_study().ask())
    assert params["lidar.pillars.max_pillars"] in (10000, 20000, 30000, 40000)
    settings = dict(space.settings(params))
    assert settings["bev_encoder.channels"] in ([64, 128], [128, 256])
    assert 0.001 <= settings["x.y"] <= 0.1
    assert space.size() is None


def test_a_choice_that_drops_a_head_is_refused(tmp_path: Path) -> None:
    text = SEARCH.replace("  fusion.channels:", "  head: {choices: {a: {heads.detection: null}}}\n  fusion.channels:")
    with pytest.raises(ConfigError, match=r"space\.head: a: changes the tasks to none"):
        load(tmp_path, text)


def test_a_choice_that_adds_a_head_is_refused(tmp_path: Path) -> None:
    head = "  heads.occupancy: [null, {type: flashocc, channels: 128}]\n  fusion.channels:"
    with pytest.raises(ConfigError, match="changes the tasks to detection and occupancy"):
        load(tmp_path, SEARCH.replace("  fusion.channels:", head))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("when: {camera: [r18, r34, r50]}", "when: {lidar: x}", "accepted: an earlier choice"),
        ("when: {camera: [r18, r34, r50]}", "when: {camera: r99}", "found 'r99'"),
        ("[128, 192, 256]", "{values: [1], low: 1, high: 2}", "accepted: one form"),
        ("[128, 192, 256]", "[128, 128]", "a value twice"),
        ("[128, 192, 256]", "{low: 5, high: 2}", "low <= high"),
        ("trials: 12", "anchors: [{camera: r99}]", r"anchors\.0: camera: found 'r99'"),
        ("trials: 12", "anchors: [{camer: r18}]", "camer: unknown choice"),
        ("trials: 12", "objectives: {accuracy: {nds: 0.5}}", "sum 1"),
        ("trials: 12", "objectives: {accuracy: {nds: 0.5, occ_miou: 0.5}}", "needs the task occupancy"),
        ("trials: 12", "final: {epoch: 3}", "did you mean 'epochs'"),
        ("rungs: [1, 2, 4]", "rungs: [2, 1]", "growing"),
        ("budget_ms: 60", "budget_ms: 60, budget: 60", "unknown key"),
        ("data: {root: ROOT}", "seed: 1", "given twice"),
    ],
)
def test_a_wrong_search_file_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SEARCH
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, SEARCH.replace(old, new))
    assert "\n" not in str(caught.value)


def test_missing_data_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data: missing"):
        load(tmp_path, SEARCH.replace("data: {root: ROOT}\n", ""))


def test_the_resolved_file_is_the_same_search(tmp_path: Path) -> None:
    search = load(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "search.yaml"
    again.write_text(search.as_yaml())
    assert load_search(again).identity() == search.identity()


def test_epochs_come_from_the_last_rung(tmp_path: Path) -> None:
    assert load(tmp_path).recipe.epochs == 4
    assert load(tmp_path, SEARCH + "final: {epochs: 20}\n").final_recipe.epochs == 20


def test_the_base_is_checked(tmp_path: Path) -> None:
    file = write_search(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE.replace("depth: 50", "depth: 51"))
    with pytest.raises(ConfigError, match=r"camera\.backbone\.depth"):
        load_search(file)


@pytest.mark.parametrize(
    ("body", "inside", "outside"),
    [
        ({"low": 1, "high": 9, "step": 4}, [1, 5, 9], [0, 2, 13, 5.5, True, "5", None]),
        ({"low": 0.0, "high": 1.0, "step": 0.1}, [0.0, 0.3, 0.7, 1], [0.35, 1.1, -0.1, "0.3"]),
        ({"low": 0.5, "high": 1.5}, [0.5, 0.77, 1, 1.5], [0.4, 1.6, float("nan"), None]),
        ({"low": 10, "high": 1000, "log": True}, [10, 11, 1000], [9, 10.5, 1001]),
        ({"values": ["a", 2]}, ["a", 2], ["b", 3]),
    ],
    ids=str,
)
def test_what_a_parameter_can_be(body: dict[str, Any], inside: list[Any], outside: list[Any]) -> None:
    choice = Choice.model_validate(body)
    assert [value for value in inside if not choice.contains(value)] == []
    assert [value for value in outside if choice.contains(value)] == []
