"""Bad input through the command line: one line on stderr, the right exit code, and nothing that was finished lost."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bevlite import run_folder
from bevlite.cli.main import main
from bevlite.run_folder import Run
from bevlite.simulation.world.generate import generate_world
from bevlite.training import checkpoints
from tests.waits import PATIENCE_S, wait_until

CONFIGS = Path(__file__).parents[1] / "configs"
VARIANT = str(CONFIGS / "variants" / "demo.yaml")
RECIPE = str(CONFIGS / "recipes" / "demo.yaml")
SMALL = ["--set", "camera=null", "--set", "lidar.backbone.channels=[16, 16]", "--set", "lidar.pillars.max_points=4"]

Refuse = Callable[..., str]
TABLES = "v1.0-mini"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bad_input") / "world"
    generate_world(root, scenes=2, samples=2, sweeps=0, image_scale=0.25, workers=1)
    return root


@pytest.fixture(scope="module")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad_input_run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEVLITE_CACHE", str(folder / "cache"))
        assert call(patch, *train_words(world, folder / "run")) == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEVLITE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world, tmp_path / "world"))


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def train_words(data: Path, out: Path, *more: str, workers: int = 0) -> list[str]:
    recipe = ["--recipe", RECIPE, "--set-recipe", "epochs=1", "--set-recipe", f"workers={workers}"]
    return ["train", VARIANT, "--data", str(data), *recipe, *SMALL, "--no-evaluate", "--out", str(out), *more]


def call(patch: pytest.MonkeyPatch, *words: str) -> int:
    patch.setattr(sys, "argv", ["bevlite", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(str(stop.value.code))


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refuse:
    """Run a command that must fail: the one line on stderr."""

    def function(*words: str, code: int = 2) -> str:
        capfd.readouterr()
        assert call(monkeypatch, *words) == code
        lines = capfd.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and "Traceback" not in lines[0], lines
        return lines[0]

    return function


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--set", "lidar.swepes=3"], r"lidar\.swepes: unknown key \(did you mean 'sweeps'\?\)"),
        (["--set", "lidar.sweeps=many"], r"lidar\.sweeps: found 'many'"),
        (["--set-recipe", "epochs=x"], r"epochs: found 'x'"),
        (["--resume", "yes"], r"--resume: found 'yes'; accepted: auto"),
        (["--init", "lidar=nowhere"], r"nowhere/checkpoints/float\.safetensors: no such checkpoint"),
        (["--data", "nowhere"], r"nowhere: no such data root"),
    ],
)
def test_bad_settings(world: Path, tmp_path: Path, refuse: Refuse, more: list[str], expected: str) -> None:
    assert re.search(expected, refuse(*train_words(world, tmp_path / "run"), *more))


def test_limits_that_are_no_numbers(refuse: Refuse) -> None:
    line = refuse("deploy", "nowhere", "--device", "absent", "--budget-ms", "60", "--min-fps", "inf")
    assert line == "error: limits of bevlite deploy: fps: found Infinity; accepted: a finite number"


@pytest.mark.parametrize("content", ['[{"a":', '{"a": 1}', None])
def test_bad_tables(root: Path, tmp_path: Path, refuse: Refuse, content: str | None) -> None:
    table = root / TABLES / "ego_pose.json"
    table.unlink()
    if content is not None:
        table.write_text(content)
    line = refuse(*train_words(root, tmp_path / "run"))
    assert "the nuScenes tables cannot be read" in line and f"bevlite data check {root}" in line


def test_no_tables(tmp_path: Path, refuse: Refuse) -> None:
    assert "holds no nuScenes tables" in refuse(*train_words(tmp_path, tmp_path / "run"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\0" * 41, "truncated (41 bytes"),
        (b"", "is empty"),
        (np.full(5, np.nan, np.float32).tobytes(), "NaN"),
        (None, "is missing"),
    ],
)
def test_bad_points_reach_the_screen_from_a_loader_process(
    root: Path, tmp_path: Path, refuse: Refuse, content: bytes | None, expected: str
) -> None:
    for cloud in root.glob("samples/LIDAR_TOP/*"):
        cloud.unlink()
        if content is not None:
            cloud.write_bytes(content)
    line = refuse(*train_words(root, tmp_path / "run", workers=1))
    assert line.startswith(f"error: {root}/samples/LIDAR_TOP/") and expected in line


def test_points_out_of_range_and_a_sample_without_boxes_are_trained_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.full((4, 5), 5000, np.float32).tofile(next(root.glob("samples/LIDAR_TOP/*scene-0061*")))
    file = root / TABLES / "sample_annotation.json"
    rows = json.loads(file.read_text())
    rows = [{**row, "prev": "", "next": ""} for row in rows if row["sample_token"] != rows[0]["sample_token"]]
    file.write_text(json.dumps(rows))
    assert call(monkeypatch, *train_words(root, tmp_path / "run")) == 0


def test_no_boxes_at_all_and_nan_boxes(root: Path, tmp_path: Path, refuse: Refuse) -> None:
    file = root / TABLES / "sample_annotation.json"
    rows = json.loads(file.read_text())
    rows[0]["translation"][0] = float("nan")
    file.write_text(json.dumps(rows))
    line = refuse(*train_words(root, tmp_path / "run"))
    assert "sample_annotation.json: translation: found [nan, " in line and f"in row '{rows[0]['token']}'" in line
    file.write_text("[]")
    assert "no sample of split 'mini_train' has a box" in refuse(*train_words(root, tmp_path / "run"))


def test_nan_loss_names_the_batch_and_keeps_the_checkpoint(run: Path, world: Path, refuse: Refuse) -> None:
    before = Run(run).weights_file().read_bytes()
    more = ["--resume", "auto"]
    for setting in ("epochs=5", "learning_rate=1.0e+15", "warmup_steps=0"):
        more += ["--set-recipe", setting]
    # The training state holds the old rate: without it the run starts anew in the same folder.
    (run / "checkpoints" / "last.safetensors").unlink()
    line = refuse(*train_words(world, run, *more))
    assert "the loss is" in line and "batch of samples" in line and "last good checkpoint is kept" in line
    assert Run(run).weights_file().read_bytes() == before


def test_full_disk_in_training(run: Path, world: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    real = run_folder.write_atomic

    def full(path: Path, content: str | bytes) -> None:
        if path.parent.name != "checkpoints":
            return real(path, content)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    before = {file.name: file.read_bytes() for file in (run / "checkpoints").iterdir()}
    monkeypatch.setattr(checkpoints, "write_atomic", full)
    monkeypatch.setattr(run_folder, "write_atomic", full)
    line = refuse(*train_words(world, run, "--resume", "auto", "--set-recipe", "epochs=2"))
    assert line.startswith("error: No space left on device: ") and "nothing that was finished before is lost" in line
    assert {file.name: file.read_bytes() for file in (run / "checkpoints").iterdir()} == before


def test_truncated_training_state(run: Path, world: Path, refuse: Refuse) -> None:
    file = run / "checkpoints" / "last.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    line = refuse(*train_words(world, run, "--resume", "auto", "--set-recipe", "epochs=2"))
    assert "the training state cannot be read" in line


def test_unusable_runs(run: Path, world: Path, tmp_path: Path, refuse: Refuse) -> None:
    assert "holds a run already; accepted: --resume auto" in refuse(*train_words(world, run))
    assert "split: found 'nope'" in refuse("eval", str(run), "--split", "nope")
    assert "holds no scene of it" in refuse("eval", str(run), "--split", "test")
    assert "--backend: found 'trt'" in refuse("eval", str(run), "--backend", "trt")
    assert "holds no exported modules" in refuse("eval", str(run), "--backend", "onnx")
    variant = run / "variant.yaml"
    text = variant.read_text()
    variant.write_text(text.replace("max_points: 4", "max_points: 5"))
    for command in ("eval", "export"):
        assert "a checkpoint of another network" in refuse(command, str(run))
    variant.write_text(text)
    weights = Run(run).weights_file()
    weights.write_bytes(b"\xff" * 100)
    assert "the checkpoint cannot be read" in refuse("eval", str(run))
    shutil.rmtree(weights.parent)
    assert "no such checkpoint" in refuse("export", str(run))
    assert "not a run folder" in refuse("export", str(tmp_path / "nope"))


def _onnx(file: Path, op: str, shape: list[int | str], domain: str = "") -> str:
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], domain=domain)], "g", tensors[:1], tensors[1:])
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    onnx.save(helper.make_model(graph, opset_imports=opsets), file)
    return str(file)


def test_latency_of_bad_files(tmp_path: Path, refuse: Refuse) -> None:
    assert "no such file" in refuse("latency", str(tmp_path / "nope.onnx"))
    corrupt = tmp_path / "corrupt.onnx"
    corrupt.write_bytes(b"\xff\x00" * 1000)
    assert "not a readable ONNX file" in refuse("latency", str(corrupt))
    dynamic = _onnx(tmp_path / "dynamic.onnx", "Relu", ["N", 3])
    assert "is dynamic; accepted: static shapes" in refuse("latency", dynamic)
    custom = _onnx(tmp_path / "custom.onnx", "MyOp", [1, 3], "mine")
    assert "TensorRT 10.3 does not take MyOp" in refuse("latency", custom, code=0)


def test_the_command_line_itself(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "nope") == 2 and "No such command 'nope'" in capfd.readouterr().err
    assert call(monkeypatch, "data", "check") == 2 and "Traceback" not in capfd.readouterr().err
    assert call(monkeypatch, "--version") == 0


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from bevlite.cli.main import build_app; build_app()\n"
        "print([m for m in ('torch', 'onnx', 'numpy', 'lightning', 'optuna') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# Stops after a few images, so that a slow start of the test that interrupts it cannot find the world made.
HOLD_IMAGES = """
import time
from PIL import Image
save, saved = Image.Image.save, []
def held(*arguments, **options):
    save(*arguments, **options)
    saved.append(1)
    if len(saved) == 3:
        time.sleep(3600)
