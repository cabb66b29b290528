"""What a car hands in: one line for every frame that cannot be used, and what is mended where that is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bevlite.agent.fault import Fault
from bevlite.board.sensors import Calibration, Sensors

DESCRIBED = {
    "cameras": {"names": ["FRONT", "BACK"], "height": 32, "width": 64},
    "lidar": {"sweeps": 10, "most_points": 100},
}
NAN = np.full((4, 5), np.nan, np.float32)


def _calibration(size: tuple[int, int] = (90, 160)) -> Calibration:
    inner = np.tile(np.array([[100.0, 0, 80], [0, 100.0, 45], [0, 0, 1]]), (2, 1, 1))
    return Calibration(inner, np.tile(np.eye(4), (2, 1, 1)), size)


def _given(**changes: Any) -> dict[str, Any]:
    images = np.zeros((2, 90, 160, 3), np.uint8)
    points = np.zeros((40, 5), np.float32)
    return {"images": images, "points": points, "calibration": _calibration(), "ego_motion": None, **changes}


def test_a_good_frame() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    found = Sensors(DESCRIBED).frame(**_given(images=[image, image]))
    assert found.images is not None and found.images.shape == (1, 2, 3, 32, 64) and found.notes == ()
    matrix = found.seen.pixel_to_bev
    assert matrix is not None and found.seen.points is not None and len(found.seen.points) == 40
    # The middle of the camera image looks along the axis: 160 px become 64, 36 - 32 rows are cropped at the top.
    middle = np.array([(80 + 0.5) * 0.4 - 0.5, (45 + 0.5) * 0.4 - 0.5 - 4, 1, 0]) * 7
    assert np.allclose(matrix[0] @ (middle + np.array([0, 0, 0, 1])), [0, 0, 7, 1])


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no image": ({"images": [None, np.zeros((90, 160, 3), np.uint8)]}, "images: FRONT: found nothing"),
    "another size": ({"images": np.zeros((2, 72, 128, 3), np.uint8)}, "FRONT: found 72 x 128 px; accepted: 90 x 160"),
    "one camera": ({"images": np.zeros((1, 90, 160, 3), np.uint8)}, "images: found 1; accepted: 2 (FRONT, BACK)"),
    "floats": ({"images": np.zeros((2, 90, 160, 3))}, "found float64 (90, 160, 3); accepted: uint8"),
    "no calibration": ({"calibration": None}, "calibration: found none"),
    "nan in it": ({"calibration": _calibration()._replace(intrinsics=np.full((2, 3, 3), np.nan))}, "not finite"),
    "no focal length": ({"calibration": _calibration()._replace(intrinsics=np.zeros((2, 3, 3)))}, "focal length"),
    "no points": ({"points": None}, "points: found none"),
    "nan points": ({"points": NAN}, "points: found 4 of 4 with NaN or infinity"),
    "four numbers": ({"points": np.zeros((3, 4))}, "points: found (3, 4); accepted: (K, 5)"),
    "ten times the points": ({"points": np.zeros((1000, 5))}, "points: found 1000; accepted: at most 100"),
    "no pose": ({"ego_motion": np.full((4, 4), np.inf)}, "ego_motion: found (4, 4)"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_frame_is_one_line(name: str) -> None:
    changes, says = BAD[name]
    with pytest.raises(Fault) as caught:
        Sensors(DESCRIBED).frame(**_given(**changes))
    assert caught.value.code == "bad_frame" and says in caught.value.message and "\n" not in caught.value.message


def test_what_is_mended_is_said() -> None:
    cloud = np.ones((150, 5), np.float32)
    cloud[3, 2] = np.inf
    found = Sensors(DESCRIBED, mend=True).frame(**_given(images=[None, _given()["images"][0] + 9], points=cloud))
    assert found.notes == (
        "FRONT gave nothing: black",
        "150 points, 100 taken: the first ones",
        "1 of 100 points were not finite: left out",
    )
    assert found.images is not None and found.images[0, 0].max() == 0 and found.images[0, 1].min() == 9
    assert found.seen.points is not None and found.seen.points.shape == (99, 5)
    assert Sensors(DESCRIBED, mend=True).frame(**_given(points=None)).notes == ("the LiDAR gave nothing: no points",)
