"""Meshes of pedestrians and of the two-wheelers that they ride."""

from __future__ import annotations

import numpy as np

from bevlite.simulation.world import materials as m
from bevlite.simulation.world.mesh import Colour, Mesh, MeshBuilder
from bevlite.simulation.world.vehicles import BLACK, TYRE

SKIN: tuple[Colour, ...] = ((0.82, 0.62, 0.50), (0.65, 0.45, 0.33), (0.42, 0.28, 0.20), (0.88, 0.70, 0.58))
HAIR: tuple[Colour, ...] = ((0.08, 0.06, 0.05), (0.25, 0.16, 0.09), (0.6, 0.5, 0.3), (0.5, 0.5, 0.5))
STONE: Colour = (0.52, 0.51, 0.48)


def _cloth(rng: np.random.Generator, least: float = 0.0) -> Colour:
    # Saturated and dull clothes alike, or none that is duller than `least`.
    hue = rng.uniform(0.05, 0.85, 3)
    grey = hue.mean()
    mix = rng.uniform(least, 1.0)
    c = np.clip(grey + (hue - grey) * (0.4 + mix), 0.03, 0.92)
    return float(c[0]), float(c[1]), float(c[2])


def _figure(
    b: MeshBuilder,
    rng: np.random.Generator,
    stride: float,
    skin: Colour,
    hair: Colour,
    shirt: Colour,
    trousers: Colour,
    material: int,
    bag: bool,
) -> None:
    swing = stride * 0.32
    for side, sign in ((-0.1, 1.0), (0.1, -1.0)):
        b.beam((sign * swing, side, 0.04), (0.0, side, 0.86), 0.19, trousers, material, 0.18)
        b.box(
            (sign * swing - 0.1, sign * swing + 0.16),
            (side - 0.06, side + 0.06),
            (0.0, 0.09),
            BLACK,
            m.PLAIN,
            0.1,
        )
    b.frustum((-0.12, 0.12, -0.19, 0.19), (-0.13, 0.13, -0.24, 0.24), 0.84, 1.45, shirt, material, 0.25)
    for side, sign in ((-0.29, -1.0), (0.29, 1.0)):
        b.beam((sign * swing * 0.8, side, 0.82), (0.0, side * 0.92, 1.42), 0.12, shirt, material, 0.25)
        b.blob((sign * swing * 0.8, side, 0.78), (0.06, 0.06, 0.07), skin, m.PLAIN, 0.3, 5, 3)
    b.beam((0.0, 0.0, 1.43), (0.0, 0.0, 1.55), 0.11, skin, m.PLAIN, 0.3)
    b.blob((0.02, 0.0, 1.64), (0.1, 0.085, 0.13), skin, m.PLAIN, 0.3, 7, 4)
    b.blob((-0.02, 0.0, 1.69), (0.105, 0.095, 0.1), hair, m.CLOTH, 0.12, 7, 4)
    if bag:
        b.box((-0.32, -0.13), (-0.16, 0.16), (0.95, 1.4), _cloth(rng), m.CLOTH, 0.2)


def pedestrian(rng: np.random.Generator, walking: bool, clothes: float = 0.0) -> Mesh:
    """A standing or walking person, with skin, hair, perhaps a bag, and clothes of at least that saturation."""
    b = MeshBuilder()
    skin, hair = SKIN[int(rng.integers(len(SKIN)))], HAIR[int(rng.integers(len(HAIR)))]
    stride = rng.uniform(0.3, 1.0) * rng.choice([-1.0, 1.0]) if walking else rng.uniform(0.0, 0.15)
    _figure(b, rng, float(stride), skin, hair, _cloth(rng, clothes), _cloth(rng, clothes), m.CLOTH, rng.random() < 0.3)
    return b.build()


def statue(rng: np.random.Generator) -> Mesh:
    """A person of stone, sometimes on a plinth: clutter that LiDAR can hardly tell from a pedestrian."""
    b = MeshBuilder()
    _figure(b, rng, float(rng.uniform(-0.6, 0.6)), STONE, STONE, STONE, STONE, m.STONE, False)
    if rng.random() < 0.4:
        b.box((-0.35, 0.35), (-0.35, 0.35), (-0.25, 0.0), STONE, m.STONE, 0.25)
    return b.build()


