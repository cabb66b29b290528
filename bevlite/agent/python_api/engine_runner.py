"""Runs frames through engines and leaves tensors as files: one of the programs that `runner` starts."""

from __future__ import annotations

import os
from typing import Any

from bevlite.agent.python_api.chain import Chain, Network
from bevlite.agent.python_api.cuda import Cuda


def run(order: dict[str, Any], trt: Any, library: Any) -> dict[str, Any]:
    """Run all frames of an order; the tensors to keep lie as files in its folder (raises RunnerError)."""
    cuda = Cuda(library)
    before = cuda.free_mb()
    chain = Chain(Network(trt, cuda, order["engines"], order["dla_cores"]), order["feeds"])
    least = cuda.free_mb()
    frames = []
    for number, files in enumerate(order["frames"]):
        chain.run(files, number == 0 or number in order["starts"])
        least = min(least, cuda.free_mb())
        kept = {}
        for place, name in enumerate(order["keep"]):
            path = os.path.join(order["folder"], f"{number}-{place}.raw")
            with open(path, "wb") as stream:
                stream.write(chain.fetch(name))
            kept[name] = {"path": path, "dtype": chain.tensors[name].dtype, "shape": chain.tensors[name].shape}
        frames.append(kept)
    return {"frames": frames, "memory_mb": max(0.0, before - least)}
