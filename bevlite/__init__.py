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

if TYPE_CHECKING:
    from bevlite.api import (
        add_device,
        build,
        calibrate_latency,
        check_data,
        check_device,
        check_engine,
        data_statistics,
        deploy,
        emulate,
        evaluate,
        export,
        latency,
        latency_on_dla,
        list_devices,
        load_variant,
        measure,
        module_costs,
        show,
        synthesize,
        train,
    )

__version__ = "0.1.0"
ROOMS = ("deploy", "export", "latency")
"""Functions that bear the name of a room of the library: the room itself can be called (bevlite.callable_room)."""

__all__ = [
    "add_device",
    "build",
    "calibrate_latency",
    "check_data",
    "check_device",
    "check_engine",
    "data_statistics",
    "deploy",
    "emulate",
    "evaluate",
    "export",
    "latency",
    "latency_on_dla",
    "list_devices",
    "load_variant",
    "measure",
    "module_costs",
    "show",
    "synthesize",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'bevlite' has no attribute '{name}'; accepted: {', '.join(__all__)}")
    if name in ROOMS:
        return importlib.import_module(f"bevlite.{name}")
    return getattr(importlib.import_module("bevlite.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
