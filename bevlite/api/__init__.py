"""What the command line does, as functions; `import bevlite` hands them out.

Every function is imported when it is first asked for, and imports what it needs when it is called.
"""

from __future__ import annotations

import importlib
from typing import Any

FUNCTIONS = {
    "init": "projects",
    "load_variant": "networks",
    "module_costs": "networks",
    "build": "networks",
    "import_checkpoint": "importing",
    "train": "networks",
    "evaluate": "networks",
    "show": "networks",
    "show_reach": "networks",
    "export": "networks",
    "complexity": "analysing",
    "profile": "analysing",
    "layers": "analysing",
    "ranges": "analysing",
    "sensitivity": "analysing",
    "prune": "compressing",
    "finetune": "compressing",
    "quantize": "compressing",
    "qat": "compressing",
    "compress": "compressing",
    "ledger": "compressing",
    "latency": "predicting",
    "latency_on_dla": "predicting",
    "compile_onnx": "predicting",
    "calibrate_latency": "predicting",
    "measure_next": "measuring_next",
    "list_devices": "boards",
    "add_device": "boards",
    "check_device": "boards",
    "measure": "boards",
    "check_engine": "boards",
    "deploy": "boards",
    "package": "packaging",
    "release": "packaging",
    "plan_b": "packaging",
    "emulate": "boards",
    "synthesize": "worlds",
    "check_data": "worlds",
    "data_statistics": "worlds",
}
"""Every function, and the file of this folder that holds it."""


def __getattr__(name: str) -> Any:
    if name not in FUNCTIONS:
        raise AttributeError(f"module 'bevlite' has no attribute '{name}'; accepted: {', '.join(FUNCTIONS)}")
    return getattr(importlib.import_module(f"{__name__}.{FUNCTIONS[name]}"), name)
