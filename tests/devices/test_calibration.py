"""Reports of devices as measurements for a calibration: the graph is found, and an emulated one stays emulated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bevlite.cli.main import build_app
from bevlite.devices.calibration import read_evidence
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from bevlite.latency.coefficients import load_calibration
from bevlite.latency.device import find_device
from tests.devices.boards import over_ssh, small_net
from tests.devices.conftest import Served

BOARD = find_device("agx-orin-64gb")


@pytest.fixture
def report(orin_board: Served, tmp_path: Path) -> Path:
    """What `bevlite device run` leaves beside an ONNX file."""
    with over_ssh(orin_board.server) as device:
        found = device.measure({"neck": small_net(tmp_path / "neck.onnx", 7)})
    found.write(tmp_path / "emulated.json")
    return tmp_path / "emulated.json"


def test_a_report_gives_a_row_a_module_with_its_conditions(report: Path, tmp_path: Path) -> None:
    evidence = read_evidence([report], BOARD)
    (row,) = evidence.measurements
    assert evidence.emulated
    assert row.latency_ms == LatencyReport.read(report).modules[0].latency_ms and row.family == "neck"
    assert [kernel.op for kernel in row.kernels] == ["Conv"] and row.top.clock_mhz == 1300.5
    # Another training of the same network is the same graph; another graph is not.
    small_net(tmp_path / "neck.onnx", 8)
    assert len(read_evidence([report], BOARD).measurements) == 1
    small_net(tmp_path / "neck.onnx", 7, last="Sigmoid")
    with pytest.raises(BevliteError, match=r"neck: found its graph \(\w{16}\) in none of 1 ONNX files"):
        read_evidence([report], BOARD)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    small_net(elsewhere / "any.onnx")
    assert len(read_evidence([report], BOARD, [elsewhere]).measurements) == 1


def test_kinds_are_not_mixed(report: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("onnx,latency_ms\nneck.onnx,0.1\n")
    with pytest.raises(BevliteError, match="emulated beside measured"):
        read_evidence([report, tmp_path / "table.csv"], BOARD)
    PredictedDevice(BOARD).measure({"neck": tmp_path / "neck.onnx"}).write(tmp_path / "predicted.json")
    with pytest.raises(BevliteError, match=r"predicted\.json: found a predicted report"):
        read_evidence([tmp_path / "predicted.json"], BOARD)


def test_a_log_says_where_its_graphs_lie_and_a_line_cut_off_is_left_out(report: Path, tmp_path: Path) -> None:
    line = json.dumps({"report": json.loads(report.read_text()), "graph": "graphs/x.onnx"})
    log = tmp_path / "log" / "measurements.jsonl"
    (log.parent / "graphs").mkdir(parents=True)
    small_net(log.parent / "graphs" / "x.onnx")
    log.write_text(f"{line}\n{line[:300]}\n")
    assert len(read_evidence([log], BOARD).measurements) == 1
    log.write_text("{}\n")
    with pytest.raises(BevliteError, match="line 1: found no report and graph"):
        read_evidence([log], BOARD)


def test_an_emulated_calibration_says_so_in_the_file_and_in_every_prediction(report: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    options = ["--reports", str(report), "--device", BOARD.name, "--out", str(out)]
    result = CliRunner().invoke(build_app(), ["latency", "calibrate", *options])
    assert result.exit_code == 0 and "EMULATED" in result.output, result.output
    coefficients = load_calibration(out).coefficients
    assert coefficients.emulated
    predicted = PredictedDevice(BOARD, coefficients=coefficients).measure({"neck": tmp_path / "neck.onnx"})
    assert "+emulated" in str(predicted.predictor) and any("EMULATED" in note for note in predicted.notes)
    plain = PredictedDevice(BOARD).measure({"neck": tmp_path / "neck.onnx"})
    assert "emulated" not in str(plain.predictor) and not any("EMULATED" in note for note in plain.notes)
