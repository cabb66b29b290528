"""BEVLite: camera + LiDAR bird's-eye-view networks, redesigned for a real car computer.

    import bevlite

    recipe = "configs/recipes/demo.yaml"
    run = bevlite.train("configs/variants/demo.yaml", data="worlds/w", recipe=recipe, out="runs/demo")
    print(bevlite.latency(run).total_ms, bevlite.evaluate(run)["NDS"])
    bevlite.export(run, tensorrt="10.3")

Every function is imported when it is first asked for, so `import bevlite` costs nothing. The search has its own:
`import search`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bevlite.api import FUNCTIONS

if TYPE_CHECKING:
    from bevlite.api.analysing import complexity as complexity
    from bevlite.api.analysing import layers as layers
    from bevlite.api.analysing import profile as profile
    from bevlite.api.analysing import ranges as ranges
    from bevlite.api.analysing import sensitivity as sensitivity
    from bevlite.api.boards import add_device as add_device
    from bevlite.api.boards import check_device as check_device
    from bevlite.api.boards import check_engine as check_engine
    from bevlite.api.boards import deploy as deploy
    from bevlite.api.boards import emulate as emulate
    from bevlite.api.boards import list_devices as list_devices
    from bevlite.api.boards import measure as measure
    from bevlite.api.compressing import compress as compress
    from bevlite.api.compressing import finetune as finetune
    from bevlite.api.compressing import ledger as ledger
    from bevlite.api.compressing import prune as prune
    from bevlite.api.compressing import qat as qat
    from bevlite.api.compressing import quantize as quantize
    from bevlite.api.importing import import_checkpoint as import_checkpoint
    from bevlite.api.measuring_next import measure_next as measure_next
    from bevlite.api.networks import build as build
    from bevlite.api.networks import evaluate as evaluate
    from bevlite.api.networks import export as export
    from bevlite.api.networks import load_variant as load_variant
    from bevlite.api.networks import module_costs as module_costs
    from bevlite.api.networks import show as show
    from bevlite.api.networks import show_reach as show_reach
    from bevlite.api.networks import train as train
    from bevlite.api.packaging import package as package
    from bevlite.api.packaging import plan_b as plan_b
    from bevlite.api.packaging import release as release
    from bevlite.api.predicting import calibrate_latency as calibrate_latency
    from bevlite.api.predicting import compile_onnx as compile_onnx
    from bevlite.api.predicting import latency as latency
    from bevlite.api.predicting import latency_on_dla as latency_on_dla
    from bevlite.api.projects import init as init
    from bevlite.api.worlds import check_data as check_data
    from bevlite.api.worlds import data_statistics as data_statistics
    from bevlite.api.worlds import synthesize as synthesize

__version__ = "0.1.0"
ROOMS = ("deploy", "export", "latency")
"""Functions that bear the name of a room of the library: the room itself can be called (bevlite.callable_room)."""

__all__ = sorted(FUNCTIONS)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'bevlite' has no attribute '{name}'; accepted: {', '.join(__all__)}")
    if name in ROOMS:
        return importlib.import_module(f"bevlite.{name}")
    return getattr(importlib.import_module("bevlite.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
