"""Faults that act inside trtexec."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from bevlite.simulation.jetson.telemetry import THROTTLED
from bevlite.simulation.jetson.trtexec import inference, waiting
from tests.simulation.jetson.conftest import Bench
from tests.simulation.jetson.test_run import queries, summary

RUN = ("--loadEngine=m.plan", "--noDataTransfers", "--useCudaGraph", "--warmUp=300")


def test_times_and_skip(bench: Bench) -> None:
    faults = bench.board.faults
    faults.set("out_of_memory", times=2, skip=1)
    assert [faults.take("out_of_memory") is not None for _ in range(5)] == [False, True, True, False, False]
    faults.set("killed", phase="build")
    assert faults.take("killed", phase="measure") is None and faults.take("killed", phase="build") is not None
    faults.clear()
    assert faults.take("killed", phase="build") is None


def test_throttling_slows_the_second_half(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.build()
    bench.lock_clocks()
    bench.board.faults.set("throttling", times=1)
    root, hottest, clocks = bench.board.root, [0], [0.0]

    def look(seconds: float) -> None:
        """Whenever emulated time passes."""
        zones = (root / "sys/class/thermal").glob("*/temp")
        hottest.append(max(int(f.read_text()) for f in zones))
        clocks.append(int((root / "sys/class/devfreq/17000000.gpu/cur_freq").read_text()) / 1e6)

    with monkeypatch.context() as patch:
        for module in (waiting, inference):
            patch.setattr(module, "time", SimpleNamespace(sleep=look))
        bench.run(*RUN, "--exportTimes=t.json")
    times = [r["computeMs"] for r in queries()]
    assert times[10] / times[-10] == pytest.approx(THROTTLED, rel=0.05)
    assert (root / "sys/class/hwmon/hwmon2/oc1_event_cnt").read_text() == "1\n"
    assert max(hottest) > 95_000 and round(1300.5 * THROTTLED) in map(round, clocks)
    bench.run(*RUN, "--exportTimes=t.json")
    times = [r["computeMs"] for r in queries()]
    assert times[10] / times[-10] == pytest.approx(1.0, rel=0.05)


def test_another_process_slows_a_run(bench: Bench) -> None:
    bench.build()
    bench.lock_clocks()
    alone = summary(bench.run(*RUN))["GPU Compute Time"]["median"]
    bench.board.faults.set("other_gpu_process", load=0.5)
    shared = summary(bench.run(*RUN))["GPU Compute Time"]["median"]
    assert shared / alone == pytest.approx(1.5, rel=0.02)


def test_unlocked_clocks_make_noise(bench: Bench) -> None:
    bench.build()
    bench.lock_clocks()
    bench.board.faults.set("clocks_unlocked")
    answer = bench.run(*RUN)
    spread = summary(answer)["GPU Compute Time"]
    assert spread["99"] / spread["median"] > 1.02 and "is unstable" in answer.err


def test_truncated_json(bench: Bench) -> None:
    bench.build()
    bench.board.faults.set("truncated_json", times=1)
    assert bench.run(*RUN, "--exportTimes=t.json").code == 0
    with pytest.raises(json.JSONDecodeError):
        queries()
    bench.run(*RUN, "--exportTimes=t.json")
    assert len(queries()) > 100


def test_a_full_disk(bench: Bench) -> None:
    bench.board.faults.set("disk_full", times=1)
    answer = bench.build()
    assert answer.code == 1 and "No space left on device" in answer.err
    assert "Saving engine to file failed." in answer.err and Path("m.plan").stat().st_size == 0


def test_a_version_that_nobody_knows(bench: Bench) -> None:
    bench.board.faults.set("unknown_version", version="12.0")
    answer = bench.run("--help")
    assert answer.lines[0].startswith("&&&& RUNNING TensorRT.trtexec [TensorRT v120000]")
    assert ("libnvinfer-bin", "12.0-1+cuda12.6") in bench.state.release.debs


def test_the_clock_of_the_log_jumps(bench: Bench) -> None:
    before = bench.run("--help").lines[1]
    bench.board.faults.set("clock_jump", seconds=86400 * 3)
    after = bench.run("--help").lines[1]
    stamp = re.compile(r"^\[(\d\d/\d\d)/")
    first, second = stamp.match(before), stamp.match(after)
    assert first and second and first[1] != second[1]


def test_a_clock_jumps_in_the_middle_of_a_run_and_stays(bench: Bench) -> None:
    bench.build()
    before = bench.state.now()
    bench.board.faults.set("clock_jump", seconds=86400, during="measure")
    assert bench.state.now() - before < 3600
    bench.run(*RUN)
    assert bench.state.now() - before > 86000
    assert float((bench.board.root / "proc/uptime").read_text().split()[0]) > 86000
    now = bench.state.now()
    bench.run(*RUN)
    assert bench.state.now() - now < 3600, "it jumps once"
