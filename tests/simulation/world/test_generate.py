"""Same seed, same bytes; a stopped run goes on; a folder of something else is refused."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from bevlite.errors import DataError
from bevlite.simulation.world import scene as scene_module
from bevlite.simulation.world.generate import WorldSummary, generate_world, scene_names


def _files(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}


def test_bytes_do_not_depend_on_workers(small_world: WorldSummary, parameters: dict[str, Any], tmp_path: Path) -> None:
    generate_world(tmp_path / "w", workers=2, **parameters)
    one, two = _files(small_world.root), _files(tmp_path / "w")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def test_resume_keeps_finished_scenes(
    small_world: WorldSummary, parameters: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the second scene: the first one stays, and the next run makes only the second."""
    root, written = tmp_path / "w", [0]
    write = scene_module.write_file

    def full_disk(path: Path, content: bytes) -> None:
        written[0] += 1
        if "scene-0103" in path.name and written[0] > 35:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(scene_module, "write_file", full_disk)
    with pytest.raises(OSError) as caught:
        generate_world(root, workers=1, **parameters)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.setattr(scene_module, "write_file", write)
    before = {name: (root / name).stat().st_mtime_ns for name in _files(root) if "scene-0061" in name}
    lines: list[str] = []
    summary = generate_world(root, workers=1, report=lines.append, **parameters)
    assert (summary.kept_scenes, summary.made_scenes) == (1, 1)
    assert all((root / name).stat().st_mtime_ns == at for name, at in before.items())
    assert _files(root) == _files(small_world.root)
    assert "1 of 2 scenes are there already" in lines[0]


def test_other_parameters_are_refused(small_world: WorldSummary, parameters: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="seed") as caught:
        generate_world(small_world.root, **{**parameters, "seed": 9})
    assert "\n" not in str(caught.value)


def test_a_foreign_folder_is_refused(tmp_path: Path, parameters: dict[str, Any]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        generate_world(tmp_path, **parameters)


@pytest.mark.parametrize(
    ("scenes", "val", "version", "counts"),
    [
        (10, None, "v1.0-mini", (8, 2)),
        (5, None, "v1.0-mini", (4, 1)),
        (2, None, "v1.0-mini", (1, 1)),
        (1, None, "v1.0-mini", (1, 0)),
        (60, None, "v1.0-trainval", (40, 20)),
        (60, 10, "v1.0-trainval", (50, 10)),
    ],
)
def test_scene_names(scenes: int, val: int | None, version: str, counts: tuple[int, int]) -> None:
    from nuscenes.utils import splits

    found, train, validation = scene_names(scenes, val)
    assert (found, len(train), len(validation)) == (version, *counts)
    official = (splits.mini_train, splits.mini_val) if scenes <= 10 else (splits.train, splits.val)
    assert set(train) <= set(official[0]) and set(validation) <= set(official[1])


def test_bad_numbers_are_one_line(tmp_path: Path) -> None:
    for wrong in ({"scenes": 0}, {"samples": 1}, {"sweeps": 10}, {"image_scale": 2.0}, {"val_scenes": 3}):
        with pytest.raises(DataError, match="accepted"):
            generate_world(tmp_path / "w", **wrong)


def test_a_run_that_was_killed_before_its_first_file_goes_on(
    small_world: WorldSummary, parameters: dict[str, Any], tmp_path: Path
) -> None:
    root = tmp_path / "w"
    root.mkdir()
    (root / ".world.json.abcdefgh").write_text("{")  # what a killed write leaves
    generate_world(root, workers=2, **parameters)
    (root / ".world.json.abcdefgh").unlink()
    assert _files(root).keys() == _files(small_world.root).keys()


def test_a_file_in_its_place_is_refused(tmp_path: Path, parameters: dict[str, Any]) -> None:
    (tmp_path / "w").write_text("")
    with pytest.raises(DataError, match="w: found a file; accepted: a new or empty folder"):
        generate_world(tmp_path / "w", **parameters)
