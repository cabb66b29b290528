"""Meshes of the vehicles. Each is built roughly to scale and then stretched to its box by `Mesh.fitted`."""

from __future__ import annotations

import numpy as np

from bevlite.simulation.world import materials as m
from bevlite.simulation.world.mesh import Colour, Mesh, MeshBuilder

BLACK: Colour = (0.06, 0.06, 0.07)
TYRE: Colour = (0.07, 0.07, 0.07)
GLASS: Colour = (0.10, 0.13, 0.16)
CAR_COLOURS: tuple[Colour, ...] = (
    (0.85, 0.86, 0.86),
    (0.60, 0.62, 0.64),
    (0.30, 0.31, 0.33),
    (0.08, 0.08, 0.09),
    (0.55, 0.07, 0.08),
    (0.10, 0.18, 0.45),
    (0.70, 0.66, 0.55),
    (0.12, 0.30, 0.20),
    (0.85, 0.62, 0.10),
)
BUS_COLOURS: tuple[Colour, ...] = (
    (0.80, 0.12, 0.12),
    (0.15, 0.45, 0.75),
    (0.90, 0.75, 0.15),
    (0.2, 0.6, 0.35),
)
BOX_COLOURS: tuple[Colour, ...] = (
    (0.86, 0.86, 0.84),
    (0.75, 0.76, 0.78),
    (0.25, 0.35, 0.6),
    (0.7, 0.35, 0.15),
)
CAB_COLOURS: tuple[Colour, ...] = ((0.85, 0.85, 0.85), (0.65, 0.1, 0.1), (0.1, 0.25, 0.55), (0.15, 0.4, 0.25))
YELLOW: Colour = (0.92, 0.65, 0.06)


def pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """One of the colours, a little off."""
    base = np.array(colours[int(rng.integers(len(colours)))])
    shade = np.clip(base * rng.uniform(0.85, 1.1) + rng.normal(0, 0.015, 3), 0.02, 0.95)
    return float(shade[0]), float(shade[1]), float(shade[2])


def _wheels(b: MeshBuilder, xs: tuple[float, ...], y: float, radius: float, width: float) -> None:
    for x in xs:
        for side in (-1.0, 1.0):
            start = y - width if side > 0 else -y
            b.cylinder((x, start, radius), (radius, radius), width, TYRE, m.RUBBER, 0.06, axis="y")
            face = y + 0.005 if side > 0 else -y - 0.015
            b.cylinder(
                (x, face, radius),
                (radius * 0.55, radius * 0.5),
                0.01,
                (0.55, 0.55, 0.57),
                m.PLAIN,
                0.3,
                axis="y",
            )


def _lamps(b: MeshBuilder, front: float, rear: float, y: float, z: float, size: float = 0.16) -> None:
    for side in (-1.0, 1.0):
        low, high = sorted((side * y, side * (y - 0.38)))
        b.box((front, front + 0.02), (low, high), (z, z + size), (0.95, 0.95, 0.88), m.LAMP_WHITE, 0.5)
        b.box((rear - 0.02, rear), (low, high), (z + 0.05, z + 0.05 + size), (0.75, 0.05, 0.05), m.LAMP_RED, 0.7)
    b.box((rear - 0.03, rear - 0.01), (-0.26, 0.26), (z - 0.2, z - 0.06), (0.9, 0.9, 0.8), m.PLAIN, 0.95)


def car(rng: np.random.Generator) -> Mesh:
    """A sedan, hatchback, van or SUV."""
    b = MeshBuilder()
    paint = pick(rng, CAR_COLOURS)
    kind = rng.choice(["sedan", "hatch", "suv", "van"], p=[0.38, 0.27, 0.25, 0.10])
    refl = 0.12 + 0.4 * float(np.mean(paint))
    deck = {"sedan": 0.92, "hatch": 0.95, "suv": 1.05, "van": 1.1}[str(kind)]
    top = {"sedan": 1.45, "hatch": 1.5, "suv": 1.75, "van": 1.95}[str(kind)]
    b.frustum((-2.3, 2.3, -0.9, 0.9), (-2.32, 2.32, -0.93, 0.93), 0.22, 0.55, paint, m.PAINT, refl)
    b.frustum((-2.32, 2.32, -0.93, 0.93), (-2.2, 2.1, -0.86, 0.86), 0.55, deck, paint, m.PAINT, refl, floor=False)
    cabin, roof = {
        "sedan": ((-1.75, 1.05, -0.84, 0.84), (-1.1, 0.3, -0.66, 0.66)),
        "hatch": ((-2.15, 1.1, -0.84, 0.84), (-1.7, 0.35, -0.67, 0.67)),
        "suv": ((-2.18, 1.1, -0.86, 0.86), (-1.9, 0.4, -0.72, 0.72)),
        "van": ((-2.2, 1.6, -0.87, 0.87), (-2.12, 0.9, -0.78, 0.78)),
    }[str(kind)]
    b.frustum(cabin, roof, deck, top - 0.06, GLASS, m.GLASS, 0.06, floor=False)
    b.box((roof[0], roof[1]), (roof[2], roof[3]), (top - 0.06, top), paint, m.PAINT, refl)
    for x in (cabin[0] * 0.45 + cabin[1] * 0.55,):
        for side in (-1.0, 1.0):
            b.beam((x, side * 0.84, deck), (x - 0.05, side * roof[3], top - 0.05), 0.09, paint, m.PAINT, refl)
    _wheels(b, (-1.4, 1.42), 0.93, 0.33, 0.22)
    _lamps(b, 2.3, -2.3, 0.86, 0.62)
    b.box((2.3, 2.33), (-0.45, 0.45), (0.35, 0.58), BLACK, m.MESH, 0.1)
    return b.build()


