"""The names of nuScenes and Occ3D-nuScenes: classes, categories, map layers, attributes, channels.

Detection and occupancy number their classes differently: keep them apart. A test holds the names together with those
of the official devkit, which is not imported here: it takes a second.
"""

from __future__ import annotations

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

MAP_CLASSES: dict[str, tuple[str, ...]] = {
    "drivable_area": ("road_segment", "lane"),
    "ped_crossing": ("ped_crossing",),
    "walkway": ("walkway",),
    "stop_line": ("stop_line",),
    "carpark_area": ("carpark_area",),
    "divider": ("road_divider", "lane_divider"),
}
"""The six classes of BEV map segmentation (BEVFusion, Liu et al., ICRA 2023), each with the layers of the nuScenes map
expansion that it is made of."""

CATEGORIES: dict[str, str | None] = {
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.wheelchair": None,
    "human.pedestrian.stroller": None,
    "human.pedestrian.personal_mobility": None,
    "human.pedestrian.police_officer": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "animal": None,
    "vehicle.car": "car",
    "vehicle.motorcycle": "motorcycle",
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.truck": "truck",
    "vehicle.construction": "construction_vehicle",
    "vehicle.emergency.ambulance": None,
    "vehicle.emergency.police": None,
    "vehicle.trailer": "trailer",
    "movable_object.barrier": "barrier",
    "movable_object.trafficcone": "traffic_cone",
    "movable_object.pushable_pullable": None,
    "movable_object.debris": None,
    "static_object.bicycle_rack": None,
}
"""The 23 categories of nuScenes in the order of its table, each with its detection class if it has one."""

ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
"""What a box may be doing, in the order of nuScenes' table."""

VISIBILITY = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}
"""How much of a box the cameras see, in percent, by token."""

CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_FRONT_LEFT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_BACK_RIGHT",
)
"""Camera channels in the order of the N axis."""

LIDAR = "LIDAR_TOP"
"""The channel of the LiDAR."""


def detection_class(category: str) -> int:
    """Index in DETECTION_CLASSES of a nuScenes category name; -1 for what is not evaluated."""
    name = CATEGORIES.get(category)
    return -1 if name is None else DETECTION_CLASSES.index(name)
