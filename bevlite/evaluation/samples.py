"""Results by sample and task. An evaluation that was interrupted goes on from them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.config import write_atomic
from bevlite.tasks.contract import Arrays, Task

SampleResult = dict[str, Arrays]
"""What counts of one sample, by task."""


def result_of(
    tasks: Sequence[Task], outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], i: int
) -> SampleResult:
    """What every task keeps of sample `i` of a batch."""
    return {task.name: task.result(outputs, batch, i) for task in tasks}


class KeptSamples:
    """Finished samples of an evaluation that is under way, in a folder; only those of the same identity count."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._folder = folder
        text = json.dumps(dict(identity), sort_keys=True, indent=1) + "\n"
        file = folder / "identity.json"
        if not file.is_file() or file.read_text() != text:
            shutil.rmtree(folder, ignore_errors=True)
            write_atomic(file, text)

    def load(self) -> dict[str, SampleResult]:
        """Every finished sample by its token."""
        return {path.stem: _read(path) for path in sorted(self._folder.glob("*.npz"))}

    def save(self, token: str, result: SampleResult) -> None:
        """Keep one, whole or not at all."""
        arrays = {f"{task}.{name}": value for task, kept in result.items() for name, value in kept.items()}
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        write_atomic(self._folder / f"{token}.npz", stream.getvalue())

    def discard(self) -> None:
        """The evaluation is finished: its figures are written."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(path: Path) -> SampleResult:
    result: SampleResult = {}
    with np.load(path, allow_pickle=False) as data:
        for key in data.files:
            task, _, name = key.partition(".")
            result.setdefault(task, {})[name] = data[key]
    return result