def truck(rng: np.random.Generator) -> Mesh:
    """A box truck, a flat-bed with cargo, or a pick-up."""
    b = MeshBuilder()
    paint = pick(rng, CAB_COLOURS)
    kind = rng.choice(["box", "flatbed", "pickup"], p=[0.6, 0.2, 0.2])
    refl = 0.15 + 0.35 * float(np.mean(paint))
    if kind == "pickup":
        b.frustum((-2.8, 2.8, -0.98, 0.98), (-2.8, 2.7, -0.95, 0.95), 0.35, 1.1, paint, m.PAINT, refl)
        b.frustum((-0.3, 1.5, -0.92, 0.92), (-0.1, 0.9, -0.78, 0.78), 1.1, 1.8, GLASS, m.GLASS, 0.06)
        b.box((-0.1, 0.9), (-0.78, 0.78), (1.8, 1.87), paint, m.PAINT, refl)
        b.box((-2.6, -0.4), (-0.8, 0.8), (1.1, 1.12), BLACK, m.PLAIN, 0.1)
        _wheels(b, (-1.8, 1.8), 0.97, 0.4, 0.25)
        _lamps(b, 2.75, -2.78, 0.9, 0.75)
        return b.build()
    b.box((-3.45, 3.3), (-0.5, 0.5), (0.45, 0.8), BLACK, m.PLAIN, 0.1)
    b.frustum((1.5, 3.45, -1.15, 1.15), (1.5, 3.4, -1.12, 1.12), 0.45, 1.5, paint, m.PAINT, refl)
    b.frustum((1.5, 3.4, -1.12, 1.12), (1.5, 3.1, -1.05, 1.05), 1.5, 2.3, GLASS, m.GLASS, 0.06)
    b.box((1.5, 3.1), (-1.05, 1.05), (2.3, 2.42), paint, m.PAINT, refl)
    b.box((1.5, 1.75), (-1.13, 1.13), (0.9, 2.42), paint, m.PAINT, refl)
    if kind == "box":
        cargo = pick(rng, BOX_COLOURS)
        b.box((-3.45, 1.35), (-1.22, 1.22), (0.85, 2.95), cargo, m.RIBS, 0.2 + 0.3 * float(np.mean(cargo)))
        b.box((-3.48, -3.46), (-1.1, 1.1), (0.95, 2.85), (0.6, 0.6, 0.62), m.PLAIN, 0.35)
    else:
        b.box((-3.45, 1.35), (-1.2, 1.2), (0.85, 1.0), (0.4, 0.3, 0.2), m.PLAIN, 0.2)
        b.box((-3.1, -0.8), (-1.0, 1.0), (1.0, 1.9), (0.55, 0.42, 0.28), m.MESH, 0.25)
        b.box((-0.6, 1.0), (-0.9, 0.9), (1.0, 2.9), (0.5, 0.5, 0.45), m.CLOTH, 0.2)
    _wheels(b, (-2.4, 2.4), 1.18, 0.48, 0.35)
    _lamps(b, 3.45, -3.45, 1.1, 0.65, 0.2)
    return b.build()


def bus(rng: np.random.Generator) -> Mesh:
    """A rigid city bus: a long box with a band of windows and a wide windscreen."""
    b = MeshBuilder()
    paint = pick(rng, BUS_COLOURS)
    b.box((-5.6, 5.55), (-1.45, 1.45), (0.35, 3.3), paint, m.BUS_SIDE, 0.3, roof=((0.85, 0.85, 0.85), m.PLAIN))
    b.frustum((5.55, 5.62, -1.35, 1.35), (5.55, 5.6, -1.3, 1.3), 1.0, 2.6, GLASS, m.GLASS, 0.06)
    b.box((5.55, 5.63), (-1.0, 1.0), (2.7, 3.1), (0.95, 0.7, 0.15), m.LAMP_WHITE, 0.3)
    b.box((-4.5, -1.0), (-0.9, 0.9), (3.3, 3.5), (0.7, 0.7, 0.7), m.PLAIN, 0.3)
    _wheels(b, (-3.3, 3.4), 1.45, 0.5, 0.35)
    _lamps(b, 5.58, -5.62, 1.35, 0.6, 0.25)
    return b.build()


