from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bevlite.cli.device import register
from bevlite.config import to_yaml, write_atomic
from bevlite.devices.files import folder, open_device
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError, ConfigError
from bevlite.export.graph.emit import export_variant
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.tensorrt import EMISSIONS, FORMS
from tests.devices.boards import QUICK, small_net
from tests.devices.conftest import Served
from tests.tiny import lidar_only

app = typer.Typer()
register(app)
runner = CliRunner()


def call(*words: object) -> tuple[int, str]:
    done = runner.invoke(app, ["device", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def add(board: Served, *more: str, name: str = "desk") -> None:
    settings = [word for key, value in QUICK.items() for word in ("--set", f"protocol.{key}={value}")]
    server = board.server
    code, _ = call("add", name, "--ssh", server.host_alias, "--ssh-config", server.ssh_config, *settings, *more)
    assert code == 0


def test_add_and_list_without_a_connection() -> None:
    assert call("add", "desk", "--ssh", "user@nowhere.invalid", "--power-mode", "MAXN")[0] == 0
    assert call("add", "lab", "--board", "desk")[0] == 0
    text = (folder() / "desk.yaml").read_text()
    assert "user@nowhere.invalid" in text and "never" in text
    code, output = call("list")
    rows = dict(line.split()[:2] for line in output.splitlines()[:-1])
    assert code == 0 and rows["desk"] == "orin" and rows["lab"] == "pool"
    assert rows["onnxruntime"] == "onnxruntime" and rows["agx-orin-64gb"] == "predicted"
    with pytest.raises(ConfigError, match="--replace"):
        call("add", "desk", "--ssh", "other")
    assert call("add", "desk", "--ssh", "other", "--replace")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("desk",), "--ssh HOST"),
        (("desk", "--ssh", "a", "--board", "b"), "either"),
        (("../desk", "--ssh", "a"), "letters"),
        (("desk", "--ssh", "-oProxyCommand=id"), "accepted: a host"),
        (("desk", "--ssh", "a b"), "accepted: a host"),
        (("desk", "--ssh", "a", "--sudo", "always"), "passwordless"),
        (("desk", "--ssh", "a", "--set", "protocol.durations=3"), "durations"),
        (("desk", "--ssh", "a", "--set", "protocol.repetitions=true"), "a number"),
        (("cuda", "--ssh", "a"), "another name"),
        (("agx-orin-64gb", "--ssh", "a"), "another name"),
    ],
)
def test_what_cannot_be_a_device_is_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(BevliteError, match=message) as caught:
        call("add", *words)
    assert "\n" not in str(caught.value) and not list(folder().glob("*.yaml"))


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match="onnxruntime"):
        open_device("nobody")


def test_a_pool_is_made_of_boards() -> None:
    call("add", "loop", "--board", "loop")
    call("add", "cpus", "--board", "onnxruntime")
    for name, member in (("loop", "loop"), ("cpus", "onnxruntime")):
        with pytest.raises(ConfigError, match=f"found '{member}', which is no board"):
            open_device(name)


def test_check_says_what_is_wrong_and_what_mends_it(orin_board: Served) -> None:
    orin_board.board.faults.set("clocks_unlocked")
    add(orin_board)
    code, output = call("check", "desk")
    assert code == 1 and "sudo jetson_clocks" in output and "EMULATED" in output and "tensorrt: 10.3.0" in output
    orin_board.board.faults.set("auth_refused")
    code, output = call("check", "desk")
    assert code == 1 and "auth_refused" in output


def test_run_writes_a_report_that_never_counts_as_measured(orin_board: Served, tmp_path: Path) -> None:
    add(orin_board, "--sudo", "passwordless")
    path, out = small_net(tmp_path / "neck.onnx", 9), tmp_path / "report.json"
    code, output = call("run", "desk", path, "--out", out)
    assert code == 0 and "emulated" in output and "neck" in output
    assert LatencyReport.read(out).kind == "emulated"
    assert json.loads(out.read_text())["modules"][0]["measured"]["engine"]["precisions"]["fp16"] >= 1
    code, output = call("run", "desk", path, "--out", out, "--require-measured")
    assert code == 3 and "counts for nothing" in output


def test_boards_of_different_versions_get_the_export_of_the_oldest(orin_board: Served, tmp_path: Path) -> None:
    old = EmulatedBoard.create(tmp_path / "board", tensorrt="8.6.2", time_scale=0.01)
    run = tmp_path / "run"
    write_atomic(run / "variant.yaml", to_yaml(lidar_only()))
    for emission in EMISSIONS:
        export_variant(lidar_only(), run / "onnx" / emission, FORMS[emission])
    with old.serve() as server:
        add(orin_board, "--sudo", "passwordless")
        add(Served(old, server), "--sudo", "passwordless", name="old")
        call("add", "lab", "--board", "desk", "--board", "old")
        code, output = call("run", "lab", run, "--no-end-to-end", "--out", tmp_path / "report.json")
    assert code == 0, output
    report = LatencyReport.read(tmp_path / "report.json")
    words = "boards of TensorRT 8.6.2 (old), 10.3.0 (desk): the export for the oldest, 8.6.2, on whichever is free"
    assert words in report.notes
    commands = [
        module.measured.engine.command for module in report.modules if module.measured and module.measured.engine
    ]
    # FP16 by a flag is the weak export; the strong one carries it.
    assert commands and all("--fp16" in command and "--stronglyTyped" not in command for command in commands)


def test_run_of_files_on_the_cpu(tmp_path: Path) -> None:
    (folder()).mkdir(parents=True)
    (folder() / "cpu.yaml").write_text(
        "device: {type: onnxruntime, protocol: {duration_s: 0.1, longest_s: 0.1, queries: 10, warmup_ms: 1}}\n"
    )
    path = small_net(tmp_path / "neck.onnx", half=False)
    code, _ = call("run", "cpu", path, "--out", tmp_path / "r.json", "--require-measured", "--precision", "fp32")
    report = LatencyReport.read(tmp_path / "r.json")
    assert code == 0 and report.kind == "measured" and report.device.startswith("cpu-")
    with pytest.raises(BevliteError, match="one name"):
        call("run", "cpu", path, path)
