"""What ONNX files compute, by ONNX Runtime on this machine: the reference of golden outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bevlite.errors import ExportError


def reference(modules: Mapping[str, Path], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs, borders and outputs of modules run one after the other, by name.

    Raises:
        ExportError: ONNX Runtime does not take a file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    known = dict(inputs)
    for path in modules.values():
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            names = [output.name for output in session.get_outputs()]
            values = session.run(names, {value.name: known[value.name] for value in session.get_inputs()})
        except Exception as error:  # a class of its own for each kind of bad file
            raise ExportError(f"{path}: ONNX Runtime does not take it ({str(error).splitlines()[0]})") from None
        known |= {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
    return known
