"""One small world for all tests of this folder: two scenes of three keyframes at a quarter of the size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bevlite.simulation.world.generate import WorldSummary, generate_world
from bevlite.simulation.world.scene import SceneMaker
from bevlite.simulation.world.spec import SceneSpec

PARAMETERS: dict[str, Any] = dict(scenes=2, samples=3, seed=7, sweeps=2, image_scale=0.25)


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> WorldSummary:
    root = tmp_path_factory.mktemp("world") / "data"
    return generate_world(root, workers=1, **PARAMETERS)


@pytest.fixture(scope="session")
def nusc(small_world: WorldSummary) -> Any:
    from nuscenes.nuscenes import NuScenes

    return NuScenes(small_world.version, str(small_world.root), verbose=False)


@pytest.fixture(scope="session")
def maker() -> SceneMaker:
    """What made the first scene of the small world."""
    p = PARAMETERS
    return SceneMaker(SceneSpec("scene-0061", 0, p["seed"], p["samples"], p["sweeps"], p["image_scale"], 90), Path("-"))


@pytest.fixture(scope="session")
def maker_of_version_1() -> SceneMaker:
    """The same scene of version 1."""
    p = PARAMETERS
    spec = SceneSpec("scene-0061", 0, p["seed"], p["samples"], p["sweeps"], p["image_scale"], 90, world=1)
    return SceneMaker(spec, Path("-"))


@pytest.fixture
def parameters() -> dict[str, Any]:
    return dict(PARAMETERS)


def files_of(root: Path) -> dict[str, bytes]:
    """Every file under a folder by its relative name."""
    return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}
