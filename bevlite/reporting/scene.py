"""Pictures of one sample: boxes on camera images and in BEV, rasters of the tasks from above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image

from bevlite.tasks.contract import DrawnBoxes, Picture, Raster

matplotlib.use("Agg")

CLASS_COLOURS = (
    "#4188ec", "#cf600e", "#a9d200", "#de93df", "#801e3f", "#877b85", "#e22146", "#1938b1", "#02c286", "#883eff",
)  # fmt: skip
"""Of the ten detection classes: chosen by search for the largest distance between any two, to a usual eye and to those
that lack a kind of cones (simulated after Machado et al., 2009), and from white and the surfaces of occupancy."""
TRUTH_STYLE = (0, (3, 2))
"""Dashes of truth where it lies under predictions."""
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
BELOW_IN_BEV, BELOW_IN_IMAGES = "#30363d", "#ffffff"
NEAR_M = 0.3
LINE, THIN = 1.3, 0.8
WIDTH_IN = 20.0


@dataclass(frozen=True)
class BoxLayer:
    """Boxes to draw: (K, 9) in the BEV frame, their classes (K,), and where they have any their scores (K,).

    colour: one for all, dashed and thin: what lies under others to compare with; None for solid ones by class.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray | None = None
    colour: str | None = None

    def style(self, label: int) -> dict[str, Any]:
        """How the lines of a box are drawn."""
        if self.colour is not None:
            return {"color": self.colour, "lw": THIN, "ls": TRUTH_STYLE}
        return {"color": CLASS_COLOURS[label], "lw": LINE}


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
                    axes.plot(edge[:, 0], edge[:, 1], **layer.style(int(label)))
    axes.set_xlim(0, view.image.width)
    axes.set_ylim(view.image.height, 0)
    axes.set_title(view.name, fontsize=7)
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
    """Points (P, 3) and boxes from above, ahead up and left to the left; a tick at each box's front, its score above.

    A score of 0.83 is written as 83.
    """
    if points is not None:
        axes.scatter(
            -points[:, 1], points[:, 0], s=0.5, c=np.clip(points[:, 2], -2, 4), cmap="Greys", vmin=-4, linewidths=0
        )
    for layer in layers:
        for i, (corners, label) in enumerate(zip(box_corners(layer.boxes), layer.classes, strict=True)):
            outline, style = corners[[0, 1, 2, 3, 0], :2], layer.style(int(label))
            axes.plot(-outline[:, 1], outline[:, 0], **style)
            front, centre = corners[:2, :2].mean(axis=0), corners[:4, :2].mean(axis=0)
            axes.plot([-centre[1], -front[1]], [centre[0], front[0]], **style)
            if layer.scores is not None and np.abs(centre).max() < reach_m:
                at = (-centre[1], outline[:, 0].max() + 0.3)
                axes.text(
                    *at, f"{100 * layer.scores[i]:.0f}", color=style["color"], fontsize=7, ha="center", va="bottom"
                )
    axes.set(xlim=(-reach_m, reach_m), ylim=(-reach_m, reach_m), aspect="equal")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("right [m]", fontsize=7)
    axes.set_ylabel("ahead [m]", fontsize=7)
    axes.tick_params(labelsize=6)


def draw_raster(axes: Axes, raster: Raster) -> None:
    """A picture from above, with what its colours mean below it."""
    reach = raster.reach_m
    axes.imshow(raster.image, extent=(-reach, reach, -reach, reach))
    axes.set_title(raster.title, fontsize=9)
    axes.tick_params(labelsize=6)
    handles = [Patch(color=f"#{r:02x}{g:02x}{b:02x}", label=name) for name, (r, g, b) in raster.legend.items()]
    if handles:
        axes.legend(handles=handles, fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncol=3,
                    columnspacing=1.2, handlelength=1.4, labelspacing=0.35)  # fmt: skip


