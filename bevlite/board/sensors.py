"""What a car hands in, frame by frame: checked, and brought to what the network takes."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from bevlite.agent.fault import Fault
from bevlite.board.inputs import Seen
from bevlite.runtime.resizing import pixel_matrix, resized_images

POINT_NUMBERS = 5
POSE_SHAPE = (4, 4)
FARTHEST_POSE_M = 1e6


class Calibration(NamedTuple):
    """Where the cameras look.

    intrinsics: (N, 3, 3), px of the camera image. camera_to_bev: (N, 4, 4), camera frame (x right, y down, z ahead) to
    the BEV frame, m. image_size: (height, width) px of the images that the intrinsics are of.
    """

    intrinsics: np.ndarray
    camera_to_bev: np.ndarray
    image_size: tuple[int, int]


class Given(NamedTuple):
    """One frame ready for the steps: images (1, N, 3, H, W) uint8 or None, what was seen, and what had to be mended."""

    images: np.ndarray | None
    seen: Seen
    notes: tuple[str, ...]


class Sensors:
    """The sensors of a network, as its package describes them.

    mend: what cannot be used is left out, and the frame says so: a camera that gives nothing is black, points that are
    not finite are dropped, of too many the newest stay. Without it such a frame is refused.
    """

    def __init__(self, described: Mapping[str, Any], mend: bool = False) -> None:
        cameras = described.get("cameras")
        self.cameras: list[str] = list(cameras["names"]) if cameras else []
        self.size = (int(cameras["height"]), int(cameras["width"])) if cameras else (0, 0)
        lidar = described.get("lidar")
        self.most_points = int(lidar["most_points"]) if lidar else 0
        self._mend = mend

    def frame(
        self,
        images: Sequence[np.ndarray | None] | np.ndarray | None,
        points: np.ndarray | None,
        calibration: Calibration | None,
        ego_motion: np.ndarray | None,
    ) -> Given:
        """Check one frame (raises Fault `bad_frame` with one line)."""
        notes: list[str] = []
        pictures = matrix = None
        if self.cameras:
            found = self._calibration(calibration)
            pictures = self._images(images, found, notes)
            matrix = self._pixel_to_bev(found)
        cloud = self._points(points, notes) if self.most_points else None
        motion = np.eye(4) if ego_motion is None else _pose(ego_motion, "ego_motion")
        return Given(pictures, Seen(cloud, matrix, motion), tuple(notes))

    def _calibration(self, found: Calibration | None) -> Calibration:
        if found is None:
            raise _bad("calibration: found none; accepted: one, the network has cameras")
        count = len(self.cameras)
        inner, poses = np.asarray(found.intrinsics, np.float64), np.asarray(found.camera_to_bev, np.float64)
        for name, values, shape in (("intrinsics", inner, (count, 3, 3)), ("camera_to_bev", poses, (count, 4, 4))):
            if values.shape != shape:
                raise _bad(f"calibration: {name}: found {values.shape}; accepted: {shape}")
            if not np.isfinite(values).all():
                raise _bad(f"calibration: {name}: found a value that is not finite; accepted: finite ones")
        for name, focal in zip(self.cameras, inner[:, 0, 0] * inner[:, 1, 1]):
            if focal <= 0:
                raise _bad(f"calibration: {name}: found a focal length of 0 or less; accepted: px above 0")
        return Calibration(inner, poses, (int(found.image_size[0]), int(found.image_size[1])))

    def _images(
        self, images: Sequence[np.ndarray | None] | np.ndarray | None, calibration: Calibration, notes: list[str]
    ) -> np.ndarray:
        count = 0 if images is None else len(images)
        if count != len(self.cameras):
            raise _bad(f"images: found {count}; accepted: {len(self.cameras)} ({', '.join(self.cameras)})")
        assert images is not None
        found = np.zeros((1, count, 3, *self.size), np.uint8)
        for place, (name, image) in enumerate(zip(self.cameras, images)):
            if image is None or np.size(image) == 0:
                if not self._mend:
                    raise _bad(f"images: {name}: found nothing; accepted: an image from every camera")
                notes.append(f"{name} gave nothing: black")
                continue
            found[0, place] = self._image(name, np.asarray(image), calibration.image_size)
        return found

    def _image(self, name: str, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """(3, H, W) of the network, from (H, W, 3) of the camera."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise _bad(f"images: {name}: found {image.dtype} {image.shape}; accepted: uint8 (height, width, 3), RGB")
        if image.shape[:2] != size:
            there, wanted = (" x ".join(map(str, pair)) for pair in (image.shape[:2], size))
            raise _bad(f"images: {name}: found {there} px; accepted: {wanted} px, of which the calibration is")
        if image.shape[:2] == self.size:
            return np.asarray(image.transpose(2, 0, 1))
        return resized_images(image[None], self.size)[0]

    def _pixel_to_bev(self, calibration: Calibration) -> np.ndarray:
        warp = pixel_matrix(calibration.image_size, self.size)
        unproject = np.tile(np.eye(4), (len(self.cameras), 1, 1))
        unproject[:, :3, :3] = np.linalg.inv(warp @ calibration.intrinsics)
        found: np.ndarray = calibration.camera_to_bev @ unproject
        return found

    def _points(self, points: np.ndarray | None, notes: list[str]) -> np.ndarray:
        if points is None:
            if not self._mend:
                raise _bad("points: found none; accepted: (K, 5) float32, the network has a LiDAR")
            notes.append("the LiDAR gave nothing: no points")
            return np.zeros((0, POINT_NUMBERS), np.float32)
        cloud = np.asarray(points, np.float32)
        if cloud.ndim != 2 or cloud.shape[1] != POINT_NUMBERS:
            raise _bad(f"points: found {cloud.shape}; accepted: (K, 5): x, y, z in m, intensity 0..255, lag in s")
        if len(cloud) > self.most_points:
            if not self._mend:
                raise _bad(f"points: found {len(cloud)}; accepted: at most {self.most_points}")
            notes.append(f"{len(cloud)} points, {self.most_points} taken: the first ones")
            cloud = cloud[: self.most_points]
        finite = np.isfinite(cloud).all(axis=1)
        lost = int((~finite).sum())
        if lost:
            if not self._mend:
                raise _bad(f"points: found {lost} of {len(cloud)} with NaN or infinity; accepted: finite ones")
            notes.append(f"{lost} of {len(cloud)} points were not finite: left out")
            cloud = cloud[finite]
        return cloud


def _pose(values: Any, name: str) -> np.ndarray:
    found = np.asarray(values, np.float64)
    if found.shape != POSE_SHAPE or not np.isfinite(found).all() or np.abs(found).max() > FARTHEST_POSE_M:
        raise _bad(f"{name}: found {found.shape}, or values that are no pose; accepted: (4, 4), rotation and m")
    return found


def _bad(message: str) -> Fault:
    return Fault("bad_frame", message)
