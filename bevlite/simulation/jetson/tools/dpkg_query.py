"""`dpkg-query -W`: the NVIDIA packages of the board's JetPack."""

from __future__ import annotations

import fnmatch
import sys

from bevlite.simulation.jetson.folder import BoardFolder


def main(board: BoardFolder, arguments: list[str]) -> int:
    """List packages by pattern; `-f` knows `${Package}` and `${Version}`."""
    packages = dict(board.release.debs)
    layout, patterns = "${Package}\t${Version}\n", []
    waiting = iter(arguments)
    for word in waiting:
        if word in ("-f", "--showformat"):
            layout = next(waiting, layout)
        elif word.startswith(("-f=", "--showformat=")):
            layout = word.partition("=")[2]
        elif word.startswith("-f") and len(word) > 2:
            layout = word[2:]
        elif not word.startswith("-"):
            patterns.append(word)
    layout = layout.replace("\\n", "\n").replace("\\t", "\t")
    missing = 0
    for pattern in patterns or ["*"]:
        names = fnmatch.filter(packages, pattern)
        if not names:
            print(f"dpkg-query: no packages found matching {pattern}", file=sys.stderr)
            missing = 1
        for name in names:
            print(layout.replace("${Package}", name).replace("${Version}", packages[name]), end="")
    return missing
