"""Signatures of a package by ssh keys: `ssh-keygen -Y`, over the manifest, which names every file by its hash."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bevlite.board.contents import MANIFEST, SIGNATURE
from bevlite.board.signature import NAMESPACE
from bevlite.errors import BevliteError


def sign(folder: Path, key: Path) -> None:
    """Write the signature beside the manifest (raises BevliteError; a key with a passphrase asks the agent)."""
    if not key.is_file():
        raise BevliteError(f"--sign: {key}: no such file; accepted: an ssh key")
    command = ["ssh-keygen", "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key), str(folder / MANIFEST)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise BevliteError("--sign: ssh-keygen is not installed; accepted: OpenSSH 8.0 or later") from None
    except subprocess.TimeoutExpired:
        raise BevliteError(f"--sign: {key}: ssh-keygen did not answer; accepted: a key that asks nothing") from None
    if done.returncode != 0 or not (folder / SIGNATURE).is_file():
        last = (done.stderr.strip() or done.stdout.strip() or f"code {done.returncode}").splitlines()[-1]
        raise BevliteError(f"--sign: {key}: {last}")
