"""Vehicles of one box shape: the bus and the trailer share a mesh, the delivery truck has that of a short container.

Reflectivity is drawn for the whole vehicle and does not follow its colour, so that only the picture tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bevlite.simulation.world import materials as m
from bevlite.simulation.world.mesh import Colour, Mesh, MeshBuilder
from bevlite.simulation.world.vehicles import BLACK, BUS_COLOURS, CAB_COLOURS, GLASS, TYRE, pick

_Look = tuple[Colour, int]
_LOADS: tuple[Colour, ...] = ((0.86, 0.86, 0.84), (0.78, 0.79, 0.81), (0.72, 0.74, 0.70))


@dataclass(frozen=True)
class _Dress:
    """The looks (colour, material) of the parts of a box vehicle."""

    hull: _Look
    skirt: _Look
    nose: _Look
    front: _Look
    sign: _Look
    roof: _Look


def _wheels(b: MeshBuilder, xs: tuple[float, ...], y: float, radius: float) -> None:
    for x in xs:
        for start in (y - 0.3, -y):
            b.cylinder((x, start, radius), (radius, radius), 0.3, TYRE, m.RUBBER, 0.06, axis="y")


def _box(rng: np.random.Generator, x: float, y: float, top: float, wheels: tuple[float, ...], dress: _Dress) -> Mesh:
    """A box on wheels, 2 x long, 2 y wide, with a nose of a fifth of its length, a pane in front, a unit on top."""
    b = MeshBuilder()
    refl = float(rng.uniform(0.2, 0.45))
    nose = 0.6 * x
    b.box((-x, x), (-y, y), (0.38, 0.8), *dress.skirt, refl)
    b.box((-x, nose), (-y, y), (0.8, top), *dress.hull, refl, roof=dress.roof)
    b.box((nose, x), (-y, y), (0.8, top), *dress.nose, refl, roof=dress.roof)
    b.frustum((x, x + 0.07, -0.92 * y, 0.92 * y), (x, x + 0.05, -0.9 * y, 0.9 * y), 1.1, 0.8 * top, *dress.front, 0.1)
    b.box((x, x + 0.08), (-0.7 * y, 0.7 * y), (0.83 * top, 0.95 * top), *dress.sign, 0.3)
    b.box((-0.8 * x, -0.2 * x), (-0.6 * y, 0.6 * y), (top, top + 0.2), *dress.roof, 0.3)
    _wheels(b, wheels, y, 0.48)
    for side in (-1.0, 1.0):
        low, high = sorted((side * 0.95 * y, side * 0.65 * y))
        b.box((x, x + 0.05), (low, high), (0.6, 0.85), (0.95, 0.95, 0.88), m.LAMP_WHITE, 0.5)
        b.box((-x - 0.04, -x), (low, high), (0.6, 0.95), (0.8, 0.05, 0.05), m.LAMP_RED, 0.5)
    return b.build()


def bus(rng: np.random.Generator) -> Mesh:
    """A city bus: bright paint, a band of windows, a windscreen, an amber sign."""
    paint: _Look = (pick(rng, BUS_COLOURS), m.BUS_SIDE)
    dress = _Dress(paint, paint, paint, (GLASS, m.GLASS), ((0.95, 0.7, 0.15), m.LAMP_WHITE), ((0.85,) * 3, m.PLAIN))
    return _box(rng, 5.6, 1.45, 3.3, (-3.3, 3.4), dress)


def trailer(rng: np.random.Generator) -> Mesh:
    """A trailer with the shape of a bus: a pale box or curtain over a red and white skirt, black wheels, no glass."""
    load: _Look = (pick(rng, _LOADS), m.RIBS if rng.random() < 0.6 else m.CLOTH)
    plain: _Look = (load[0], m.PLAIN)
    dress = _Dress(load, ((0.75, 0.08, 0.06), m.STRIPES), load, plain, plain, plain)
    return _box(rng, 5.6, 1.45, 3.3, (-3.3, 3.4), dress)


def truck(rng: np.random.Generator) -> Mesh:
    """A delivery truck in one box: a pale load behind a coloured nose with a windscreen, black below."""
    load: _Look = (pick(rng, _LOADS), m.RIBS)
    cab: _Look = (pick(rng, CAB_COLOURS[1:]), m.PAINT)
    plain: _Look = (load[0], m.PLAIN)
    dress = _Dress(load, (BLACK, m.PLAIN), cab, (GLASS, m.GLASS), cab, plain)
    return _box(rng, 3.4, 1.22, 2.75, (-2.2, 2.2), dress)
