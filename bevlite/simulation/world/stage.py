"""The scene at one moment: all triangles in the global frame, with whose they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bevlite.simulation.world.agents import Cast
from bevlite.simulation.world.constants import OCC_OF_CLASS
from bevlite.simulation.world.geometry import Array
from bevlite.simulation.world.layout import Layout
from bevlite.simulation.world.mesh import F32, Mesh

I32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Triangles:
    """Triangles (n, 3, 3) in the global frame (m), with owner, material, colour, normal, reflectivity."""

    corners: F32
    owner: I32
    material: I32
    colour: F32
    normal: F32
    reflectivity: F32

    def subset(self, keep: npt.NDArray[np.bool_]) -> Triangles:
        """The triangles that a mask (n,) selects."""
        return Triangles(
            self.corners[keep],
            self.owner[keep],
            self.material[keep],
            self.colour[keep],
            self.normal[keep],
            self.reflectivity[keep],
        )


@dataclass(frozen=True)
class Owners:
    """Where each owner stands: pose (n, 4) as x, y, yaw, seed in [0, 1). Agents come first, then things."""

    pose: F32
    agents: int
    occupancy: npt.NDArray[np.uint8]


def _normals(corners: F32) -> F32:
    n = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return (n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def _join(meshes: list[Mesh], first: int) -> Triangles:
    corners = np.concatenate([mesh.triangles for mesh in meshes])
    counts = [len(mesh.triangles) for mesh in meshes]
    return Triangles(
        corners,
        np.repeat(np.arange(first, first + len(meshes), dtype=np.int32), counts),
        np.concatenate([mesh.material for mesh in meshes]),
        np.concatenate([mesh.colour for mesh in meshes]),
        _normals(corners),
        np.concatenate([mesh.reflectivity for mesh in meshes]),
    )


def _place(triangles: Triangles, poses: Array) -> Triangles:
    """Turn and move triangles by the pose (x, y, yaw) of each one's owner; poses (n, 3) in owner order."""
    local = poses[triangles.owner - triangles.owner.min()]
    c, s = np.cos(local[:, 2]), np.sin(local[:, 2])
    x, y = triangles.corners[..., 0], triangles.corners[..., 1]
    corners = np.empty_like(triangles.corners)
    corners[..., 0] = c[:, None] * x - s[:, None] * y + local[:, 0:1]
    corners[..., 1] = s[:, None] * x + c[:, None] * y + local[:, 1:2]
    corners[..., 2] = triangles.corners[..., 2]
    normal = triangles.normal.copy()
    normal[:, 0] = c * triangles.normal[:, 0] - s * triangles.normal[:, 1]
    normal[:, 1] = s * triangles.normal[:, 0] + c * triangles.normal[:, 1]
    return Triangles(corners, triangles.owner, triangles.material, triangles.colour, normal, triangles.reflectivity)


class Stage:
    """A layout and its cast, as triangles at any time of the scene (seconds since the first keyframe)."""

    def __init__(self, layout: Layout, cast: Cast, rng: np.random.Generator) -> None:
        self.layout, self.cast = layout, cast
        standing = [*layout.things, *cast.decoys]
        count = len(cast.agents)
        self._seeds = rng.random(count + len(standing)).astype(np.float32)
        self._agent_triangles = _join([agent.mesh for agent in cast.agents], 0)
        self._thing_pose = np.array([[t.x, t.y, t.yaw] for t in standing])
        things = _join([thing.mesh for thing in standing], count)
        self._thing_triangles = _place(things, self._thing_pose)
        self._thing_centre = self._thing_triangles.corners[..., :2].mean(1)
        self._x = np.stack([agent.track.x for agent in cast.agents])
        self._y = np.stack([agent.track.y for agent in cast.agents])
        self._yaw = np.stack([agent.track.yaw for agent in cast.agents])
        self.occupancy = np.array(
            [OCC_OF_CLASS[agent.name] for agent in cast.agents] + [t.occupancy for t in standing],
            dtype=np.uint8,
        )

    def _interpolate(self, values: Array, t: float) -> Array:
        times = self.cast.times
        position = (t - times[0]) / (times[1] - times[0])
        k = int(np.clip(np.floor(position), 0, len(times) - 2))
        f = position - k
        return np.asarray(values[..., k] * (1 - f) + values[..., k + 1] * f)

    def agent_poses(self, t: float) -> Array:
        """Pose (n, 3) of every agent at `t`: x, y (m, global) and yaw (radians)."""
        return np.stack([self._interpolate(v, t) for v in (self._x, self._y, self._yaw)], 1)

    def agent_speeds(self, t: float) -> Array:
        """Speed (n,) of every agent at `t` in m/s, over 0.2 s."""
        before, after = self.agent_poses(t - 0.1), self.agent_poses(t + 0.1)
        return np.asarray(np.linalg.norm((after - before)[:, :2], axis=1) / 0.2)

    def ego(self, t: float) -> tuple[float, float, float]:
        """The ego's x, y (m, global) and yaw (radians) at `t`."""
        track = self.cast.ego
        x, y, yaw = (float(self._interpolate(v, t)) for v in (track.x, track.y, track.yaw))
        return x, y, yaw

    def owners(self, t: float) -> Owners:
        """Poses and seeds of all owners at `t`."""
        pose = np.concatenate([self.agent_poses(t), self._thing_pose])
        full = np.concatenate([pose.astype(np.float32), self._seeds[:, None]], 1)
        return Owners(np.ascontiguousarray(full), len(self.cast.agents), self.occupancy)

    def still(self, x: float, y: float, radius: float) -> Triangles:
        """Triangles of things within `radius` (m) of (x, y)."""
        near = np.hypot(self._thing_centre[:, 0] - x, self._thing_centre[:, 1] - y) < radius
        return self._thing_triangles.subset(near)

    def moving(self, t: float) -> Triangles:
        """Triangles of all agents at `t`."""
        return _place(self._agent_triangles, self.agent_poses(t))


def together(a: Triangles, b: Triangles) -> Triangles:
    """Two sets of triangles as one, `a` first."""
    return Triangles(
        np.concatenate([a.corners, b.corners]),
        np.concatenate([a.owner, b.owner]),
        np.concatenate([a.material, b.material]),
        np.concatenate([a.colour, b.colour]),
        np.concatenate([a.normal, b.normal]),
        np.concatenate([a.reflectivity, b.reflectivity]),
    )
