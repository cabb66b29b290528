"""The documentation lists the faults that exist."""

from __future__ import annotations

import re
from pathlib import Path

from bevlite.simulation.jetson.faults import FAULTS

PAGE = Path(__file__).resolve().parents[3] / "docs/emulator.md"


def test_every_fault_is_documented() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.M))
    assert {name: rows.get(name) for name in FAULTS} == FAULTS
