"""The constants that define how hard the world is. Changing one of them means a new `WORLD_VERSION`.

Lengths are metres, times seconds, speeds m/s, angles radians unless the name says otherwise.
"""

from __future__ import annotations

from bevlite.data.classes import DETECTION_CLASSES, OCCUPANCY_CLASSES

WORLD_VERSION = 1

# --- time -------------------------------------------------------------------------------------------------
KEYFRAME_PERIOD = 0.5
SWEEP_PERIOD = 0.05
TRACK_PERIOD = 0.05
TRACK_MARGIN = 0.6

# --- what is annotated ------------------------------------------------------------------------------------
ANNOTATION_RANGE = 75.0
MIN_VISIBLE_PIXELS = 40  # at 1600 x 900; an object without a LiDAR point needs that many to be annotated
BOX_MARGIN = 0.03  # the box is that much larger than the object on every side but the bottom
BOX_BOTTOM = 0.03  # the box starts above the ground, so that the ground's returns are outside

# --- density: expected objects for 150 m of road (what an annotation range of 75 m covers) -----------------
DENSITY = {
    "car": 17.0,
    "truck": 2.0,
    "bus": 0.8,
    "trailer": 0.8,
    "construction_vehicle": 0.7,
    "pedestrian": 8.5,
    "motorcycle": 0.9,
    "bicycle": 0.9,
    "traffic_cone": 4.0,
    "barrier": 5.5,
}
DENSITY_SPREAD = 0.35  # sigma of the log-normal factor that one scene applies to each class

# --- clutter: expected things for 150 m of road, on both pavements together ---------------------------------
CLUTTER_DENSITY = {
    "post": 7.0,  # about as large as a cone, in LiDAR the same
    "bin": 4.0,
    "mailbox": 1.5,
    "statue": 2.0,  # the shape of a pedestrian, of stone
    "sign": 4.0,  # as tall as a pedestrian
    "hedge": 3.0,  # as large as a car
    "container": 1.5,  # as large as a van or a truck's box
    "planter": 3.0,  # as large as a barrier
    "billboard": 2.5,  # a picture of a pedestrian or a car: only its depth tells
    "rack": 1.0,  # bicycle rack, empty
}

# --- LiDAR ------------------------------------------------------------------------------------------------
LIDAR_RINGS = 32
LIDAR_COLUMNS = 1084
LIDAR_ELEVATION_DEG = (-30.67, 10.67)
LIDAR_MAX_RANGE = 100.0
LIDAR_RANGE_SIGMA = 0.02
LIDAR_DROPOUT = 0.03  # of every return
LIDAR_DROPOUT_FAR = 0.45  # further share at the maximum range, growing with the square of the range
LIDAR_DROPOUT_DARK = 0.25  # further share for a surface that returns nothing, less for brighter ones

# --- camera -----------------------------------------------------------------------------------------------
CAMERA_SIGMA = 2.5  # noise of a pixel, of 255
RENDER_RANGE = 160.0

# --- calibration: how far one car differs from another -----------------------------------------------------
CALIBRATION_SIGMA_M = 0.02
CALIBRATION_SIGMA_DEG = 0.5
CALIBRATION_SIGMA_FOCAL = 0.004
CALIBRATION_SIGMA_CENTRE = 8.0  # pixels at 1600 x 900
EGO_TILT_DEG = 0.25  # amplitude of the ego's pitch and roll

# --- weather: name, share of the scenes ---------------------------------------------------------------------
WEATHER = (("clear", 0.5), ("overcast", 0.25), ("haze", 0.13), ("night", 0.12))

# --- occupancy: Occ3D-nuScenes ------------------------------------------------------------------------------
OCC_RANGE = (-40.0, -40.0, -1.0, 40.0, 40.0, 5.4)
OCC_VOXEL = 0.4
OCC_SHAPE = (200, 200, 16)
OCC_OF_CLASS = {name: OCCUPANCY_CLASSES.index(name) for name in DETECTION_CLASSES}
OCC_FREE, OCC_OTHERS, OCC_DRIVEABLE, OCC_OTHER_FLAT, OCC_SIDEWALK, OCC_TERRAIN, OCC_MANMADE, OCC_VEGETATION = (
    OCCUPANCY_CLASSES.index(name)
    for name in ("free", "others", "driveable_surface", "other_flat", "sidewalk", "terrain", "manmade", "vegetation")
)

IMAGE_SIZE = (1600, 900)  # width, height at image_scale 1
