"""The OpenSSH server of an emulated board, on loopback, as the user who starts it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bevlite.errors import BevliteError
from bevlite.simulation.jetson import processes, store, sysfs
from bevlite.simulation.jetson.folder import BoardFolder

HOST_ALIAS = "emulated-orin"
REFRESH_S = 0.1
START_S = 60.0


class EmulatorError(BevliteError):
    """The emulated board cannot be started on this machine."""


@dataclass(frozen=True)
class RunningBoard:
    """A board that can be reached: `ssh -F ssh_config host_alias`."""

    host_alias: str
    ssh_config: Path
    port: int
    root: Path


def find_sshd() -> str:
    """The OpenSSH server of this machine.

    Raises:
        EmulatorError: none is installed.
    """
    found = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        raise EmulatorError("emulator: sshd: found none; accepted: an installed OpenSSH server (openssh-server)")
    return found


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise EmulatorError(f"emulator: user: found uid {os.getuid()} without a name; accepted: a named user") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _server_config(folder: Path, port: int) -> str:
    ssh = folder / "ssh"
    return "\n".join(
        [
            f"Port {port}",
            "ListenAddress 127.0.0.1",
            f'HostKey "{ssh}/host_key"',
            f'AuthorizedKeysFile "{ssh}/authorized_keys"',
            f'PidFile "{ssh}/sshd.pid"',
            f"AllowUsers {_user()}",
            "PubkeyAuthentication yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "StrictModes no",
            "UsePAM no",
            "UseDNS no",
            "PrintMotd no",
            "X11Forwarding no",
            "MaxStartups 200",
            "MaxSessions 200",
            "LogLevel VERBOSE",
            "Subsystem sftp internal-sftp",
            f'SetEnv "{processes.MARK}={folder}/root" "HOME={folder}/root/home/nvidia"',
            f'ForceCommand "{folder}/session"',
            "",
        ]
    )


def _client_config(folder: Path, port: int) -> str:
    ssh = folder / "ssh"
    return "\n".join(
        [
            f"Host {HOST_ALIAS}",
            "  HostName 127.0.0.1",
            f"  Port {port}",
            f"  User {_user()}",
            f'  IdentityFile "{ssh}/user_key"',
            "  IdentitiesOnly yes",
            "  IdentityAgent none",
            f"  HostKeyAlias {HOST_ALIAS}",
            f'  UserKnownHostsFile "{ssh}/known_hosts"',
            "  GlobalKnownHostsFile /dev/null",
            "  StrictHostKeyChecking yes",
            "  BatchMode yes",
            "",
        ]
    )


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _start(folder: Path, sshd: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server on a free port; another port is tried where somebody else was quicker."""
    config, log = folder / "ssh/sshd_config", folder / "ssh/sshd.log"
    for _ in range(3):
        port = _free_port()
        store.write_text(config, _server_config(folder, port))
        # Servers from OpenSSH 9.8 on shut out an address that fails to log in; here that is a fault under test.
        penalties = ["-o", "PerSourcePenalties=no"]
        if subprocess.run([sshd, "-t", "-f", str(config), *penalties], capture_output=True).returncode != 0:
            penalties = []
        with open(log, "ab") as output:
            command = [sshd, "-D", "-e", "-f", str(config), *penalties]
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        deadline = time.monotonic() + START_S
        while server.poll() is None and time.monotonic() < deadline:
            if _answers(port):
                return server, port
            time.sleep(0.02)
        server.kill()
        server.wait()
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    raise EmulatorError(f"emulator: sshd: did not start: {lines[-1] if lines else 'no word'}; see {log}")


def _guard(server: int) -> subprocess.Popen[bytes]:
    """A shell that ends the server when this process is gone: then nobody holds the other end of its input."""
    script = 'read -r line; kill "$1" 2>/dev/null'
    return subprocess.Popen(["/bin/sh", "-c", script, "guard", str(server)], stdin=subprocess.PIPE)


def _prepare(board: BoardFolder) -> None:
    """Make room for the server: what an earlier one left is ended, sshd's own folder exists when root starts it."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    processes.kill_connections(board.path)
    processes.kill_listener(board.path)
    processes.kill_board(board.root)
    for file in (board.path / "active").glob("*.json"):
        file.unlink(missing_ok=True)


@contextmanager
def serve(board: BoardFolder) -> Iterator[RunningBoard]:
    """Let the board be reached until the end of the block; nothing that ran on it survives.

    Raises:
        EmulatorError: no sshd, or it does not start.
    """
    sshd = find_sshd()
    _prepare(board)
    server, port = _start(board.path, sshd)
    guard = _guard(server.pid)
    config = board.path / "ssh_config"
    store.write_text(config, _client_config(board.path, port))
    done = threading.Event()

    def refresh() -> None:
        while not done.wait(REFRESH_S):
            sysfs.refresh(board)

    updater = threading.Thread(target=refresh, daemon=True, name="emulated-sysfs")
    updater.start()
    try:
        yield RunningBoard(HOST_ALIAS, config, port, board.root)
    finally:
        done.set()
        updater.join()
        processes.kill_connections(board.path)
        guard.kill()
        guard.communicate()
        server.terminate()
        server.wait()
        processes.kill_board(board.root)
