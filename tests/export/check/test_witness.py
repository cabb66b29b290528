"""NVIDIA's word on modules: as severe as our own check, said where it is missing, kept with the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from typer.testing import CliRunner

import bevlite
from benchmarks.quantized_graphs import GRAPHS
from bevlite.cli.main import build_app
from bevlite.errors import BevliteError
from bevlite.export.check import witness
from bevlite.export.check.witness import Witness, notes, refusals, wanted, witnesses
from bevlite.export.run import ExportReport
from bevlite.rtx.graph import BuiltGraph, CompilerError
from tests.latency.graphs import conv_relu, model
from tests.rtx.conftest import needs_compiler


def dilated_pool() -> onnx.ModelProto:
    pool = helper.make_node("MaxPool", ["x"], ["y"], name="pool", kernel_shape=[3, 3], dilations=[2, 2])
    return model([pool], {"x": (1, 8, 16, 16)}, ["y"])


def word(verdict: str, *errors: CompilerError, unread: str = "") -> Witness:
    built = BuiltGraph.model_validate(
        {"source": "m", "compiler": "1.7", "capability": "8.6", "verdict": verdict, "unread": unread}
    )
    return Witness("camera", built.model_copy(update={"errors": errors}))


def test_a_refusal_is_a_problem_of_the_export() -> None:
    report = ExportReport("strong", 19, ("10.3",), {}, {})
    error = CompilerError(stage="parse", code="UNSUPPORTED_NODE", node="pool", op="MaxPool", reason="no dilations")
    assert report.problems == []
    report.witnesses = {"camera": word("refused", error)}
    assert report.problems == [
        "NVIDIA's compiler (tensorrt-rtx 1.7, compute capability 8.6) refuses camera: pool (MaxPool): no dilations"
    ]
    kept = report.as_json()["nvidia"]["camera"]
    assert kept["verdict"] == "refused" and kept["errors"][0]["node"] == "pool"


def test_no_verdict_is_no_refusal_and_is_said() -> None:
    crash = CompilerError(stage="parse", code="UNFINISHED", reason="NVIDIA's compiler crashed (SIGSEGV) on m")
    found = word("none", crash)
    assert refusals([found]) == [] and found.words == "no verdict"
    assert notes([found])[1] == "no verdict: camera: NVIDIA's compiler crashed (SIGSEGV) on m"
    assert (
        notes([word("taken", unread="a form that is not known")])[1] == "no verdict: camera: a form that is not known"
    )
    assert notes([]) == []


def test_whether_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "why_missing", lambda: None)
    monkeypatch.setattr(witness, "require", lambda: None)
    assert wanted(None) == (True, "") and wanted("rtx") == (True, "")
    assert wanted("none") == (False, "not checked by NVIDIA's compiler: switched off")
    with pytest.raises(BevliteError, match="--check: found 'trt'; accepted: rtx, none"):
        wanted("trt")
    monkeypatch.setattr(witness, "why_missing", lambda: "not here")
    assert wanted(None) == (False, "not checked by NVIDIA's compiler: not here")

    def refuse() -> None:
        raise BevliteError("not here")

    monkeypatch.setattr(witness, "require", refuse)
    with pytest.raises(BevliteError, match="not here"):
        wanted("rtx")


@needs_compiler
def test_several_modules_at_once(tmp_path: Path) -> None:
    file = tmp_path / "taken.onnx"
    onnx.save(conv_relu(16, 32), file)
    quantized = next(graph for graph in GRAPHS if graph.name == "transposed").make()
    found = witnesses({"taken": file, "refused": dilated_pool(), "quantized": quantized})
    assert list(found) == ["taken", "refused", "quantized"]
    assert found["taken"].words.startswith("taken: ") and found["taken"].int8 == ()
    assert found["refused"].words == "refused" and "pool (MaxPool)" in found["refused"].refusals[0]
    assert found["quantized"].words.endswith("INT8 in 2 of 3 products that ask for it")
    assert any("/up (ConvTranspose) was asked for INT8" in note for note in notes(found.values()))
    kept = found["quantized"].as_json()["int8"]
    assert (kept["asked"], kept["given"], len(kept["denied"])) == (3, 2, 1)


@needs_compiler
def test_the_command_shows_it_for_any_file(tmp_path: Path) -> None:
    taken, refused, page = tmp_path / "taken.onnx", tmp_path / "refused.onnx", tmp_path / "page.html"
    onnx.save(conv_relu(16, 32), taken)
    onnx.save(dilated_pool(), refused)
    app, run = build_app(), CliRunner()
    result = run.invoke(app, ["latency", str(taken), "--check", "rtx", "--html", str(page)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "NVIDIA's compiler (tensorrt-rtx" in result.output and "taken: " in result.output
    assert result.output.count("NVIDIA's compiler") == 1
    assert "NVIDIA&#39;s compiler (tensorrt-rtx" in page.read_text()
    result = run.invoke(app, ["latency", str(refused), "--check", "rtx"], env={"COLUMNS": "200"})
    assert "refused: refused: pool (MaxPool)" in result.output
    assert "warning: NVIDIA's compiler" in result.stderr and "refuses refused: pool (MaxPool)" in result.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--check", "trt"], "--check: found 'trt'; accepted: rtx, none"), (["--check", "rtx", "--dla"], "no --dla")],
)
def test_wrong_uses_of_the_option(more: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "require", lambda: None)
    file = tmp_path / "net.onnx"
    onnx.save(conv_relu(16, 32), file)
    result = CliRunner().invoke(build_app(), ["latency", str(file), *more])
    assert isinstance(result.exception, BevliteError) and said in str(result.exception)


@needs_compiler
def test_weights_in_other_files_are_read_and_not_made_up(tmp_path: Path) -> None:
    """A zero point of 3 in another file: with values of its own making the compiler would take what it refuses."""
    scale, zero = numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(3), "z")
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dq")]  # fmt: skip
    file = tmp_path / "net.onnx"
    quantized = model(nodes, {"x": (1, 8, 16, 16)}, ["y"], [scale, zero])
    onnx.save(quantized, file, save_as_external_data=True, location="net.bin", size_threshold=0)
    result = CliRunner().invoke(build_app(), ["latency", str(file), "--check", "rtx"], env={"COLUMNS": "200"})
    assert "refused: net: q (QuantizeLinear)" in result.output
    (tmp_path / "net.bin").unlink()
    result = CliRunner().invoke(build_app(), ["latency", str(file), "--check", "rtx"])
    assert isinstance(result.exception, BevliteError) and "its values in 'net.bin' cannot be read" in str(
        result.exception
    )


@needs_compiler
def test_from_python(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(conv_relu(16, 32), file)
    assert bevlite.compile_onnx(file).accepted
    report = bevlite.latency(file, check="rtx")
    assert any("net taken: " in note for note in report.notes)
    with pytest.raises(BevliteError, match="seconds: found 0"):
        bevlite.compile_onnx(file, seconds=0)
