"""`scripts/run`: frames through the network, one line of JSON each."""

from __future__ import annotations

import argparse
import json
from typing import Any, Sequence

from bevlite.agent.fault import Fault
from bevlite.board.words import DONE, ended, told

SHOWN = 10


def main(root: str, arguments: Sequence[str]) -> int:
    """The exit code: 0 done, 1 the board has a problem, 2 a frame could not be used."""
    parser = argparse.ArgumentParser(prog="run", description=__doc__)
    parser.add_argument("samples", nargs="*", help=".npz files as in data/; without any, those of the package")
    parser.add_argument("--mend", action="store_true", help="leave out what cannot be used of a frame, and say so")
    parser.add_argument("--boxes", type=int, default=SHOWN, help="how many boxes are printed")
    options = parser.parse_args(list(arguments))
    return ended("run", lambda: _run(root, options))


def _run(root: str, options: argparse.Namespace) -> int:
    try:
        from bevlite.board.network import Network
        from bevlite.board.samples import read_sample, read_samples
    except ImportError as error:
        raise Fault("python_missing", str(error), fix="sudo apt install python3-numpy") from None
    code = DONE
    with Network(root, mend=options.mend) as network:
        given = [read_sample(path) for path in options.samples] or read_samples(network.package)
        for sample in given:
            try:
                result = network.infer(**sample.given)
            except Fault as fault:
                code = told(f"run: {sample.name}", fault)
                continue
            print(json.dumps({"sample": sample.name, **_shown(result, options.boxes)}), flush=True)
    return code


def _shown(result: Any, boxes: int) -> dict[str, Any]:
    """What a person wants to see of a frame."""
    found: dict[str, Any] = {"ms": {name: round(value, 3) for name, value in result.times_ms.items()}}
    if result.notes:
        found["notes"] = list(result.notes)
    if result.detections is not None:
        rows = zip(result.detections.boxes[:boxes], result.detections.scores, result.detections.classes)
        found["count"] = len(result.detections.boxes)
        found["detections"] = [
            {
                "class": result.detections.names[int(kind)],
                "score": round(float(score), 3),
                "box": [round(float(v), 2) for v in box],
            }
            for box, score, kind in rows
        ]
    if result.occupancy is not None:
        names, values = result.occupancy.names, result.occupancy.values
        found["voxels"] = {name: int((values == number).sum()) for number, name in enumerate(names)}
    if result.map is not None:
        shares = (result.map.values >= 0.5).mean(axis=(1, 2))
        found["map"] = {name: round(float(share), 4) for name, share in zip(result.map.names, shares)}
    return found
