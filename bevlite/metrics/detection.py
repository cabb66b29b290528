"""NDS, mAP and the five errors, by the official nuScenes devkit (Caesar et al., CVPR 2020)."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from pyquaternion import Quaternion

from bevlite.config import write_atomic
from bevlite.data.classes import DETECTION_CLASSES
from bevlite.data.config import DataConfig
from bevlite.data.index import Index, open_nuscenes
from bevlite.errors import DataError, NothingFound
from bevlite.runtime.decoding import Boxes

MAX_BOXES = 500
MOVING_M_S = 0.2
ERRORS = {"trans_err": "mATE", "scale_err": "mASE", "orient_err": "mAOE", "vel_err": "mAVE", "attr_err": "mAAE"}
CLASS_ERRORS = {"trans_err": "ATE", "scale_err": "ASE", "orient_err": "AOE", "vel_err": "AVE", "attr_err": "AAE"}


def attribute_of(name: str, speed_m_s: float) -> str:
    """The attribute that a class and its speed suggest (the rule of CenterPoint); '' for cones and barriers."""
    moving = speed_m_s > MOVING_M_S
    if name in ("barrier", "traffic_cone"):
        return ""
    if name == "pedestrian":
        return "pedestrian.moving" if moving else "pedestrian.standing"
    if name in ("bicycle", "motorcycle"):
        return "cycle.with_rider" if moving else "cycle.without_rider"
    if moving:
        return "vehicle.moving"
    return "vehicle.stopped" if name == "bus" else "vehicle.parked"


def to_submission(token: str, found: Boxes, ego_to_global: np.ndarray) -> list[dict[str, Any]]:
    """Boxes of one sample in the format of the nuScenes detection task (global frame)."""
    heading = Quaternion(matrix=ego_to_global[:3, :3], atol=1e-4, rtol=1e-4)
    entries = []
    for box, score, label in list(zip(found.boxes, found.scores, found.classes, strict=True))[:MAX_BOXES]:
        name = DETECTION_CLASSES[int(label)]
        centre = ego_to_global[:3, :3] @ box[:3] + ego_to_global[:3, 3]
        velocity = ego_to_global[:3, :3] @ np.array([box[7], box[8], 0.0])
        entries.append(
            {
                "sample_token": token,
                "translation": centre.tolist(),
                "size": [float(box[4]), float(box[3]), float(box[5])],
                "rotation": (heading * Quaternion(axis=[0, 0, 1], radians=float(box[6]))).elements.tolist(),
                "velocity": velocity[:2].tolist(),
                "detection_name": name,
                "detection_score": float(score),
                "attribute_name": attribute_of(name, float(np.hypot(box[7], box[8]))),
            }
        )
    return entries


def write_submission(path: Path, index: Index, detections: Mapping[int, Boxes], camera: bool, lidar: bool) -> None:
    """Write `nusc_results.json` for the rows of an index."""
    results = {
        str(index.tokens[row]): to_submission(str(index.tokens[row]), found, index.ego_to_global[row])
        for row, found in detections.items()
    }
    meta = {
        "use_camera": camera,
        "use_lidar": lidar,
        "use_radar": False,
        "use_map": False,
        "use_external": False,
    }
    write_atomic(path, json.dumps({"meta": meta, "results": results}))


def evaluate_submission(data: DataConfig, split: str, result_file: Path) -> dict[str, Any]:
    """The official figures of a submission over a whole split.

    Returns:
        NDS, mAP, mATE (m), mASE, mAOE (rad), mAVE (m/s), mAAE, and `per_class` with AP and the errors.

    Raises:
        DataError: the devkit does not take the split for this version.
        NothingFound: there is no box in the whole submission.
    """
    if not any(json.loads(result_file.read_text())["results"].values()):
        raise NothingFound(f"{result_file}: holds no box at all; accepted: a network that finds something")
    nusc = open_nuscenes(data)
    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            evaluator = DetectionEval(
                nusc,
                config=config_factory("detection_cvpr_2019"),
                result_path=str(result_file),
                eval_set=split,
                output_dir=str(result_file.parent),
                verbose=False,
            )
            metrics, _ = evaluator.evaluate()
    except AssertionError as error:
        raise DataError(f"{data.root}: the official evaluation refuses split '{split}' ({error})") from None
    return summarise(metrics.serialize())


def summarise(serialized: Mapping[str, Any]) -> dict[str, Any]:
    """The devkit's figures under the names of this field."""
    summary: dict[str, Any] = {"NDS": float(serialized["nd_score"]), "mAP": float(serialized["mean_ap"])}
    summary |= {name: float(serialized["tp_errors"][key]) for key, name in ERRORS.items()}
    summary["per_class"] = {
        name: {
            "AP": float(serialized["mean_dist_aps"][name]),
            **{short: _number(serialized["label_tp_errors"][name][key]) for key, short in CLASS_ERRORS.items()},
        }
        for name in DETECTION_CLASSES
    }
    return summary


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
