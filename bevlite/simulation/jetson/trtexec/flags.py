"""The flags of trtexec, and which of them a release takes. Facts: `trtexec_flags.json`."""

from __future__ import annotations

import json
from importlib import resources

from bevlite.simulation.jetson.releases import Release

VALUED_INTS = (
    "--warmUp", "--iterations", "--avgRuns", "--infStreams", "--streams", "--device", "--useDLACore", "--avgTiming",
    "--builderOptimizationLevel", "--maxAuxStreams", "--sleepTime", "--idleTime",
)  # fmt: skip


class FlagError(Exception):
    """A command line that trtexec answers with its help and an error."""


def table(release: Release) -> dict[str, str]:
    """Flag -> `P` or `PH` for a release."""
    text = resources.files("bevlite.simulation.jetson").joinpath("trtexec_flags.json").read_text(encoding="utf-8")
    flags: dict[str, dict[str, str]] = json.loads(text)["flags"]
    known = {name: columns[release.flags] for name, columns in flags.items() if release.flags in columns}
    return {**known, "-h": "P"}


def parse(arguments: list[str], release: Release) -> dict[str, list[str]]:
    """Split `--flag=value` words; a flag without a value has an empty one.

    Raises:
        FlagError: an unknown flag, or a number that is none.
    """
    known, given = table(release), dict[str, list[str]]()
    for word in arguments:
        name, _, value = word.partition("=")
        if name not in known:
            raise FlagError(f"Unknown option: {name} {value}")
        given.setdefault(name, []).append(value)
    for name in VALUED_INTS:
        for value in given.get(name, []):
            if not value.lstrip("-").isdigit():
                raise FlagError("stoi")
    return given


def help_text(release: Release) -> str:
    """The list of flags that `--help` shows in this release; NVIDIA's descriptions are not repeated."""
    shown = sorted(name for name, where in table(release).items() if "H" in where)
    lines = [f"  {name}" for name in shown]
    return "\n".join(["=== Options (emulated help: names only) ===", *lines, ""])
