"""Meshes of cones and barriers, and of the clutter and buildings that stand beside the road."""

from __future__ import annotations

import numpy as np

from bevlite.simulation.world import materials as m
from bevlite.simulation.world.mesh import Colour, Mesh, MeshBuilder
from bevlite.simulation.world.people import statue

GREY: Colour = (0.45, 0.45, 0.46)
DARK: Colour = (0.2, 0.2, 0.21)
ORANGE: Colour = (0.93, 0.33, 0.06)
WHITE: Colour = (0.9, 0.9, 0.88)


def _dull(rng: np.random.Generator) -> Colour:
    c = np.clip(rng.uniform(0.15, 0.75) + rng.normal(0, 0.06, 3), 0.05, 0.85)
    return float(c[0]), float(c[1]), float(c[2])


def traffic_cone(rng: np.random.Generator) -> Mesh:
    """An orange cone or a slim orange tube, with white bands."""
    b = MeshBuilder()
    if rng.random() < 0.75:
        b.box((-0.2, 0.2), (-0.2, 0.2), (0.0, 0.06), (0.12, 0.1, 0.1), m.PLAIN, 0.1)
        for z0, z1, colour, refl in (
            (0.06, 0.38, ORANGE, 0.3),
            (0.38, 0.58, WHITE, 0.6),
            (0.58, 0.75, ORANGE, 0.3),
            (0.75, 0.86, WHITE, 0.6),
            (0.86, 1.0, ORANGE, 0.3),
        ):
            b.cylinder((0, 0, z0), (0.17 - 0.13 * z0, 0.17 - 0.13 * z1), z1 - z0, colour, m.PLAIN, refl)
    else:
        b.cylinder((0, 0, 0), (0.2, 0.17), 0.08, (0.12, 0.1, 0.1), m.PLAIN, 0.1)
        for z0, z1, colour, refl in (
            (0.08, 0.55, ORANGE, 0.3),
            (0.55, 0.68, WHITE, 0.6),
            (0.68, 0.8, ORANGE, 0.3),
            (0.8, 0.92, WHITE, 0.6),
            (0.92, 1.05, ORANGE, 0.3),
        ):
            b.cylinder((0, 0, z0), (0.07, 0.07), z1 - z0, colour, m.PLAIN, refl)
    return b.build()


def barrier(rng: np.random.Generator) -> Mesh:
    """A barrier along y: a striped board on feet, a water-filled plastic block, or striped concrete."""
    b = MeshBuilder()
    kind = rng.choice(["board", "plastic", "concrete"])
    accent = ORANGE if rng.random() < 0.5 else (0.8, 0.08, 0.08)
    if kind == "board":
        for z in (0.3, 0.68):
            b.box((-0.04, 0.04), (-1.25, 1.25), (z, z + 0.3), accent, m.STRIPES, 0.55)
        for y in (-1.05, 1.05):
            b.box((-0.25, 0.25), (y - 0.06, y + 0.06), (0.0, 0.12), DARK, m.PLAIN, 0.2)
            b.beam((0, y, 0.1), (0, y, 0.98), 0.07, GREY, m.PLAIN, 0.3)
    elif kind == "plastic":
        b.frustum((-0.25, 0.25, -1.25, 1.25), (-0.1, 0.1, -1.2, 1.2), 0.0, 0.98, accent, m.PLAIN, 0.35)
        b.box((-0.2, 0.2), (-0.3, 0.3), (0.55, 0.75), WHITE, m.PLAIN, 0.5)
    else:
        b.frustum((-0.28, 0.28, -1.25, 1.25), (-0.14, 0.14, -1.25, 1.25), 0.0, 0.4, WHITE, m.STONE, 0.3)
        b.frustum((-0.14, 0.14, -1.25, 1.25), (-0.1, 0.1, -1.25, 1.25), 0.4, 0.95, accent, m.STRIPES, 0.35)
    return b.build()


