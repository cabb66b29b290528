"""The examples run, on nothing but the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_architecture import ROOT

EXAMPLES = ROOT / "examples"
SAYS = {
    "predict_latency.py": "LiDAR alone",
    "train_and_export.py": "(opset 19) for TensorRT 10.3",
    "search_small.py": "winner: trial",
}
NOTEBOOK = EXAMPLES / "the_whole_road.ipynb"
SHOWN = ("load_variant", "build", "latency", "train", "evaluate", "show", "export", "deploy", "run_search")


def run(script: Path, folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "BEVLITE_EXAMPLES": str(folder), "MPLBACKEND": "Agg"}
    words = [sys.executable, str(script), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_known_and_short() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)
    for path in (*EXAMPLES.glob("*.py"), *EXAMPLES.glob("add_a_backbone/*.py")):
        assert len(path.read_text().splitlines()) < 60, path


@pytest.mark.slow
@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    assert SAYS[name] in run(EXAMPLES / name, tmp_path)


def cells() -> list[str]:
    """The code cells, which are committed without what they printed."""
    notebook = json.loads(NOTEBOOK.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    return ["".join(cell["source"]) for cell in code]


def test_the_notebook_shows_the_whole_road() -> None:
    text = "\n".join(cells())
    assert [name for name in SHOWN if f".{name}(" not in text] == []


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """Its cells one after the other in one namespace, as a kernel would."""
    script = tmp_path / "cells.py"
    script.write_text("\n\n".join(cells()))
    run(script, tmp_path)
    assert (tmp_path / "sample.png").is_file() and (tmp_path / "study" / "report.html").is_file()
    deployed = (tmp_path / "run" / "deploy" / "desk" / "report.json").is_file()
    assert deployed or not (tmp_path / "devices").exists()
