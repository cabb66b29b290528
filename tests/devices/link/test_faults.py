"""Every fault of a board, by the real ssh: the right class and message, tried again or refused, nothing left behind."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from bevlite.devices.link import faults
from bevlite.devices.report.latency import LatencyReport
from tests.devices.boards import over_ssh, small_net
from tests.devices.conftest import Served
from tests.waiting import until

_seeds = itertools.count(100)


def net(tmp_path: Path, **options: Any) -> Path:
    """A network that no test has built yet."""
    return small_net(tmp_path / "neck.onnx", next(_seeds), **options)


def measure(served: Served, path: Path, **changes: Any) -> LatencyReport:
    with over_ssh(served.server, **changes) as device:
        return device.measure({"neck": path})


def processes_of(root: Path) -> list[str]:
    """Everything that runs on the board: its tools and agents carry the root in their environment."""
    mark = f"BEVLITE_BOARD_ROOT={root}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().decode().replace("\0", " ")[:80])
        except OSError:
            continue
    return found


def left_behind(root: Path) -> list[str]:
    until(lambda: not processes_of(root))
    lease = list(root.glob("home/*/.bevlite/lease.json"))
    return processes_of(root) + [str(path) for path in lease]


STAND = [
    ("host_key_changed", {}, faults.HostKeyChanged, "ssh-keygen -R"),
    ("auth_refused", {}, faults.AuthRefused, "Permission denied"),
    ("trtexec_missing", {}, faults.TrtexecMissing, "sudo apt install libnvinfer-bin"),
    ("unknown_version", {}, faults.UnknownVersion, "12.0.0"),
    ("out_of_memory", {}, faults.OutOfMemory, "build"),
    ("killed", {"phase": "build"}, faults.Killed, "build"),
    ("killed", {"phase": "measure"}, faults.Killed, "measure"),
    ("disk_full", {"of": "trtexec"}, faults.DiskFull, "phase 'build'; to mend it: df -h"),
    ("disk_full", {"of": "results"}, faults.DiskFull, "no space"),
    ("disk_full", {}, faults.DiskFull, "df -h"),
    ("fp32_engine", {}, faults.WrongPrecision, "fp16 was asked"),
    ("throttling", {}, faults.Throttling, "during a run"),
    ("clocks_unlocked", {}, faults.ClocksUnlocked, "not locked"),
    ("other_gpu_process", {}, faults.OtherGpuProcess, "while nothing of ours runs"),
    ("truncated_json", {}, faults.TruncatedAnswer, "JSON"),
    ("connection_drop", {"phase": "build"}, faults.ConnectionLost, "build"),
]


@pytest.mark.parametrize(("name", "parameters", "expected", "words"), STAND, ids=lambda v: str(v)[:30])
def test_a_fault_that_stays(
    orin_board: Served, tmp_path: Path, name: str, parameters: dict[str, Any], expected: type, words: str
) -> None:
    orin_board.board.faults.set(name, **parameters)
    with pytest.raises(faults.DeviceFault, match=words) as caught:
        measure(orin_board, net(tmp_path), limits={"backoff_s": 0.02, "reconnect_s": 2.0})
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value) and caught.value.exit_code == 1
    assert left_behind(orin_board.server.root) == []


PASS = [
    ("connection_drop", {"phase": "copy"}, "tried again after connection_lost"),
    ("connection_drop", {"phase": "build"}, "tried again after connection_lost"),
    ("connection_drop", {"phase": "measure"}, "tried again after connection_lost"),
    ("reboot", {"during": "build"}, "tried again after board_rebooted"),
    ("reboot", {"during": "measure"}, "tried again after board_rebooted"),
    ("killed", {"phase": "build"}, "tried again after killed"),
    ("truncated_json", {}, "tried again after truncated_json"),
    ("throttling", {"skip": 1}, "a run was void and repeated"),
]


@pytest.mark.parametrize(("name", "parameters", "note"), PASS, ids=lambda v: str(v)[:30])
def test_a_fault_that_passes_costs_nothing(
    orin_board: Served, tmp_path: Path, name: str, parameters: dict[str, Any], note: str
) -> None:
    orin_board.board.faults.set(name, times=1, **parameters)
    report = measure(orin_board, net(tmp_path))
    assert any(note in text for text in report.notes), report.notes
    assert report.kind == "emulated" and len(report.modules) == 1
    assert left_behind(orin_board.server.root) == []


def test_a_result_is_kept_when_the_connection_drops_with_it(orin_board: Served, tmp_path: Path) -> None:
    """The agent's answers until the result are a few hundred bytes; the samples make it longer than that."""
    orin_board.board.faults.set("connection_drop", phase="result", after=4000, times=1)
    said: list[str] = []
    device = over_ssh(orin_board.server)
    device._say = said.append
    with device:
        report = device.measure({"neck": net(tmp_path)})
    assert any("connection_lost" in note for note in report.notes)
    assert said.count("neck: profile") == 1, "measured twice"
    results = orin_board.server.root / "home/nvidia/.bevlite/results"
    assert list(results.iterdir()) == []


