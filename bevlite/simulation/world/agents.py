"""Who takes part: objects of the ten detection classes, their sizes, and the ego's plan."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bevlite.simulation.world.geometry import Array
from bevlite.simulation.world.layout import Thing
from bevlite.simulation.world.mesh import Mesh
from bevlite.simulation.world.motion import Track, distance, track_times

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
    """All agents of a scene, the ego's track, the times (s) at which tracks are given, and what looks like agents."""

    agents: list[Agent]
    ego: Track
    times: Array
    decoys: list[Thing] = field(default_factory=list)


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
