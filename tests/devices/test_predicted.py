from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import typer
from click.testing import Result
from pydantic import ValidationError
from typer.testing import CliRunner

from bevlite.cli.latency import register
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report import LatencyReport
from bevlite.errors import BevliteError
from bevlite.latency.device import find_device
from bevlite.latency.pipeline import steps_for
from tests.latency.graphs import conv_relu

DEVICE = PredictedDevice(find_device("agx-orin-64gb"))


def test_total_is_the_sum_of_modules_and_steps(tmp_path: Path) -> None:
    steps = steps_for(cameras=6, sweeps=10, detection=True)
    report = DEVICE.measure({"camera": conv_relu(), "heads": conv_relu(32)}, steps)
    parts = [r.latency_ms for r in (*report.modules, *report.pipeline)]
    assert report.total_ms == pytest.approx(sum(parts))
    assert sum(s.latency_ms for s in report.pipeline) == pytest.approx(2.816 + 1.36 + 1.065)
    assert report.lower_ms < report.total_ms < report.upper_ms
    report.write(tmp_path / "r.json")
    assert LatencyReport.read(tmp_path / "r.json") == report
    assert all(row.source for row in report.pipeline)


def test_a_prediction_cannot_be_passed_off_as_a_measurement(tmp_path: Path) -> None:
    report = DEVICE.measure({"m": conv_relu()})
    assert report.kind == "predicted" and report.predictor
    with pytest.raises(BevliteError, match="predicted latency report"):
        report.require_measured()
    data = report.model_dump(mode="json") | {"kind": "measured"}
    with pytest.raises(ValidationError, match="measured"):
        LatencyReport.model_validate(data)
    (tmp_path / "forged.json").write_text(json.dumps(data))
    with pytest.raises(BevliteError, match=r"forged\.json"):
        LatencyReport.read(tmp_path / "forged.json")
    measured = data | {"predictor": None, "samples_ms": [1.0, 1.1]}
    assert LatencyReport.model_validate(measured).require_measured().samples_ms == (1.0, 1.1)


def test_no_modules_and_unreadable_reports(tmp_path: Path) -> None:
    with pytest.raises(BevliteError, match="no ONNX modules"):
        DEVICE.measure({})
    with pytest.raises(BevliteError, match="no such file"):
        LatencyReport.read(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{half")
    with pytest.raises(BevliteError, match=r"bad\.json"):
        LatencyReport.read(tmp_path / "bad.json")


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["latency", *arguments])


def test_command_line_prints_and_writes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(conv_relu(), str(path))
    result = invoke(str(path), "--precision", "int8", "--json", str(tmp_path / "r.json"))
    assert result.exit_code == 0, result.output
    assert "predicted" in result.output and "measured" not in result.output
    report = LatencyReport.read(tmp_path / "r.json")
    assert report.precision == "int8" and any("Q/DQ" in note for note in report.notes)
    assert "conv" in result.output


def test_command_line_on_a_run_folder(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    onnx.save(conv_relu(), str(tmp_path / "onnx" / "camera.onnx"))
    result = invoke(str(tmp_path))
    assert result.exit_code == 0 and "camera" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["absent.onnx"],
        ["{file}", "--device", "orin-mega"],
        ["{file}", "--precision", "fp8"],
        ["{file}", "--tensorrt", "new"],
        ["{file}", "--power-mode", "1W"],
        ["{folder}"],
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    onnx.save(conv_relu(), str(tmp_path / "m.onnx"))
    result = invoke(*(a.format(file=tmp_path / "m.onnx", folder=tmp_path) for a in arguments))
    assert isinstance(result.exception, BevliteError) and result.exception.exit_code == 2
    assert "\n" not in str(result.exception) and "accepted" in str(result.exception)
