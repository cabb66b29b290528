"""Which commit of BEVLite this is."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def source_commit() -> str | None:
    """The commit of BEVLite's own source tree, with `-dirty` where files differ from it, wherever the command was
    started; None for an installed copy, also in an environment that lies in the repository of something else."""
    tree = Path(__file__).resolve().parents[1]
    if _git(tree, "rev-parse", "--show-toplevel") != str(tree):
        return None
    return _git(tree, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or None


def _git(tree: Path, *words: str) -> str:
    """What git prints; nothing where it fails or is not there."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=False, cwd=tree)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
