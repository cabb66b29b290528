"""The picture of a sample: truth on the left, prediction on the right, scores and legends."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from bevlite.data.classes import DETECTION_CLASSES
from bevlite.reporting.scene import CLASS_COLOURS, CameraView, scene_figure
from bevlite.tasks.contract import DrawnBoxes, Picture, Raster
from bevlite.tasks.map_segmentation import COLOURS as MAP_COLOURS
from bevlite.tasks.occupancy import COLOURS as OCCUPANCY_COLOURS

SURFACES = ("driveable_surface", "other_flat", "sidewalk", "terrain", "manmade", "vegetation")
BOX = np.array([[10.0, 2.0, 0.5, 4.0, 2.0, 1.6, 0.1, 0.0, 0.0]])


def views() -> list[CameraView]:
    matrix = np.array([[80.0, -50, 0, 0], [45, 0, -50, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    return [CameraView(f"CAM_{i}", Image.new("RGB", (160, 90)), matrix) for i in range(6)]


def test_truth_and_prediction_stand_beside_each_other() -> None:
    picture = Picture(
        DrawnBoxes(BOX, np.array([0])), DrawnBoxes(BOX, np.array([8]), np.array([0.834])), DETECTION_CLASSES
    )
    legend = {"road": (200, 200, 200), "kerb": (10, 20, 30)}
    raster = Picture(rasters=[Raster(np.zeros((4, 4, 3), np.uint8), "map, truth", 50.0, legend)])
    figure = scene_figure(views(), np.zeros((3, 3)), [picture, raster], "a sample", 51.2)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:12] == [f"CAM_{i}, {what}" for what in ("truth", "prediction") for i in range(6)]
    assert titles[12:] == ["truth, 1 boxes", "prediction, scores in %, 1 boxes", "map, truth"]
    truth, found, drawn = figure.axes[12:]
    assert not truth.texts and [text.get_text() for text in found.texts] == ["83"]
    assert truth.lines[0].get_color() == CLASS_COLOURS[0] and truth.lines[0].get_linestyle() == "-"
    under, above = found.lines[0], found.lines[2]  # an outline and a tick a box: the truth dashed, then what was found
    assert under.get_linestyle() == "--" and under.get_color() not in CLASS_COLOURS
    assert above.get_color() == CLASS_COLOURS[8] and above.get_linestyle() == "-"
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["road", "kerb"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *DETECTION_CLASSES, "truth, under predictions"
    ]  # fmt: skip


def test_without_boxes_images_are_shown_once() -> None:
    raster = Picture(rasters=[Raster(np.zeros((4, 4, 3), np.uint8), what, 40.0) for what in ("truth", "prediction")])
    figure = scene_figure(views(), None, [raster], "a sample", 51.2)
    assert [axes.get_title() for axes in figure.axes] == [*(f"CAM_{i}" for i in range(6)), "truth", "prediction"]


def test_a_network_with_one_sensor_says_so() -> None:
    figure = scene_figure(views(), None, [], "a sample", 51.2, "LiDAR only")
    assert figure._suptitle is not None and figure._suptitle.get_text() == "a sample; LiDAR only"


MACHADO = {
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""What an eye without one kind of cones sees of linear RGB (Machado, Oliveira and Fernandes, 2009, severity 1)."""


def lab(colours: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """sRGB (K, 3) of 0..1, seen through a matrix, in CIE L*a*b* (D65)."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ seen.T, 0, 1) @ np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ).T  # fmt: skip
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def nearest(colours: list[tuple[float, ...]], seen: np.ndarray) -> float:
    """The smallest CIE76 distance of two colours of one picture (about 2.3 is just noticeable side by side)."""
    points = lab(np.array(colours), seen)
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(points, 2))


def test_classes_can_be_told_apart() -> None:
    """The ten classes by any eye; maps and surfaces by a usual one. Objects have one colour as boxes and occupied."""
    objects = [to_rgb(colour) for colour in CLASS_COLOURS]
    surfaces = [tuple(c / 255 for c in OCCUPANCY_COLOURS[n]) for n in SURFACES]
    assert nearest([*objects, (1.0, 1.0, 1.0)], np.eye(3)) > 30
    for name, seen in MACHADO.items():
        assert nearest(objects, np.array(seen)) > 20, name
    assert nearest([*objects, *surfaces], np.eye(3)) > 12
    assert nearest([tuple(c / 255 for c in colour) for colour in MAP_COLOURS.values()], np.eye(3)) > 30
    assert {name: OCCUPANCY_COLOURS[name] for name in DETECTION_CLASSES} == {
        name: tuple(round(255 * c) for c in to_rgb(colour))
        for name, colour in zip(DETECTION_CLASSES, CLASS_COLOURS, strict=True)
    }
