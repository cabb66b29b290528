"""Connections that do not become one, without a board."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from bevlite.devices.link.faults import ConnectionLost, DeviceFault, HostKeyChanged, PythonMissing, Unreachable
from bevlite.devices.link.program import REMOTE_COMMAND
from bevlite.devices.link.transport import Connection, ssh_command
from tests.waiting import LONG_S


def connect(code: str, limit_s: float = LONG_S) -> Connection:
    return Connection("board", [sys.executable, "-c", code], limit_s)


def test_the_ssh_call_keeps_the_user_s_configuration_and_puts_no_value_into_the_command() -> None:
    command = ssh_command("desk", "/home/u/my config", 7)
    assert command[:3] == ["ssh", "-F", "/home/u/my config"] and command[-3:] == ["--", "desk", REMOTE_COMMAND]
    assert "BatchMode=yes" in command and "ConnectTimeout=7" in command
    assert not any("StrictHostKeyChecking" in word or "UserKnownHostsFile" in word for word in command)
    assert "-F" not in ssh_command("desk", None, 7)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("ssh: Could not resolve hostname desk: Name or service not known", Unreachable),
        ("ssh: connect to host desk port 22: Connection refused", Unreachable),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", HostKeyChanged),
        ("No ED25519 host key is known for desk and you have requested strict checking.", HostKeyChanged),
        ("bash: line 1: exec: python3: not found", PythonMissing),
        ("something new", ConnectionLost),
    ],
)
def test_what_ssh_says_becomes_a_class(printed: str, expected: type[DeviceFault]) -> None:
    with pytest.raises(DeviceFault) as caught:
        connect(f"import sys; print({printed!r}, file=sys.stderr); sys.exit(255)")
    assert type(caught.value) is expected and printed in str(caught.value)


def test_a_connection_that_stalls_is_given_up() -> None:
    """It reads nothing: the agent's program does not fit into the pipe."""
    began = time.monotonic()
    with pytest.raises(Unreachable, match="no answer"):
        connect(f"import time; time.sleep({10 * LONG_S})", 0.5)
    assert time.monotonic() - began < 5 * LONG_S


def test_a_login_script_may_speak_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    welcome = "print('Welcome to the board\\n' * 50, flush=True)"
    code = f"{welcome}; from bevlite.devices.link.program import RECEIVE; exec(RECEIVE)"
    connection = connect(code)
    answer, _ = connection.request({"op": "have", "files": []}, limit_s=LONG_S)
    assert answer == {"present": {}, "whole": []}
    connection.close()


def test_one_that_never_stops_speaking_is_no_agent() -> None:
    with pytest.raises(DeviceFault):
        connect("import sys\nwhile True: sys.stdout.write('x' * 4096)")
