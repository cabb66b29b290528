from __future__ import annotations

import time
from pathlib import Path

import pytest

from bevlite.agent.system import power
from bevlite.agent.system.paths import ROOT_VARIABLE
from bevlite.agent.system.power import Sample, Sampler, summary
from tests.agent.trtexec.test_parsers import JP5
from tests.waiting import until


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    return tmp_path


def rail(folder: Path, channel: int, name: str, millivolts: int, milliamperes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in ((f"in{channel}_label", name), (f"in{channel}_input", millivolts)):
        (folder / key).write_text(f"{value}\n")
    (folder / f"curr{channel}_input").write_text(f"{milliamperes}\n")


def samples(sampler: Sampler) -> list[Sample]:
    sampler.start()
    assert until(lambda: len(sampler._samples) >= 2)
    return sampler.stop()


def test_rails_of_an_agx_orin_from_sysfs(root: Path) -> None:
    first = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    for channel, (name, volts, amperes) in enumerate(
        [("VDD_GPU_SOC", 19500, 120), ("VDD_CPU_CV", 19500, 20), ("VIN_SYS_5V0", 5000, 805)], start=1
    ):
        rail(first, channel, name, volts, amperes)
    rail(first, 7, "sum of shunt voltages", 5, 5)
    second = root / "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4"
    rail(second, 1, "NC", 100, 100)
    rail(second, 2, "VDDQ_VDD2_1V8AO", 1000, 301)
    found = summary(samples(Sampler(0.02)), "ina3221")
    assert found is not None
    means = {row["name"]: row["mean_w"] for row in found["rails"]}
    expected = {"VDD_GPU_SOC": 2.34, "VDD_CPU_CV": 0.39, "VIN_SYS_5V0": 4.025, "VDDQ_VDD2_1V8AO": 0.301}
    assert means == pytest.approx(expected)
    # the 1V8AO rail is not in the sum: whether VIN_SYS_5V0 contains it is not known
    assert found["module_w"] == pytest.approx(2.34 + 0.39 + 4.025) and "carrier board" in found["missing"]


def test_tegrastats_where_sysfs_has_no_rails(root: Path) -> None:
    program = root / "usr/bin/tegrastats"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\nwhile :; do echo '{JP5}'; sleep 0.05; done\n")
    program.chmod(0o755)
    sampler = Sampler(0.05)
    found = samples(sampler)
    assert sampler.source == "tegrastats" and len(found) >= 2
    summed = summary(found, sampler.source)
    assert summed is not None and summed["module_w"] == pytest.approx(6.755)
    assert found[0].temperature_c == 44.343


def test_a_sample_can_be_taken_at_once(root: Path) -> None:
    """What is shorter than the interval has one as well."""
    rail(root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3", 1, "VDD_IN", 10000, 500)
    sampler = Sampler(60.0)
    sampler.start()
    assert until(lambda: sampler._samples)  # the one at the beginning
    began = time.monotonic()
    sampler.take()
    ended = time.monotonic()
    (sample,) = [sample for sample in sampler.stop() if sample.at >= began]
    assert sample.at <= ended and sample.rails_w == {"VDD_IN": 5.0}


def test_one_rail_for_the_whole_module() -> None:
    parts = {"VDD_IN": 9.0, "VDD_CPU_GPU_CV": 3.0, "VDD_SOC": 2.0}
    found = summary([Sample(0.0, parts, None, None), Sample(0.1, {**parts, "VDD_IN": 11.0}, None, None)], "ina3221")
    assert found is not None and found["module_w"] == 10.0 and found["module_of"] == "VDD_IN"
    assert found["course"]["at_s"] == [0.0, 0.1] and found["course"]["module_w"] == [9.0, 11.0]


def test_no_rails_is_no_power(root: Path) -> None:
    sampler = Sampler(0.02)
    sampler._rails = {}
    assert power.summary([], "none") is None
    assert summary([Sample(0.0, {"VDD_SOC": 1.0}, None, None)], "x")["module_w"] is None  # type: ignore[index]
