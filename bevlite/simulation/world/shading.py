"""Colours of pixels: procedural textures, sun and shadow, sky, haze, headlights, sensor noise."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always")
def _hash(a, b, c):  # type: ignore[no-untyped-def]
    """A pseudo-random number in [0, 1) of three integers."""
    h = np.uint32(a) * np.uint32(374761393) + np.uint32(b) * np.uint32(668265263)
    h = h + np.uint32(c) * np.uint32(2246822519)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    h = h ^ (h >> np.uint32(16))
    return np.float32(h & np.uint32(0xFFFFFF)) * np.float32(1.0 / 16777216.0)


@njit(cache=True, nogil=True)
def _texture(material, x, y, z, nx, ny, nz, seed, far, r, g, b):  # type: ignore[no-untyped-def]
    """Colour and glow of a surface point at (x, y, z) of its owner's frame with normal n; `far` in m."""
    glow = np.float32(0.0)
    vertical = abs(nz) < 0.7
    u = y if abs(nx) > abs(ny) else x  # along the wall
    if not vertical:
        u = x
    v = z if vertical else y
    s = int(seed * 1000.0)
    if material == 6:  # windows on a wall
        if vertical and z > 0.1:
            width = 2.2 + 1.6 * _hash(s, 1, 0)
            storey = 3.0 + 0.5 * _hash(s, 2, 0)
            cu, cv = np.floor(u / width), np.floor((z - 0.4) / storey)
            fu, fv = u / width - cu, (z - 0.4) / storey - cv
            edge = 0.14 + 0.14 * _hash(s, 3, 0)
            if edge < fu < 1 - edge and 0.25 < fv < 0.8:
                lit = _hash(int(cu) + 500, int(cv), s)
                r, g, b = 0.12 + 0.12 * lit, 0.15 + 0.14 * lit, 0.19 + 0.16 * lit
                if lit > 0.75:
                    glow = np.float32(0.55)
            elif fv < 0.06:
                r, g, b = r * 0.75, g * 0.75, b * 0.75
    elif material == 7:  # bricks
        if far < 35.0:
            cv = np.floor(v / 0.12)
            fu = u / 0.3 + (0.5 if int(cv) % 2 == 0 else 0.0)
            k = 0.85 + 0.3 * _hash(int(np.floor(fu)) + 900, int(cv), s)
            if fu - np.floor(fu) < 0.07 or v / 0.12 - cv < 0.14:
                k = 1.15
            r, g, b = r * k, g * k, b * k
    elif material == 5:  # leaves
        size = 6.0 if far < 25.0 else 3.0
        k = _hash(int(np.floor(x * size)) + 300, int(np.floor(y * size)) + 300, int(np.floor(z * size)))
        k = 0.6 + 0.8 * k
        r, g, b = r * k, g * k, b * k
    elif material == 4:  # diagonal stripes
        phase = (u + v) * 2.6
        if phase - np.floor(phase) < 0.5:
            r, g, b = np.float32(0.9), np.float32(0.9), np.float32(0.88)
    elif material == 8:  # corrugated metal, with a painted panel
        phase = u * 3.0
        k = 0.82 + 0.3 * abs(phase - np.floor(phase) - 0.5)
        if vertical and abs(u) < 1.6 and 1.6 < z < 2.7 and abs(ny) > 0.7 and _hash(s, 5, 0) < 0.6:
            r, g, b = _hash(s, 6, 0), _hash(s, 7, 0), _hash(s, 8, 0)
        r, g, b = r * k, g * k, b * k
    elif material == 9:  # a bus: band of windows
        if vertical:
            if 1.35 < z < 2.65:
                phase = u / 1.5
                if phase - np.floor(phase) > 0.08:
                    r, g, b = np.float32(0.09), np.float32(0.11), np.float32(0.14)
                    glow = np.float32(0.25)
            elif z < 0.75:
                r, g, b = r * 0.45, g * 0.45, b * 0.45
            elif 0.95 < z < 1.1:
                r, g, b = np.float32(0.92), np.float32(0.92), np.float32(0.9)
    elif material == 10:  # cloth
        k = 0.86 + 0.28 * _hash(int(np.floor(x * 14)) + 90, int(np.floor(y * 14)) + 90, int(np.floor(z * 9)))
        r, g, b = r * k, g * k, b * k
    elif material == 11:  # stone
        k = 0.85 + 0.3 * _hash(int(np.floor(x * 9)) + 90, int(np.floor(y * 9)) + 90, int(np.floor(z * 9)))
        r, g, b = r * k, g * k, b * k
    elif material == 12 or material == 13:
        glow = np.float32(0.9)
    elif material == 14:  # a picture of a person, 1.24 m x 2 m from z = 0.2
        z0 = z - 0.3
        skin, cloth, legs = _hash(s, 11, 0), _hash(s, 12, 0), _hash(s, 13, 0)
        if (u / 0.11) ** 2 + ((z0 - 1.62) / 0.14) ** 2 < 1:
            r, g, b = 0.5 + 0.35 * skin, 0.36 + 0.3 * skin, 0.28 + 0.24 * skin
        elif abs(u) < 0.24 and 0.85 < z0 < 1.46:
            r, g, b = cloth, _hash(s, 14, 0), _hash(s, 15, 0)
        elif abs(u) < 0.32 and 0.8 < z0 < 1.4:
            r, g, b = cloth * 0.85, _hash(s, 14, 0) * 0.85, _hash(s, 15, 0) * 0.85
        elif 0.02 < abs(u) < 0.2 and 0.0 < z0 < 0.86:
            r, g, b = legs * 0.5, legs * 0.5, legs * 0.6
    elif material == 15:  # a picture of a car from its side, 4.8 m wide
        z0 = z - 0.3
        if (abs(u) - 1.4) ** 2 + (z0 - 0.33) ** 2 < 0.11:
            r, g, b = np.float32(0.07), np.float32(0.07), np.float32(0.07)
        elif abs(u) < 2.25 and 0.25 < z0 < 0.95:
            r, g, b = _hash(s, 21, 0), _hash(s, 22, 0), _hash(s, 23, 0)
        elif abs(u + 0.2) < 1.5 - 0.9 * (z0 - 0.95) and 0.95 <= z0 < 1.45:
            r, g, b = np.float32(0.12), np.float32(0.14), np.float32(0.18)
    elif material == 16:
        k = (int(np.floor(u * 9)) + int(np.floor(v * 9))) & 1
        f = np.float32(0.65) if k else np.float32(1.1)
        r, g, b = r * f, g * f, b * f
    elif material == 17:  # a traffic sign: a red ring on white, or blue
        q = u * u + (z - 1.8) ** 2
        if _hash(s, 31, 0) < 0.5:
            if 0.05 < q < 0.095:
                r, g, b = np.float32(0.8), np.float32(0.06), np.float32(0.06)
        elif q < 0.095:
            r, g, b = np.float32(0.08), np.float32(0.2), np.float32(0.65)
    return r, g, b, glow


