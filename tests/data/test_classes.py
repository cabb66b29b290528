"""Our lists of nuScenes' names against those of the official devkit."""

from __future__ import annotations

import subprocess
import sys

from nuscenes.eval.detection.constants import ATTRIBUTE_NAMES, DETECTION_NAMES
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.utils.color_map import get_colormap

from bevlite.data.classes import ATTRIBUTES, CATEGORIES, DETECTION_CLASSES, detection_class

# What the devkit colours beside the categories of boxes: the classes of nuScenes-lidarseg.
LIDARSEG = ("noise", "flat.", "static.manmade", "static.other", "static.vegetation", "vehicle.ego")


def test_categories_are_the_devkits() -> None:
    devkit = {name for name in get_colormap() if not name.startswith(LIDARSEG)}
    assert len(CATEGORIES) == 23 and set(CATEGORIES) == devkit


def test_each_category_has_the_devkits_detection_class() -> None:
    assert len(DETECTION_CLASSES) == 10 and set(DETECTION_CLASSES) == set(DETECTION_NAMES)
    for category, name in CATEGORIES.items():
        assert name == category_to_detection_name(category)
        assert detection_class(category) == (-1 if name is None else DETECTION_CLASSES.index(name))
    assert set(CATEGORIES.values()) - {None} == set(DETECTION_CLASSES)
    assert detection_class("vehicle.hovercraft") == -1 and category_to_detection_name("vehicle.hovercraft") is None


def test_attributes_are_the_devkits() -> None:
    assert len(ATTRIBUTES) == 8 and set(ATTRIBUTES) == set(ATTRIBUTE_NAMES)


def test_names_load_no_devkit() -> None:
    code = "import sys, bevlite.data.classes; print('nuscenes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