def trailer(rng: np.random.Generator) -> Mesh:
    """A semi-trailer: a long box, a tank or a curtain, on wheels at its rear, with no cab."""
    b = MeshBuilder()
    cargo = pick(rng, BOX_COLOURS)
    refl = 0.2 + 0.3 * float(np.mean(cargo))
    kind = rng.choice(["box", "curtain", "tank"], p=[0.55, 0.25, 0.2])
    b.box((-6.1, 6.1), (-0.6, 0.6), (0.95, 1.25), BLACK, m.PLAIN, 0.1)
    if kind == "tank":
        b.cylinder((-6.1, 0.0, 2.5), (1.3, 1.3), 12.2, (0.75, 0.77, 0.8), m.PAINT, 0.45, 12, "x")
    else:
        b.box((-6.1, 6.1), (-1.42, 1.42), (1.2, 3.85), cargo, m.RIBS if kind == "box" else m.CLOTH, refl)
    _wheels(b, (-5.2, -4.0, -2.8), 1.4, 0.5, 0.35)
    b.beam((4.0, 0.8, 0.0), (4.0, 0.8, 1.0), 0.15, (0.4, 0.4, 0.4), m.PLAIN, 0.2)
    b.beam((4.0, -0.8, 0.0), (4.0, -0.8, 1.0), 0.15, (0.4, 0.4, 0.4), m.PLAIN, 0.2)
    _lamps(b, 6.08, -6.1, 1.3, 0.9, 0.2)
    return b.build()


def construction_vehicle(rng: np.random.Generator) -> Mesh:
    """An excavator or a wheel loader, yellow or orange."""
    b = MeshBuilder()
    paint = pick(rng, (YELLOW, YELLOW, (0.9, 0.4, 0.08)))
    if rng.random() < 0.55:
        for y in (-1.3, 0.75):
            b.box((-2.0, 2.0), (y, y + 0.55), (0.0, 0.85), BLACK, m.MESH, 0.1)
        b.box((-2.1, 1.3), (-1.3, 1.3), (1.0, 2.0), paint, m.PAINT, 0.35)
        b.box((-2.2, -1.0), (-1.3, 1.3), (1.0, 2.3), paint, m.PAINT, 0.35)
        b.frustum((0.0, 1.35, 0.3, 1.25), (0.1, 1.1, 0.35, 1.2), 2.0, 3.1, GLASS, m.GLASS, 0.06)
        b.box((0.1, 1.1), (0.35, 1.2), (3.1, 3.2), paint, m.PAINT, 0.35)
        b.beam((1.0, -0.3, 1.6), (2.9, -0.3, 3.3), 0.45, paint, m.PAINT, 0.35)
        b.beam((2.9, -0.3, 3.3), (4.2, -0.3, 1.4), 0.35, paint, m.PAINT, 0.35)
        b.box((3.7, 4.5), (-0.8, 0.2), (0.5, 1.4), (0.3, 0.3, 0.3), m.MESH, 0.2)
    else:
        b.box((-3.0, 0.3), (-1.0, 1.0), (0.8, 2.0), paint, m.PAINT, 0.35)
        b.frustum((-0.9, 0.9, -0.75, 0.75), (-0.7, 0.7, -0.7, 0.7), 2.0, 3.2, GLASS, m.GLASS, 0.06)
        b.box((-0.8, 0.8), (-0.75, 0.75), (3.2, 3.35), paint, m.PAINT, 0.35)
        b.box((0.3, 1.8), (-0.6, 0.6), (0.7, 1.6), paint, m.PAINT, 0.35)
        for y in (-0.55, 0.55):
            b.beam((1.0, y, 1.6), (2.9, y, 0.7), 0.3, paint, m.PAINT, 0.35)
        b.frustum((2.6, 3.5, -1.35, 1.35), (3.1, 3.3, -1.35, 1.35), 0.2, 1.4, (0.3, 0.3, 0.3), m.MESH, 0.2)
        _wheels(b, (-2.0, 1.4), 1.3, 0.75, 0.55)
    b.cylinder((-0.8, 0.0, 3.2), (0.1, 0.1), 0.2, (0.95, 0.45, 0.05), m.LAMP_WHITE, 0.3)
    return b.build()
