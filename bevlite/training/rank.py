"""The program of one rank: it does nothing but train, and ends when who started it is gone.

What takes seconds to import is imported once that is watched.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

from bevlite.orphans import end_without


def main(folder: Path) -> int:
    """One rank: the job of a folder."""
    from safetensors.torch import load_file

    from bevlite.config import validate, write_atomic
    from bevlite.data.config import DataConfig
    from bevlite.errors import BevliteError
    from bevlite.training.loop import train
    from bevlite.training.ranks import FAULT, JOB, WEIGHTS
    from bevlite.training.recipe import Recipe
    from bevlite.variant import variant_from

    # Depthwise weights in channels-last order: their gradients are copied, which is right and not new to anybody.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    job = json.loads((folder / JOB).read_text())
    weights = folder / WEIGHTS
    try:
        train(
            variant_from(job["variant"], "variant"),
            validate(job["data"], DataConfig, "data"),
            validate(job["recipe"], Recipe, "recipe"),
            Path(job["out"]),
            init={name: Path(path) for name, path in job["init"].items()},
            weights=load_file(weights) if weights.is_file() else None,
            scales=job["scales"],
            resume=job["resume"],
            devices=job["devices"],
            stop_after_epoch=job["stop_after_epoch"],
            progress=job["progress"],
        )
    except BevliteError as error:
        write_atomic(folder / FAULT, json.dumps({"kind": type(error).__name__, "text": str(error)}))
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # out of memory, say: whoever asked decides what that means
        write_atomic(folder / FAULT, json.dumps({"kind": "", "text": f"{type(error).__name__}: {error}"}))
        return 1
    return 0


if __name__ == "__main__":
    end_without(int(os.environ["BEVLITE_RANKS"]))
    sys.exit(main(Path(sys.argv[1])))
