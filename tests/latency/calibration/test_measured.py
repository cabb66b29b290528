"""Measured latencies in CSV files."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from bevlite.errors import BevliteError
from bevlite.latency.calibration.fitting import predict_ms
from bevlite.latency.calibration.measured import read_reports
from bevlite.latency.coefficients import DEFAULT
from bevlite.latency.device import find_device
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.predictor import predict_onnx
from tests.latency.graphs import conv_relu

BOARD = find_device("agx-orin-64gb")
TOP = ceilings(BOARD, cuda_graph=False)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    onnx.save(conv_relu(), str(tmp_path / "net.onnx"))
    file = tmp_path / "report.csv"
    file.write_text("onnx,latency_ms,cuda_graph,family\nnet.onnx,0.25,no,mine\n")
    return file


def test_reports_are_read(report: Path) -> None:
    (row,) = read_reports([report], BOARD)
    assert (row.latency_ms, row.family, row.network) == (0.25, "mine", "net")
    assert row.top == TOP
    expected = predict_onnx(report.parent / "net.onnx", BOARD, cuda_graph=False).latency_ms
    assert predict_ms([row], DEFAULT)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("onnx,speed\nnet.onnx,1\n", "found column 'speed'; accepted: onnx, latency_ms"),
        ("onnx\nnet.onnx\n", "column 'latency_ms' is missing"),
        ("onnx,latency_ms\nnet.onnx,fast\n", r"line 2: latency_ms: found 'fast'; accepted: a positive number"),
        ("onnx,latency_ms\nnet.onnx,-1\n", r"line 2: latency_ms: found '-1'"),
        ("onnx,latency_ms\nnone.onnx,1\n", "line 2: .*none.onnx: no such file"),
        ("onnx,latency_ms,cuda_graph\nnet.onnx,1,maybe\n", "cuda_graph: found 'maybe'; accepted: yes, no"),
        ("onnx,latency_ms,precision\nnet.onnx,1,fp8\n", "line 2: .*found 'fp8'"),
        ("onnx,latency_ms\n", "found no row"),
    ],
)
def test_bad_reports_are_one_line(report: Path, content: str, expected: str) -> None:
    report.write_text(content)
    with pytest.raises(BevliteError, match=expected) as caught:
        read_reports([report], BOARD)
    assert "\n" not in str(caught.value) and "report.csv" in str(caught.value)
