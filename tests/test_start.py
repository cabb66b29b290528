"""What starts without torch: every help text, and every command that needs no network.

Each command runs in a process of its own, which says what it has imported. Seconds are measured by
`benchmarks/start_up.py`: a test on them would depend on what else the machine does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from bevlite.data.config import DataConfig
from tests.latency.graphs import model
from tests.search.fakes import run_study
from tests.test_architecture import ROOT

NETWORKS = {"torch", "torchvision", "lightning", "timm", "onnxruntime"}
"""What computes networks."""
FIGURES = {"plotly", "matplotlib", "pandas"}
TABLES = {"nuscenes", "optuna", "sqlalchemy"}
GRAPHS = {"onnx", "onnxslim"}
ARRAYS = {"numpy", "scipy", "numba"}
HEAVY = NETWORKS | FIGURES | TABLES | GRAPHS | ARRAYS

ONE = """
import json, sys
sys.argv = ["bevlite", *json.loads(sys.argv[1])]
from bevlite.cli.main import main
try:
    main()
except SystemExit as stop:
    code = stop.code
print("\\n" + json.dumps({"code": code or 0, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""
ALL_HELPS = """
import json, sys
from typer.main import get_command
from bevlite.cli.main import build_app, main

def paths(command, before=()):
    yield before
    for name, one in getattr(command, "commands", {}).items():
        yield from paths(one, (*before, name))

seen = {}
for path in paths(get_command(build_app())):
    sys.argv = ["bevlite", *path, "--help"]
    try:
        main()
    except SystemExit as stop:
        seen[" ".join(path)] = [stop.code or 0, sorted({name.split(".")[0] for name in sys.modules})]
print("\\n" + json.dumps(seen))
"""


def answer(code: str, *arguments: str) -> Any:
    """The last line that a process printed, read as JSON."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def heavy_of(*words: object, code: int = 0) -> set[str]:
    """What a command imports of HEAVY."""
    found = answer(ONE, json.dumps([str(word) for word in words]))
    assert found["code"] == code
    return HEAVY & set(found["modules"])


@pytest.mark.parametrize("package", ["bevlite", "search", "bevlite.cli.main", "search.cli"])
def test_importing_a_package_is_light(package: str) -> None:
    code = f"import json, sys, {package}; print(json.dumps(sorted(sys.modules)))"
    assert not (HEAVY | {"pydantic", "rich", "yaml"} - ({"rich"} if "cli" in package else set())) & set(answer(code))


def test_every_help_is_light() -> None:
    seen = answer(ALL_HELPS)
    assert {"", "train", "latency calibrate", "device run", "search status", "deploy"} <= set(seen)
    assert {path: code for path, (code, _) in seen.items() if code} == {}
    assert {path: HEAVY & set(modules) for path, (_, modules) in seen.items() if HEAVY & set(modules)} == {}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    run_study(folder, trials=6)
    return folder / "study"


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BEVLITE_DEVICES", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("command", ["status", "best"])
def test_a_study_is_read_without_networks_and_figures(study: Path, command: str) -> None:
    assert heavy_of("search", command, study) == {"numpy", "optuna", "sqlalchemy"}


def test_a_study_is_reported_without_networks(study: Path) -> None:
    assert not heavy_of("search", "report", study) & (NETWORKS | GRAPHS | {"nuscenes", "pandas"})
    assert (study / "winner.yaml").is_file()


@pytest.mark.parametrize(
    "words",
    [("list",), ("add", "desk", "--ssh", "desk"), ("add", "shelf", "--board", "desk"), ("check", "agx-orin-64gb")],
    ids=" ".join,
)
def test_devices_are_listed_without_networks(devices: Path, words: tuple[str, ...]) -> None:
    assert heavy_of("device", *words) <= GRAPHS | ARRAYS


def test_data_are_looked_at_without_networks(world: DataConfig, tmp_path: Path) -> None:
    assert not heavy_of("data", "check", world.root, "--json", tmp_path / "check.json") & (NETWORKS | GRAPHS)
    assert heavy_of("data", "stats", world.root) == {"numpy"}


def test_a_world_is_made_without_networks(tmp_path: Path) -> None:
    words = ("--scenes", 2, "--samples", 2, "--sweeps", 0, "--image-scale", 0.1, "--workers", 1)
    assert not heavy_of("data", "synth", tmp_path / "world", *words) & (NETWORKS | GRAPHS | {"plotly", "pandas"})


@pytest.mark.parametrize("more", ["", "--dla", "--json {0}/report.json --html {0}/page.html"])
def test_a_file_is_predicted_without_networks_and_figures(tmp_path: Path, more: str) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(model([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 3, 8, 8)}, ["y"]), str(file))
    options = more.format(tmp_path).split()
    assert heavy_of("latency", *options, file) == {"onnx", "numpy"}


def test_two_files_are_compared_without_networks_and_figures(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(model([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 3, 8, 8)}, ["y"]), str(file))
    assert heavy_of("latency", "--compare", file, file) == {"onnx", "numpy"}


def test_wrong_input_is_said_before_what_it_would_have_needed(devices: Path) -> None:
    wrong = ("no-such.yaml", "--data", "no-such", "--recipe", "no-such.yaml", "--out", devices / "run")
    assert not heavy_of("train", *wrong, code=2) & (NETWORKS | GRAPHS | TABLES)
    assert not heavy_of("deploy", devices, "--device", "nobody", "--budget-ms", 5, code=2) & (NETWORKS | TABLES)
    assert not heavy_of("device", "check-engine", devices, "--device", "nobody", code=2) & (NETWORKS | TABLES)
    assert not heavy_of("device", "run", "nobody", "net.onnx", code=2) & (NETWORKS | TABLES)
    assert not heavy_of("search", "status", devices, code=2) & (NETWORKS | FIGURES | GRAPHS)
