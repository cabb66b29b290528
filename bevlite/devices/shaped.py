"""ONNX files with the sizes that `--shape` gives their dynamic inputs, as files: devices build from files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

from bevlite.devices.external_weights import has_external_weights, with_weights
from bevlite.errors import BevliteError
from bevlite.latency.onnx.graph import load_model
from bevlite.latency.onnx.shapes import parse_shapes, with_shapes


def shaped(sources: Iterable[Path], settings: Iterable[str], folder: Path) -> list[Path]:
    """The files with static inputs, written to a folder; those that have no such input stay where they are.

    Args:
        sources: ONNX files.
        settings: `NAME=1x3x224x224`, or sizes alone where the only file has one input.
        folder: for the files.

    Raises:
        BevliteError: a setting that is none, or that no file has an input for.
    """
    files, sizes = list(sources), parse_shapes(settings)
    if not sizes:
        return files
    found, known = [], set()
    for path in files:
        model, name = load_model(path)
        inputs = {info.name for info in model.graph.input}
        own = {key: size for key, size in sizes.items() if key in inputs or (not key and len(files) == 1)}
        known |= set(own)
        if not own:
            found.append(path)
            continue
        whole = onnx.load_model_from_string(with_weights(path)) if has_external_weights(model) else model
        target = folder / path.name
        onnx.save(with_shapes(whole, own, name), str(target))
        found.append(target)
    if unknown := sorted(set(sizes) - known):
        accepted = "NAME=SIZES" if not unknown[0] else "an input of one of the files"
        raise BevliteError(f"--shape: found '{unknown[0]}', which no file has; accepted: {accepted}")
    return found
