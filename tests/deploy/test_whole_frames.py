"""Whole frames of a run: which samples, what is known of them, and what is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bevlite.data.index import load_index
from bevlite.deploy.whole_frames import frames_of_run, time_frames_of_run
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.inference import Chain
from bevlite.devices.pool import BoardPool
from bevlite.devices.report.deploy import Budgets
from bevlite.devices.report.latency import LatencyReport
from bevlite.export.of_run import request_of_run
from bevlite.models.samples import dataset_of
from bevlite.reporting.whole_frames import flight_rows, sentences, step_rows
from bevlite.run_folder import Run
from bevlite.simulation.jetson.board import EmulatedBoard
from tests.deploy.conftest import add_device
from tests.deploy.test_evaluate_engines import call
from tests.devices.boards import over_ssh
from tests.devices.conftest import Served


def test_the_frames_are_samples_of_the_data(run: Run) -> None:
    found = request_of_run(run, "10.3.0")
    given = frames_of_run(run, found, 2)
    assert given.samples.real and given.samples.count == len(given.frames) == 2
    assert given.samples.source == "2 samples of mini_val"
    chain = Chain(found.modules)
    for frame in given.frames:
        chain.frame(frame)  # what the modules take, in shape
    # Counted from the clouds themselves, cell by cell.
    variant, data = run.variant(), run.data()
    assert variant.lidar is not None
    index = load_index(data)
    rows = index.rows_of_split("mini_val")
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, 2).astype(int))]
    grid = variant.lidar.pillars.grid(variant.bev)
    dataset = dataset_of(variant, data.root, index, rows, truth=False)
    pillars = [int((dataset[i]["pillar_index"] > 0).sum()) for i in range(2)]
    counts = given.samples.pillars
    assert counts is not None and (counts.minimum, counts.maximum) == (min(pillars), max(pillars))
    assert counts.median == np.mean(pillars) and counts.p90 == max(pillars)
    points = given.samples.points
    assert points is not None and points.minimum >= counts.minimum
    assert points.maximum <= counts.maximum * grid.max_points


def test_without_data_the_frame_is_made_up_and_said(run: Run, device: BoardDevice) -> None:
    (run.path / "data.yaml").unlink()
    found = time_frames_of_run(device, run, request_of_run(run, "10.3.0", "fp16"), 2)
    assert found.samples is not None and not found.samples.real and found.samples.count == 1
    assert found.one_in_flight is not None and found.samples.pillars is None
    assert any(line.startswith("frames: 1 made up, not real: made-up values") for line in sentences(found))


def test_a_device_without_whole_frames_is_no_error(run: Run, device: BoardDevice) -> None:
    found = time_frames_of_run(BoardPool("lab", [device]), run, request_of_run(run, "10.3.0", "fp16"))
    assert found.why_not == "lab times no whole frames" and {step.status for step in found.steps} == {"missing"}


def test_the_command_shows_every_step_and_what_is_missing(run: Run, device: BoardDevice, served: Served) -> None:
    add_device(served, "desk")
    code, output = call("device", "run", "desk", run.path, "--samples", 2)
    report = LatencyReport.read(run.path / "latency/desk.json")
    found = report.end_to_end
    assert code == 0 and found is not None and found.one_in_flight is not None
    for name, figure, _ in step_rows(found):
        assert name in output and figure in output
    assert "end to end: not in any figure: pillarisation, decoding" in output
    assert "first frame after loading" in output and "2 real: 2 samples of mini_val" in output
    assert "more than the sum of the engines' medians alone" in output
    assert all(row[0] in output and row[1] in output for row in flight_rows(found))
    code, output = call("device", "run", "desk", run.path, "--no-end-to-end")
    assert code == 0 and "end to end" not in output
    assert LatencyReport.read(run.path / "latency/desk.json").end_to_end is None


@pytest.fixture
def plain(tmp_path: Path) -> EmulatedBoard:
    return EmulatedBoard.create(tmp_path / "plain", time_scale=0.01, python_api=False)


def test_where_trtexec_is_all_there_is_the_reason_stands_at_the_limit(run: Run, plain: EmulatedBoard) -> None:
    from bevlite.deploy.deploy import deploy

    with plain.serve() as server, over_ssh(server, "plain") as device:
        report = deploy(run.path, device, Budgets(latency_ms=1000.0, fps=1.0, memory_mb=1000.0))
    golden = report.engine.golden
    assert golden is not None and golden.good and golden.runner == "trtexec"
    reason = (
        "whole frames not measured: its Python cannot load tensorrt or libcuda: "
        "ModuleNotFoundError: No module named 'tensorrt' (sudo apt install python3-libnvinfer)"
    )
    assert all(reason in row.basis for row in report.limits[:2])
    assert report.limits[2].basis == "sum of engines and contexts" and report.limits[0].met
    page = (run.path / "deploy/plain/report.html").read_text()
    assert "end to end: not measured: its Python cannot load tensorrt" in page and page.count(">missing<") == 4
