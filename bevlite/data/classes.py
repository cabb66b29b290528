"""Class lists of nuScenes detection and Occ3D-nuScenes. The two orders differ: keep them apart."""

from __future__ import annotations

from nuscenes.eval.detection.constants import DETECTION_NAMES
from nuscenes.eval.detection.utils import category_to_detection_name

DETECTION_CLASSES = (
    "car",
    "truck",
    "construction_vehicle",
    "bus",
    "trailer",
    "barrier",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "traffic_cone",
)
"""The ten detection classes in the channel order of the CenterPoint head."""
assert set(DETECTION_CLASSES) == set(DETECTION_NAMES)

OCCUPANCY_CLASSES = (
    "others",
    "barrier",
    "bicycle",
    "bus",
    "car",
    "construction_vehicle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "trailer",
    "truck",
    "driveable_surface",
    "other_flat",
    "sidewalk",
    "terrain",
    "manmade",
    "vegetation",
    "free",
)
"""The 18 classes of Occ3D-nuScenes in label order (Tian et al., NeurIPS 2023)."""

CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_FRONT_LEFT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_BACK_RIGHT",
)
"""Camera channels in the order of the N axis."""


def detection_class(category: str) -> int:
    """Index in DETECTION_CLASSES of a nuScenes category name; -1 for what is not evaluated."""
    name = category_to_detection_name(category)
    return -1 if name is None else DETECTION_CLASSES.index(name)
