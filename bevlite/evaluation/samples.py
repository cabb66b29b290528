"""Results by sample: decoded boxes and a confusion matrix. An evaluation that was interrupted goes on from them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.config import write_atomic
from bevlite.evaluation.occupancy import OccupancyConfusion
from bevlite.runtime.decoding import BoxDecoding, Boxes, decode_boxes


@dataclass(frozen=True)
class SampleResult:
    """What counts of one sample, as far as the variant has the heads. `confusion` is (18, 18) voxels."""

    boxes: Boxes | None
    confusion: np.ndarray | None


def result_of(
    outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], i: int, decoding: BoxDecoding
) -> SampleResult:
    """Decode sample `i` of a batch and count its voxels."""
    boxes = confusion = None
    if "heatmap" in outputs:
        boxes = decode_boxes(outputs["heatmap"][i], outputs["boxes"][i], decoding)
    if "occupancy" in outputs:
        one = OccupancyConfusion()
        predicted = outputs["occupancy"][i].transpose(2, 1, 0)
        one.add(predicted, batch["occupancy"][i].numpy(), batch["occupancy_mask"][i].numpy())
        confusion = one.matrix
    return SampleResult(boxes, confusion)


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
        arrays: dict[str, np.ndarray] = {}
        if result.boxes is not None:
            found = result.boxes
            arrays |= {"boxes": found.boxes, "scores": found.scores, "classes": found.classes}
        if result.confusion is not None:
            arrays["confusion"] = result.confusion
        stream = io.BytesIO()
        np.savez_compressed(stream, allow_pickle=False, **arrays)
        write_atomic(self._folder / f"{token}.npz", stream.getvalue())

    def discard(self) -> None:
        """The evaluation is finished: its figures are written."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(path: Path) -> SampleResult:
    with np.load(path, allow_pickle=False) as data:
        boxes = Boxes(data["boxes"], data["scores"], data["classes"]) if "boxes" in data else None
        return SampleResult(boxes, data.get("confusion"))
