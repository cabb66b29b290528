"""BEVLite as it is installed from a wheel, away from the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bevlite.api.projects import init
from bevlite.config import CONFIGS
from bevlite.errors import BevliteError
from tests.test_architecture import ROOT


def test_a_project_holds_all_configurations_and_keeps_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    first = init(folder)
    assert len(first) == 1 + len(list(CONFIGS.rglob("*.yaml"))) > 20
    (folder / "configs" / "recipes" / "demo.yaml").write_text("mine")
    (folder / "README.md").unlink()
    assert init(folder) == [folder / "README.md"]
    assert (folder / "configs" / "recipes" / "demo.yaml").read_text() == "mine"


def test_a_file_in_its_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BevliteError, match="file: found a file; accepted: a folder"):
        init(tmp_path / "file")
    with pytest.raises(BevliteError, match="cannot be written to"):
        init(tmp_path / "file" / "below")


@pytest.mark.slow
def test_a_wheel_works_outside_the_repository(tmp_path: Path) -> None:
    """Its files alone on the path, over the libraries that are here: a search from the first command to the report."""
    site, project = tmp_path / "site", tmp_path / "project"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path / "dist"), str(ROOT)], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    code = (
        "import bevlite, sys; assert bevlite.__file__.startswith(sys.argv.pop()), bevlite.__file__\n"
        "from bevlite.cli.main import main; main()"
    )

    def bevlite(*words: str, folder: Path = project) -> str:
        environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code, *words, str(site)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "next: cd" in bevlite("init", "project", folder=tmp_path)
    assert "parameters" in bevlite("variant", "show", "configs/variants/demo.yaml")
    assert "predicted for agx-orin-64gb" in bevlite("latency", "configs/variants/demo.yaml")
    world = ("--scenes", "2", "--samples", "2", "--val-scenes", "1", "--sweeps", "1", "--image-scale", "0.1")
    bevlite("data", "synth", "worlds/demo", *world)
    space = "space={fusion.channels: [16, 32], camera: {choices: {none: {camera: null}}}}"
    small = ("--set", "fidelity={rungs: [1]}", "--set", space, "--set", "anchors=[]")
    bevlite("search", "run", "configs/searches/demo.yaml", "--out", "studies/demo", "--trials", "1", *small)
    assert (project / "studies" / "demo" / "report.html").is_file()