Image.Image.save = held
"""


def _interrupt(words: list[str], ready: Callable[[], bool], log: Path, before: str = "") -> str:
    """Start a command, press Ctrl-C (for its whole group, as a terminal does) once `ready`: what it printed."""
    code = f"{before}\nfrom bevlite.cli.main import main; main()"
    with log.open("w") as stream:
        child = subprocess.Popen(
            [sys.executable, "-c", code, *words], stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            wait_until(ready, child)
            os.killpg(child.pid, signal.SIGINT)
            assert child.wait(timeout=PATIENCE_S) == 130, log.read_text()
        finally:
            child.kill()
    text = log.read_text()
    last, wanted = text.strip().splitlines()[-1], "stopped; nothing that was finished is lost. Go on with: bevlite "
    assert "Traceback" not in text and last.startswith(wanted)
    return text


def test_ctrl_c_in_training_and_going_on(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, words = tmp_path / "run", ["--set-recipe", "epochs=100000", "--set-recipe", "save_every_s=0"]
    metrics = out / "metrics.jsonl"
    _interrupt(train_words(world, out, *words, workers=1), metrics.is_file, tmp_path / "log")
    done = Run(out).weights_meta()["epoch"]
    assert call(monkeypatch, *train_words(world, out, "--resume", "auto", "--set-recipe", f"epochs={done + 1}")) == 0
    assert Run(out).weights_meta()["epoch"] == done + 1


def test_ctrl_c_in_making_a_world_and_going_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "made"
    words = ["data", "synth", str(out), "--scenes", "2", "--samples", "2", "--sweeps", "0", "--image-scale", "0.1"]
    two = [*words, "--workers", "2"]
    _interrupt(two, lambda: any(out.glob("samples/*/*.jpg")), tmp_path / "log", before=HOLD_IMAGES)
    assert call(monkeypatch, *words) == 0 and (out / TABLES / "sample.json").is_file()
    assert not list(out.rglob("*.part"))
