"""Intervals over scenes: how much NDS, mAP and mIoU would vary with other scenes of the same kind.

Scenes are drawn with replacement and every figure is computed anew. Matching happens within a sample, so it is done
once; what follows it is the official rule of the nuScenes devkit (algo.py), and a test holds the two together.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from nuscenes import NuScenes
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.common.utils import (
    attr_acc,
    center_distance,
    scale_iou,
    velocity_l2,
    yaw_diff,
)
from nuscenes.eval.detection.constants import TP_METRICS
from nuscenes.eval.detection.data_classes import DetectionConfig
from nuscenes.eval.detection.evaluate import DetectionEval

from bevlite.data.config import DataConfig
from bevlite.data.index import open_nuscenes
from bevlite.metrics.map_segmentation import map_miou
from bevlite.metrics.occupancy import miou

RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Matches:
    """Detections of one class at one distance threshold, best first: score, hit, scene, errors where hit (K, 5)."""

    scores: np.ndarray
    hits: np.ndarray
    scenes: np.ndarray
    errors: np.ndarray
    truths_per_scene: np.ndarray


class Evaluation(Protocol):
    """What the devkit holds of one submission (`DetectionEval`): boxes with their distances, filtered."""

    cfg: DetectionConfig
    sample_tokens: Sequence[str]
    gt_boxes: EvalBoxes
    pred_boxes: EvalBoxes


class DetectionBootstrap:
    """NDS and mAP of a submission for any multiplicity of its scenes."""

    def __init__(self, data: DataConfig, split: str, submission: Path) -> None:
        nusc = open_nuscenes(data)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            evaluation = DetectionEval(
                nusc, config_factory("detection_cvpr_2019"), str(submission), split, str(submission.parent), False
            )
        self._take(nusc, evaluation)

    @classmethod
    def of_boxes(cls, nusc: NuScenes, evaluation: Evaluation) -> DetectionBootstrap:
        """Of boxes that are loaded already, of any samples."""
        made = cls.__new__(cls)
        made._take(nusc, evaluation)
        return made

    def _take(self, nusc: NuScenes, evaluation: Evaluation) -> None:
        self.config: DetectionConfig = evaluation.cfg
        tokens = sorted(evaluation.sample_tokens)
        names = {t: nusc.get("scene", nusc.get("sample", t)["scene_token"])["name"] for t in tokens}
        self.scenes = sorted(set(names.values()))
        scene_of = {token: self.scenes.index(names[token]) for token in tokens}
        self.matches = {
            (name, threshold): _match(evaluation, name, threshold, scene_of, len(self.scenes))
            for name in self.config.class_names
            for threshold in self.config.dist_ths
        }

    def figures(self, multiplicity: np.ndarray) -> dict[str, float]:
        """NDS and mAP when scene i counts `multiplicity[i]` times."""
        config = self.config
        aps = []
        errors: dict[str, list[float]] = {metric: [] for metric in TP_METRICS}
        for name in config.class_names:
            for threshold in config.dist_ths:
                curve = _curve(self.matches[name, threshold], multiplicity)
                aps.append(_average_precision(curve, config.min_recall, config.min_precision))
                if threshold == config.dist_th_tp:
                    for column, metric in enumerate(TP_METRICS):
                        errors[metric].append(_error(curve, column, config.min_recall, name, metric))
        mean_ap = float(np.mean(aps))
        scores = [max(0.0, 1 - float(np.nanmean(values))) for values in errors.values()]
        weight = config.mean_ap_weight
        return {"NDS": (weight * mean_ap + sum(scores)) / (weight + len(scores)), "mAP": mean_ap}


def _match(evaluation: Evaluation, name: str, threshold: float, scene_of: Mapping[str, int], scenes: int) -> Matches:
    """The greedy matching of the devkit: best detection first, each truth once."""
    truths = evaluation.gt_boxes
    truths_per_scene = np.zeros(scenes, dtype=np.int64)
    for box in truths.all:
        if box.detection_name == name:
            truths_per_scene[scene_of[box.sample_token]] += 1
    found = [box for box in evaluation.pred_boxes.all if box.detection_name == name]
    # The devkit sorts ascending and walks backwards: among equal scores the last comes first.
    order = [i for _, i in sorted((box.detection_score, i) for i, box in enumerate(found))][::-1]
    taken: set[tuple[str, int]] = set()
    scores, hits, where, errors = [], [], [], []
    for i in order:
        box = found[i]
        best, best_index, best_truth = np.inf, None, None
        for index, truth in enumerate(truths[box.sample_token]):
            if truth.detection_name == name and (box.sample_token, index) not in taken:
                distance = center_distance(truth, box)
                if distance < best:
                    best, best_index, best_truth = distance, index, truth
        hit = best < threshold
        scores.append(box.detection_score)
        hits.append(hit)
        where.append(scene_of[box.sample_token])
        row = np.full(len(TP_METRICS), np.nan)
        if hit and best_truth is not None and best_index is not None:
            taken.add((box.sample_token, best_index))
            period = np.pi if name == "barrier" else 2 * np.pi
            row = np.array(
                [
                    center_distance(best_truth, box),
                    1 - scale_iou(best_truth, box),
                    yaw_diff(best_truth, box, period=period),
                    velocity_l2(best_truth, box),
                    1 - attr_acc(best_truth, box),
                ]
            )
        errors.append(row)
    return Matches(
        np.array(scores, dtype=np.float64),
        np.array(hits, dtype=bool),
        np.array(where, dtype=np.int64),
        np.array(errors).reshape(-1, len(TP_METRICS)),
        truths_per_scene,
    )


@dataclass(frozen=True)
class _Curve:
    precision: np.ndarray
    confidence: np.ndarray
    errors: np.ndarray  # (101, 5)


def _curve(matches: Matches, multiplicity: np.ndarray) -> _Curve | None:
    """Precision, confidence and errors at 101 recalls; None when nothing was hit or nothing is there."""
    repeat = multiplicity[matches.scenes]
    scores, hits = np.repeat(matches.scores, repeat), np.repeat(matches.hits, repeat)
    truths = int((matches.truths_per_scene * multiplicity).sum())
    if truths == 0 or not hits.any():
        return None
    true = np.cumsum(hits).astype(float)
    false = np.cumsum(~hits).astype(float)
    recall = true / truths
    precision = np.interp(RECALLS, recall, true / (true + false), right=0)
    confidence = np.interp(RECALLS, recall, scores, right=0)
    errors = np.repeat(matches.errors, repeat, axis=0)[hits]
    at_recall = np.empty((len(RECALLS), errors.shape[1]))
    for column in range(errors.shape[1]):
        running = _cumulative_mean(errors[:, column])
        at_recall[:, column] = np.interp(confidence[::-1], scores[hits][::-1], running[::-1])[::-1]
    return _Curve(precision, confidence, at_recall)


def _cumulative_mean(values: np.ndarray) -> np.ndarray:
    """Mean up to each entry without NaN; ones where all are NaN, zero before the first number (devkit's cummean)."""
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    total, count = np.nancumsum(values.astype(float)), np.cumsum(known)
    return np.divide(total, count, out=np.zeros_like(total), where=count != 0)


def _average_precision(curve: _Curve | None, min_recall: float, min_precision: float) -> float:
    if curve is None:
        return 0.0
    precision = curve.precision[round(100 * min_recall) + 1 :] - min_precision
    return float(np.mean(np.clip(precision, 0, None))) / (1 - min_precision)


def _error(curve: _Curve | None, column: int, min_recall: float, name: str, metric: str) -> float:
    if name == "traffic_cone" and metric in ("attr_err", "vel_err", "orient_err"):
        return float("nan")
    if name == "barrier" and metric in ("attr_err", "vel_err"):
        return float("nan")
    first = round(100 * min_recall) + 1
    reached = np.flatnonzero(curve.confidence) if curve is not None else np.zeros(0, dtype=np.int64)
    last = int(reached[-1]) if len(reached) else 0
    if curve is None or last < first:
        return 1.0
    return float(np.mean(curve.errors[first : last + 1, column]))


def occupancy_figures(matrices: np.ndarray, scenes: np.ndarray) -> Callable[[np.ndarray], dict[str, float]]:
    """A function from scene multiplicities to mIoU, for confusion matrices (S, 18, 18) of samples in `scenes` (S,)."""
    per_scene = _by_scene(matrices, scenes)
    return lambda multiplicity: {"occ_miou": miou(np.tensordot(multiplicity, per_scene, axes=1))["occ_miou"]}


def map_figures(counts: np.ndarray, scenes: np.ndarray) -> Callable[[np.ndarray], dict[str, float]]:
    """The same for map segmentation, from counts (S, 6, thresholds, 3) of `map_counts`."""
    per_scene = _by_scene(counts, scenes)
    return lambda multiplicity: {"map_miou": map_miou(np.tensordot(multiplicity, per_scene, axes=1))["map_miou"]}


def _by_scene(counts: np.ndarray, scenes: np.ndarray) -> np.ndarray:
    """Counts (S, ...) of samples summed over those of each scene, scenes by name."""
    _, scene = np.unique(scenes, return_inverse=True)
    per_scene = np.zeros((scene.max() + 1, *counts.shape[1:]), dtype=np.int64)
    np.add.at(per_scene, scene, counts)
    return per_scene


def resample(
    figures: Callable[[np.ndarray], Mapping[str, float]], scenes: int, draws: int = 500, seed: int = 0
) -> dict[str, np.ndarray]:
    """Each figure for `draws` draws of `scenes` scenes with replacement; the same draws for the same seed."""
    rng = np.random.default_rng(seed)
    results: dict[str, list[float]] = {}
    for _ in range(draws):
        multiplicity = np.bincount(rng.integers(scenes, size=scenes), minlength=scenes)
        for name, value in figures(multiplicity).items():
            results.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in results.items()}