def test_an_unsupported_operator_is_named(orin_board: Served, tmp_path: Path) -> None:
    with pytest.raises(faults.UnsupportedOperator, match="Voxelize") as caught:
        measure(orin_board, net(tmp_path, last="Voxelize", domain="custom"))
    assert caught.value.facts["op"] == "Voxelize"


@pytest.mark.parametrize(("phase", "limit"), [("build", "build_limit_s"), ("measure", "run_limit_s")])
def test_a_hang_is_ended_by_the_limit_of_its_phase(orin_board: Served, tmp_path: Path, phase: str, limit: str) -> None:
    orin_board.board.faults.set("hang", phase=phase)
    with pytest.raises(faults.Hang, match=f"phase '{phase}'"):
        measure(orin_board, net(tmp_path), protocol={limit: 3.0})
    assert left_behind(orin_board.server.root) == []


@pytest.mark.parametrize("name", ["engine_other_version", "engine_other_module"])
def test_an_engine_of_another_board_is_built_again(orin_board: Served, tmp_path: Path, name: str) -> None:
    path = net(tmp_path)
    measure(orin_board, path)
    orin_board.board.faults.set(name, times=1)
    engine = measure(orin_board, path).modules[0].measured.engine  # type: ignore[union-attr]
    assert engine is not None and not engine.cached
    assert any("engine rebuilt" in note for note in engine.notes)


def test_a_stale_timing_cache_is_noted(orin_board: Served, tmp_path: Path) -> None:
    measure(orin_board, net(tmp_path))
    orin_board.board.faults.set("stale_timing_cache")
    report = measure(orin_board, net(tmp_path))
    assert any("timing cache" in note for note in report.notes)


def test_a_refused_cuda_graph_is_said(orin_board: Served, tmp_path: Path) -> None:
    orin_board.board.faults.set("cuda_graph_refused")
    report = measure(orin_board, net(tmp_path))
    measured = report.modules[0].measured
    assert measured is not None and measured.cuda_graph is None and measured.plain is not None
    assert report.conditions.cuda_graph is False and any("CUDA graph refused" in note for note in report.notes)


def test_a_clock_that_jumps_during_a_run_voids_it(orin_board: Served, tmp_path: Path) -> None:
    # The first run of all has no warm-up and tells one latency: no clock voids it.
    orin_board.board.faults.set("clock_jump", seconds=600, during="measure", skip=1)
    report = measure(orin_board, net(tmp_path))
    assert any("clock jumped by" in note for note in report.notes)


def test_sudo_that_wants_a_password(orin_board: Served, tmp_path: Path) -> None:
    orin_board.reboot()
    orin_board.board.faults.set("sudo_password")
    with pytest.raises(faults.SudoPassword, match="sudo jetson_clocks"):
        measure(orin_board, net(tmp_path))


def test_a_power_mode_that_needs_a_reboot(orin_board: Served, tmp_path: Path) -> None:
    orin_board.board.faults.set("nvpmodel_reboot")
    with pytest.raises(faults.NvpmodelReboot, match="sudo nvpmodel -m"):
        measure(orin_board, net(tmp_path), power_mode="MODE_30W")


def test_every_class_says_what_it_means() -> None:
    codes = [fault.code for fault in faults.FAULTS.values()]
    assert len(set(codes)) == len(codes) == len(faults.FAULTS)
    table = (Path(__file__).parents[3] / "docs" / "measuring.md").read_text()
    for fault in faults.FAULTS.values():
        assert f"| `{fault.code}` |" in table and fault.meaning in table, fault.code


def test_every_code_of_the_agent_has_a_class() -> None:
    folder = Path(__file__).parents[3] / "bevlite" / "agent"
    import re

    used = {code for file in folder.rglob("*.py") for code in re.findall(r'Fault\(\s*"(\w+)"', file.read_text())}
    assert len(used) > 20 and used <= set(faults.FAULTS)


def test_the_environment_of_this_process_is_no_board() -> None:
    assert "BEVLITE_BOARD_ROOT" not in os.environ
