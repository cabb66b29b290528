"""Who takes part: objects of the ten detection classes, their sizes, and the ego's plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bevlite.simulation.world.geometry import Array
from bevlite.simulation.world.mesh import Mesh
from bevlite.simulation.world.motion import Track, distance, track_times

# (length, width, height) in metres and relative spread; the means are those of nuScenes' boxes.
SIZES: dict[str, tuple[tuple[float, float, float], float]] = {
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
CATEGORY = {
    "car": "vehicle.car",
    "truck": "vehicle.truck",
    "bus": "vehicle.bus.rigid",
    "trailer": "vehicle.trailer",
    "construction_vehicle": "vehicle.construction",
    "pedestrian": "human.pedestrian.adult",
    "motorcycle": "vehicle.motorcycle",
    "bicycle": "vehicle.bicycle",
    "traffic_cone": "movable_object.trafficcone",
    "barrier": "movable_object.barrier",
}


@dataclass(frozen=True)
class Agent:
    """An object with a box: class, nuScenes category, mesh, box size (l, w, h), track, and its habits."""

    name: str
    category: str
    mesh: Mesh
    size: tuple[float, float, float]
    track: Track
    parked: bool
    rider: bool


@dataclass(frozen=True)
class Cast:
    """All agents of a scene, the ego's track, and the times (s) at which tracks are given."""

    agents: list[Agent]
    ego: Track
    times: Array


@dataclass(frozen=True)
class EgoPlan:
    """The ego's lane and the distance (m) that it has travelled at each track time."""

    times: Array
    travelled: Array


def plan_ego(rng: np.random.Generator, duration: float) -> EgoPlan:
    """How the ego drives: mostly cruising, sometimes starting, stopping or standing."""
    times = track_times(duration)
    kind = str(rng.choice(["cruise", "start", "stop", "still"], p=[0.68, 0.14, 0.13, 0.05]))
    return EgoPlan(times, distance(rng, times, kind, float(rng.uniform(4.0, 11.0))))
