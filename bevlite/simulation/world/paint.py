"""A plan of rectangles along the road, painted on the ground: every cell gets the code of its centre's (s, d)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from bevlite.simulation.world.geometry import Array
from bevlite.simulation.world.path import STEP, Path
from bevlite.simulation.world.street_plan import REACH, StreetPlan

_NODE = 10  # cells between two places whose (s, d) is found; between them it is interpolated (2 mm off at most)
_BIN = 2.0  # m of road that share a list of rectangles


@njit(cache=True)
def _place(px, py, x, y, heading, start, step):  # type: ignore[no-untyped-def]
    """(s, d) of a point: the nearest sample of the line, then Newton's method. Beyond its ends it goes straight on."""
    count = len(x)
    best, nearest = 1e30, 0
    for k in range(0, count, 4):
        away = (x[k] - px) ** 2 + (y[k] - py) ** 2
        if away < best:
            best, nearest = away, k
    s = start + step * nearest
    d = 0.0
    end = start + step * (count - 1)
    for _ in range(6):
        inside = min(max(s, start), end)
        k = min(int((inside - start) / step), count - 2)
        f = (inside - start) / step - k
        h = heading[k] * (1 - f) + heading[k + 1] * f
        c, n = np.cos(h), np.sin(h)
        beyond = s - inside
        cx = x[k] * (1 - f) + x[k + 1] * f + beyond * c
        cy = y[k] * (1 - f) + y[k + 1] * f + beyond * n
        along = (px - cx) * c + (py - cy) * n
        d = -(px - cx) * n + (py - cy) * c
        bend = (heading[k + 1] - heading[k]) / step if beyond == 0.0 else 0.0
        s += along / max(1.0 - bend * d, 0.05)
    return s, d


@njit(cache=True)
def _nodes(rows, columns, spacing, x, y, heading, start, step):  # type: ignore[no-untyped-def]
    """(s, d) of places `spacing` metres apart: (rows, columns, 2)."""
    out = np.empty((rows, columns, 2))
    for r in range(rows):
        for c in range(columns):
            out[r, c, 0], out[r, c, 1] = _place(c * spacing, r * spacing, x, y, heading, start, step)
    return out


@njit(cache=True)
def _paint(ground, nodes, per_node, zones, first, listed, start, bin_size, reach):  # type: ignore[no-untyped-def]
    """Write the codes. `zones` (n, 9): s, d, code, other, period, share, along; `listed` from `first` by bin of s."""
    rows, columns = ground.shape
    bins = len(first) - 1
    for i in range(nodes.shape[0] - 1):
        for j in range(nodes.shape[1] - 1):
            s00, s01, s10, s11 = nodes[i, j, 0], nodes[i, j + 1, 0], nodes[i + 1, j, 0], nodes[i + 1, j + 1, 0]
            d00, d01, d10, d11 = nodes[i, j, 1], nodes[i, j + 1, 1], nodes[i + 1, j, 1], nodes[i + 1, j + 1, 1]
            if min(d00, d01, d10, d11) > reach or max(d00, d01, d10, d11) < -reach:
                continue
            for r in range(i * per_node, min((i + 1) * per_node, rows)):
                v = (r + 0.5) / per_node - i
                s0, s1 = s00 * (1 - v) + s10 * v, s01 * (1 - v) + s11 * v
                d0, d1 = d00 * (1 - v) + d10 * v, d01 * (1 - v) + d11 * v
                for c in range(j * per_node, min((j + 1) * per_node, columns)):
                    u = (c + 0.5) / per_node - j
                    d = d0 * (1 - u) + d1 * u
                    s = s0 * (1 - u) + s1 * u
                    b = int(np.floor((s - start) / bin_size))
                    if abs(d) > reach or b < 0 or b >= bins:
                        continue
                    for q in range(first[b + 1] - 1, first[b] - 1, -1):  # the last one painted is the one that is seen
                        z = listed[q]
                        if d < zones[z, 2] or d >= zones[z, 3] or s < zones[z, 0] or s >= zones[z, 1]:
                            continue
                        code = zones[z, 4]
                        if zones[z, 6] > 0:
                            # Stripes are counted from the rectangle's beginning along s, from its inner edge along d.
                            at = s - zones[z, 0] if zones[z, 8] > 0 else d - zones[z, 2]
                            if at % zones[z, 6] >= zones[z, 7] * zones[z, 6]:
                                code = zones[z, 5]
                        if code >= 0:
                            ground[r, c] = np.uint8(code)
                            break


def paint(plan: StreetPlan, path: Path, shape: tuple[int, int], resolution: float) -> npt.NDArray[np.uint8]:
    """The ground (rows = y, columns = x) of `shape` cells of `resolution` metres from (0, 0), as `plan` has it."""
    rows, columns = shape
    nodes = _nodes(
        rows // _NODE + 2, columns // _NODE + 2, _NODE * resolution, path.x, path.y, path.heading, path.start, STEP
    )
    zones: Array = np.array(
        [[*z.s, *z.d, z.code, z.other, z.period, z.share, float(z.along)] for z in plan.zones], dtype=np.float64
    )
    bins = int(np.ceil((path.end - path.start) / _BIN))
    low = np.floor((zones[:, 0] - path.start) / _BIN).astype(int)
    high = np.floor((zones[:, 1] - path.start) / _BIN).astype(int)
    lists = [np.flatnonzero((low <= b) & (high >= b)) for b in range(bins)]
    first = np.concatenate([[0], np.cumsum([len(entries) for entries in lists])])
    ground = np.zeros(shape, dtype=np.uint8)
    _paint(ground, nodes, _NODE, zones, first, np.concatenate(lists), path.start, _BIN, REACH)
    return ground
