"""The served board: a real ssh client against it, its faults, and what is left when it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bevlite.errors import ConfigError
from bevlite.simulation.jetson import processes
from bevlite.simulation.jetson.board import EmulatedBoard, draw_factors
from bevlite.simulation.jetson.server import RunningBoard
from tests.simulation.jetson import networks
from tests.simulation.jetson.conftest import needs_sshd
from tests.waiting import LONG_S, until

pytestmark = needs_sshd
Ssh = Callable[..., subprocess.CompletedProcess[str]]


def connect(running: RunningBoard, command: str, **options: object) -> subprocess.CompletedProcess[str]:
    words = ["ssh", "-F", str(running.ssh_config), running.host_alias, command]
    settings = {"capture_output": True, "text": True, "timeout": LONG_S, "stdin": subprocess.DEVNULL, **options}
    if "input" in options:
        del settings["stdin"]
    return subprocess.run(words, check=False, **settings)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def board(tmp_path: Path) -> EmulatedBoard:
    return EmulatedBoard.create(tmp_path / "a board", seed=1, time_scale=0.01)


@pytest.fixture
def running(board: EmulatedBoard) -> Iterator[RunningBoard]:
    with board.serve() as served:
        yield served


def test_a_session_is_on_the_board(running: RunningBoard) -> None:
    done = connect(
        running, "echo $BEVLITE_BOARD_ROOT; echo $HOME; pwd; command -v trtexec; uname -m; nvidia-smi -L || echo none"
    )
    root = running.root
    assert done.stdout.splitlines() == [
        str(root), str(root / "home/nvidia"), str(root / "home/nvidia"), str(root / "usr/src/tensorrt/bin/trtexec"),
        "aarch64", "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "none",
    ], done.stderr  # fmt: skip
    marker = json.loads((root / "etc/bevlite-emulated").read_text())
    assert (marker["tensorrt"], marker["seed"]) == ("10.3.0", 1)
    assert connect(running, "exit 7").returncode == 7
    assert connect(running, "python3 -", input="print(6 * 7)").stdout == "42\n"


def test_build_and_run_over_ssh_with_files_copied_by_scp(running: RunningBoard, tmp_path: Path) -> None:
    networks.convolutional(tmp_path / "net.onnx")
    config = str(running.ssh_config)
    subprocess.run(["scp", "-q", "-F", config, str(tmp_path / "net.onnx"), f"{running.host_alias}:"], check=True)
    built = connect(running, "trtexec --onnx=net.onnx --fp16 --saveEngine=m.plan --skipInference")
    assert built.returncode == 0, built.stderr
    ran = connect(running, "sudo -n jetson_clocks && trtexec --loadEngine=m.plan --useCudaGraph --exportTimes=t.json")
    assert "&&&& PASSED" in ran.stdout and (running.root / "home/nvidia/t.json").is_file()


def test_the_user_key_may_be_refused_and_the_host_key_changed(board: EmulatedBoard, running: RunningBoard) -> None:
    board.faults.set("auth_refused")
    refused = connect(running, "true")
    assert refused.returncode == 255 and "Permission denied" in refused.stderr
    board.faults.clear()
    board.faults.set("host_key_changed")
    changed = connect(running, "true")
    assert changed.returncode == 255 and "REMOTE HOST IDENTIFICATION HAS CHANGED" in changed.stderr
    board.faults.clear()
    assert connect(running, "true").returncode == 0


@pytest.mark.parametrize(("phase", "after"), [("copy", 5000), ("result", 3)])
def test_a_connection_drops_in_the_middle_of_bytes(
    board: EmulatedBoard, running: RunningBoard, phase: str, after: int
) -> None:
    board.faults.set("connection_drop", phase=phase, after=after, times=1)
    small = connect(running, "cat >kept; echo ok", input="x")
    assert small.returncode == 0 and small.stdout == "ok\n", "too few bytes for the fault"
    dropped = connect(running, "cat >kept; echo a longer answer", input="x" * 300_000)
    assert dropped.returncode == 255 and len(dropped.stdout) <= 3
    assert connect(running, "cat >kept; echo a longer answer", input="x" * 300_000).returncode == 0
    assert (running.root / "home/nvidia/kept").stat().st_size == 300_000


@pytest.mark.parametrize(
    ("fault", "parameters", "code"),
    [
        ("connection_drop", {"phase": "build"}, 255),
        ("killed", {"phase": "build"}, 137),
        ("reboot", {"during": "build"}, 255),
        ("trtexec_missing", {}, 127),
    ],
)
def test_faults_during_a_build(
    board: EmulatedBoard, running: RunningBoard, fault: str, parameters: dict[str, str], code: int
) -> None:
    networks.convolutional(running.root / "home/nvidia/net.onnx")
    board.faults.set(fault, times=1, **parameters)
    # `exit $?` keeps the shell alive: a command that a signal ends alone is reported by ssh as 255.
    command = "trtexec --onnx=net.onnx --fp16 --saveEngine=m.plan --skipInference; exit $?"
    boot = (running.root / "proc/sys/kernel/random/boot_id").read_text()
    done = connect(running, command)
    assert done.returncode == code and "&&&& PASSED" not in done.stdout and "&&&& FAILED" not in done.stdout
    assert ((running.root / "proc/sys/kernel/random/boot_id").read_text() != boot) is (fault == "reboot")
    board.faults.clear()
    assert until(lambda: connect(running, "true").returncode == 0)
    assert connect(running, command).returncode == 0


def test_a_hang_is_silent_until_it_is_killed(board: EmulatedBoard, running: RunningBoard) -> None:
    networks.convolutional(running.root / "home/nvidia/net.onnx")
    board.faults.set("hang", phase="build")
    with pytest.raises(subprocess.TimeoutExpired):
        connect(running, "trtexec --onnx=net.onnx --skipInference", timeout=2)
    board.faults.clear()
    assert connect(running, "trtexec --onnx=net.onnx --skipInference").returncode == 0


def test_a_reboot_ends_sessions_and_releases_the_clocks(board: EmulatedBoard, running: RunningBoard) -> None:
    connect(running, "sudo -n jetson_clocks")
    words = ["ssh", "-F", str(running.ssh_config), running.host_alias, "sleep 60"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as waiting:
        assert until(lambda: bool(processes.of_board(running.root)))
        board.reboot(stays_down=True)
        assert waiting.wait(timeout=LONG_S) == 255
    assert connect(running, "true").returncode == 255, "it does not answer while it boots"
    board.come_back()
    assert until(lambda: connect(running, "true").returncode == 0)
    assert "MinFreq=306000000" in connect(running, "sudo -n jetson_clocks --show").stdout
    forced = connect(running, "sudo -n nvpmodel -m 2 --force; echo still here")
    assert forced.returncode == 255 and "still here" not in forced.stdout
    assert until(lambda: connect(running, "nvpmodel -q").stdout == "NV Power Mode: MODE_30W\n2\n")


def test_state_is_kept_and_nothing_runs_after_the_end(board: EmulatedBoard) -> None:
    with board.serve() as running:
        connect(running, "echo kept >note; sudo -n jetson_clocks")
        connect(running, "setsid sleep 600 >/dev/null 2>&1 & tegrastats --logfile t.log >/dev/null 2>&1 &")
        assert until(lambda: len(processes.of_board(running.root)) >= 2)
    assert processes.of_board(board.root) == []
    again = EmulatedBoard(board.folder)
    with again.serve() as running:
        assert connect(running, "cat note; sudo -n jetson_clocks --show").stdout.startswith("kept\n")
        assert "MinFreq=1300500000" in connect(running, "sudo -n jetson_clocks --show").stdout


def test_load_is_seen_from_another_session(board: EmulatedBoard, running: RunningBoard) -> None:
    board.faults.set("other_gpu_process", load=0.5)
    done = connect(
        running, "timeout 100 tegrastats --interval 100 | head -2; cat $BEVLITE_BOARD_ROOT/sys/devices/gpu.0/load"
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all("GR3D_FREQ 4" in line or "GR3D_FREQ 5" in line for line in lines)
    assert until(lambda: "other_node" in (running.root / "sys/kernel/debug/nvmap/iovmm/clients").read_text())


def test_wrong_folders_and_names(tmp_path: Path, board: EmulatedBoard) -> None:
    with pytest.raises(ConfigError, match="without a board"):
        EmulatedBoard(tmp_path)
    with pytest.raises(ConfigError, match="in use"):
        EmulatedBoard.create(board.folder)
    with pytest.raises(ConfigError, match=r"tensorrt: found '9\.0'; accepted: 8\.5\.2"):
        EmulatedBoard.create(tmp_path / "x", tensorrt="9.0")
    with pytest.raises(ConfigError, match="module: found 'nano'"):
        EmulatedBoard.create(tmp_path / "x", module="nano")
    with pytest.raises(ConfigError, match="fault: found 'fire'"):
        board.faults.set("fire")


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    code = "import typer; from bevlite.cli.device_emulate import emulate; typer.run(emulate)"
    words = [sys.executable, "-c", code, "--tensorrt", "8.6", "--folder", str(tmp_path / "b"), "--fault", "throttling"]
    words += ["--factors-seed", "3"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        lines = []
        for line in served.stdout:
            lines.append(line.strip())
            if line.startswith("end:"):
                break
        said = "\n".join(lines)
        assert "TensorRT 8.6.2" in said and "faults: throttling" in said and "bevlite device add" in said
        login = next(line for line in lines if line.startswith("log in:")).split(maxsplit=2)[2]
        assert subprocess.run([*login.split(), "nvpmodel", "-q"], stdin=subprocess.DEVNULL, check=False).returncode == 0
        served.terminate()
        assert served.wait(timeout=LONG_S) == 0
    assert json.loads((tmp_path / "b/truth.json").read_text())["factors"] == draw_factors(3)
    assert processes.of_board(tmp_path / "b/root") == []


def test_a_fault_cuts_no_connection_but_the_boards_own(board: EmulatedBoard) -> None:
    code = (
        "import sys; from pathlib import Path; from bevlite.simulation.jetson import processes; "
        "processes._stat = lambda pid: ('S', 0, 'sshd'); processes._kill = sys.exit; "
        "processes.drop_connection(Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(board.folder)], check=False).returncode == 0


def test_a_reader_that_goes_away_ends_a_tool_quietly(running: RunningBoard) -> None:
    done = connect(running, "trtexec --help | head -1")
    assert done.stdout.startswith("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] #") and done.stderr == ""


def test_what_a_dead_server_left_is_ended_by_the_next(board: EmulatedBoard) -> None:
    # The server outlives who started it only where its guard was killed too, as when a whole group of processes is.
    code = (
        "import os, sys; from pathlib import Path; from subprocess import PIPE, Popen\n"
        "from bevlite.simulation.jetson import server; from bevlite.simulation.jetson.board import EmulatedBoard\n"
        "server._guard = lambda pid: Popen(['true'], stdin=PIPE)\n"
        "with EmulatedBoard(Path(sys.argv[1])).serve() as running: print(running.port, flush=True); os._exit(0)"
    )
    words = [sys.executable, "-c", code, str(board.folder)]
    subprocess.run(words, capture_output=True, check=True)
    left = int((board.folder / "ssh/sshd.pid").read_text())
    assert processes.is_alive(left)
    with board.serve() as running:
        assert connect(running, "true").returncode == 0
        assert not processes.is_alive(left)
