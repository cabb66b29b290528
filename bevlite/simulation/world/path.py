"""The road's centre line, and the coordinates along it: s (metres along) and d (metres to the left)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bevlite.simulation.world.geometry import Array

STEP = 0.5


@dataclass(frozen=True)
class Path:
    """A smooth line sampled every `STEP` metres from s = `start`: x, y (metres) and heading (radians)."""

    start: float
    x: Array
    y: Array
    heading: Array

    @property
    def end(self) -> float:
        """The last s (metres)."""
        return self.start + STEP * (len(self.x) - 1)

    def at(self, s: Array | float, d: Array | float) -> tuple[Array, Array, Array]:
        """Position x, y and heading of the line's direction at (s, d); s outside continues straight on."""
        s = np.asarray(s, dtype=np.float64)
        inside = np.clip(s, self.start, self.end)
        grid = self.start + STEP * np.arange(len(self.x))
        heading = np.interp(inside, grid, self.heading)
        beyond = s - inside
        x = np.interp(inside, grid, self.x) + beyond * np.cos(heading) - d * np.sin(heading)
        y = np.interp(inside, grid, self.y) + beyond * np.sin(heading) + d * np.cos(heading)
        return x, y, heading


def make_path(rng: np.random.Generator, start: float, end: float) -> Path:
    """Straights and arcs with radii of at least 70 m, whose turns add up to less than 110 degrees."""
    count = int(np.ceil((end - start) / STEP)) + 1
    curvature = np.zeros(count)
    if rng.random() < 0.75:
        for _ in range(int(rng.integers(1, 3))):
            radius = rng.uniform(70.0, 220.0)
            turn = np.radians(rng.uniform(12.0, 55.0)) * rng.choice([-1.0, 1.0])
            length = abs(turn) * radius
            first = int(rng.uniform(0.1, 0.8) * count)
            last = min(count, first + int(length / STEP))
            curvature[first:last] = np.sign(turn) / radius
    # A steering wheel turns in finite time: smooth the curvature over 12 m.
    window = int(12 / STEP)
    curvature = np.convolve(curvature, np.ones(window) / window, mode="same")
    curvature = np.clip(curvature, -1 / 70.0, 1 / 70.0)
    heading = rng.uniform(-np.pi, np.pi) + np.concatenate([[0.0], np.cumsum(curvature[:-1]) * STEP])
    x = np.concatenate([[0.0], np.cumsum(np.cos(heading[:-1])) * STEP])
    y = np.concatenate([[0.0], np.cumsum(np.sin(heading[:-1])) * STEP])
    return Path(start, x, y, heading)
