"""Scenes of one's own: an example root whose scenes no official split knows, with its own lists."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bevlite.data.check import check_root
from bevlite.data.config import DataConfig, load_data_config, own_splits, split_scenes
from bevlite.data.index import load_index
from bevlite.errors import DataError


@pytest.fixture
def mine(world: DataConfig, tmp_path: Path) -> Path:
    """A root whose scenes are called mine-0, mine-1, ..."""
    root = tmp_path / "mine"
    shutil.copytree(world.root, root)
    tables = next(path.parent for path in root.glob("*/scene.json"))
    scenes = json.loads((tables / "scene.json").read_text())
    for number, scene in enumerate(scenes):
        old, scene["name"] = scene["name"], f"mine-{number}"
        if (root / "gts" / old).is_dir():
            (root / "gts" / old).rename(root / "gts" / scene["name"])
    (tables / "scene.json").write_text(json.dumps(scenes))
    return root


def lists(root: Path, content: object) -> None:
    tables = next(path.parent for path in root.glob("*/scene.json"))
    (tables / "splits.json").write_text(json.dumps(content))


def test_scenes_that_no_split_knows_are_an_error_of_the_check(mine: Path) -> None:
    found = [problem for problem in check_root(mine).problems if problem.kind == "no_split"]
    assert len(found) == 1 and "splits.json, such as" in found[0].text
    data = load_data_config(mine)
    with pytest.raises(DataError, match=r"holds mine-0, mine-1.* of your own too: lists of scene names in splits.json"):
        load_index(data).rows_of_split(str(data.train_split))


def test_own_lists_are_read_and_their_names_taken(mine: Path) -> None:
    lists(mine, {"city_train": ["mine-0"], "city_val": ["mine-1"]})
    report = check_root(mine)
    assert not [p for p in report.problems if p.kind in ("no_split", "unknown_scene")]
    assert report.samples_of_split["city_train"] > 0 and report.samples_of_split["city_val"] > 0
    data = load_data_config(mine)
    assert (data.train_split, data.val_split) == ("city_train", "city_val")
    index = load_index(data)
    rows = index.rows_of_split("city_train")
    assert set(np.asarray(index.scenes)[rows]) == {"mine-0"}
    with pytest.raises(DataError, match=r"found 'other'; accepted: .*, city_train, city_val"):
        index.rows_of_split("other")


def test_the_devkit_reads_the_same_lists(mine: Path) -> None:
    from nuscenes.utils.splits import get_scenes_of_split

    from bevlite.data.index import open_nuscenes

    content = {"city_train": ["mine-0"], "city_val": ["mine-1"]}
    lists(mine, content)
    nusc = open_nuscenes(load_data_config(mine))
    assert {name: get_scenes_of_split(name, nusc) for name in content} == content
    assert split_scenes("mini_val", content) == get_scenes_of_split("mini_val", nusc)


@pytest.mark.parametrize("content", [[], {"a": 1}, {"a": [1]}, "x"])
def test_lists_that_are_none_are_one_line(mine: Path, content: object) -> None:
    lists(mine, content)
    with pytest.raises(DataError, match=r"splits\.json: accepted: lists of scene names by split"):
        own_splits(next(path.parent for path in mine.glob("*/scene.json")))
    assert [p for p in check_root(mine).problems if p.kind == "bad_splits"]


def test_a_scene_that_is_not_there_is_named(mine: Path) -> None:
    lists(mine, {"city_train": ["mine-0", "gone"], "city_val": ["mine-1"]})
    assert [p.text for p in check_root(mine).problems if p.kind == "unknown_scene"] == [
        "scene 'gone' of splits.json is not in scene.json"
    ]


def test_a_training_that_could_not_be_scored_is_refused_before_it(mine: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from bevlite.cli.main import build_app

    lists(mine, {"city_train": ["mine-0"], "city_val": []})
    words = ["train", "configs/variants/demo.yaml", "--data", str(mine), "--recipe", "configs/recipes/demo.yaml"]
    result = CliRunner().invoke(build_app(), [*words, "--out", str(tmp_path / "run")])
    assert "split 'city_val': the data root holds no scene of it" in str(result.exception)
    assert "--no-evaluate trains without scoring" in str(result.exception) and not (tmp_path / "run").exists()
