from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import helper

from bevlite.devices.predicted import PredictedDevice
from bevlite.export.on_dla import predict_on_dla
from bevlite.export.request import Request
from bevlite.latency.device import find_device
from bevlite.reporting.latency_files import write_comparison, write_dla
from tests.latency.graphs import model, weight
from tests.reporting.reports import kernel, report
from tests.reporting.test_latency_page import Structure


def test_a_comparison_in_files_says_what_the_terminal_says(tmp_path: Path) -> None:
    """1 + 1 ms against 5 + 1: +4 ms, three times as slow; conditions that differ stand beside each other."""
    first = report({"m": [kernel("k", 1)], "n": []}, {"decoding": 1.0}, precision="int8")
    second = report({"m": [kernel("k", 5)], "n": []}, {"decoding": 1.0})
    files = tmp_path / "both.json", tmp_path / "both.html"
    write_comparison(first, second, ("a", "b"), *files)
    data, page = json.loads(files[0].read_text()), Structure(files[1].read_text())
    assert data["difference_ms"] == pytest.approx(4.0)
    assert (data["a"]["total_ms"], data["b"]["total_ms"]) == (2.0, 6.0)
    assert [row[0] for row in data["tables"][0]["rows"]] == ["m", "n", "decoding (published)"]
    assert "difference B - A: +4.00 ms, B / A 3.00" in page.text and page.open == []
    assert "precision int8 / fp16" in page.text and "m 1.000 5.000 +4.000 5.00" in page.text


def test_a_dla_in_files_names_what_falls_back(tmp_path: Path) -> None:
    """Erf is on no list of NVIDIA's; the convolution before it stays."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "/conv"), helper.make_node("Erf", ["y"], ["z"], "/erf")]
    made = model(nodes, {"x": (1, 8, 32, 32)}, ["z"], [weight("w", 16, 8, 1, 1)])
    found = predict_on_dla(Request({"net": made}, None, "int8"), PredictedDevice(find_device("agx-orin-64gb")))
    files = tmp_path / "dla.json", tmp_path / "dla.html"
    write_dla(found.dla, found.gpu, "net", *files)
    data, page = json.loads(files[0].read_text())["modules"]["net"], Structure(files[1].read_text())
    assert data["latency_ms"] == pytest.approx(data["dla_ms"] + data["gpu_ms"] + data["crossing_ms"])
    assert {node["name"]: node["unit"] for node in data["nodes"]} == {"/conv": "DLA", "/erf": "GPU"}
    assert page.open == [] and "Erf 1 /erf ONNX operator Erf is not in NVIDIA's list" in page.text