@njit(cache=True, nogil=True)
def _ground_colour(code, x, y, far):  # type: ignore[no-untyped-def]
    """Colour of the ground at global (x, y), `far` metres away."""
    if code == 1:
        r, g, b = 0.24, 0.24, 0.25
    elif code == 2:
        r, g, b = 0.82, 0.82, 0.80
    elif code == 3:
        r, g, b = 0.80, 0.62, 0.15
    elif code == 4:
        r, g, b = 0.52, 0.50, 0.48
    elif code == 5:
        r, g, b = 0.62, 0.61, 0.59
    elif code == 6:
        r, g, b = 0.47, 0.42, 0.38
    elif code == 7:
        r, g, b = 0.42, 0.33, 0.23
    elif code == 8:
        r, g, b = 0.24, 0.24, 0.25
    elif code == 11:  # older asphalt
        r, g, b = 0.33, 0.33, 0.35
    elif code == 13:
        r, g, b = 0.50, 0.46, 0.42
    elif code == 15:  # worn paint: the asphalt shows through in places
        w = 0.55 + 0.45 * _hash(int(x * 6.0), int(y * 6.0), 15)
        r, g, b = 0.24 + 0.54 * w, 0.24 + 0.36 * w, 0.25 - 0.11 * w
    elif code >= 9:
        w = 0.60 + 0.40 * _hash(int(x * 6.0), int(y * 6.0), code)
        r, g, b = 0.24 + 0.56 * w, 0.24 + 0.56 * w, 0.25 + 0.53 * w
    else:
        r, g, b = 0.24, 0.34, 0.13
    # Noise on two scales; the fine one fades before it would flicker.
    k = 0.9 + 0.2 * _hash(int(x * 0.7), int(y * 0.7), code)
    if far < 30.0:
        fine = 0.16 * (1.0 - far / 30.0) * (1.6 if code == 0 else 1.0)
        k += fine * (_hash(int(x * 18.0), int(y * 18.0), code) - 0.5)
    slabs = (code == 4 or code == 6) and far < 40.0
    if slabs and (x * 1.25 - np.floor(x * 1.25) < 0.05 or y * 1.25 - np.floor(y * 1.25) < 0.05):
        k *= 0.86
    return np.float32(r * k), np.float32(g * k), np.float32(b * k)


