"""Scan: predictions by module against whole reports and against the exported network."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bevlite.config import as_dict
from bevlite.devices.predicted import PredictedDevice
from bevlite.export.graph import graphs
from bevlite.export.graph.emit import export_variant
from bevlite.export.of_variant import steps_of
from bevlite.tensorrt import form_for
from search import cli
from search.config import ResolvedSearch, load_search
from search.latency.predicted import LatencySource
from search.scan import modules, scan
from search.scan.result import VERDICTS, ScanConditions, ScanResult, ScanRow
from search.space.draw import draw
from search.space.space import Space
from tests.tiny import lidar_only

SPACE: dict[str, Any] = {
    "lidar.pillars.channels": [8, 16],
    # 0.5 m divides no range of the base; 0.8 m is its own.
    "lidar.pillars.cell_m": [0.8, 0.5],
    "fusion.channels": [16, 24],
    "heads.detection.channels": {"values": [16, 24], "when": {"fusion.channels": 24}},
    "compression.precision": ["fp16", "fp32"],
    "again": {"choices": {"a": {"fusion.type": "se"}, "b": {}}},
}
VALID = 2 * 3 * 2
CONDITIONS = ScanConditions(3.5, "a board", "MAXN", "10.3", (), None)
RUNNER = CliRunner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    search = {
        "base": as_dict(lidar_only()),
        "space": SPACE,
        "constraints": {"budget_ms": 60},
        "recipe": {"epochs": 1},
        "objectives": {"accuracy": {"nds": 1.0}},
    }
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(search, sort_keys=False))
    return path


@pytest.fixture
def search(file: Path) -> ResolvedSearch:
    return load_search(file, need_data=False)


def test_all_of_a_small_space(search: ResolvedSearch) -> None:
    result = scan.scan(search, count=1000)
    assert len(result.rows) == VALID and not result.failed
    assert len(result.invalid) == 2 * VALID and "lidar.pillars.cell_m: found 0.5" in result.invalid[0].reason
    assert result.same_network == VALID  # `again` changes nothing
    assert result.distinct_modules == 2 * (2 + 3)  # precisions x (LiDAR modules + heads)
    source = LatencySource(search.device, search.config.device, None)
    for row in result.rows:
        report = source(search.space.build(search.base, row.params, "x"))
        assert (row.latency_ms, row.lower_ms, row.upper_ms) == pytest.approx(
            (report.total_ms, report.lower_ms, report.upper_ms), rel=1e-12
        )
        assert row.modules == {module.name: module.latency_ms for module in report.modules}
    assert len({row.latency_ms for row in result.rows}) > VALID / 2


@pytest.mark.parametrize("tensorrt", ["8.5", "8.6", "10.3"])
def test_same_report_as_from_the_exported_files(search: ResolvedSearch, tmp_path: Path, tensorrt: str) -> None:
    choice = search.config.device.model_copy(update={"tensorrt": tensorrt})
    source = LatencySource(search.device, choice, tmp_path / "latency")
    ours = source(search.base)
    files = export_variant(search.base, tmp_path / "onnx", form_for(tensorrt))
    board = PredictedDevice(search.device, tensorrt=tensorrt)
    theirs = board.measure(files, steps_of(search.base), search.base.precision)

    def plain(report: Any) -> Any:
        data = as_dict(report)
        for module in data["modules"]:
            for kernel in [kernel for key in ("kernels", "costliest") for kernel in module.get(key, [])]:
                kernel.pop("name")
        return data

    assert ours.total_ms == pytest.approx(theirs.total_ms, rel=0.01)
    assert plain(ours) == plain(theirs)


def test_a_report_is_made_once(search: ResolvedSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = LatencySource(search.device, search.config.device, tmp_path)(search.base)
    monkeypatch.setattr(graphs.ModuleGraph, "make", lambda *_: pytest.fail("made again"))
    assert LatencySource(search.device, search.config.device, tmp_path)(search.base) == first
    for report in tmp_path.glob("*.json"):
        report.write_text("{}")  # of an older version: read from the kept graphs
    assert LatencySource(search.device, search.config.device, tmp_path)(search.base) == first


def test_module_keys_hold_the_conditions(search: ResolvedSearch) -> None:
    module = next(graphs.module_graphs(search.base))
    changes: list[dict[str, Any]] = [{}, {"tensorrt": "8.6"}, {"tensorrt": "10.16"}, {"power_mode": "30W"}]
    keys = {
        LatencySource(search.device, search.config.device.model_copy(update=change), None).module_key(module, precision)
        for change in changes
        for precision in ("fp16", "fp32")
    }
    assert len(keys) == 8


def test_a_kept_scan_makes_nothing(search: ResolvedSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scan.scan(search, 1000, cache=tmp_path / "cache")
    monkeypatch.setattr(graphs.ModuleGraph, "make", lambda *_: pytest.fail("made again"))
    again = scan.scan(search, 1000, cache=tmp_path / "cache")
    assert again.rows == first.rows and again.distinct_modules == first.distinct_modules


def test_several_processes_find_the_same(search: ResolvedSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = scan.scan(search, 1000)
    monkeypatch.setattr(modules, "POOL_FROM", 2)
    assert scan.scan(search, 1000, processes=2).rows == alone.rows


def test_the_draw(search: ResolvedSearch) -> None:
    def params(seed: int, count: int = 5) -> list[Any]:
        return [row.params for row in scan.scan(search, count, seed).rows]

    assert len(params(1)) == 5 and params(1) == params(1) != params(2)
    every = list(draw(search.space, 0))
    assert len(every) == search.space.size() == len({str(sorted(p.items())) for p in every})


def test_the_draw_from_a_space_without_end() -> None:
    ranges = {
        "a": {"low": 0.5, "high": 1.5},
        "b": {"low": 10, "high": 1000, "log": True},
        "c": {"low": 1, "high": 9, "step": 4},
        "d": {"low": 0.0, "high": 1.0, "step": 0.25},
        "e": {"values": [1, 2], "when": {"c": 5}},
    }
    space = Space.model_validate({"choices": ranges})
    drawn = [params for params, _ in zip(draw(space, 0), range(400), strict=False)]
    assert len({str(p) for p in drawn}) == 400
    assert all(0.5 <= p["a"] <= 1.5 and 10 <= p["b"] <= 1000 and ("e" in p) == (p["c"] == 5) for p in drawn)
    assert {p["c"] for p in drawn} == {1, 5, 9} and {p["d"] for p in drawn} == {0, 0.25, 0.5, 0.75, 1}
    assert 60 < sorted(p["b"] for p in drawn)[200] < 160  # the middle of a logarithmic range is 100
    few = Space.model_validate({"choices": {"c": {"low": 1, "high": 9, "log": True}}})
    assert sorted(p["c"] for p in draw(few, 0)) == list(range(1, 10))  # ends when nothing new is found


def test_a_failing_module_is_counted(search: ResolvedSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    from bevlite.errors import ExportError

    original = graphs.ModuleGraph.make

    def make(self: graphs.ModuleGraph, form: Any) -> Any:
        if self.name == "lidar" and self.given["lidar"].pillars.channels == 8:
            raise ExportError("no such operator")
        return original(self, form)

    monkeypatch.setattr(graphs.ModuleGraph, "make", make)
    result = scan.scan(search, 1000)
    assert len(result.failed) == len(result.rows) == VALID / 2
    assert result.failed[0].reason == "lidar: no such operator"


def row(low: float, middle: float, high: float, gflops: float = 1.0) -> ScanRow:
    return ScanRow({}, middle, low, high, gflops, {})


def test_verdicts() -> None:
    rows = (row(1, 2, 3, 5), row(2, 3, 4, 9), row(2.5, 3, 3.5, 7), row(3.6, 4, 9, 99))
    assert [r.verdict(3.5) for r in rows] == ["within", "possible", "within", "over"]
    result = ScanResult(CONDITIONS, rows, (), (), 0, 0, 0.0)
    assert [result.count(v, 3.5) for v in VERDICTS] == [2, 1, 1]
    assert result.fastest is rows[0] and result.largest_within(3.5) is rows[2]
    assert result.largest_within(0.5) is None
    assert result.quantiles((0, 0.5, 1)) == [(0, 2), (0.5, 3), (1, 4)]


def run(*arguments: object, code: int = 0) -> str:
    result = RUNNER.invoke(cli.app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_the_command(file: Path, tmp_path: Path) -> None:
    table = tmp_path / "scan.csv"
    printed = run("scan", file, "--budget-ms", 1000, "--csv", table, "--processes", 1, "--cache", tmp_path / "cache")
    assert f"{VALID} variants of 48 combinations, predicted for agx-orin-64gb, MAXN, TensorRT 10.3" in printed
    assert f"{2 * VALID} invalid combinations" in printed and "budget 1000 ms" in printed
    assert "nothing was measured" in printed and "largest that surely fits: predicted" in printed
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [r["budget"] for r in rows] == ["within"] * VALID + ["invalid"] * 2 * VALID
    figures = [float(r["latency_ms"]) for r in rows[:VALID]]
    assert figures == sorted(figures) and {r["kind"] for r in rows[:VALID]} == {"predicted"}
    assert rows[0]["lidar.pillars.channels"] in ("8", "16") and "found 0.5" in rows[-1]["reason"]
    none = run("scan", file, "--budget-ms", 0.001, "--processes", 1, "--cache", tmp_path / "cache")
    assert "largest that surely fits: none" in none and "100.0%  not:" in none


def test_wide_has_ten_thousand_combinations() -> None:
    file = Path(__file__).resolve().parents[3] / "configs" / "searches" / "wide.yaml"
    wide = load_search(file, need_data=False)
    assert (wide.space.size(1_000_000) or 0) >= 10_000
    sample = [params for params, _ in zip(draw(wide.space, 0), range(300), strict=False)]
    networks = {wide.space.build(wide.base, params, "x").hash for params in sample}
    assert len(networks) == 300
