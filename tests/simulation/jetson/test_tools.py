"""tegrastats, nvpmodel, jetson_clocks, sudo, dpkg-query and sysfs of the board.

The tegrastats lines are real: AGX Orin with 35.x and 36.4.4, and the jetson_stats fixture of 39.2.
"""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bevlite.simulation.jetson import sysfs, telemetry
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.gpu_use import using_gpu
from bevlite.simulation.jetson.tools import date, dpkg_query, jetson_clocks, nvpmodel, sudo, tegrastats, uname

CPUS = ",".join(["0%@729"] * 12)
REAL = {
    "8.5.2": f"04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [{CPUS}] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 0%@[0,0] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C SOC2@40.093C "
    "Tdiode@33C SOC0@41.093C CV1@-256C GPU@-256C tj@44.343C SOC1@41.25C CV2@-256C VDD_GPU_SOC 2340mW/2340mW "
    "VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW",
    "10.3.0": f"05-09-2026 18:42:06 RAM 18207/62841MB (lfb 466x4MB) SWAP 86/31420MB (cached 0MB) CPU [{CPUS}] "
    "EMC_FREQ 3%@2133 GR3D_FREQ 0%@[0,0] NVENC off NVDEC off NVJPG off NVJPG1 off VIC off OFA off NVDLA0 off "
    "NVDLA1 off PVA0_FREQ off APE 174 cpu@52.562C soc2@48.437C soc0@49.093C tj@52.562C soc1@49.656C "
    "VDD_GPU_SOC 2412mW/2412mW VDD_CPU_CV 1607mW/1607mW VIN_SYS_5V0 4707mW/4707mW",
    "10.16.2": f"07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [{CPUS}] EMC_FREQ 3%@3199 GR3D_FREQ "
    "12%@[1300,1300] NVENC0 off NVDEC0 off NVJPG0 off NVJPG1 off VIC off OFA off NVDLA0 off NVDLA1 off PVA0_FREQ off "
    "APE 174 cpu@52.968C/52.968C soc2@48.406C/48.406C soc0@49.531C/49.531C gpu@47.625C/47.625C "
    "tj@52.968C/52.968C soc1@49.6C/49.6C "
    "VDD_GPU_SOC 5139mW/5139mW/5139mW VDD_CPU_CV 3268mW/3268mW/3268mW VIN_SYS_5V0 5500mW/5500mW/5500mW",
}


def _shape(line: str) -> str:
    return re.sub(r"-?\d+(\.\d+)?", "#", line)


def make(tmp_path: Path, version: str = "10.3.0", module: str = "agx-orin-64gb") -> BoardFolder:
    return BoardFolder(EmulatedBoard.create(tmp_path / "board", version, module, time_scale=1.0).folder)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sudo.AS_ROOT, "1")


@pytest.mark.parametrize("version", REAL)
def test_a_tegrastats_line_has_the_shape_of_a_real_one(tmp_path: Path, version: str) -> None:
    board = make(tmp_path, version)
    if "gpu@" in REAL[version]:  # a GPU at work in that line
        board.change(clocks_locked=True)
    line = tegrastats.line(board, telemetry.look(board, 45.0, 0.0), {}, as_root=True)
    ours = re.sub(r"(\d)x4MB", r"\1x2MB", line) if version == "10.16.2" else line
    assert _shape(ours) == _shape(REAL[version])


def test_tegrastats_without_root_and_in_a_smaller_mode(tmp_path: Path) -> None:
    board = make(tmp_path)
    board.change(mode=2)
    line = tegrastats.line(board, telemetry.look(board, 45.0, 0.0), {}, as_root=False)
    assert "EMC_FREQ" not in line and line.count("off,") == 3 and ",off]" in line