def scene_figure(
    views: Sequence[CameraView],
    points: np.ndarray | None,
    pictures: Sequence[Picture],
    title: str,
    reach_m: float,
    sensors: str = "",
) -> Figure:
    """One sheet, truth on the left and prediction on the right, with the truth dashed under it: images with boxes, BEV
    with boxes, rasters of the tasks. Without anything found, the truth alone. `sensors` says what the network sees,
    where that is not all that is shown."""
    truth, found = _layers(pictures, "truth"), _layers(pictures, "found")
    below = [replace(layer, colour=BELOW_IN_BEV) for layer in truth]
    in_images = [replace(layer, colour=BELOW_IN_IMAGES) for layer in truth]
    rasters = [raster for picture in pictures for raster in picture.rasters]
    compared = any(picture.found is not None for picture in pictures)
    names = list(dict.fromkeys(name for picture in pictures for name in picture.class_names))
    across = 3 if names else 6  # without boxes the images are the same for truth and prediction: shown once
    image_rows = -(-len(views) // across)
    raster_columns = min(4, max(2, len(rasters)))
    raster_height = 20.0 / (raster_columns + 0.6)
    heights = [
        h
        for h in (
            (1.95 if compared or not names else 3.6) * image_rows,
            9.2 if names else 0.0,
            raster_height * -(-len(rasters) // raster_columns),
        )
        if h
    ]
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 1.6), dpi=100)
    rows = iter(figure.add_gridspec(len(heights), 1, height_ratios=heights, hspace=0.1))
    if image_rows:
        shown = ((truth, ", truth"), ([*in_images, *found], ", prediction"))[: 1 + compared] if names else (((), ""),)
        sides = next(rows).subgridspec(1, len(shown), wspace=0.03)
        for side, (layers, what) in enumerate(shown):
            grid = sides[side].subgridspec(image_rows, across, wspace=0.02, hspace=0.14)
            for i, view in enumerate(views):
                named = CameraView(f"{view.name}{what}", view.image, view.bev_to_pixel)
                draw_on_image(figure.add_subplot(grid[i // across, i % across]), named, layers)
    if names:
        panels = (("truth", truth, []), ("prediction, scores in %", found, below))[: 1 + compared]
        sides = next(rows).subgridspec(1, len(panels), wspace=0.06)
        for side, (what, own, under) in enumerate(panels):
            text = f"{what}, {sum(len(layer.boxes) for layer in own)} boxes"
            draw_bev(figure.add_subplot(sides[side]), points, [*under, *own], reach_m, text)
        handles: list[Artist] = [Patch(color=c, label=name) for c, name in zip(CLASS_COLOURS, names, strict=False)]
        if compared:
            handles.append(
                Line2D([], [], color=BELOW_IN_BEV, lw=THIN, ls=TRUTH_STYLE, label="truth, under predictions")
            )
        figure.legend(handles=handles, ncol=11, loc="upper center", fontsize=9, frameon=False,
                      bbox_to_anchor=(0.5, 1 - 0.32 / figure.get_figheight()))  # fmt: skip
    if rasters:
        grid = next(rows).subgridspec(-(-len(rasters) // raster_columns), raster_columns, wspace=0.14, hspace=0.4)
        for i, raster in enumerate(rasters):
            draw_raster(figure.add_subplot(grid[i // raster_columns, i % raster_columns]), raster)
    figure.suptitle(f"{title}; {sensors}" if sensors else title, fontsize=11, y=1 - 0.12 / figure.get_figheight())
    edge = {"top": 1 - 0.85 / figure.get_figheight(), "bottom": (1.4 if rasters else 0.5) / figure.get_figheight()}
    figure.subplots_adjust(left=0.03, right=0.985, **edge)
    return figure


def _layers(pictures: Sequence[Picture], which: str) -> list[BoxLayer]:
    drawn: list[DrawnBoxes | None] = [getattr(picture, which) for picture in pictures]
    return [BoxLayer(boxes.boxes, boxes.classes, boxes.scores) for boxes in drawn if boxes is not None]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    figure.savefig(temporary, format="png")
    temporary.replace(path)
