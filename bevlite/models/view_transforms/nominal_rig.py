"""A nominal nuScenes camera rig, to size the pooling tables of an engine before any calibration is known."""

from __future__ import annotations

import numpy as np

# Focal length (px of a 1600 x 900 image), yaw (degrees from ahead, left positive) and mount (x, y, z m, ego frame),
# rounded from the rig and calibrations of nuScenes (Caesar et al., CVPR 2020). Real cars differ by a few per cent.
CAMERAS = (
    (1266.0, 0.0, (1.70, 0.0, 1.51)),
    (1260.0, -55.0, (1.55, -0.49, 1.50)),
    (1272.0, 55.0, (1.52, 0.49, 1.51)),
    (809.0, 180.0, (0.03, 0.0, 1.57)),
    (1256.0, 108.0, (1.03, 0.48, 1.59)),
    (1259.0, -110.0, (1.01, -0.48, 1.56)),
)
WIDTH_PX, HEIGHT_PX = 1600, 900


def nominal_pixel_to_bev(height: int, width: int) -> np.ndarray:
    """(6, 4, 4): network image of `height` x `width` px to BEV metres, resized to the width and cropped at the top."""
    resize = width / WIDTH_PX
    crop_top = max(HEIGHT_PX * resize - height, 0.0)
    matrices = np.tile(np.eye(4), (len(CAMERAS), 1, 1))
    for matrix, (focal, yaw_deg, mount) in zip(matrices, CAMERAS, strict=True):
        k = np.array([[focal, 0, WIDTH_PX / 2], [0, focal, HEIGHT_PX / 2], [0, 0, 1.0]])
        augment = np.array([[resize, 0, 0], [0, resize, -crop_top], [0, 0, 1.0]])
        yaw = np.deg2rad(yaw_deg)
        ahead, left = np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([-np.sin(yaw), np.cos(yaw), 0])
        rotation = np.stack([-left, [0, 0, -1.0], ahead], axis=1)  # camera x right, y down, z ahead
        matrix[:3, :3] = rotation @ np.linalg.inv(augment @ k)
        matrix[:3, 3] = mount
    return matrices
