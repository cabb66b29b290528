"""Intervals of a monitor run: what is put to them, when something breaks, and what is left on a full disk."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from bevlite.agent.system import conditions, power
from bevlite.board import monitor
from bevlite.board.curves import write_page
from bevlite.board.fit import fits
from bevlite.board.promises import figures_of, kept
from bevlite.board.start import LINE


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A board whose sensors say what the test wants."""
    state = SimpleNamespace(watts=20.0, mhz=1300.0, heat=60.0, events=0)

    class Sampler:
        source = "ina3221"

        def __init__(self, interval_s: float) -> None: ...
        def start(self) -> None: ...
        def stop(self) -> None: ...
        def take(self) -> None: ...
        def drain(self) -> list[power.Sample]:
            return [power.Sample(0.0, {"VDD_IN": state.watts}, state.mhz, state.heat)] * 3

    monkeypatch.setattr(power, "Sampler", Sampler)
    monkeypatch.setattr(conditions, "throttle_events", lambda: state.events)
    monkeypatch.setattr(conditions, "temperatures", lambda: {"tj": state.heat})
    monkeypatch.setattr(conditions, "gpu_clock", lambda: None)
    monkeypatch.setattr(conditions, "memory_free_mb", lambda: 1000.0)
    return state


def _line(at: float, p99: float = 30.0) -> str:
    latency = {"p50": p99 - 1, "p90": p99, "p95": p99, "p99": p99, "max": p99 + 1}
    row = {"at_s": at, "frames": 10, "fps": 10.0, "latency_ms": latency, "steps_ms": {}, "notes": []}
    return LINE + json.dumps(row) + "\n"


def test_the_moment_something_broke(board: SimpleNamespace, tmp_path: Path) -> None:
    limits = {"latency_ms": 40.0, "power_w": 30.0, "fps": 5.0}
    recorder = monitor.Recorder(limits, str(tmp_path / "m.jsonl"))
    recorder.on_line("[TRT] [W] something else\n")
    recorder.on_line(_line(1.0))
    recorder.on_line(_line(2.0, p99=50.0))
    recorder.on_line(_line(3.0, p99=51.0))  # still broken: no second event
    board.mhz, board.events = 800.0, 2
    recorder.on_line(_line(4.0))
    board.watts, board.heat, board.mhz = 35.0, 99.0, 1300.0
    recorder.on_line(_line(5.0))
    recorder.close()
    assert [(event["at_s"], event["what"]) for event in recorder.events] == [
        (2.0, "P99 of the latency 50.000 ms, limit 40 ms"),
        (4.0, "the board throttled: 2 over-current events"),
        (4.0, "the board throttled: the GPU clock fell from 1300 to 800 MHz"),
        (5.0, "power 35.000 W, limit 30 W"),
        (5.0, "99 C (accepted: 95 C)"),
    ]
    rows = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [row["at_s"] for row in rows] == [1, 2, 3, 4, 5] and rows[4]["power_w"] == 35.0
    assert rows[3]["gpu_mhz"] == 800.0 and rows[0]["memory_free_mb"] == 1000.0 and rows[0]["events"] == []
    page = tmp_path / "m.html"
    write_page(str(page), "winner, <emulated>", recorder.rows, recorder.events, limits)
    text = page.read_text()
    assert "winner, &lt;emulated&gt;" in text and text.count("<polyline") == 8 + 3 and "limit 40 ms" in text
    drawn = [ElementTree.fromstring(part + "</svg>") for part in re.findall(r"(<svg.*?)</svg>", text)]
    ends = [float(n) for svg in drawn for line in svg.iter("polyline") for n in re.split("[ ,]", line.attrib["points"])]
    assert len(drawn) == 6 and min(ends) >= 0 and max(ends) <= 900.0, "curves stay inside their charts"
    assert "http" not in text.replace("http-equiv", ""), "nothing is loaded from a network"


def test_a_full_disk_ends_it_with_what_was_written(board: SimpleNamespace) -> None:
    recorder = monitor.Recorder({}, "/dev/full")
    with pytest.raises(OSError, match="No space left"):
        recorder.on_line(_line(1.0))
    assert len(recorder.rows) == 1, "the page can still be drawn"


def test_promises_and_limits() -> None:
    run = {"one": {"latency_ms": [float(n) for n in range(1, 101)], "seconds": 5.0}, "memory_mb": 7.0}
    found = figures_of({"runs": [run, run], "power": {"one": {"module_w": 21.0}}})
    assert found == {"latency_p50_ms": 50.5, "latency_p99_ms": 99.0, "memory_mb": 7.0, "fps": 20.0, "power_w": 21.0}
    promise: dict[str, Any] = {
        "kind": "measured",
        "margin": 0.05,
        "figures": {
            "latency_p50_ms": {"value": 50.0, "unit": "ms"},
            "latency_p99_ms": {"value": 80.0, "unit": "ms"},
            "memory_mb": {"value": 5.0, "upper": 8.0, "unit": "MB"},
        },
    }
    rows = list(kept(promise, {"latency_ms": 90.0, "fps": 19.0, "power_w": 20.0}, found))
    assert [row.good for row in rows] == [True, False, True, False, True, False]
    assert rows[1].text == "99.000; accepted: at most 84.000 (80.000 ms measured)"
    # What is not known keeps no promise and meets no limit.
    without = {name: value for name, value in found.items() if name not in ("power_w", "fps")}
    assert [row.good for row in kept({**promise, "figures": {}}, {"power_w": 99.0, "fps": 1.0}, without)] == [False] * 2


def test_another_board_is_named() -> None:
    wanted = {"sku": "agx-orin-64gb", "jetpack": "6.2", "tensorrt": "10.3", "power_mode": "30W"}
    board = {"sku": "agx-orin-devkit", "jetpack": "6.2", "tensorrt": "10.3.0"}
    assert all(row.good for row in fits(wanted, board, "MODE_30W"))
    other = list(fits(wanted, {"sku": "orin-nx-16gb", "jetpack": "5.1", "tensorrt": "8.5.2"}, "MAXN"))
    assert [row.good for row in other] == [False] * 4
    assert other[2].text == "found 8.5; accepted: 10.3, or a package for this TensorRT"
