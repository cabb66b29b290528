"""A search that predicts by the user's own calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bevlite.config import as_dict, to_yaml
from bevlite.errors import ConfigError
from bevlite.latency.coefficients import DEFAULT, PREDICTOR_VERSION, Calibration
from search.config import ResolvedSearch, load_search
from search.latency.predicted import LatencySource
from search.scan import scan
from tests.tiny import lidar_only


def own_calibration(path: Path, conv_efficiency: float = 0.05, **changes: Any) -> Path:
    """The shipped coefficients, but convolutions are far slower."""
    own = Calibration(
        predictor=PREDICTOR_VERSION,
        device="agx-orin-64gb",
        fitted=("conv_efficiency",),
        rows=2,
        networks=2,
        data_sha256="0" * 64,
        left_out=(),
        coefficients=DEFAULT.model_copy(update={"conv_efficiency": conv_efficiency}),
    )
    path.write_text(to_yaml(own.model_copy(update=changes)))
    return path


def load(folder: Path, calibration: str | None) -> ResolvedSearch:
    search = {
        "base": as_dict(lidar_only()),
        "space": {"fusion.channels": [16, 24]},
        "constraints": {"budget_ms": 60},
        "recipe": {"epochs": 1},
        "objectives": {"accuracy": {"nds": 1.0}},
        "device": {"name": "agx-orin-64gb"} | ({} if calibration is None else {"calibration": calibration}),
    }
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs" / "search.yaml").write_text(yaml.safe_dump(search, sort_keys=False))
    return load_search(folder / "configs" / "search.yaml", need_data=False)


def test_predictions_and_the_scan_follow_the_calibration(tmp_path: Path) -> None:
    own_calibration(tmp_path / "mine.yaml")
    plain, own = load(tmp_path, None), load(tmp_path, "../mine.yaml")
    cache = tmp_path / "latency"  # one folder: the reports of one must not be found for the other
    reports = [LatencySource(search.device, search.config.device, cache)(search.base) for search in (plain, own)]
    assert reports[1].total_ms > 1.05 * reports[0].total_ms
    assert reports[0].predictor != reports[1].predictor and "+" in str(reports[1].predictor)
    scans = [{row.params["fusion.channels"]: row for row in scan.scan(s, 2, cache=cache).rows} for s in (plain, own)]
    for channels in (16, 24):
        assert scans[1][channels].latency_ms > 1.05 * scans[0][channels].latency_ms
    base = {"fusion.channels": own.base.fusion.channels}
    assert scans[1][base["fusion.channels"]].latency_ms == pytest.approx(reports[1].total_ms, rel=1e-9)


def test_another_calibration_is_another_search_and_none_is_the_search_as_it_was(tmp_path: Path) -> None:
    own_calibration(tmp_path / "mine.yaml")
    own_calibration(tmp_path / "yours.yaml", 0.1)
    own_calibration(tmp_path / "same.yaml", rows=5)
    plain, mine, yours, same = (load(tmp_path, n) for n in (None, "../mine.yaml", "../yours.yaml", "../same.yaml"))
    assert "calibration" not in plain.identity()["device"]
    assert mine.identity() != plain.identity() and mine.identity() != yours.identity()
    assert mine.identity() == same.identity()  # the coefficients count, not the file


def test_the_resolved_file_holds_the_calibration(tmp_path: Path) -> None:
    file = own_calibration(tmp_path / "mine.yaml")
    search = load(tmp_path, "../mine.yaml")
    file.unlink()
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "search.yaml"
    again.write_text(search.as_yaml())
    found = load_search(again, need_data=False)
    assert found.config.device == search.config.device
    assert found.config.device.coefficients().conv_efficiency == 0.05


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.yaml", r"absent\.yaml.*accepted"),
        ("../old.yaml", "predictor: found '0.0'"),
        ("search.yaml", "predictor: missing"),
    ],
)
def test_a_wrong_calibration_is_one_line(tmp_path: Path, name: str, message: str) -> None:
    own_calibration(tmp_path / "old.yaml", predictor="0.0")
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, name)
    assert "\n" not in str(caught.value)


def test_an_old_calibration_inside_the_file_is_refused_when_it_predicts(tmp_path: Path) -> None:
    own_calibration(tmp_path / "mine.yaml")
    search = load(tmp_path, "../mine.yaml")
    calibration: Any = search.config.device.calibration
    old = search.config.device.model_copy(update={"calibration": calibration | {"predictor": "0.0"}})
    with pytest.raises(ConfigError, match=r"device\.calibration: predictor: found '0\.0'"):
        LatencySource(search.device, old, None)
