"""Figures of nuScenes that are published, or measured from one real keyframe, with their sources.

Sources, as the table of `statistics` names them:

- `trainval`: counts of sample_annotation by category and by visibility in nuScenes v1.0-trainval (1,166,187 boxes in
  34,149 keyframes), as a public profile of its tables lists them; categories are summed to detection classes, the
  visibility is that of all categories. Looked up.
- `paper`: Caesar et al., nuScenes: A multimodal dataset for autonomous driving, arXiv 1903.11027v5: "Per keyframe
  there are 7 pedestrians and 20 vehicles on average" (dataset statistics); mean speeds of moving cars, pedestrians and
  bicycles (supplement, figure 11). Looked up.
- `anchors`: mean box sizes of nuScenes' training set, as the anchors of mmdetection3d's nuScenes configs. Looked up.
- `devkit #219`, `devkit #313`: what the devkit's issues of that number say of v1.0-mini. Looked up.
- `keyframe`: one real keyframe (the first of scene-0061: 68 boxes), measured by this same code: an impression
  of one crowded place, not a statistic of nuScenes.
"""

from __future__ import annotations

VEHICLES = ("car", "truck", "bus", "trailer", "construction_vehicle", "motorcycle", "bicycle")
KEYFRAMES = 34149
TRAINVAL_BOXES = {
    "car": 493322,
    "truck": 88519,
    "bus": 14501 + 1820,
    "trailer": 24860,
    "construction_vehicle": 14671,
    "pedestrian": 208240 + 2066 + 9161 + 727,
    "motorcycle": 12617,
    "bicycle": 11859,
    "traffic_cone": 97959,
    "barrier": 152087,
}
VISIBILITY = {"1": 335059, "2": 130594, "3": 155814, "4": 544720}  # boxes by level: 0-40, 40-60, 60-80, 80-100 %
ANCHOR_SIZES = {  # width, length, height (m)
    "car": (1.95, 4.61, 1.72),
    "truck": (2.46, 6.74, 2.73),
    "bus": (2.94, 11.19, 3.47),
    "trailer": (2.87, 12.01, 3.82),
    "construction_vehicle": (2.73, 6.38, 3.13),
    "pedestrian": (0.66, 0.73, 1.76),
    "motorcycle": (0.76, 2.10, 1.44),
    "bicycle": (0.60, 1.68, 1.27),
    "traffic_cone": (0.40, 0.40, 1.06),
    "barrier": (2.49, 0.49, 0.98),
}
PAPER_SPEED = {"car": 6.6, "pedestrian": 1.3, "bicycle": 4.0}
RANGES = ((0, 10), (10, 20), (20, 30), (30, 50), (50, 75))
# One real keyframe: median points of a box by range.
KEYFRAME_POINTS: dict[str, tuple[float | None, ...]] = {
    "car": (None, None, 45.0, 5.0, 2.0),
    "pedestrian": (None, 8.5, 6.5, 2.0, 1.0),
}
MINI_NO_POINTS = 0.187  # 3466 boxes of v1.0-mini
MINI_MEAN_POINTS = 58.8  # a box of v1.0-mini, those without points included
KEYFRAME_FEW_POINTS = 0.647  # boxes with 1 to 5 points
