"""Z-buffer rasteriser: which triangle every pixel sees, and how far away it is."""

from __future__ import annotations

import numpy as np
from numba import njit

NEAR = 0.15


@njit(cache=True, nogil=True)
def rasterise(  # type: ignore[no-untyped-def]
    corners, owner, rotation, origin, fx, fy, cx, cy, inverse_depth, triangle, stamp, total, countable
):
    """Draw triangles (n, 3, 3; global frame) into `inverse_depth` (H, W) and `triangle` (H, W).

    `rotation` (3, 3) and `origin` (3,) take a global point p to the camera by rotation @ (p - origin).
    `total` (owners,) counts for each owner below `countable` the pixels it would cover with nothing before
    it; `stamp` (H, W) remembers the last owner at a pixel, and triangles of one owner must follow each other.
    """
    height, width = inverse_depth.shape
    px = np.empty((3, 3), np.float64)
    poly = np.empty((4, 3), np.float64)
    sx = np.empty(4, np.float64)
    sy = np.empty(4, np.float64)
    sw = np.empty(4, np.float64)
    for t in range(corners.shape[0]):
        behind = 0
        for k in range(3):
            dx = corners[t, k, 0] - origin[0]
            dy = corners[t, k, 1] - origin[1]
            dz = corners[t, k, 2] - origin[2]
            for i in range(3):
                px[k, i] = rotation[i, 0] * dx + rotation[i, 1] * dy + rotation[i, 2] * dz
            if px[k, 2] < NEAR:
                behind += 1
        if behind == 3:
            continue
        count = 0
        if behind == 0:
            for k in range(3):
                for i in range(3):
                    poly[k, i] = px[k, i]
            count = 3
        else:
            for k in range(3):
                n = (k + 1) % 3
                a, b = px[k, 2] - NEAR, px[n, 2] - NEAR
                if a >= 0:
                    for i in range(3):
                        poly[count, i] = px[k, i]
                    count += 1
                if (a >= 0) != (b >= 0):
                    f = a / (a - b)
                    for i in range(3):
                        poly[count, i] = px[k, i] + f * (px[n, i] - px[k, i])
                    count += 1
        for k in range(count):
            sw[k] = 1.0 / poly[k, 2]
            sx[k] = fx * poly[k, 0] * sw[k] + cx
            sy[k] = fy * poly[k, 1] * sw[k] + cy
        who = owner[t]
        counted = who < countable
        for f in range(1, count - 1):
            x0, y0, w0 = sx[0], sy[0], sw[0]
            x1, y1, w1 = sx[f], sy[f], sw[f]
            x2, y2, w2 = sx[f + 1], sy[f + 1], sw[f + 1]
            low, high = min(y0, y1, y2), max(y0, y1, y2)
            left, right = min(x0, x1, x2), max(x0, x1, x2)
            if high < 0 or low > height or right < 0 or left > width:
                continue
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            if abs(area) < 1e-9:
                continue
            # 1/z is linear on the screen: w = w0 + gx (x - x0) + gy (y - y0).
            gx = ((w1 - w0) * (y2 - y0) - (w2 - w0) * (y1 - y0)) / area
            gy = ((w2 - w0) * (x1 - x0) - (w1 - w0) * (x2 - x0)) / area
            first = max(0, int(np.ceil(low - 0.5)))
            last = min(height - 1, int(np.floor(high - 0.5)))
            for row in range(first, last + 1):
                yc = row + 0.5
                begin, end = 1e30, -1e30
                for e in range(3):
                    if e == 0:
                        ax, ay, bx, by = x0, y0, x1, y1
                    elif e == 1:
                        ax, ay, bx, by = x1, y1, x2, y2
                    else:
                        ax, ay, bx, by = x2, y2, x0, y0
                    if (ay <= yc) != (by <= yc):
                        at = ax + (yc - ay) / (by - ay) * (bx - ax)
                        if at < begin:
                            begin = at
                        if at > end:
                            end = at
                if end < begin:
                    continue
                if begin > width or end < 0:
                    continue
                c0 = max(0, int(np.ceil(begin - 0.5)))
                c1 = min(width - 1, int(np.ceil(end - 0.5)) - 1)
                w = w0 + gx * (c0 + 0.5 - x0) + gy * (yc - y0)
                if counted:
                    for col in range(c0, c1 + 1):
                        if stamp[row, col] != who:
                            stamp[row, col] = who
                            total[who] += 1
                        if w > inverse_depth[row, col]:
                            inverse_depth[row, col] = w
                            triangle[row, col] = t
                        w += gx
                else:
                    for col in range(c0, c1 + 1):
                        if w > inverse_depth[row, col]:
                            inverse_depth[row, col] = w
                            triangle[row, col] = t
                        w += gx


@njit(cache=True, nogil=True)
def cast_shadows(corners, sun, x_low, y_low, resolution, height_map):  # type: ignore[no-untyped-def]
    """Write into `height_map` (rows = y, columns = x) how high the highest thing between ground and sun is.

    A point p is looked up where the sun's ray through it meets z = 0; it lies in the shade when the map there
    is higher than p. `sun` (3,) points to the sun.
    """
    rows, columns = height_map.shape
    kx, ky = sun[0] / sun[2], sun[1] / sun[2]
    x = np.empty(3)
    y = np.empty(3)
    z = np.empty(3)
    for t in range(corners.shape[0]):
        for k in range(3):
            z[k] = corners[t, k, 2]
            x[k] = (corners[t, k, 0] - kx * z[k] - x_low) / resolution
            y[k] = (corners[t, k, 1] - ky * z[k] - y_low) / resolution
        low, high = y.min(), y.max()
        left, right = x.min(), x.max()
        if high < 0 or low > rows or right < 0 or left > columns:
            continue
        area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
        if abs(area) < 1e-9:
            continue
        gx = ((z[1] - z[0]) * (y[2] - y[0]) - (z[2] - z[0]) * (y[1] - y[0])) / area
        gy = ((z[2] - z[0]) * (x[1] - x[0]) - (z[1] - z[0]) * (x[2] - x[0])) / area
        for row in range(max(0, int(np.ceil(low - 0.5))), min(rows - 1, int(np.floor(high - 0.5))) + 1):
            yc = row + 0.5
            begin, end = 1e30, -1e30
            for e in range(3):
                n = (e + 1) % 3
                if (y[e] <= yc) != (y[n] <= yc):
                    at = x[e] + (yc - y[e]) / (y[n] - y[e]) * (x[n] - x[e])
                    begin = min(begin, at)
                    end = max(end, at)
            if end < begin:
                continue
            c0, c1 = max(0, int(np.ceil(begin - 0.5))), min(columns - 1, int(np.ceil(end - 0.5)) - 1)
            for col in range(c0, c1 + 1):
                value = z[0] + gx * (col + 0.5 - x[0]) + gy * (yc - y[0])
                if value > height_map[row, col]:
                    height_map[row, col] = value
