"""Version 1 stays what it was: what networks and published figures were made on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bevlite.errors import DataError
from bevlite.simulation.world.generate import generate_world

# Of the code before there was a second version, on x86-64.
LIDAR = "54bb73d4a1be0ce2"
BOXES = "669803bc1403cb49"
OCCUPANCY = "e6654b6d46691a04"
PARAMETERS = dict(scenes=1, samples=2, seed=0, sweeps=1, image_scale=0.1)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("old") / "data"
    generate_world(root, workers=1, world=1, **PARAMETERS)  # type: ignore[arg-type]
    return root


def digest(parts: list[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def test_points_are_those_of_before(old: Path) -> None:
    files = sorted(old.rglob("*.pcd.bin"))
    assert [f.name.split("-")[0] for f in files] == ["w001"] * 3
    assert digest([f.read_bytes() for f in files]) == LIDAR


def test_annotations_are_those_of_before(old: Path) -> None:
    rows = json.loads((old / "v1.0-mini" / "sample_annotation.json").read_text())
    keys = ("token", "instance_token", "visibility_token", "attribute_tokens", "num_lidar_pts")
    text = [[row[key] for key in keys] + np.round(row["translation"] + row["size"], 5).tolist() for row in rows]
    assert digest([json.dumps(text).encode()]) == BOXES


def test_labels_are_those_of_before(old: Path) -> None:
    parts = []
    for file in sorted(old.rglob("labels.npz")):
        labels = np.load(file)
        parts += [labels[name].tobytes() for name in ("semantics", "mask_lidar", "mask_camera")]
    assert len(parts) == 6 and digest(parts) == OCCUPANCY


def test_it_has_no_vector_map_and_no_decoys(old: Path) -> None:
    assert json.loads((old / "world.json").read_text())["world_version"] == 1
    assert not (old / "maps" / "expansion").exists() and not (old / "decoys.json").exists()
    assert json.loads((old / "v1.0-mini" / "log.json").read_text())[0]["location"] == "generated"


def test_another_version_is_refused_in_its_folder(old: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="world_version 1, not 2"):
        generate_world(old, world=2, **PARAMETERS)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="world: found 3; accepted: 1 or 2"):
        generate_world(tmp_path / "w", world=3, **PARAMETERS)  # type: ignore[arg-type]
