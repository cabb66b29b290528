"""The command line as a user meets it: tables and files, one line for what can be mended, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import helper

from bevlite.cli.main import completed, main
from bevlite.config import to_yaml
from bevlite.data.config import DataConfig
from bevlite.variant import load_variant
from tests.latency.graphs import model
from tests.test_architecture import ROOT
from tests.tiny import TINY, lidar_only, short_recipe
from tests.waits import PATIENCE_S, wait_until

STEPS = 6 // 2
COMMAND = [sys.executable, "-c", "from bevlite.cli.main import main; main()"]


@pytest.fixture
def bevlite(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bevlite", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(to_yaml(TINY))
    (folder / "lidar.yaml").write_text(to_yaml(lidar_only()))
    (folder / "recipe.yaml").write_text(to_yaml(short_recipe()))
    (folder / "recipe.txt").write_text(to_yaml(short_recipe()))
    onnx.save(model([helper.make_node("Relu", ["x"], ["y"])], {"x": ("n", 3)}, ["y"]), str(folder / "dynamic.onnx"))
    return folder


def test_version_and_help(bevlite) -> None:  # type: ignore[no-untyped-def]
    assert bevlite("--version")[:2] == (0, "bevlite 0.1.0\n")
    code, out, _ = bevlite("--help")
    assert code == 0 and all(word in out for word in ("train", "eval", "export", "variant", "data", "search"))


def test_variant_show(bevlite, files: Path) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = bevlite("variant", "show", files / "tiny.yaml", "--set", "fusion.channels=20")
    variant = load_variant(files / "tiny.yaml", ["fusion.channels=20"])
    assert code == 0 and variant.hash in out and "fusion_heads" in out
    copy = files / "shown.yaml"
    copy.write_text(out[: out.index(next(line for line in out.splitlines() if variant.hash in line))])
    assert load_variant(copy).hash == variant.hash  # what is shown can be used as it stands


BAD = [
    (("variant", "show", "absent.yaml"), "no such file"),
    (("variant", "show", "{f}/tiny.yaml", "--set", "camera.backbone.depth=19"), "camera.backbone.depth: found 19"),
    (("variant", "show", "{f}/tiny.yaml", "--set", "rubbish"), "accepted: a.b=c"),
    (("eval", "{f}"), "not a run folder"),
    (("eval", "{f}", "--backend", "magic"), "--backend: found 'magic'; accepted: torch, onnx"),
    (("export", "{f}"), "not a run folder"),
    (("export", "{f}", "--tensorrt", "7"), "--tensorrt: found '7'; accepted: 8.5"),
    (("show", "{f}", "--out", "{f}/x.png"), "not a run folder"),
    (("latency",), "found no network"),
    (("latency", "{f}/dynamic.onnx"), "input 'x' dimension 0 ('n') is dynamic; accepted: static shapes, for example"),
    (("latency", "{f}/dynamic.onnx", "--shape", "y=1x3"), "found input 'y'; accepted: x"),
    (("latency", "{f}/dynamic.onnx", "--shape", "1x4"), "accepted: 3 in dimension 1, which the file fixes"),
    (("latency", "{f}/tiny.yaml", "--shape", "1x3"), "tiny.yaml has static shapes; accepted: with an ONNX file"),
    (("latency", "--compare", "{f}/tiny.yaml", "{f}/lidar.yaml", "--shape", "1x3"), "accepted: with an ONNX file"),
    (("latency", "{f}/recipe.txt"), "not a readable ONNX file"),
    (
        ("train", "{f}/lidar.yaml", "--data", "{f}/absent", "--recipe", "{f}/recipe.yaml", "--out", "{f}/r"),
        "no such data",
    ),
    (
        (
            "train",
            "{f}/lidar.yaml",
            "--data",
            "{f}",
            "--recipe",
            "{f}/recipe.yaml",
            "--out",
            "{f}/r",
            "--init",
            "lidar",
        ),
        "--init: found 'lidar'; accepted: STREAM=RUN",
    ),
    (
        (
            "train",
            "{f}/lidar.yaml",
            "--data",
            "{f}",
            "--recipe",
            "{f}/recipe.yaml",
            "--out",
            "{f}/r",
            "--resume",
            "yes",
        ),
        "--resume: found 'yes'; accepted: auto",
    ),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda v: " ".join(v)[:40] if isinstance(v, tuple) else "")
def test_wrong_input_is_one_line_and_exit_2(bevlite, files: Path, arguments: tuple, words: str) -> None:  # type: ignore[no-untyped-def]
    code, out, err = bevlite(*(a.format(f=files) for a in arguments))
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n") and "Traceback" not in err
    assert words in err, err


def test_an_onnx_file_is_predicted_without_torch(files: Path) -> None:
    """Torch takes seconds to import, and a plain file needs none of it."""
    words = ["latency", str(files / "dynamic.onnx"), "--shape", "1x3", "--html", str(files / "page.html")]
    code = (
        f"import sys; sys.argv = ['bevlite', *{words!r}]\nfrom bevlite.cli.main import main\n"
        "try: main()\nfinally: print(sorted({'torch', 'onnxruntime', 'plotly', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]" and "predicted" in done.stdout


def test_unknown_command_and_option(bevlite) -> None:  # type: ignore[no-untyped-def]
    for arguments in (("tarin",), ("eval",), ("variant", "show", "--colour")):
        code, _, err = bevlite(*arguments)
        assert code == 2 and "Traceback" not in err and err


def test_ctrl_c_then_resume_then_score(bevlite, world: DataConfig, files: Path) -> None:  # type: ignore[no-untyped-def]
    run = files / "run"
    arguments = [
        "train", files / "lidar.yaml", "--data", world.root, "--recipe", files / "recipe.yaml", "--out", run,
        "--no-evaluate", "--resume", "auto",
    ]  # fmt: skip
    long = [*map(str, arguments), "--set-recipe", "epochs=100000"]
    process = subprocess.Popen([*COMMAND, *long], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until((run / "checkpoints" / "last.safetensors").is_file, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in err
    assert err.splitlines()[-1].startswith("stopped; nothing that was finished is lost. Go on with: bevlite train ")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["network", "data", "device", "epochs", "epoch"], out
    assert "tiny-lidar" in lines[0] and "6 samples of" in lines[1] and "100000 of 3 steps" in lines[3]
    assert lines[4].startswith("epoch 1/100000 ") and " to go)" in lines[4]
    done = json.loads((run / "checkpoints" / "float.json").read_text())["epoch"]
    assert 1 <= done < 100000
    code, out, err = bevlite(*arguments, "--set-recipe", f"epochs={done + 1}")
    assert code == 0, err
    meta = json.loads((run / "checkpoints" / "float.json").read_text())
    assert (meta["epoch"], meta["step"]) == (done + 1, STEPS * (done + 1))
    code, out, _ = bevlite("eval", run, "--json", files / "eval.json")
    assert code == 0 and "NDS" in out and "pedestrian" in out
    metrics = json.loads((run / "eval" / "mini_val-torch" / "metrics.json").read_text())
    assert metrics["samples"] == 3 and 0 <= metrics["NDS"] <= 1
    assert json.loads((run / "ledger.json").read_text())["float"]["NDS"] == metrics["NDS"]
    written = json.loads((files / "eval.json").read_text())
    assert written["figures"]["NDS"] == metrics["NDS"] and written["figures"]["mATE_m"] == metrics["mATE"]
    code, _, err = bevlite("eval", run, "--split", "test")
    assert code == 2 and err.count("\n") == 1 and "holds no scene of it" in err
    code, _, err = bevlite("eval", run, "--backend", "onnx")
    assert code == 2 and "holds no exported modules" in err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["train", "v.yaml", "--resume"], ["train", "v.yaml", "--resume", "auto"]),
        (["train", "--resume", "--out", "r"], ["train", "--resume", "auto", "--out", "r"]),
        (["train", "--resume", "auto", "v.yaml"], ["train", "--resume", "auto", "v.yaml"]),
        ([], []),
    ],
)
def test_resume_alone_is_resume_auto(words: list[str], found: list[str]) -> None:
    assert completed(words) == found


def test_the_package_is_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "bevlite", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stdout.startswith("bevlite ")


@pytest.mark.parametrize("name", [".", "..", ""])
def test_a_name_is_more_than_dots(bevlite, files: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    code, _, err = bevlite("variant", "show", "configs/variants/demo.yaml", "--set", f"name='{name}'")
    assert code == 2 and "name: found" in err and err.count("\n") == 1
