"""`bevlite data check`: counts of a whole world, and every problem of a damaged one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bevlite.cli.main import build_app
from bevlite.data.check import CheckReport, check_root
from bevlite.errors import DataError
from bevlite.simulation.world.generate import generate_world

Row = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("check") / "world"
    generate_world(root, scenes=2, samples=2, sweeps=1, image_scale=0.25, workers=1)
    return root


@pytest.fixture
def damaged(world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world, tmp_path / "world"))


def _edit(root: Path, table: str, change: Callable[[list[Row]], object]) -> None:
    file = root / "v1.0-mini" / f"{table}.json"
    rows = json.loads(file.read_text())
    change(rows)
    file.write_text(json.dumps(rows))


def _kinds(report: CheckReport, severity: str = "error") -> set[str]:
    return {p.kind for p in report.problems if p.severity == severity}


def test_a_whole_world_has_no_errors(world: Path) -> None:
    report = check_root(world)
    assert report.errors == 0 and _kinds(report, "warning") <= {"boxes_without_points"}
    assert report.counts["samples"] == 4 and report.counts["images"] == 24
    assert report.counts["lidar_keyframes"] == 4 and report.counts["lidar_sweeps"] == 2
    assert report.counts["occupancy_labels"] == 4
    assert report.samples_of_split == {"mini_train": 2, "mini_val": 2}
    assert sum(c.boxes for c in report.classes.values()) == report.counts["boxes"]
    car = report.classes["car"]
    assert car.length_m is not None and car.width_m is not None and car.length_m > car.width_m > 1


def test_every_damaged_file_is_found(damaged: Path) -> None:
    clouds = sorted(damaged.glob("samples/LIDAR_TOP/*"))
    images = sorted(damaged.glob("samples/CAM_FRONT/*"))
    labels = sorted(damaged.glob("gts/*/*/labels.npz"))
    clouds[0].write_bytes(clouds[0].read_bytes()[:1001])
    np.full((3, 5), np.nan, dtype=np.float32).tofile(clouds[1])
    clouds[2].write_bytes(b"")
    clouds[3].unlink()
    images[0].write_bytes(images[0].read_bytes()[:2000])
    np.savez(labels[0], semantics=np.zeros((2, 2, 2)), mask_camera=np.zeros((2, 2, 2)))
    labels[1].unlink()
    _edit(damaged, "sample_data", lambda rows: [r.update(width=99) for r in rows if images[1].name in r["filename"]])
    report = check_root(damaged)
    assert _kinds(report) == {
        "truncated_points", "bad_points", "empty_file", "missing_file", "bad_image", "bad_occupancy",
        "missing_occupancy",
    }  # fmt: skip
    assert report.errors == 7 and "image_size" in _kinds(report, "warning")
    quick = check_root(damaged, quick=True)
    assert _kinds(quick) == {"truncated_points", "empty_file", "missing_file", "missing_occupancy"}


def test_every_damaged_row_is_found(damaged: Path) -> None:
    def annotations(rows: list[Row]) -> None:
        rows[0]["translation"][0] = float("nan")
        rows[1]["size"][1] = 0.0
        rows[2]["rotation"] = [2.0, 0.0, 0.0, 0.0]
        rows[3]["next"] = "nowhere"
        rows[4]["instance_token"] = "nobody"
        first = rows[5]["sample_token"]
        rows[5:] = [r for r in rows[5:] if r["sample_token"] == first]

    def samples(rows: list[Row]) -> None:
        rows[0]["timestamp"] = rows[1]["timestamp"] + 1

    _edit(damaged, "sample_annotation", annotations)
    _edit(damaged, "sample", samples)
    _edit(damaged, "category", lambda rows: rows[8].update(name="vehicle.hovercraft"))
    _edit(damaged, "ego_pose", lambda rows: rows[0].update(rotation=[0, 0, 0, 0]))
    _edit(damaged, "sample_data", lambda rows: rows.remove(next(r for r in rows if "CAM_BACK_" in r["filename"])))
    report = check_root(damaged, quick=True)
    assert {"bad_box", "bad_rotation", "broken_chain", "dangling", "missing_channel"} <= _kinds(report)
    assert {"not_unit", "timestamps", "unknown_category", "no_boxes"} <= _kinds(report, "warning")
    assert "split_without_boxes" in _kinds(report)


def test_missing_and_unreadable_tables_do_not_end_the_check(damaged: Path) -> None:
    folder = damaged / "v1.0-mini"
    (folder / "ego_pose.json").unlink()
    (folder / "sample_annotation.json").write_text('[{"token":')
    (folder / "instance.json").write_text('{"a": 1}')
    _edit(damaged, "sample_data", lambda rows: rows[0].pop("filename"))
    report = check_root(damaged)
    assert {"missing_table", "unreadable_table", "missing_field"} <= _kinds(report)
    assert sum(p.kind == "unreadable_table" for p in report.problems) == 2
    assert json.loads(report.as_json())["errors"] == report.errors


def test_a_root_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data root"):
        check_root(tmp_path / "nope")
    with pytest.raises(DataError, match="holds no nuScenes tables"):
        check_root(tmp_path)


def test_exit_codes_and_json(world: Path, damaged: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(build_app(), ["data", "check", str(world)]).exit_code == 0
    next(damaged.glob("samples/CAM_BACK/*")).unlink()
    out = tmp_path / "check.json"
    result = runner.invoke(build_app(), ["data", "check", str(damaged), "--quick", "--json", str(out)])
    assert result.exit_code == 1 and "missing_file" in result.stdout and "1 error," in result.stdout
    assert json.loads(out.read_text())["problems"][0]["kind"] == "missing_file"
