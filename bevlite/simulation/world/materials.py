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
# From version 2 on: what the vector map tells apart has a code of its own.
GROUND_CROSSING_GAP = 8  # asphalt of a pedestrian crossing
GROUND_CROSSING = 9  # its paint
GROUND_STOP_LINE = 10
GROUND_CARPARK = 11
GROUND_BAY = 12  # paint of a car park
GROUND_MEDIAN = 13
GROUND_WORN_WHITE = 14
GROUND_WORN_YELLOW = 15

# What can be driven on.
DRIVEABLE_GROUND = (
    GROUND_ASPHALT,
    GROUND_WHITE,
    GROUND_YELLOW,
    GROUND_CROSSING_GAP,
    GROUND_CROSSING,
    GROUND_STOP_LINE,
    GROUND_CARPARK,
    GROUND_BAY,
    GROUND_WORN_WHITE,
    GROUND_WORN_YELLOW,
)

OCC_OF_GROUND = np.full(16, OCC_TERRAIN, dtype=np.uint8)
OCC_OF_GROUND[list(DRIVEABLE_GROUND)] = OCC_DRIVEABLE
OCC_OF_GROUND[[GROUND_SIDEWALK, GROUND_KERB]] = OCC_SIDEWALK
OCC_OF_GROUND[[GROUND_PLAZA, GROUND_MEDIAN]] = OCC_OTHER_FLAT
