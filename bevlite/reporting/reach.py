"""Picture of where the pixels of one camera land in BEV, a panel for every network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from PIL import Image

from bevlite.grid import BEVGrid

SHOWN = 0.02
"""Share of the strongest answer from which on a cell is coloured."""


@dataclass(frozen=True)
class ReachPanel:
    """Answers (rows, columns, ny, nx) of a BEV grid to the patches of an image."""

    title: str
    answers: np.ndarray
    bev: BEVGrid


def patch_colours(rows: int, columns: int) -> np.ndarray:
    """A colour (rows, columns, 3) for every patch: hue by column, darker further down."""
    hue = np.broadcast_to(np.linspace(0, 0.85, columns), (rows, columns))
    value = np.broadcast_to(np.linspace(1.0, 0.55, rows)[:, None], (rows, columns))
    colours: np.ndarray = hsv_to_rgb(np.stack([hue, np.full((rows, columns), 0.9), value], axis=-1))
    return colours.clip(0, 1)


def landed(answers: np.ndarray) -> np.ndarray:
    """Colours (ny, nx, 3) of the patches that cells answer to most, paler where they answer less; white elsewhere."""
    rows, columns, ny, nx = answers.shape
    flat = answers.reshape(rows * columns, ny, nx)
    strength = flat.max(axis=0)
    peak = float(np.percentile(strength[strength > 0], 99)) if (strength > 0).any() else 1.0
    alpha = np.where(strength > SHOWN * peak, 0.25 + 0.75 * np.clip(strength / peak, 0, 1) ** 0.5, 0.0)[..., None]
    colour = patch_colours(rows, columns).reshape(-1, 3)[flat.argmax(axis=0)]
    mixed: np.ndarray = alpha * colour + (1 - alpha)
    return mixed.clip(0, 1)


def reach_figure(
    camera: str, image: Image.Image, camera_to_bev: np.ndarray, intrinsic: np.ndarray, panels: Sequence[ReachPanel]
) -> Figure:
    """The image with its patches, then a panel a network, four in a row, with the camera's field of view as lines.

    Args:
        camera: its channel.
        image: what it sees.
        camera_to_bev: (4, 4).
        intrinsic: (3, 3) of the image.
        panels: the networks.
    """
    lines = -(-len(panels) // 4)
    figure = Figure(figsize=(17, 3.4 + 4.5 * lines), dpi=90)
    parts = figure.add_gridspec(2, 1, height_ratios=[3.0, 4.5 * lines], hspace=0.12)
    above = figure.add_subplot(parts[0])
    shape = panels[0].answers.shape
    _patched(above, image, (shape[0], shape[1]))
    above.set_title(f"{camera}: its patches, each in the colour of the BEV cells that answer to it most", fontsize=10)
    grid = parts[1].subgridspec(lines, 4, wspace=0.12, hspace=0.2)
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(grid[i // 4, i % 4])
        (x0, x1), (y0, y1) = panel.bev.x_range_m, panel.bev.y_range_m
        # Rows are y and columns x: turned so that x points up and y to the left.
        axes.imshow(landed(panel.answers).transpose(1, 0, 2)[::-1, ::-1], extent=(-y1, -y0, x0, x1))
        _field_of_view(axes, camera_to_bev, intrinsic, image.width, max(x1 - x0, y1 - y0))
        axes.set(xlim=(-y1, -y0), ylim=(x0, x1))
        axes.set_title(panel.title, fontsize=8)
        axes.tick_params(labelsize=6)
    figure.subplots_adjust(left=0.03, right=0.99, top=0.95, bottom=0.04)
    return figure


def _patched(axes: Axes, image: Image.Image, shape: tuple[int, int]) -> None:
    pixels = np.asarray(image, dtype=np.float64) / 255
    rows = np.arange(pixels.shape[0]) * shape[0] // pixels.shape[0]
    columns = np.arange(pixels.shape[1]) * shape[1] // pixels.shape[1]
    colour = patch_colours(*shape)[rows[:, None], columns]
    axes.imshow(0.65 * pixels + 0.35 * colour)
    axes.axis("off")


def _field_of_view(axes: Axes, camera_to_bev: np.ndarray, intrinsic: np.ndarray, width: int, reach_m: float) -> None:
    """Lines from the camera along the left and right edge of its image."""
    origin = camera_to_bev[:2, 3]
    for u in (0.0, float(width)):
        ray = camera_to_bev[:3, :3] @ np.linalg.inv(intrinsic) @ np.array([u, intrinsic[1, 2], 1.0])
        end = origin + reach_m * ray[:2] / np.linalg.norm(ray[:2])
        axes.plot([-origin[1], -end[1]], [origin[0], end[0]], color="k", lw=0.7, ls=":")
