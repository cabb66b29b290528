"""The page of a deploy, from reports made by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bevlite.devices.golden.golden import GoldenCheck
from bevlite.devices.report.deploy import Budgets, DeployReport, EngineVerdict, LimitRow
from bevlite.devices.report.latency import Conditions, LatencyReport, ModuleRow
from bevlite.devices.report.timing import Course, LayerTime, Measured, Power, Timing
from bevlite.reporting.deploy_page import LimitBar, write_deploy_page
from bevlite.reporting.deploy_plots import plots_of
from tests.reporting.test_latency_page import Structure

POWER = Power(
    source="ina3221", samples=4, rails=(), module_w=30.0,
    course=Course(
        at_s=(100.0, 100.1, 105.0, 105.1), module_w=(29.0, 30.0, 31.0, None), temperature_c=(50.0, 50.5, 51.0, 51.5),
        gpu_mhz=(1300.5,) * 4,
    ),
)  # fmt: skip
LAYERS = tuple(LayerTime(name=f"/camera/<{n}>", latency_ms=float(n), precision="fp16") for n in (3, 1))


def limit(found: float | None = 8.0, at_most: float = 10.0) -> LimitRow:
    return LimitRow(name="latency P99", unit="ms", at_most=at_most, found=found, basis="end to end")


def deployed(emulated: bool = True, **changes: Any) -> DeployReport:
    """A camera engine of 7 to 9 ms within 10, profiled, with power."""
    timing = Timing.of_runs([[7.0 + i / 50 for i in range(100)]], 0.02)
    measured = Measured(cuda_graph=timing, power=POWER, layers=LAYERS)
    row = ModuleRow(name="camera", latency_ms=timing.p50_ms, lower_ms=timing.lower_ms, upper_ms=timing.upper_ms,
                    measured=measured)  # fmt: skip
    latency = LatencyReport(
        kind="emulated" if emulated else "measured", device="desk", precision="fp16",
        conditions=Conditions(power_mode="MAXN", clocks_locked=True, emulated=emulated), modules=(row,),
        total_ms=timing.p50_ms, lower_ms=timing.lower_ms, upper_ms=timing.upper_ms,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "run": "runs/winner", "device": "desk", "data": "w (v1.0-mini)", "emulated": emulated, "precision": "fp16",
        "board": {"sku": "agx-orin-64gb", "tensorrt": "10.3.0", "power_mode": "MAXN"}, "latency": latency,
        "budgets": Budgets(latency_ms=10.0), "limits": (limit(),),
        "engine": EngineVerdict(golden=GoldenCheck(frames=2, source="made", runner="trtexec", outputs=())),
    }  # fmt: skip
    return DeployReport(**(fields | changes))


def page_of(report: DeployReport, folder: Path) -> str:
    """The page without plotly's own script, which is not ours."""
    write_deploy_page(folder / "report.html", report)
    page = (folder / "report.html").read_text()
    return re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)


def test_the_verdict_comes_first_with_what_it_stands_on(tmp_path: Path) -> None:
    made = deployed(False, limits=(limit(), limit(None)))
    structure = Structure(page_of(made, tmp_path))
    text = structure.text
    assert structure.open == [] and text.index("not ready") < text.index("1 of 2 limits met") < text.index("Limits")
    assert "missed: latency P99, not known, asked <= 10 ms" in text
    assert "engine accurate: 2 golden frames" in text and "EMULATED" not in text
    for fact in ("data set w (v1.0-mini)", "device desk (agx-orin-64gb)", "power mode MAXN", "clocks locked",
                 "precision fp16", "TensorRT 10.3.0", "commit" if "commit" in text else "installed copy"):  # fmt: skip
        assert fact in text, fact


def test_an_emulated_board_colours_the_page(tmp_path: Path) -> None:
    """Every figure is met, and still nothing is proven: a badge, the body's colour, and a mark over every plot."""
    made = deployed()
    assert made.all_met
    text = page_of(made, tmp_path)
    assert '<body class="emulated">' in text and "made up by an emulated board" in text and "rehearsal only" in text
    plots, real = plots_of(made), plots_of(deployed(False))
    assert set(plots) == set(real) == {"latency", "course", "layers"}
    assert all("EMULATED" in plot for plot in plots.values()) and not any("EMULATED" in p for p in real.values())


@pytest.mark.parametrize(
    ("row", "found", "limit_at"),
    [
        (limit(8.0), 0.64, 0.8),  # the ground is a quarter longer than the limit
        (limit(None), None, 0.8),
        (limit(50.0), 1 / 1.02, 10 / 51),  # or as long as what is over it
        (LimitRow(name="frame rate", unit="1/s", at_least=20.0, found=10.0, basis=""), 0.4, 0.8),
    ],
)
def test_a_bar_shows_the_limit_and_what_was_found(row: LimitRow, found: float | None, limit_at: float) -> None:
    bar = LimitBar.of(row)
    assert bar.found == (None if found is None else pytest.approx(found)) and bar.limit == pytest.approx(limit_at)


def test_the_plots_hold_what_was_measured() -> None:
    plots = plots_of(deployed())
    assert "P99 8.96" in plots["latency"]
    assert '"x":[0.0,0.09' in plots["course"].replace(" ", "") and "null" in plots["course"]  # the pause is not drawn
    assert "75.0 %" in plots["layers"] and "25.0 %" in plots["layers"]  # 3 of 4 ms, 1 of 4 ms


def test_a_refused_engine_has_a_page_without_plots(tmp_path: Path) -> None:
    made = deployed(False, latency=None, engine=EngineVerdict(refused="camera: FP32 where FP16 was asked"),
                    limits=(limit(None),))  # fmt: skip
    text = page_of(made, tmp_path)
    assert "engine refused: camera: FP32" in text and "plot-" not in text
