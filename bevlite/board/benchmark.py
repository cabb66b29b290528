"""`scripts/benchmark`: how long frames take through the library, step by step, with one and with two in flight."""

from __future__ import annotations

import argparse
import json
import shutil
from typing import Any, Sequence

from bevlite.agent.store import Store
from bevlite.agent.system import conditions, paths
from bevlite.agent.system.identity import identify
from bevlite.board import start
from bevlite.board.contents import Package
from bevlite.board.words import DONE, EMULATED, ended

LOADING_S, FRAME_S = 300.0, 5.0
"""What loading the engines and one frame may take at most."""


def main(root: str, arguments: Sequence[str]) -> int:
    """The exit code: 0 done, 1 the board has a problem, 2 the package is damaged, 3 the board is emulated."""
    parser = argparse.ArgumentParser(prog="benchmark", description=__doc__)
    parser.add_argument("--frames", type=int, default=200, help="how many frames each way takes")
    parser.add_argument("--json", help="write what was found to this file")
    options = parser.parse_args(list(arguments))
    return ended("benchmark", lambda: _run(root, options))


def _run(root: str, options: argparse.Namespace) -> int:
    package = Package(root)
    board = identify(None)
    mode = conditions.power_mode()[0] if board["jetson"] else None
    emulated = paths.emulated()
    where = f"{board['sku']}, TensorRT {board['tensorrt']}, power mode {mode}"
    print(f"{package.name} on {where}" + (" EMULATED: what numpy takes is not in it" if emulated else ""))
    ways = {count: _way(package, count, options.frames) for count in (1, 2)}
    names = list(ways[1]["steps_ms"])
    print(f"{'step':24}{'1 in flight':>14}{'2 in flight':>14}  ms, medians; of 2 with the other frame's work in it")
    for name in [n for n in names if n != "total"] + ["total"]:
        print(f"{name:24}" + "".join(f"{way['steps_ms'].get(name, 0.0):14.3f}" for way in ways.values()))
    for name in ("p90", "p99", "max"):
        print(f"{'total ' + name:24}" + "".join(f"{way['latency_ms'][name]:14.3f}" for way in ways.values()))
    print(f"{'frames a second':24}" + "".join(f"{way['fps']:14.2f}" for way in ways.values()))
    if options.json:
        kind = "emulated" if emulated else "measured"
        with open(options.json, "w") as stream:
            json.dump({"kind": kind, "board": board, "power_mode": mode, "in_flight": ways}, stream, indent=1)
    return EMULATED if emulated else DONE


def _way(package: Package, in_flight: int, count: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def on_line(line: str) -> None:
        if line.startswith(start.LINE):
            found.append(json.loads(line[len(start.LINE) :]))

    order = {
        "seconds": 0.0, "most_frames": max(1, count), "interval_s": float("inf"), "fps": 0.0,
        "in_flight": in_flight, "exclusive": True,
    }  # fmt: skip
    store = Store()
    folder = store.work()
    try:
        start.run(package, "frames", order, folder, LOADING_S + FRAME_S * count, on_line)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found[-1]
