from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bevlite.errors import ConfigError
from bevlite.latency.device import device_folders, find_device
from bevlite.latency.pipeline import steps_for

BOARD = next(f / "agx-orin-64gb.yaml" for f in device_folders() if (f / "agx-orin-64gb.yaml").is_file())


@pytest.mark.parametrize("value", [-1, 0, None, "fast"])
def test_a_wrong_figure_is_one_line(tmp_path: Path, value: object) -> None:
    data = yaml.safe_load(BOARD.read_text())
    data["dram_read_gb_per_s"]["value"] = value
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as error:
        find_device(str(tmp_path / "b.yaml"))
    assert "dram_read_gb_per_s.value" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_figure_and_an_unknown_device(tmp_path: Path) -> None:
    data = yaml.safe_load(BOARD.read_text())
    del data["gemm_16bit_tflops"]
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=r"gemm_16bit_tflops: missing"):
        find_device(str(tmp_path / "b.yaml"))
    with pytest.raises(ConfigError, match="agx-orin-64gb"):
        find_device("orin-mega")


def test_device_is_found_by_name_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_device("agx-orin-64gb").dram_read_gb_per_s.value == 152.8


def test_only_the_steps_that_a_network_needs() -> None:
    assert [s.name for s in steps_for(cameras=6, after=["decoding"])] == ["image_preprocessing", "decoding"]
    assert [s.name for s in steps_for(sweeps=10)] == ["pillarisation"]
    assert steps_for(cameras=6)[0].latency_ms == 2.816
    assert all(s.lower_ms <= s.latency_ms <= s.upper_ms and s.source for s in steps_for(cameras=3, sweeps=1))
