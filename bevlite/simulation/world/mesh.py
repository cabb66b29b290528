"""Triangle meshes built from a few solids, in an object's frame: x forward, y left, z up, base at z = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Mesh:
    """Triangles (n, 3 corners, 3 xyz) with material (n,), colour (n, 3 RGB 0..1), LiDAR reflectivity (n,)."""

    triangles: F32
    material: npt.NDArray[np.int32]
    colour: F32
    reflectivity: F32

    def fitted(self, length: float, width: float, height: float) -> Mesh:
        """The mesh stretched to fill exactly length x width x height, centred in x and y, base at z = 0."""
        low = self.triangles.reshape(-1, 3).min(0)
        high = self.triangles.reshape(-1, 3).max(0)
        size = np.array([length, width, height], dtype=np.float32)
        offset = np.array([length / 2, width / 2, 0.0], dtype=np.float32)
        triangles = (self.triangles - low) / (high - low) * size - offset
        return Mesh(triangles.astype(np.float32), self.material, self.colour, self.reflectivity)


class MeshBuilder:
    """Collects solids into one mesh."""

    def __init__(self) -> None:
        self._triangles: list[npt.NDArray[np.float64]] = []
        self._material: list[int] = []
        self._colour: list[Colour] = []
        self._reflectivity: list[float] = []

    def triangles(self, corners: npt.NDArray[np.float64], colour: Colour, material: int, reflectivity: float) -> None:
        """Add triangles (n, 3, 3)."""
        self._triangles.append(corners)
        self._material += [material] * len(corners)
        self._colour += [colour] * len(corners)
        self._reflectivity += [reflectivity] * len(corners)

    def quad(self, corners: npt.ArrayLike, colour: Colour, material: int = 0, reflectivity: float = 0.3) -> None:
        """Add a quadrilateral (4, 3), corners in order round it."""
        c = np.asarray(corners, dtype=np.float64)
        self.triangles(np.stack([c[[0, 1, 2]], c[[0, 2, 3]]]), colour, material, reflectivity)

    def frustum(
        self,
        bottom: tuple[float, float, float, float],
        top: tuple[float, float, float, float],
        z0: float,
        z1: float,
        colour: Colour,
        material: int = 0,
        reflectivity: float = 0.3,
        roof: tuple[Colour, int] | None = None,
        floor: bool = True,
    ) -> None:
        """Add a solid between two rectangles (x0, x1, y0, y1) at z0 and z1; `roof` dresses its top."""

        def ring(r: tuple[float, float, float, float], z: float) -> list[list[float]]:
            return [[r[0], r[2], z], [r[1], r[2], z], [r[1], r[3], z], [r[0], r[3], z]]

        low, high = ring(bottom, z0), ring(top, z1)
        for k in range(4):
            n = (k + 1) % 4
            self.quad([low[k], low[n], high[n], high[k]], colour, material, reflectivity)
        roof_colour, roof_material = roof if roof else (colour, material)
        self.quad(high, roof_colour, roof_material, reflectivity)
        if floor:
            self.quad(low, colour, material, reflectivity)

    def box(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        colour: Colour,
        material: int = 0,
        reflectivity: float = 0.3,
        roof: tuple[Colour, int] | None = None,
    ) -> None:
        """Add an axis-aligned box."""
        self.frustum((*x, *y), (*x, *y), z[0], z[1], colour, material, reflectivity, roof)

    def beam(
        self,
        start: tuple[float, float, float],
        end: tuple[float, float, float],
        thickness: float,
        colour: Colour,
        material: int = 0,
        reflectivity: float = 0.3,
    ) -> None:
        """Add a square bar between two points."""
        a, b = np.array(start), np.array(end)
        axis = (b - a) / max(float(np.linalg.norm(b - a)), 1e-6)
        other = np.array([0.0, 1.0, 0.0]) if abs(axis[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
        u = np.cross(axis, other)
        u = u / np.linalg.norm(u) * thickness / 2
        v = np.cross(axis, u)
        v = v / np.linalg.norm(v) * thickness / 2
        near = [a + u + v, a - u + v, a - u - v, a + u - v]
        far = [p + (b - a) for p in near]
        for k in range(4):
            n = (k + 1) % 4
            self.quad([near[k], near[n], far[n], far[k]], colour, material, reflectivity)
        self.quad(near, colour, material, reflectivity)
        self.quad(far, colour, material, reflectivity)

    def cylinder(
        self,
        centre: tuple[float, float, float],
        radius: tuple[float, float],
        height: float,
        colour: Colour,
        material: int = 0,
        reflectivity: float = 0.3,
        sides: int = 8,
        axis: str = "z",
    ) -> None:
        """Add a (tapered) prism from `centre` along `axis`, with bottom and top radius."""
        angle = np.arange(sides) * 2 * np.pi / sides + np.pi / sides
        ring = np.stack([np.cos(angle), np.sin(angle)], 1)
        low = np.concatenate([ring * radius[0], np.zeros((sides, 1))], 1)
        high = np.concatenate([ring * radius[1], np.full((sides, 1), height)], 1)
        if axis == "y":
            low, high = low[:, [0, 2, 1]], high[:, [0, 2, 1]]
        elif axis == "x":
            low, high = low[:, [2, 0, 1]], high[:, [2, 0, 1]]
        low, high = low + np.array(centre), high + np.array(centre)
        after = np.roll(np.arange(sides), -1)
        corners = [np.stack([low, low[after], high[after]], 1), np.stack([low, high[after], high], 1)]
        for r, points in ((radius[0], low), (radius[1], high)):
            if r > 0:
                middle = np.broadcast_to(points.mean(0), points.shape)
                corners.append(np.stack([middle, points, points[after]], 1))
        self.triangles(np.concatenate(corners), colour, material, reflectivity)

    def ring(
        self, centre: tuple[float, float, float], outer: float, inner: float, width: float, colour: Colour
    ) -> None:
        """Add a thin wheel in the x-z plane: two flat rings, `width` apart in y."""
        sides = 12
        angle = np.arange(sides + 1) * 2 * np.pi / sides
        for side in (-width / 2, width / 2):
            for k in range(sides):
                a, b = angle[k], angle[k + 1]
                corners = [
                    [centre[0] + r * np.cos(t), centre[1] + side, centre[2] + r * np.sin(t)]
                    for r, t in ((outer, a), (outer, b), (inner, b), (inner, a))
                ]
                self.quad(corners, colour, 3, 0.1)

    def blob(
        self,
        centre: tuple[float, float, float],
        radius: tuple[float, float, float],
        colour: Colour,
        material: int = 0,
        reflectivity: float = 0.3,
        sides: int = 8,
        rows: int = 5,
        roughness: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        """Add an ellipsoid; `roughness` moves its corners by up to that share of the radius."""
        theta = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)
        phi = np.arange(sides) * 2 * np.pi / sides
        unit = np.stack(
            [
                np.cos(theta)[:, None] * np.cos(phi)[None],
                np.cos(theta)[:, None] * np.sin(phi)[None],
                np.broadcast_to(np.sin(theta)[:, None], (rows + 1, sides)),
            ],
            -1,
        )
        if roughness > 0 and rng is not None:
            scale = 1 + rng.uniform(-roughness, roughness, unit.shape[:2])
            scale[0], scale[-1] = scale[0, 0], scale[-1, 0]
            unit = unit * scale[..., None]
        points = unit * np.array(radius) + np.array(centre)
        after = np.roll(np.arange(sides), -1)
        corners = []
        for k in range(rows):
            low, high = points[k], points[k + 1]
            if k > 0:
                corners.append(np.stack([low, low[after], high[after]], 1))
            if k < rows - 1:
                corners.append(np.stack([low, high[after], high], 1))
            else:
                corners[-1] = np.stack([low, low[after], high[after]], 1)
        self.triangles(np.concatenate(corners), colour, material, reflectivity)

    def build(self) -> Mesh:
        """The mesh of everything that was added."""
        return Mesh(
            np.concatenate(self._triangles).astype(np.float32),
            np.array(self._material, dtype=np.int32),
            np.array(self._colour, dtype=np.float32),
            np.array(self._reflectivity, dtype=np.float32),
        )
