"""What one version of the world does differently from another: everything else stands in `constants`.

A version is frozen when it is published. Whoever changes a figure here that is not of a new version breaks worlds
that people have made: add a version instead. Densities are expected objects for 150 m of road (what an annotation
range of 75 m covers); lengths are metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

Range = tuple[float, float]
Sizes = Mapping[str, tuple[tuple[float, float, float], float]]
Ways = Mapping[str, tuple[tuple[str, float], ...]]
Colour = tuple[float, float, float]

DEFAULT_WORLD = 2


@dataclass(frozen=True)
class StreetRules:
    """How often things come along the road; a gap of None means never.

    Attributes:
        first_junction: where the first crossing street may be (m along the road; the ego starts at 0).
        junction_gap: from one crossing street to the next.
        most_junctions: no more than that many.
        mid_crossing_gap: from one pedestrian crossing between junctions to the next.
        zebra_share: crossings that are zebras; the others are two plain lines.
        stop_share: crossings between junctions that have stop lines.
        carpark_gap: from the end of one car park to the next, on each side.
        expansion: whether the ground is drawn from a plan that is also written as a vector map.
    """

    first_junction: Range
    junction_gap: Range
    most_junctions: int
    mid_crossing_gap: Range | None = None
    zebra_share: float = 1.0
    stop_share: float = 0.0
    carpark_gap: Range | None = None
    expansion: bool = False


@dataclass(frozen=True)
class LidarRules:
    """What the LiDAR loses, and what the ground gives back.

    Attributes:
        dropout_onset: range (m) from which on returns are lost to range.
        dropout_far: share lost 100 m beyond that, growing with the square of the way.
        dropout_far_most: no more than that share is lost to range.
        dropout_dark: share lost by an object's surface that returns nothing, less for brighter ones.
        dark: strength of a return at which that loss has fallen to a third.
        ground: reflectivity by ground code.
        ground_patches: how much the ground's reflectivity varies from patch to patch, as a share of it.
    """

    dropout_onset: float
    dropout_far: float
    dropout_far_most: float
    dropout_dark: float
    dark: float
    ground: tuple[float, ...]
    ground_patches: float


@dataclass(frozen=True)
class WorldRules:
    """One version of the world.

    Attributes:
        version: its number.
        density: objects by detection class.
        clutter: things of shapes of their own.
        decoys: things of no class with the very mesh, size and reflectivity of a class, by that class.
        mock_works: share of the roadworks whose cones, barriers and machine are all decoys.
        sizes: (length, width, height) of boxes and their relative spread, by class.
        ways: how the objects of a class move, with the share of each way.
        near: so many of each class are placed near the ego's way.
        pedestrian_habits: share that walks, stands, crosses.
        clothes: least saturation of what pedestrians wear, 0 (grey) to 1.
        boxes_alike: whether buses, trailers and box trucks have the shape of containers.
        min_visible_pixels: at 1600 x 900; an object without a LiDAR point needs that many to be annotated.
        weather: share of scenes by weather.
        haze_density: per metre.
        night_light: ambient light at night.
        streets: what comes along the road.
        lidar: what the LiDAR sees of it.
    """

    version: int
    density: Mapping[str, float]
    clutter: Mapping[str, float]
    decoys: Mapping[str, float]
    mock_works: float
    sizes: Sizes
    ways: Ways
    near: int
    pedestrian_habits: tuple[float, float, float]
    clothes: float
    boxes_alike: bool
    min_visible_pixels: int
    weather: tuple[tuple[str, float], ...]
    haze_density: Range
    night_light: Colour
    streets: StreetRules
    lidar: LidarRules


V1 = WorldRules(
    version=1,
    density=MappingProxyType(
        {
            "car": 17.0,
            "truck": 2.0,
            "bus": 0.8,
            "trailer": 0.8,
            "construction_vehicle": 0.7,
            "pedestrian": 8.5,
            "motorcycle": 0.9,
            "bicycle": 0.9,
            "traffic_cone": 4.0,
            "barrier": 5.5,
        }
    ),
    clutter=MappingProxyType(
        {
            "post": 7.0,  # about as large as a cone, in LiDAR the same
            "bin": 4.0,
            "mailbox": 1.5,
            "statue": 2.0,  # the shape of a pedestrian, of stone
            "sign": 4.0,  # as tall as a pedestrian
            "hedge": 3.0,  # as large as a car
            "container": 1.5,  # as large as a van or a truck's box
            "planter": 3.0,  # as large as a barrier
            "billboard": 2.5,  # a picture of a pedestrian or a car: only its depth tells
            "rack": 1.0,  # bicycle rack, empty
        }
    ),
    decoys=MappingProxyType({}),
    mock_works=0.0,
    # The means are those of nuScenes' boxes.
    sizes=MappingProxyType(
        {
            "car": ((4.63, 1.96, 1.74), 0.08),
            "truck": ((6.94, 2.52, 2.85), 0.14),
            "bus": ((11.2, 2.95, 3.49), 0.08),
            "trailer": ((12.3, 2.92, 3.87), 0.12),
            "construction_vehicle": ((6.56, 2.82, 3.20), 0.15),
            "pedestrian": ((0.73, 0.67, 1.77), 0.09),
            "motorcycle": ((2.11, 0.77, 1.46), 0.08),
            "bicycle": ((1.70, 0.60, 1.29), 0.08),
            "traffic_cone": ((0.41, 0.41, 1.08), 0.15),
            "barrier": ((0.50, 2.50, 0.99), 0.08),
        }
    ),
    ways=MappingProxyType(
        {
            "bus": (("driving", 0.6), ("standing", 0.4)),
            "trailer": (("driving", 0.5), ("standing", 0.5)),
            "truck": (("driving", 0.5), ("standing", 0.42), ("crossing", 0.08)),
            "motorcycle": (("driving", 0.5), ("standing", 0.4), ("crossing", 0.1)),
            "bicycle": (("driving", 0.45), ("standing", 0.55)),
            "car": (("driving", 0.45), ("standing", 0.40), ("crossing", 0.15)),
        }
    ),
    near=1,
    pedestrian_habits=(0.68, 0.22, 0.10),
    clothes=0.0,
    boxes_alike=False,
    min_visible_pixels=40,
    weather=(("clear", 0.5), ("overcast", 0.25), ("haze", 0.13), ("night", 0.12)),
    haze_density=(0.006, 0.014),
    night_light=(0.13, 0.13, 0.16),
    streets=StreetRules(first_junction=(15.0, 90.0), junction_gap=(90.0, 200.0), most_junctions=3),
    lidar=LidarRules(
        dropout_onset=0.0,
        dropout_far=0.45,
        dropout_far_most=1.0,
        dropout_dark=0.25,
        dark=0.05,
        ground=(0.16, 0.05, 0.40, 0.30, 0.13, 0.15, 0.12, 0.14),
        ground_patches=0.0,
    ),
)

# Asphalt, worn paint, pavement, kerb, car park and paved plots give back about the same; grass and earth do not.
_PAVED, _PAINT = 0.12, 0.124
V2 = replace(
    V1,
    version=2,
    density=MappingProxyType(
        {**V1.density, "car": 24.0, "pedestrian": 12.0, "motorcycle": 1.4, "bicycle": 1.6, "traffic_cone": 7.0}
    ),
    clutter=MappingProxyType({"bin": 3.0, "mailbox": 1.0, "sign": 3.0, "hedge": 3.0, "billboard": 1.5, "rack": 1.0}),
    decoys=MappingProxyType(
        {"traffic_cone": 3.5, "barrier": 2.5, "pedestrian": 8.0, "truck": 1.6, "bus": 0.9, "trailer": 0.9}
    ),
    mock_works=0.5,
    # A bus and a trailer have one distribution of sizes, between nuScenes' two.
    sizes=MappingProxyType({**V1.sizes, "bus": ((11.7, 2.92, 3.65), 0.10), "trailer": ((11.7, 2.92, 3.65), 0.10)}),
    ways=MappingProxyType(
        {**V1.ways, "car": (("driving", 0.40), ("standing", 0.32), ("crossing", 0.13), ("in_bay", 0.15))}
    ),
    near=2,
    pedestrian_habits=(0.58, 0.32, 0.10),
    clothes=0.7,
    boxes_alike=True,
    min_visible_pixels=80,
    weather=(("clear", 0.55), ("overcast", 0.31), ("haze", 0.06), ("night", 0.08)),
    haze_density=(0.004, 0.009),
    night_light=(0.19, 0.19, 0.22),
    streets=StreetRules(
        first_junction=(-60.0, 40.0),
        junction_gap=(70.0, 150.0),
        most_junctions=6,
        mid_crossing_gap=(35.0, 80.0),
        zebra_share=0.6,
        stop_share=0.6,
        carpark_gap=(30.0, 110.0),
        expansion=True,
    ),
    lidar=LidarRules(
        dropout_onset=18.0,
        dropout_far=9.0,
        dropout_far_most=0.5,
        dropout_dark=0.5,
        dark=0.15,
        ground=(
            *(0.17, _PAVED, _PAINT, _PAINT),  # grass, asphalt, white, yellow
            *(0.125, 0.125, 0.12, 0.15),  # pavement, kerb, plaza, earth
            *(_PAVED, _PAINT, _PAINT),  # a crossing's gaps and paint, stop line
            *(0.118, _PAINT, 0.122),  # car park and its paint, median
            *(_PAINT, _PAINT),  # worn white, worn yellow
        ),
        ground_patches=0.6,
    ),
)

RULES: Mapping[int, WorldRules] = MappingProxyType({rules.version: rules for rules in (V1, V2)})
