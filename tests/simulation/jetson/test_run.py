"""Timed runs: the statistics against a second computation from the exported queries, and what flags change."""

from __future__ import annotations

import json
import math
import re
import statistics
from pathlib import Path

import pytest

from tests.simulation.jetson.conftest import Answer, Bench, each_version

LINE = re.compile(
    r"(Latency|Enqueue Time|H2D Latency|GPU Compute Time|D2H Latency): min = (\S+) ms, max = (\S+) ms, "
    r"mean = (\S+) ms, median = (\S+) ms((?:, percentile\([\d.]+%\) = \S+ ms)*)"
)


def summary(answer: Answer) -> dict[str, dict[str, float]]:
    out = {}
    for m in LINE.finditer(answer.out):
        values = dict(zip(("min", "max", "mean", "median"), map(float, m.groups()[1:5]), strict=True))
        values |= {p: float(v) for p, v in re.findall(r"percentile\(([\d.]+)%\) = (\S+) ms", m[6])}
        out[m[1]] = values
    return out


def queries(file: str = "t.json") -> list[dict[str, float]]:
    return json.loads(Path(file).read_text())


def transfers(bench: Bench, on: bool) -> list[str]:
    if bench.state.release.major >= 11:
        return ["--includeDataTransfers"] if on else []
    return [] if on else ["--noDataTransfers"]


@each_version
def test_the_summary_is_that_of_the_exported_queries(bench: Bench) -> None:
    bench.build()
    bench.lock_clocks()
    answer = bench.run("--loadEngine=m.plan", *transfers(bench, True), "--exportTimes=t.json", "--percentile=50,90,99")
    found, rows = summary(answer), queries()
    columns = {
        "GPU Compute Time": [r["computeMs"] for r in rows],
        "Latency": [r["latencyMs"] for r in rows],
        "H2D Latency": [r["h2dMs"] for r in rows],
    }
    assert len(rows) > 200
    for name, values in columns.items():
        ordered = sorted(values)
        close = pytest.approx(found[name]["median"], rel=2e-5)
        assert statistics.median(values) == close
        assert (min(values), max(values)) == pytest.approx((found[name]["min"], found[name]["max"]), rel=2e-5)
        assert statistics.fmean(values) == pytest.approx(found[name]["mean"], rel=2e-4)
        for percent in (50, 90, 99):
            index = max(len(ordered) - 1 - int((1 - percent / 100) * len(ordered)), 0)
            assert ordered[index] == pytest.approx(found[name][str(percent)], rel=2e-5)
    for row in rows[:50]:
        assert row["latencyMs"] == pytest.approx(row["h2dMs"] + row["computeMs"] + row["d2hMs"], rel=1e-4)
        assert row["endComputeMs"] - row["startComputeMs"] == pytest.approx(row["computeMs"], rel=1e-2)
    starts = [r["startComputeMs"] for r in rows]
    assert starts == sorted(starts) and min(r["startEnqMs"] for r in rows) >= 0


@each_version
def test_without_transfers_latency_is_computing(bench: Bench) -> None:
    bench.build()
    with_copies = summary(bench.run("--loadEngine=m.plan", *transfers(bench, True)))
    without = summary(bench.run("--loadEngine=m.plan", *transfers(bench, False)))
    assert set(without["H2D Latency"].values()) == set(without["D2H Latency"].values()) == {0.0}
    assert without["Latency"] == without["GPU Compute Time"]
    assert with_copies["H2D Latency"]["min"] > 0


def test_both_the_iterations_and_the_duration_are_reached(bench: Bench) -> None:
    bench.build()
    bench.run("--loadEngine=m.plan", "--duration=0", "--iterations=321", "--warmUp=0", "--exportTimes=t.json")
    assert len(queries()) == 321
    answer = bench.run("--loadEngine=m.plan", "--duration=2", "--iterations=10")
    wall = float(re.search(r"Total Host Walltime: (\S+) s", answer.out)[1])  # type: ignore[index]
    count, seconds = re.search(r"Timing trace has (\d+) queries over (\S+) s", answer.out).groups()  # type: ignore[union-attr]
    qps = float(re.search(r"Throughput: (\S+) qps", answer.out)[1])  # type: ignore[index]
    assert 2.0 <= wall < 2.1 and float(seconds) == wall
    assert qps == pytest.approx(int(count) / wall, rel=1e-3)