@njit(cache=True, nogil=True)
def shade(  # type: ignore[no-untyped-def]
    triangle,
    inverse_depth,
    owner,
    material,
    colour,
    normal,
    poses,
    rotation,
    origin,
    fx,
    fy,
    cx,
    cy,
    ground,
    weather,
    shadow,
    shadow_x,
    shadow_y,
    shadow_resolution,
    ego,
    sigma,
    seed,
    image,
    visible,
    countable,
):
    """Fill `image` (H, W, 3 uint8) from the raster, complete `inverse_depth` with the ground, and count.

    `rotation` (3, 3) takes camera directions to the global frame, `origin` (3,) is the camera's place,
    `poses` (owners, 4) are x, y, yaw, seed, `ego` (3,) is x, y, yaw of the car with the headlights. `visible`
    (owners,) receives the number of pixels of each owner below `countable`.
    """
    height, width = triangle.shape
    sun_x, sun_y, sun_z = weather[0], weather[1], weather[2]
    haze, exposure, night, lights = weather[15], weather[16], weather[17], weather[18]
    rows, columns = ground.shape
    s_rows, s_columns = shadow.shape
    kx, ky = sun_x / sun_z, sun_y / sun_z
    cos_e, sin_e = np.cos(ego[2]), np.sin(ego[2])
    r00, r01, r02 = rotation[0, 0], rotation[0, 1], rotation[0, 2]
    r10, r11, r12 = rotation[1, 0], rotation[1, 1], rotation[1, 2]
    r20, r21, r22 = rotation[2, 0], rotation[2, 1], rotation[2, 2]
    ox, oy, oz = origin[0], origin[1], origin[2]
    cos_o = np.cos(poses[:, 2])
    sin_o = np.sin(poses[:, 2])
    half_w, half_h = width / 2.0, height / 2.0
    for row in range(height):
        vy = (row + 0.5 - cy) / fy
        for col in range(width):
            vx = (col + 0.5 - cx) / fx
            dx = np.float32(r00 * vx + r01 * vy + r02)
            dy = np.float32(r10 * vx + r11 * vy + r12)
            dz = np.float32(r20 * vx + r21 * vy + r22)
            t = triangle[row, col]
            glow = np.float32(0.0)
            shine = np.float32(0.0)
            is_sky = False
            if t >= 0:
                depth = 1.0 / inverse_depth[row, col]
                px, py, pz = ox + dx * depth, oy + dy * depth, oz + dz * depth
                nx, ny, nz = normal[t, 0], normal[t, 1], normal[t, 2]
                if nx * dx + ny * dy + nz * dz > 0:
                    nx, ny, nz = -nx, -ny, -nz
                who = owner[t]
                if who < countable:
                    visible[who] += 1
                c, s = cos_o[who], sin_o[who]
                lx, ly = px - poses[who, 0], py - poses[who, 1]
                mat = material[t]
                r, g, b, glow = _texture(
                    mat,
                    c * lx + s * ly,
                    -s * lx + c * ly,
                    pz,
                    c * nx + s * ny,
                    -s * nx + c * ny,
                    nz,
                    poses[who, 3],
                    depth,
                    colour[t, 0],
                    colour[t, 1],
                    colour[t, 2],
                )
                if mat == 1:
                    shine = np.float32(0.18)
                elif mat == 2:
                    shine = np.float32(0.45)
            elif dz < -1e-4:
                depth = -oz / dz
                inverse_depth[row, col] = 1.0 / depth
                px, py, pz = ox + dx * depth, oy + dy * depth, np.float32(0.0)
                nx, ny, nz = np.float32(0.0), np.float32(0.0), np.float32(1.0)
                # Dithered within a cell, so that markings look worn rather than like stairs.
                dither = np.float32(0.07) * (_hash(col, row, 77) - np.float32(0.5))
                gr, gc = int((py + dither) * 10.0), int((px - dither) * 10.0)
                code = 0
                if 0 <= gr < rows and 0 <= gc < columns and px > 0 and py > 0:
                    code = ground[gr, gc]
                r, g, b = _ground_colour(code, px, py, depth)
            else:
                is_sky = True
                depth = 1e6
                px, py, pz = ox, oy, oz
                nx, ny, nz = np.float32(0.0), np.float32(0.0), np.float32(1.0)
                r, g, b = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            length = np.sqrt(dx * dx + dy * dy + dz * dz)
            if is_sky:
                up = max(dz / length, 0.0)
                f = np.float32(np.sqrt(up))
                lr = weather[12] + (weather[9] - weather[12]) * f
                lg = weather[13] + (weather[10] - weather[13]) * f
                lb = weather[14] + (weather[11] - weather[14]) * f
                if weather[19] > 0:
                    align = (dx * sun_x + dy * sun_y + dz * sun_z) / length
                    if align > 0.9:
                        f = np.float32((align - 0.9) * 10.0)
                        f = f * f * f * 0.5
                        lr, lg, lb = lr + f, lg + f * 0.95, lb + f * 0.8
            else:
                direct = nx * sun_x + ny * sun_y + nz * sun_z
                if direct > 0:
                    # Looked up a little off the surface, or it would shade itself through the map's cells.
                    qx, qy, qz = px + 0.3 * nx, py + 0.3 * ny, pz + 0.3 * nz
                    if t < 0:
                        qz = 0.0
                    mc = int((qx - kx * qz - shadow_x) / shadow_resolution)
                    mr = int((qy - ky * qz - shadow_y) / shadow_resolution)
                    if 0 <= mr < s_rows and 0 <= mc < s_columns and shadow[mr, mc] > qz + 0.12:
                        direct = np.float32(0.0)
                else:
                    direct = np.float32(0.0)
                around = np.float32(0.75) + np.float32(0.25) * nz
                er = weather[6] * around + weather[3] * direct
                eg = weather[7] * around + weather[4] * direct
                eb = weather[8] * around + weather[5] * direct
                if lights > 0:
                    fx_, fy_ = px - ego[0], py - ego[1]
                    ahead, aside = fx_ * cos_e + fy_ * sin_e, -fx_ * sin_e + fy_ * cos_e
                    if ahead > 2.0 and abs(aside) < 0.45 * ahead + 1.0:
                        f = 9.0 / (12.0 + ahead) * (1.0 - abs(aside) / (0.45 * ahead + 1.0))
                        er, eg, eb = er + f, eg + f * 0.96, eb + f * 0.85
                if shine > 0:  # the sky in paint and glass
                    k = shine * (0.5 + 0.5 * max(nz, 0.0))
                    r = r * (1 - k) + weather[12] * k
                    g = g * (1 - k) + weather[13] * k
                    b = b * (1 - k) + weather[14] * k
                glow = glow * (np.float32(0.25) + np.float32(0.75) * night)
                lr, lg, lb = r * er + r * glow, g * eg + g * glow, b * eb + b * glow
                f = np.float32(1.0 - np.exp(-haze * depth * length))
                lr = lr + (weather[12] - lr) * f
                lg = lg + (weather[13] - lg) * f
                lb = lb + (weather[14] - lb) * f
            qx, qy = (col - half_w) / half_w, (row - half_h) / half_w
            k = exposure * (1.0 - 0.16 * (qx * qx + qy * qy))
            noise = (_hash(col, row, seed) + _hash(row, col, seed + 7) - 1.0) * sigma * 2.45
            # A camera's tone curve: x (1 + a) / (1 + a x) lifts what is dark.
            lr, lg, lb = lr * k, lg * k, lb * k
            lr = 255.0 * 2.6 * lr / (1.0 + 1.6 * lr) + noise
            lg = 255.0 * 2.6 * lg / (1.0 + 1.6 * lg) + noise
            lb = 255.0 * 2.6 * lb / (1.0 + 1.6 * lb) + noise
            image[row, col, 0] = np.uint8(min(max(lr, 0.0), 255.0))
            image[row, col, 1] = np.uint8(min(max(lg, 0.0), 255.0))
            image[row, col, 2] = np.uint8(min(max(lb, 0.0), 255.0))
