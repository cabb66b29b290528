"""Measure the modules of module_list.py.

    python benchmarks/measure_modules.py --backend inductor --out FILE.csv      # one NVIDIA GPU
    python benchmarks/measure_modules.py --backend onnxruntime --out FILE.csv   # the CPU, the small modules

inductor: fp16, eval, torch.compile with static shapes, BatchNorm folded, pointwise kernels and convolutions tuned on
the device, captured in a CUDA graph (`inductor_modules.py`, `inductor_workers.py`).

onnxruntime: fp32, CPUExecutionProvider, two threads, all optimisations; the specs marked `cpu`, in rounds
(`onnxruntime_modules.py`).

Rows are written as they come, conditions and ceilings beside them as JSON, and for inductor the kernels of every
module as JSON lines. A module that fails is a row with its error. `--resume` keeps the rows of an earlier run, but
measures noisy ones again.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inductor_workers import run_inductor
from measured_rows import Results
from onnxruntime_modules import run_onnxruntime

if TYPE_CHECKING:
    # Loading torch takes seconds: at run time the parent process starts the workers before it does so itself.
    from modules import ModuleSpec


METHODS = {
    "inductor": (
        "fp16, eval, torch.compile (dynamic=False, freezing, max_autotune_pointwise; configurations of generated "
        "kernels chosen by their time in a CUDA graph), CUDA graph of calls_per_replay calls in a row; ms is the "
        "median over groups of replays per call, p10 and p90 over the groups; inputs, weights and maps stay where "
        "they lie between calls, so what fits the L2 is found there; 4-D inputs of convolutional modules are "
        "channels_last, pillars, images and pooling tables as they come from outside; cuDNN's quickest algorithm "
        "(cudnn.benchmark); kernels.jsonl has of each kernel its number and its microseconds in a profiled replay"
    ),
    "onnxruntime": (
        "fp32, CPUExecutionProvider, all graph optimisations, rounds with other modules between them, each again when "
        "a probe before or after it found the machine busy; kernels counts the nodes of the optimised graph"
    ),
}


def run_conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is known of this run before it starts."""
    words = [arguments.out.name if word == str(arguments.out) else word for word in sys.argv[1:]]
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": "python benchmarks/measure_modules.py " + " ".join(words),
        "backend": arguments.backend,
        "method": METHODS[arguments.backend],
        "python": platform.python_version(),
        "cpu_cores": os.cpu_count(),
    }


def _chosen(arguments: argparse.Namespace, results: Results) -> list[ModuleSpec]:
    import module_list

    every = module_list.specs()
    families = set(arguments.only.split(",")) if arguments.only else {spec.family for spec in every}
    unknown = families - {spec.family for spec in every}
    if unknown:
        raise SystemExit(f"--only: found {', '.join(sorted(unknown))}; accepted: families of benchmarks/module_list.py")
    small = arguments.backend == "onnxruntime"
    wanted = [s for s in every if s.family in families and s.id not in results.done and (s.cpu or not small)]
    return module_list.interleaved(wanted)[: arguments.limit]


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description="Measure the modules of benchmarks/module_list.py.")
    parser.add_argument("--backend", choices=("inductor", "onnxruntime"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument(
        "--resume", action="store_true", help="keep the rows that are there, measure the others and noisy ones"
    )
    parser.add_argument("--only", default="", help="families, separated by commas")
    parser.add_argument("--limit", type=int, default=None, help="at most so many modules")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2), help="that compile")
    parser.add_argument("--deadline-s", type=float, default=math.inf, help="end after so many seconds")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal, no measurement")
    arguments = parser.parse_args()
    results = Results(arguments.out, arguments.resume)
    specs, conditions = _chosen(arguments, results), run_conditions(arguments)
    if arguments.backend == "inductor":
        run_inductor(results, specs, conditions, arguments.workers, arguments.deadline_s, arguments.device)
    else:
        run_onnxruntime(results, specs, conditions, arguments.deadline_s)


if __name__ == "__main__":
    main()
