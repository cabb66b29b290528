"""Pictures of one sample: boxes on camera images and in BEV, rasters of the tasks from above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image

from bevlite.tasks.contract import DrawnBoxes, Picture, Raster

matplotlib.use("Agg")

CLASS_COLOURS = (
    "#ff9e00", "#ff6347", "#e9967a", "#ff7f50", "#ff8c00", "#708090", "#ff3d63", "#dc143c", "#0000e6", "#2f4f4f",
)  # fmt: skip
"""Of the ten detection classes: the devkit's own."""
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
NEAR_M = 0.3


@dataclass(frozen=True)
class BoxLayer:
    """Boxes to draw: (K, 9) in the BEV frame, their classes (K,), and the style of their lines."""

    boxes: np.ndarray
    classes: np.ndarray
    line: Literal["-", "--"]
    width: float


@dataclass(frozen=True)
class CameraView:
    """An image and the matrix (4, 4) from BEV metres to (u * depth, v * depth, depth) of it."""

    name: str
    image: Image.Image
    bev_to_pixel: np.ndarray


def box_corners(boxes: np.ndarray) -> np.ndarray:
    """Corners (K, 8, 3) of boxes (K, 9): front left, front right, rear right, rear left; below, then above."""
    x = np.array([1, 1, -1, -1] * 2) / 2
    y = np.array([1, -1, -1, 1] * 2) / 2
    z = np.array([-1] * 4 + [1] * 4) / 2
    local = np.stack([x * boxes[:, 3:4], y * boxes[:, 4:5], z * boxes[:, 5:6]], axis=-1)
    cos, sin = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    turned = np.stack([cos * local[..., 0] - sin * local[..., 1], sin * local[..., 0] + cos * local[..., 1]], axis=-1)
    return np.concatenate([turned, local[..., 2:]], axis=-1) + boxes[:, None, :3]


def draw_on_image(axes: Axes, view: CameraView, layers: Sequence[BoxLayer]) -> None:
    """An image with the boxes in front of its camera; edges behind the camera are cut where it stands."""
    axes.imshow(np.asarray(view.image))
    for layer in layers:
        for corners, label in zip(box_corners(layer.boxes), layer.classes, strict=True):
            camera = corners @ view.bev_to_pixel[:3, :3].T + view.bev_to_pixel[:3, 3]
            for a, b in EDGES:
                edge = _visible(camera[a], camera[b])
                if edge is not None:
                    axes.plot(edge[:, 0], edge[:, 1], layer.line, color=CLASS_COLOURS[int(label)], lw=layer.width)
    axes.set_xlim(0, view.image.width)
    axes.set_ylim(view.image.height, 0)
    axes.set_title(view.name, fontsize=8)
    axes.axis("off")


def _visible(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The edge (2, 2) in px, clipped at the near plane; None if it is all behind."""
    if a[2] < NEAR_M and b[2] < NEAR_M:
        return None
    if a[2] < NEAR_M:
        a = a + (b - a) * (NEAR_M - a[2]) / (b[2] - a[2])
    elif b[2] < NEAR_M:
        b = b + (a - b) * (NEAR_M - b[2]) / (a[2] - b[2])
    return np.stack([a[:2] / a[2], b[:2] / b[2]])


def draw_bev(axes: Axes, points: np.ndarray | None, layers: Sequence[BoxLayer], reach_m: float, title: str) -> None:
    """Points (P, 3) and boxes from above, ahead up and left to the left, with a tick at each box's front."""
    if points is not None:
        axes.scatter(-points[:, 1], points[:, 0], s=0.15, c=np.clip(points[:, 2], -2, 4), cmap="Greys", linewidths=0)
    for layer in layers:
        for corners, label in zip(box_corners(layer.boxes), layer.classes, strict=True):
            outline = corners[[0, 1, 2, 3, 0], :2]
            colour = CLASS_COLOURS[int(label)]
            axes.plot(-outline[:, 1], outline[:, 0], layer.line, color=colour, lw=layer.width)
            front, centre = corners[:2, :2].mean(axis=0), corners[:4, :2].mean(axis=0)
            axes.plot([-centre[1], -front[1]], [centre[0], front[0]], layer.line, color=colour, lw=layer.width)
    axes.set(xlim=(-reach_m, reach_m), ylim=(-reach_m, reach_m), aspect="equal")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("right [m]", fontsize=7)
    axes.set_ylabel("ahead [m]", fontsize=7)
    axes.tick_params(labelsize=6)


def draw_raster(axes: Axes, raster: Raster) -> None:
    """A picture from above."""
    reach = raster.reach_m
    axes.imshow(raster.image, extent=(-reach, reach, -reach, reach))
    axes.set_title(raster.title, fontsize=9)
    axes.tick_params(labelsize=6)


def scene_figure(
    views: Sequence[CameraView],
    points: np.ndarray | None,
    pictures: Sequence[Picture],
    title: str,
    reach_m: float,
) -> Figure:
    """One sheet: images on top, then BEV truth and prediction, and the rasters of the tasks."""
    truth, found = _layers(pictures, "truth", "-", 1.0), _layers(pictures, "found", "--", 1.2)
    rasters = [raster for picture in pictures for raster in picture.rasters]
    names = list(dict.fromkeys(name for picture in pictures for name in picture.class_names))
    rows_of_images, panels = -(-len(views) // 3), 2 + len(rasters)
    figure = Figure(figsize=(16, 3.1 * rows_of_images + (4.6 if rasters else 7.4)), dpi=110)
    parts = figure.add_gridspec(2, 1, height_ratios=[3.1 * rows_of_images, 4.4 if rasters else 7.2], hspace=0.08)
    if views:
        grid = parts[0].subgridspec(rows_of_images, 3, wspace=0.02, hspace=0.1)
        for i, view in enumerate(views):
            draw_on_image(figure.add_subplot(grid[i // 3, i % 3]), view, [*truth, *found])
    below = parts[1].subgridspec(1, panels, wspace=0.18)
    draw_bev(figure.add_subplot(below[0]), points, truth, reach_m, f"truth, {_count(truth)} boxes")
    draw_bev(figure.add_subplot(below[1]), points, found, reach_m, f"prediction, {_count(found)} boxes")
    for i, raster in enumerate(rasters, start=2):
        draw_raster(figure.add_subplot(below[i]), raster)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color="k", linestyle="-", label="truth"),
        Line2D([], [], color="k", linestyle="--", label="prediction"),
    ]
    handles += [Patch(color=colour, label=name) for colour, name in zip(CLASS_COLOURS, names, strict=False)]
    figure.legend(handles=handles, ncol=12, loc="lower center", fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10, y=0.985)
    figure.subplots_adjust(left=0.03, right=0.985, top=0.955, bottom=0.075)
    return figure


def _layers(pictures: Sequence[Picture], which: str, line: Literal["-", "--"], width: float) -> list[BoxLayer]:
    drawn: list[DrawnBoxes | None] = [getattr(picture, which) for picture in pictures]
    return [BoxLayer(boxes.boxes, boxes.classes, line, width) for boxes in drawn if boxes is not None]


def _count(layers: Sequence[BoxLayer]) -> int:
    return sum(len(layer.boxes) for layer in layers)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    figure.savefig(temporary, format="png")
    temporary.replace(path)