def test_the_second_value_of_a_rail_is_the_average_since_the_start(tmp_path: Path) -> None:
    board = make(tmp_path)
    averages: tegrastats.Averages = {}

    def gpu() -> tuple[int, int]:
        line = tegrastats.line(board, telemetry.look(board, 45.0, 0.0), averages, as_root=True)
        found = re.search(r"VDD_GPU_SOC (\d+)mW/(\d+)mW", line)
        assert found
        return int(found[1]), int(found[2])

    idle = gpu()
    board.change(clocks_locked=True)
    with using_gpu(board, "trtexec", 0.97, 0.5, 900):
        busy = gpu()
    assert idle[0] == idle[1] and busy[0] > 4 * idle[0] and busy[1] == (idle[0] + busy[0]) // 2


def test_power_comes_in_steps_and_follows_load_and_mode(tmp_path: Path) -> None:
    board = make(tmp_path)
    board.change(clocks_locked=True)

    def watts() -> float:
        sysfs.refresh(board)
        here = board.root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
        assert (here / "in1_label").read_text() == "VDD_GPU_SOC\n"
        milliamps, millivolts = int((here / "curr1_input").read_text()), int((here / "in1_input").read_text())
        assert milliamps % 20 == 0 and 19400 < millivolts < 19600
        return milliamps * millivolts / 1e6

    idle = watts()
    with using_gpu(board, "trtexec", 0.97, 0.5, 900):
        full = watts()
        board.change(mode=2)
        capped = watts()
    assert idle < 5 < capped < 12 < 20 < full < 35


@pytest.mark.parametrize(("version", "place"), [("8.5.2", "17000000.ga10b"), ("10.3.0", "17000000.gpu")])
def test_clock_files(tmp_path: Path, version: str, place: str) -> None:
    board = make(tmp_path, version)
    sysfs.refresh(board)
    here = board.root / "sys/class/devfreq" / place

    def mhz(name: str) -> float:
        return int((here / name).read_text()) / 1e6

    assert (mhz("cur_freq"), mhz("min_freq"), mhz("max_freq")) == (306.0, 306.0, 1300.5)
    board.change(clocks_locked=True)
    sysfs.refresh(board)
    assert (mhz("cur_freq"), mhz("min_freq"), mhz("max_freq")) == (1300.5, 1300.5, 1300.5)
    board.faults.set("clocks_unlocked")
    sysfs.refresh(board)
    assert mhz("min_freq") == 306.0


def test_identity_files(tmp_path: Path) -> None:
    board = make(tmp_path)
    root = board.root
    assert (root / "proc/device-tree/model").read_bytes() == b"NVIDIA Jetson AGX Orin Developer Kit\0"
    assert (root / "proc/device-tree/compatible").read_bytes().split(b"\0")[0] == b"nvidia,p3737-0000+p3701-0005"
    assert (root / "etc/nv_tegra_release").read_text().startswith("# R36 (release), REVISION: 4.3, GCID: 38968081")
    conf = (root / "etc/nvpmodel.conf").read_text()
    assert re.findall(r"< POWER_MODEL ID=(\d) NAME=(\w+) >", conf) == [
        ("0", "MAXN"), ("1", "MODE_15W"), ("2", "MODE_30W"), ("3", "MODE_50W"),
    ]  # fmt: skip
    assert "< PM_CONFIG DEFAULT=2 >" in conf
    memory = dict(re.findall(r"(\w+):\s+(\d+) kB", (root / "proc/meminfo").read_text()))
    assert int(memory["MemTotal"]) == 62841 * 1024 > int(memory["MemAvailable"]) > 50000 * 1024


def test_packages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = make(tmp_path, "8.5.2")
    words = ["-W", "-f=${Package} ${Version}\\n", "nvidia-jetpack", "tensorrt", "libnvinfer-bin", "libnvinfer[0-9]*"]
    assert dpkg_query.main(board, words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "nvidia-jetpack 5.1.2-b104", "tensorrt 8.5.2.2-1+cuda11.4", "libnvinfer-bin 8.5.2-1+cuda11.4",
        "libnvinfer8 8.5.2-1+cuda11.4",
    ]  # fmt: skip
    assert dpkg_query.main(board, ["-W", "nothing"]) == 1
    assert "no packages found matching nothing" in capsys.readouterr().err
    uname.main(board, ["-r"])
    assert capsys.readouterr().out == "5.10.120-tegra\n"


