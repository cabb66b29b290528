"""The samples of a package through its network, against the outputs that travelled with them: a program of `start`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from bevlite.board.network import Network
from bevlite.board.samples import Sample, read_samples
from bevlite.runtime.differences import difference
from bevlite.runtime.query_sets import allowance


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Every raw map with its limit, what the frames took, and the engines' inputs as files (raises Fault)."""
    with Network(order["root"], exclusive=False) as network:
        samples = read_samples(network.package)
        results = [network.infer(**sample.given) for sample in samples]
        frames = [_written(network, sample, number, order["folder"]) for number, sample in enumerate(samples)]
        rows = []
        for name, wanted in network.package.manifest["golden"].items():
            expected, found = [s.golden[name] for s in samples], [r.maps[name] for r in results]
            off = difference(expected, found, as_set=wanted["kind"] == "set")
            limit = wanted["limit"] + allowance(off.share)
            good = off.relative is not None and off.relative <= limit and off.not_finite == 0 and off.saturated == 0
            row = {"name": name, "relative": off.relative, "limit": limit, "good": good}
            rows.append(dict(row, not_finite=off.not_finite, saturated=off.saturated))
        return {
            "rows": rows,
            "times_ms": [dict(result.times_ms) for result in results],
            "notes": [note for result in results for note in result.notes],
            "frames": frames,
            "graphs": network.graphs,
            "memory_mb": network.memory_mb,
            "tensorrt": network.versions["tensorrt"],
        }


def _written(network: Network, sample: Sample, number: int, folder: str) -> dict[str, str]:
    """What the engines take of a sample, as raw files by name."""
    files = {}
    for name, values in network.prepared(**sample.given).items():
        files[name] = os.path.join(folder, f"input-{number}-{name}.raw")
        with open(files[name], "wb") as stream:
            stream.write(np.ascontiguousarray(values).tobytes())
    return files
