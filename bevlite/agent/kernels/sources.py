"""The texts of the kernels, wherever they lie: beside this file, or in the agent's text in memory."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

HEADERS = ("common.cuh", "ordered.cuh", "project.cuh", "scan.cuh", "sweeps.cuh")
"""What the kernels include."""
KERNELS = ("camera_slots", "classes", "columns", "depth", "lookup", "peaks", "pillars", "pooling", "queries", "resize")
"""One file a step, without `.cu`."""


def text(name: str) -> str:
    """A file of this folder by its name."""
    spec = importlib.util.find_spec("bevlite.agent.kernels")
    loader: Any = spec.loader if spec is not None else None
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    data: bytes = loader.get_data(os.path.join(places[0] if places else "", name))
    return data.decode("utf-8")