@each_version
def test_profiling_in_the_timed_run_leaves_no_summary(bench: Bench) -> None:
    bench.build()
    inline = bench.run("--loadEngine=m.plan", "--dumpProfile", "--exportProfile=p.json")
    apart = bench.run("--loadEngine=m.plan", "--dumpProfile", "--separateProfileRun")
    newest = bench.state.release.major >= 11
    assert ("=== Performance summary ===" in inline.out) is newest
    assert "=== Performance summary ===" in apart.out
    name_first = bench.state.release.version == "8.5.2"
    header = next(line for line in apart.lines if "Avg.(ms)" in line)
    assert (header.index("Layer") < header.index("Time(ms)")) is name_first
    count, *layers = json.loads(Path("p.json").read_text())
    assert set(count) == {"count"} and sum(n["percentage"] for n in layers) == pytest.approx(100, abs=0.1)
    for layer in layers:
        assert layer["averageMs"] == pytest.approx(layer["timeMs"] / count["count"], rel=1e-3)


def test_the_layers_of_the_profile_are_those_of_the_layer_info(bench: Bench) -> None:
    bench.build("--fp16", "--profilingVerbosity=detailed", "--exportLayerInfo=li.json")
    bench.run("--loadEngine=m.plan", "--separateProfileRun", "--exportProfile=p.json")
    info = [n["Name"] for n in json.loads(Path("li.json").read_text())["Layers"]]
    assert [n["name"] for n in json.loads(Path("p.json").read_text())[1:]] == info


@pytest.mark.parametrize(("bench", "percent"), [("10.3.0", 1.0), ("10.16.2", 2.5)], indirect=["bench"])
def test_the_unstable_warning_follows_the_threshold(bench: Bench, percent: float) -> None:
    bench.build()

    def variation(*flags: str) -> tuple[float, bool]:
        answer = bench.run("--loadEngine=m.plan", "--exportTimes=t.json", *flags)
        values = [r["computeMs"] for r in queries()]
        return statistics.pstdev(values) / statistics.fmean(values) * 100, "is unstable" in answer.err

    ramping, warned = variation("--warmUp=0", "--duration=1")
    assert ramping > percent and warned
    bench.lock_clocks()
    steady, warned = variation("--warmUp=500")
    assert steady < 1.0 and not warned


def test_the_cuda_graph_saves_launches_and_may_be_refused(bench: Bench) -> None:
    bench.build()
    bench.lock_clocks()
    words = ("--loadEngine=m.plan", "--noDataTransfers", "--warmUp=500")
    without = summary(bench.run(*words))
    captured = bench.run(*words, "--useCudaGraph")
    assert "Successfully captured CUDA graph for the current execution context" in captured.out
    assert summary(captured)["GPU Compute Time"]["median"] < without["GPU Compute Time"]["median"]
    assert summary(captured)["Enqueue Time"]["median"] < without["Enqueue Time"]["median"]
    bench.board.faults.set("cuda_graph_refused", times=1)
    refused = bench.run(*words, "--useCudaGraph")
    assert refused.code == 0 and "not permitted under CUDA graph capture mode" in refused.err
    assert "The specified --useCudaGraph flag has been ignored." in refused.err
    assert summary(refused)["GPU Compute Time"]["median"] == pytest.approx(
        without["GPU Compute Time"]["median"], rel=0.02
    )


def test_warm_up_is_slower_and_noise_has_an_upper_tail(bench: Bench) -> None:
    bench.build()
    bench.lock_clocks()
    bench.run("--loadEngine=m.plan", "--warmUp=0", "--duration=4", "--exportTimes=t.json")
    values = [r["computeMs"] for r in queries()]
    settled = sorted(values[len(values) // 2 :])
    middle = statistics.median(settled)
    assert statistics.fmean(values[:20]) > 1.02 * middle
    assert settled[-1] - middle > 2 * (middle - settled[0])
    near = [v for v in settled if abs(v / middle - 1) < 0.01]
    assert 0.001 < statistics.pstdev(near) / middle < 0.006 and len(near) > 0.95 * len(settled)


def test_a_second_run_agrees_within_half_a_percent_and_is_not_the_same(bench: Bench) -> None:
    bench.build()
    bench.lock_clocks()
    words = ("--loadEngine=m.plan", "--noDataTransfers", "--useCudaGraph", "--warmUp=500")
    medians = [summary(bench.run(*words))["GPU Compute Time"]["median"] for _ in range(4)]
    assert len(set(medians)) == 4
    assert max(medians) / min(medians) < 1.006 and not math.isclose(medians[0], medians[1], rel_tol=1e-7)
