"""Tokens and random generators that depend on names only: never on clock, process or order of work."""

from __future__ import annotations

import hashlib

import numpy as np


def token(*parts: object) -> str:
    """A nuScenes token: 32 hexadecimal digits from the SHA-256 of the parts joined by '/'."""
    return hashlib.sha256("/".join(str(part) for part in parts).encode()).hexdigest()[:32]


def generator(*parts: object) -> np.random.Generator:
    """A random generator of its own for a thing that the parts name."""
    digest = hashlib.sha256(("rng/" + "/".join(str(part) for part in parts)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
