"""The picture of a sample: truth on the left, prediction on the right, scores and legends."""

from __future__ import annotations

import colorsys
from itertools import combinations

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from bevlite.data.classes import DETECTION_CLASSES
from bevlite.reporting.scene import CLASS_COLOURS, CameraView, scene_figure
from bevlite.tasks.contract import DrawnBoxes, Picture, Raster
from bevlite.tasks.map_segmentation import COLOURS as MAP_COLOURS
from bevlite.tasks.occupancy import COLOURS as OCCUPANCY_COLOURS

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
    assert truth.lines[0].get_color() == CLASS_COLOURS[0] and found.lines[0].get_color() == CLASS_COLOURS[8]
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["road", "kerb"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(DETECTION_CLASSES)


def test_without_boxes_images_are_shown_once() -> None:
    raster = Picture(rasters=[Raster(np.zeros((4, 4, 3), np.uint8), what, 40.0) for what in ("truth", "prediction")])
    figure = scene_figure(views(), None, [raster], "a sample", 51.2)
    assert [axes.get_title() for axes in figure.axes] == [*(f"CAM_{i}" for i in range(6)), "truth", "prediction"]


def test_classes_can_be_told_apart() -> None:
    """No two colours of one picture are next to each other, in red, green and blue or in hue."""
    maps = [[c / 255 for c in colour] for colour in MAP_COLOURS.values()]
    objects = [to_rgb(colour) for colour in CLASS_COLOURS]
    surfaces = [
        [c / 255 for c in OCCUPANCY_COLOURS[n]] for n in ("driveable_surface", "sidewalk", "terrain", "manmade")
    ]
    for colours in (objects, maps, surfaces):
        for a, b in combinations(colours, 2):
            (h1, s1, v1), (h2, s2, v2) = colorsys.rgb_to_hsv(*a), colorsys.rgb_to_hsv(*b)
            turn = min(abs(h1 - h2), 1 - abs(h1 - h2)) * min(s1, s2)
            assert np.linalg.norm(np.subtract(a, b)) > 0.2, (a, b)
            assert max(turn, abs(s1 - s2), abs(v1 - v2)) > 0.05, (a, b)
    assert {name: OCCUPANCY_COLOURS[name] for name in DETECTION_CLASSES} == {
        name: tuple(round(255 * c) for c in to_rgb(colour))
        for name, colour in zip(DETECTION_CLASSES, CLASS_COLOURS, strict=True)
    }