def test_nvpmodel_shows_lists_and_asks_before_a_reboot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_root: None
) -> None:
    board = make(tmp_path)
    nvpmodel.main(board, ["-q"])
    assert capsys.readouterr().out == "NV Power Mode: MAXN\n0\n"
    nvpmodel.main(board, ["-p"])
    assert "POWER_MODEL: ID=3 NAME=MODE_50W" in capsys.readouterr().out
    assert nvpmodel.main(board, ["-m", "9"]) == 255
    boot = (board.root / "proc/sys/kernel/random/boot_id").read_text()
    board.change(clocks_locked=True)
    monkeypatch.setattr("sys.stdin", io.StringIO("NO\n"))
    assert nvpmodel.main(board, ["-m", "2"]) == 255
    assert "DO YOU WANT TO REBOOT NOW" in capsys.readouterr().out and board.mode.id == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert nvpmodel.main(board, ["-m", "2"]) == 0
    assert (board.mode.name, board.clocks_locked, board.is_down) == ("MODE_30W", False, True)
    assert (board.root / "proc/sys/kernel/random/boot_id").read_text() != boot


def test_a_mode_with_the_same_masks_needs_no_reboot_but_for_the_fault(tmp_path: Path, as_root: None) -> None:
    board = make(tmp_path, module="agx-orin-32gb")
    assert nvpmodel.main(board, ["-m", "3"]) == 0
    assert board.mode.name == "MODE_40W" and not board.is_down
    board.faults.set("nvpmodel_reboot")
    assert nvpmodel.main(board, ["-m", "0", "--force"]) == 0
    assert board.mode.name == "MAXN" and board.is_down


def test_only_root_changes_modes_and_clocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = make(tmp_path)
    assert nvpmodel.main(board, ["-m", "2"]) == 255 and jetson_clocks.main(board, []) == 1
    assert not board.clocks_locked and "root" in capsys.readouterr().err


def test_jetson_clocks_stores_locks_restores_and_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_root: None
) -> None:
    board = make(tmp_path)
    assert jetson_clocks.main(board, ["--restore"]) == 1
    assert jetson_clocks.main(board, ["--store"]) == jetson_clocks.main(board, []) == 0
    capsys.readouterr()
    jetson_clocks.main(board, ["--show"])
    shown = capsys.readouterr().out
    assert re.search(r"^GPU MinFreq=1300500000 MaxFreq=1300500000 CurrentFreq=1300500000$", shown, re.M)
    assert shown.count("Online=1 Governor=schedutil MinFreq=2201600 MaxFreq=2201600") == 12
    assert re.search(r"^EMC MinFreq=\d+ MaxFreq=3199000000 CurrentFreq=3199000000 FreqOverride=1$", shown, re.M)
    assert shown.endswith("NV Power Mode: MAXN\n")
    jetson_clocks.main(board, ["--restore"])
    assert not board.clocks_locked
    jetson_clocks.main(board, [])
    board.boot()
    assert not board.clocks_locked


def test_sudo_may_want_a_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = make(tmp_path)
    board.faults.set("sudo_password")
    assert sudo.main(board, ["-n", "true"]) == 1
    assert capsys.readouterr().err == "sudo: a password is required\n"


def test_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = make(tmp_path)
    board.faults.set("clock_jump", seconds=7200)
    assert board.now() - time.time() == pytest.approx(7200, abs=5)
    sysfs.refresh(board)
    assert float((board.root / "proc/uptime").read_text().split()[0]) >= 7200
    called: list[list[str]] = []
    replace: Callable[[str, list[str]], None] = lambda _, words: called.append(words)  # noqa: E731
    monkeypatch.setattr(os, "execv", replace)
    date.main(board, ["+%s"])
    assert float(called[0][2][1:]) - time.time() == pytest.approx(7200, abs=5)
