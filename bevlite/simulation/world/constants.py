"""The constants that define how hard the world is, in every version; what differs by version stands in `rules`.

Changing one of them changes all versions, and is not allowed: it goes to `rules` then, with a new version.
Lengths are metres, times seconds, speeds m/s, angles radians unless the name says otherwise.
"""

from __future__ import annotations

from bevlite.data.classes import DETECTION_CLASSES, OCCUPANCY_CLASSES

# --- time -------------------------------------------------------------------------------------------------
KEYFRAME_PERIOD = 0.5
SWEEP_PERIOD = 0.05
TRACK_PERIOD = 0.05
TRACK_MARGIN = 0.6

# --- what is annotated ------------------------------------------------------------------------------------
ANNOTATION_RANGE = 75.0
BOX_MARGIN = 0.03  # the box is that much larger than the object on every side but the bottom
BOX_BOTTOM = 0.03  # the box starts above the ground, so that the ground's returns are outside

DENSITY_SPREAD = 0.35  # sigma of the log-normal factor that one scene applies to the density of each class

# --- LiDAR ------------------------------------------------------------------------------------------------
LIDAR_RINGS = 32
LIDAR_COLUMNS = 1084
LIDAR_ELEVATION_DEG = (-30.67, 10.67)
LIDAR_MAX_RANGE = 100.0
LIDAR_RANGE_SIGMA = 0.02
LIDAR_DROPOUT = 0.03  # of every return
LIDAR_DROPOUT_DARK = 0.25  # further share for ground that returns nothing, less for brighter ground
LIDAR_DARK = 0.05  # strength of a return at which that loss has fallen to a third

# --- camera -----------------------------------------------------------------------------------------------
CAMERA_SIGMA = 2.5  # noise of a pixel, of 255
RENDER_RANGE = 160.0

# --- calibration: how far one car differs from another -----------------------------------------------------
CALIBRATION_SIGMA_M = 0.02
CALIBRATION_SIGMA_DEG = 0.5
CALIBRATION_SIGMA_FOCAL = 0.004
CALIBRATION_SIGMA_CENTRE = 8.0  # pixels at 1600 x 900
EGO_TILT_DEG = 0.25  # amplitude of the ego's pitch and roll

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
