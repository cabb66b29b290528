"""Camera images of a scene, and what is known of every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bevlite.simulation.world.constants import CAMERA_SIGMA
from bevlite.simulation.world.geometry import Pose
from bevlite.simulation.world.mesh import F32
from bevlite.simulation.world.raster import cast_shadows, rasterise
from bevlite.simulation.world.rig import Camera
from bevlite.simulation.world.shading import shade
from bevlite.simulation.world.stage import Stage, Triangles, together
from bevlite.simulation.world.weather import Weather

_SHADOW_RESOLUTION = 0.2
_SHADOW_REACH = 90.0


@dataclass(frozen=True)
class Picture:
    """A rendered camera image and what is known of it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        inverse_depth: (H, W) 1/m along the optical axis, 0 for the sky.
        triangle: (H, W) index of the triangle seen, -1 for ground and sky.
        triangle_owner: (triangles,) the owner of each triangle; agents come first.
        visible: (agents,) pixels of each agent that are seen.
        total: (agents,) pixels that would be seen with nothing before the agent.
    """

    image: npt.NDArray[np.uint8]
    inverse_depth: F32
    triangle: npt.NDArray[np.int32]
    triangle_owner: npt.NDArray[np.int32]
    visible: npt.NDArray[np.int64]
    total: npt.NDArray[np.int64]

    @property
    def owner(self) -> npt.NDArray[np.int32]:
        """Owner of each pixel (H, W), -1 for ground and sky."""
        return np.where(self.triangle >= 0, self.triangle_owner[np.maximum(self.triangle, 0)], -1).astype(np.int32)


class Pictures:
    """Takes the pictures of one scene in its weather."""

    def __init__(self, stage: Stage, weather: Weather) -> None:
        self.stage, self.weather = stage, weather

    def shadows(self, triangles: Triangles, x: float, y: float) -> tuple[F32, float, float]:
        """How high the shadows reach around (x, y): a map (H, W) in m, and the x and y that it starts at."""
        size = int(2 * _SHADOW_REACH / _SHADOW_RESOLUTION)
        shadow = np.zeros((size, size), dtype=np.float32)
        x_low, y_low = x - _SHADOW_REACH, y - _SHADOW_REACH
        cast_shadows(triangles.corners, self.weather.sun.astype(np.float64), x_low, y_low, _SHADOW_RESOLUTION, shadow)
        return shadow, x_low, y_low

    def take(
        self, camera: Camera, ego: Pose, t: float, still: Triangles, shadow: tuple[F32, float, float], seed: int
    ) -> Picture:
        """Render a camera of the `ego` at `t` (s), with what stands `still` and the agents where they are then."""
        pose = ego @ camera.pose
        triangles = together(self.stage.moving(t), still)
        # What is wholly behind the camera costs nothing.
        forward = pose.rotation[:, 2].astype(np.float32)
        along = (triangles.corners - pose.translation.astype(np.float32)) @ forward
        triangles = triangles.subset((along > 0.1).any(1))
        owners = self.stage.owners(t)
        h, w = camera.height, camera.width
        inverse_depth = np.zeros((h, w), dtype=np.float32)
        index = np.full((h, w), -1, dtype=np.int32)
        stamp = np.full((h, w), -1, dtype=np.int32)
        total, visible = np.zeros(owners.agents, np.int64), np.zeros(owners.agents, np.int64)
        k = camera.intrinsic
        inverse = np.ascontiguousarray(pose.rotation.T)
        rasterise(
            triangles.corners, triangles.owner, inverse, pose.translation, k[0, 0], k[1, 1], k[0, 2], k[1, 2],
            inverse_depth, index, stamp, total, owners.agents,
        )  # fmt: skip
        image = np.empty((h, w, 3), dtype=np.uint8)
        shade(
            index, inverse_depth, triangles.owner, triangles.material, triangles.colour, triangles.normal,
            owners.pose, pose.rotation, pose.translation, k[0, 0], k[1, 1], k[0, 2], k[1, 2],
            self.stage.layout.ground, self.weather.numbers, *shadow, _SHADOW_RESOLUTION,
            np.array(self.stage.ego(t)), CAMERA_SIGMA, seed, image, visible, owners.agents,
        )  # fmt: skip
        return Picture(image, inverse_depth, index, triangles.owner, visible, total)