def clutter(kind: str, rng: np.random.Generator) -> Mesh:
    """One of the things of `CLUTTER_DENSITY`, at its own size."""
    b = MeshBuilder()
    if kind == "post":
        r, h = rng.uniform(0.07, 0.2), rng.uniform(0.7, 1.15)
        colour = ((0.1, 0.1, 0.1), GREY, (0.15, 0.3, 0.2), (0.85, 0.85, 0.8))[int(rng.integers(4))]
        b.cylinder((0, 0, 0), (r, r * rng.uniform(0.4, 1.0)), h, colour, m.PLAIN, rng.uniform(0.2, 0.5))
        if rng.random() < 0.5:
            b.cylinder((0, 0, h * 0.7), (r * 1.02, r * 1.02), 0.1, WHITE, m.PLAIN, 0.6)
    elif kind == "bin":
        w, h = rng.uniform(0.28, 0.4), rng.uniform(0.9, 1.3)
        colour = ((0.1, 0.3, 0.15), (0.15, 0.15, 0.17), (0.2, 0.25, 0.45))[int(rng.integers(3))]
        b.frustum((-w, w, -w, w), (-w * 1.15, w * 1.15, -w * 1.15, w * 1.15), 0.0, h, colour, m.PLAIN, 0.2)
    elif kind == "mailbox":
        b.box((-0.25, 0.25), (-0.28, 0.28), (0.1, 1.25), (0.12, 0.2, 0.5), m.PAINT, 0.3)
        b.box((-0.2, 0.2), (-0.2, 0.2), (0.0, 0.1), DARK, m.PLAIN, 0.2)
    elif kind == "statue":
        return statue(rng).fitted(rng.uniform(0.4, 0.8), rng.uniform(0.5, 0.8), rng.uniform(1.55, 1.95))
    elif kind == "sign":
        b.beam((0, 0, 0), (0, 0, 2.2), 0.08, GREY, m.PLAIN, 0.35)
        b.box((-0.03, 0.03), (-0.33, 0.33), (1.4, 2.2), WHITE, m.SIGN, 0.9)
        if rng.random() < 0.5:
            b.box((-0.12, 0.12), (-0.25, 0.25), (0.0, 1.0), DARK, m.PLAIN, 0.2)
    elif kind == "hedge":
        for x in np.arange(-1.7, 1.8, 0.85):
            green = (0.12 + rng.uniform(0, 0.06), 0.26 + rng.uniform(0, 0.12), 0.08)
            b.blob((x, 0, 0.75), (0.65, rng.uniform(0.7, 0.9), 0.85), green, m.FOLIAGE, 0.3, 8, 5, 0.15, rng)
    elif kind == "container":
        half, h = rng.uniform(2.0, 3.2), rng.uniform(2.0, 2.7)
        b.box((-half, half), (-1.1, 1.1), (0.05, h), _dull(rng), m.RIBS, 0.3)
    elif kind == "planter":
        b.box((-0.3, 0.3), (-1.2, 1.2), (0.0, 0.65), _dull(rng), m.STONE, 0.25)
        b.blob((0, 0, 0.75), (0.28, 1.1, 0.3), (0.15, 0.33, 0.1), m.FOLIAGE, 0.3, 8, 4, 0.2, rng)
    elif kind == "billboard":
        person = rng.random() < 0.6
        w, h = (0.62, 2.0) if person else (2.4, 1.85)
        b.box((-0.06, 0.06), (-w - 0.1, w + 0.1), (0.1, h + 0.25), DARK, m.PLAIN, 0.25)
        poster = m.POSTER_PERSON if person else m.POSTER_CAR
        for x in (-0.07, 0.07):
            b.quad([[x, -w, 0.2], [x, w, 0.2], [x, w, 0.2 + h], [x, -w, 0.2 + h]], _dull(rng), poster, 0.35)
    else:  # an empty bicycle rack
        for x in np.arange(-1.2, 1.3, 0.6):
            b.beam((x, -0.3, 0), (x, -0.3, 0.8), 0.05, GREY, m.PLAIN, 0.4)
            b.beam((x, 0.3, 0), (x, 0.3, 0.8), 0.05, GREY, m.PLAIN, 0.4)
            b.beam((x, -0.3, 0.8), (x, 0.3, 0.8), 0.05, GREY, m.PLAIN, 0.4)
    return b.build()


def tree(rng: np.random.Generator) -> Mesh:
    """A trunk with two or three crowns of leaves."""
    b = MeshBuilder()
    height = rng.uniform(4.5, 9.0)
    trunk = rng.uniform(0.12, 0.25)
    b.cylinder((0, 0, 0), (trunk, trunk * 0.7), height * 0.55, (0.28, 0.2, 0.13), m.STONE, 0.25, 6)
    for _ in range(int(rng.integers(2, 4))):
        r = rng.uniform(1.1, 2.2)
        centre = (rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8), height * rng.uniform(0.6, 0.9))
        green = (rng.uniform(0.10, 0.24), rng.uniform(0.24, 0.42), rng.uniform(0.05, 0.12))
        b.blob(centre, (r, r, r * rng.uniform(0.8, 1.1)), green, m.FOLIAGE, 0.3, 9, 6, 0.18, rng)
    return b.build()


def lamp_post() -> Mesh:
    """A street lamp with its arm along +y."""
    b = MeshBuilder()
    b.cylinder((0, 0, 0), (0.11, 0.07), 7.5, GREY, m.PLAIN, 0.35, 6)
    b.beam((0, 0, 7.4), (0, 1.8, 7.7), 0.08, GREY, m.PLAIN, 0.35)
    b.box((-0.12, 0.12), (1.4, 2.1), (7.6, 7.75), (0.95, 0.92, 0.8), m.LAMP_WHITE, 0.3)
    return b.build()


def building(rng: np.random.Generator, length: float, depth: float, height: float) -> Mesh:
    """A building of length x depth x height (m), with a base and a roof edge."""
    b = MeshBuilder()
    wall = _dull(rng) if rng.random() < 0.6 else (rng.uniform(0.4, 0.6), rng.uniform(0.25, 0.35), 0.22)
    x, y = length / 2, depth / 2
    material = m.FACADE if rng.random() < 0.8 else m.BRICK
    b.box((-x, x), (-y, y), (0.0, height), wall, material, rng.uniform(0.2, 0.4), roof=(DARK, m.PLAIN))
    b.box((-x - 0.15, x + 0.15), (-y - 0.15, y + 0.15), (height, height + 0.5), _dull(rng), m.STONE, 0.3)
    if rng.random() < 0.5:
        b.box((-x - 0.08, x + 0.08), (-y - 0.08, y + 0.08), (3.0, 3.5), _dull(rng), m.PLAIN, 0.3)
    return b.build()


def wall(rng: np.random.Generator, length: float) -> Mesh:
    """A low wall or fence along x."""
    b = MeshBuilder()
    if rng.random() < 0.5:
        b.box((-length / 2, length / 2), (-0.12, 0.12), (0.0, rng.uniform(0.8, 1.8)), _dull(rng), m.BRICK, 0.3)
    else:
        for z in (0.3, 0.9):
            b.beam((-length / 2, 0, z), (length / 2, 0, z), 0.07, DARK, m.PLAIN, 0.25)
        for x in np.arange(-length / 2, length / 2, 1.5):
            b.beam((x, 0, 0), (x, 0, 1.1), 0.07, DARK, m.PLAIN, 0.25)
    return b.build()
