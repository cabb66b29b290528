"""What else would make a network fit: networks that can be, with the milliseconds that they are predicted to take."""

from __future__ import annotations

import pytest

import bevlite
from bevlite.api.predicting import predicted_board
from bevlite.compression.advice import ways_out
from bevlite.variant import changed
from tests.tiny import lidar_only, tiny


def test_each_way_is_a_network_that_is_predicted() -> None:
    variant = tiny(camera={"images": {"height": 256, "width": 704}})
    said = ways_out(variant, predicted_board("agx-orin-64gb", "", "10.3", ""))
    ms = {line.split(": ")[0]: float(line.split(": ")[1].split(" ms")[0]) for line in said}
    smaller = changed(variant, ["camera.images.height=192", "camera.images.width=512"])
    name = "images of 192 x 512 instead of 256 x 704"
    assert ms[name] == pytest.approx(bevlite.latency(smaller).total_ms, abs=0.06)
    assert {"without the task detection", "without the task occupancy", name} <= set(ms)
    whole = bevlite.latency(variant)
    of = {row.name: row.latency_ms for row in whole.modules}
    streams = min(of["camera"] + of["view_transform"], of["lidar"])
    assert ms["camera and LiDAR streams on two boards"] == pytest.approx(whole.total_ms - streams, abs=0.06)


def test_one_sensor_and_one_task_have_none() -> None:
    assert ways_out(lidar_only(), predicted_board("agx-orin-64gb", "", "10.3", "")) == []
