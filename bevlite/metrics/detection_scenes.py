"""NDS and mAP over some samples of a split, again and again: the truth is loaded once.

The devkit scores whole splits from files. Loading the truth of 150 scenes takes it longer than a network takes for a
few hundred samples, so its own functions are called here on the boxes of the samples that are wanted.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nuscenes import NuScenes
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.common.loaders import add_center_dist, filter_eval_boxes, load_gt
from nuscenes.eval.detection.data_classes import DetectionBox, DetectionConfig

from bevlite.data.config import DataConfig
from bevlite.data.index import open_nuscenes
from bevlite.errors import DataError
from bevlite.metrics.bootstrap import DetectionBootstrap


@dataclass
class _Boxes:
    """As the devkit's `DetectionEval` holds them."""

    cfg: DetectionConfig
    sample_tokens: Sequence[str]
    gt_boxes: EvalBoxes
    pred_boxes: EvalBoxes


class DetectionTruth:
    """The true boxes of some samples of a split."""

    def __init__(self, data: DataConfig, split: str, tokens: Sequence[str]) -> None:
        """Load them.

        Args:
            data: the resolved data configuration.
            split: an official split.
            tokens: samples of it.

        Raises:
            DataError: the devkit does not take the split for this version.
        """
        self.tokens = list(tokens)
        self.config = config_factory("detection_cvpr_2019")
        self._nusc = open_nuscenes(data)
        quiet = io.StringIO()
        try:
            with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
                every = load_gt(self._nusc, split, DetectionBox)
        except (AssertionError, ValueError) as error:
            raise DataError(f"{data.root}: the official evaluation refuses split '{split}' ({error})") from None
        wanted = EvalBoxes()
        for token in self.tokens:
            wanted.add_boxes(token, every[token])
        self._truth = _filtered(self._nusc, wanted, self.config)

    def bootstrap(self, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> DetectionBootstrap:
        """Matched with what was found: entries of `bevlite.metrics.detection.to_submission` by token of a sample."""
        boxes = EvalBoxes.deserialize({token: list(found[token]) for token in self.tokens}, DetectionBox)
        boxes = _filtered(self._nusc, boxes, self.config)
        return DetectionBootstrap.of_boxes(self._nusc, _Boxes(self.config, self.tokens, self._truth, boxes))


@lru_cache(maxsize=1)
def truth_of(data: DataConfig, split: str, tokens: tuple[str, ...]) -> DetectionTruth:
    """The same truth for the same samples: the last one stays in memory."""
    return DetectionTruth(data, split, tokens)


def _filtered(nusc: NuScenes, boxes: EvalBoxes, config: DetectionConfig) -> EvalBoxes:
    if not any(boxes[token] for token in boxes.sample_tokens):
        return boxes  # the devkit asks the first box what it is
    return filter_eval_boxes(nusc, add_center_dist(nusc, boxes), config.class_range)
