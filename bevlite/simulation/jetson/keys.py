"""The keys of a board folder: two host keys (the second for a changed host) and the user's key."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Literal


def create(folder: Path, alias: str) -> None:
    """Make the keys, `known_hosts` and `authorized_keys` in `folder/ssh`."""
    ssh = folder / "ssh"
    ssh.mkdir(mode=0o700)
    for name in ("host_key_own", "host_key_other", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", alias, "-f", str(ssh / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    public = (ssh / "host_key_own.pub").read_text(encoding="utf-8")
    (ssh / "known_hosts").write_text(f"{alias} {public}", encoding="utf-8")
    show_host_key(folder, "own")
    accept_user_key(folder, True)


def show_host_key(folder: Path, which: Literal["own", "other"]) -> None:
    """Choose the key that the next connection sees; sshd reads the file anew for each."""
    ssh = folder / "ssh"
    for suffix in ("", ".pub"):
        fresh = ssh / f"host_key_new{suffix}"
        shutil.copyfile(ssh / f"host_key_{which}{suffix}", fresh)
        fresh.chmod(0o600)
        fresh.replace(ssh / f"host_key{suffix}")


def accept_user_key(folder: Path, accept: bool) -> None:
    """Let the user's key in, or not."""
    ssh = folder / "ssh"
    text = (ssh / "user_key.pub").read_text(encoding="utf-8") if accept else ""
    authorized = ssh / "authorized_keys"
    authorized.write_text(text, encoding="utf-8")
    authorized.chmod(0o600)