def _rider(b: MeshBuilder, rng: np.random.Generator, seat: float, reach: float) -> None:
    shirt, trousers, skin = _cloth(rng), _cloth(rng), SKIN[int(rng.integers(len(SKIN)))]
    helmet = _cloth(rng)
    for side in (-0.13, 0.13):
        b.beam((-0.15, side, seat), (0.25, side, seat - 0.12), 0.15, trousers, m.CLOTH, 0.2)
        b.beam((0.25, side, seat - 0.12), (0.08, side, seat - 0.55), 0.12, trousers, m.CLOTH, 0.2)
        b.beam((0.05, side * 1.6, seat + 0.5), (reach, side * 1.8, seat + 0.2), 0.1, shirt, m.CLOTH, 0.2)
    b.beam((-0.18, 0.0, seat - 0.05), (0.08, 0.0, seat + 0.58), 0.33, shirt, m.CLOTH, 0.25)
    b.blob((0.16, 0.0, seat + 0.75), (0.1, 0.09, 0.13), skin, m.PLAIN, 0.3, 7, 4)
    b.blob((0.14, 0.0, seat + 0.8), (0.13, 0.11, 0.12), helmet, m.PAINT, 0.35, 7, 4)


def bicycle(rng: np.random.Generator, rider: bool) -> Mesh:
    """A bicycle of thin tubes and open wheels, with or without a rider."""
    b = MeshBuilder()
    frame = _cloth(rng)
    for x in (-0.52, 0.52):
        b.ring((x, 0.0, 0.34), 0.34, 0.29, 0.03, TYRE)
        for angle in (0.3, 1.35, 2.4):
            dx, dz = 0.3 * np.cos(angle), 0.3 * np.sin(angle)
            b.beam((x - dx, 0.0, 0.34 - dz), (x + dx, 0.0, 0.34 + dz), 0.012, (0.6, 0.6, 0.6))
    for start, end in (
        ((-0.52, 0.0, 0.34), (-0.12, 0.0, 0.3)),
        ((-0.52, 0.0, 0.34), (-0.2, 0.0, 0.8)),
        ((-0.12, 0.0, 0.3), (-0.22, 0.0, 0.9)),
        ((-0.12, 0.0, 0.3), (0.35, 0.0, 0.8)),
        ((-0.2, 0.0, 0.8), (0.35, 0.0, 0.85)),
        ((0.52, 0.0, 0.34), (0.33, 0.0, 1.0)),
    ):
        b.beam(start, end, 0.045, frame, m.PAINT, 0.3)
    b.box((-0.34, -0.1), (-0.07, 0.07), (0.9, 0.95), BLACK, m.PLAIN, 0.1)
    b.beam((0.36, -0.28, 1.02), (0.36, 0.28, 1.02), 0.04, BLACK, m.PLAIN, 0.2)
    if rider:
        _rider(b, rng, 0.97, 0.33)
    return b.build()


def motorcycle(rng: np.random.Generator, rider: bool) -> Mesh:
    """A motorcycle or scooter with thick wheels, engine, tank and seat, with or without a rider."""
    b = MeshBuilder()
    paint = _cloth(rng)
    for x in (-0.68, 0.7):
        b.cylinder((x, -0.08, 0.31), (0.31, 0.31), 0.16, TYRE, m.RUBBER, 0.06, 10, "y")
    b.box((-0.35, 0.3), (-0.17, 0.17), (0.25, 0.62), (0.35, 0.35, 0.37), m.MESH, 0.3)
    b.frustum((-0.1, 0.45, -0.16, 0.16), (0.0, 0.4, -0.13, 0.13), 0.62, 0.92, paint, m.PAINT, 0.35)
    b.frustum((-0.95, -0.05, -0.14, 0.14), (-1.0, -0.1, -0.12, 0.12), 0.62, 0.8, BLACK, m.CLOTH, 0.12)
    b.frustum((-0.98, -0.5, -0.15, 0.15), (-1.02, -0.5, -0.1, 0.1), 0.45, 0.62, paint, m.PAINT, 0.35)
    b.beam((0.7, 0.0, 0.31), (0.42, 0.0, 1.0), 0.1, (0.5, 0.5, 0.5), m.PLAIN, 0.35)
    b.beam((0.38, -0.36, 1.05), (0.38, 0.36, 1.05), 0.05, BLACK, m.PLAIN, 0.2)
    b.box((0.48, 0.62), (-0.1, 0.1), (0.78, 0.98), (0.95, 0.95, 0.85), m.LAMP_WHITE, 0.4)
    b.box((-1.04, -1.0), (-0.08, 0.08), (0.6, 0.7), (0.75, 0.05, 0.05), m.LAMP_RED, 0.7)
    b.beam((-0.9, -0.2, 0.35), (0.2, -0.2, 0.32), 0.1, (0.6, 0.6, 0.62), m.PLAIN, 0.4)
    if rider:
        _rider(b, rng, 0.82, 0.38)
    return b.build()
