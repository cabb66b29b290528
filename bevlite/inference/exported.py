"""The exported files of a run, and what they were made from: a file of other weights or another plan is none of its.

The export writes the identity into `onnx/export.json`; a folder of modules without one is taken as it is.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bevlite.models.modules import WHOLE
from bevlite.run_folder import Run, Stage
from bevlite.tensorrt import Emission
from bevlite.variant import Variant


def identity_of_export(run: Run, variant: Variant, stage: Stage, emission: Emission) -> dict[str, str]:
    """What the files of an emission are made from. A weak graph holds no precision."""
    weights = run.weights_file(stage)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else ""
    return {"network": variant.hash if emission == "strong" else variant.network_hash, "weights": digest}


def exported(run: Run, variant: Variant, emission: Emission) -> dict[str, Path] | None:
    """The files of an emission by module (one `network` where they were exported as one).

    None if there are none, or if they were made from other weights or another plan than the run's last stage.
    """
    folder = run.path / "onnx" / emission
    files = {name: folder / f"{name}.onnx" for name in variant.modules}
    if not all(file.is_file() for file in files.values()):
        files = {WHOLE: folder / f"{WHOLE}.onnx"}
    if not all(file.is_file() for file in files.values()):
        return None
    made_from = _made_from(run, emission)
    if made_from is not None:
        wanted = identity_of_export(run, variant, run.stage, emission)
        if any(made_from.get(key) != value for key, value in wanted.items() if value):
            return None
    return files


def _made_from(run: Run, emission: Emission) -> dict[str, str] | None:
    """As the export wrote it down; None where nothing is known (a folder of modules, an earlier version)."""
    try:
        entries = json.loads((run.path / "onnx" / "export.json").read_text())
        return next((entry.get("made_from") for entry in entries if entry["emission"] == emission), None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
