"""Names of surface materials (procedural textures of `shading`) and of ground codes."""

from __future__ import annotations

import numpy as np

from bevlite.simulation.world.constants import OCC_DRIVEABLE, OCC_OTHER_FLAT, OCC_SIDEWALK, OCC_TERRAIN

PLAIN = 0
PAINT = 1  # car paint: reflects the sky a little
GLASS = 2
RUBBER = 3
STRIPES = 4  # diagonal red or orange and white
FOLIAGE = 5
FACADE = 6  # windows on a wall
BRICK = 7
RIBS = 8  # corrugated sheet metal
BUS_SIDE = 9
CLOTH = 10
STONE = 11
LAMP_WHITE = 12
LAMP_RED = 13
POSTER_PERSON = 14
POSTER_CAR = 15
MESH = 16  # dark and light checks: grilles, racks
SIGN = 17

GROUND_TERRAIN = 0
GROUND_ASPHALT = 1
GROUND_WHITE = 2
GROUND_YELLOW = 3
GROUND_SIDEWALK = 4
GROUND_KERB = 5
GROUND_PLAZA = 6
GROUND_DIRT = 7

OCC_OF_GROUND = np.array(
    [
        OCC_TERRAIN,
        OCC_DRIVEABLE,
        OCC_DRIVEABLE,
        OCC_DRIVEABLE,
        OCC_SIDEWALK,
        OCC_SIDEWALK,
        OCC_OTHER_FLAT,
        OCC_TERRAIN,
    ],
    dtype=np.uint8,
)
LIDAR_OF_GROUND = np.array([0.16, 0.05, 0.40, 0.30, 0.13, 0.15, 0.12, 0.14], dtype=np.float32)
