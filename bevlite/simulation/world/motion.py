"""How far things get: speed profiles, tracks in time, and whether two tracks meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from bevlite.simulation.world.constants import TRACK_MARGIN, TRACK_PERIOD
from bevlite.simulation.world.geometry import Array


def track_times(duration: float) -> Array:
    """Times (s) at which tracks are stored: a little before the first keyframe to a little after the last."""
    count = int(np.ceil((duration + 2 * TRACK_MARGIN) / TRACK_PERIOD)) + 1
    return np.asarray(-TRACK_MARGIN + TRACK_PERIOD * np.arange(count))


def distance(rng: np.random.Generator, times: Array, kind: str, speed: float) -> Array:
    """Distance travelled (m) at `times` (s), 0 at time 0: `cruise`, `start`, `stop` or `still`."""
    duration = max(float(times[-1]), 1.0)
    if kind == "still":
        return np.zeros_like(times)
    v = np.full_like(times, speed)
    if kind == "cruise":
        v = speed * (1 + rng.uniform(0.03, 0.18) * np.sin(2 * np.pi * times / rng.uniform(8, 20) + rng.uniform(0, 6)))
    elif kind == "start":
        begin = rng.uniform(0.1, 0.5) * duration
        v = np.clip((times - begin) * rng.uniform(1.0, 1.8), 0.0, speed)
    elif kind == "stop":
        end = rng.uniform(0.4, 0.9) * duration
        v = np.clip((end - times) * rng.uniform(1.2, 2.2), 0.0, speed)
    travelled = np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2 * np.diff(times))])
    return np.asarray(travelled - np.interp(0.0, times, travelled))


@dataclass(frozen=True)
class Track:
    """Position (x, y in metres) and heading (radians, unwrapped) of a thing at the track times."""

    x: Array
    y: Array
    yaw: Array

    def sparse(self) -> Array:
        """Every fifth state as (K, 3): what is compared to find collisions."""
        return np.stack([self.x, self.y, self.yaw], 1)[::5]


@njit(cache=True)
def collides(track, length, width, tracks, lengths, widths, margin):  # type: ignore[no-untyped-def]
    """Whether a moving rectangle meets another: track (K, 3) against tracks (N, K, 3), by separating axes."""
    for n in range(tracks.shape[0]):
        reach = (length + width + lengths[n] + widths[n]) / 2 + margin
        for k in range(track.shape[0]):
            dx = tracks[n, k, 0] - track[k, 0]
            dy = tracks[n, k, 1] - track[k, 1]
            if abs(dx) > reach or abs(dy) > reach:
                continue
            ca, sa = np.cos(track[k, 2]), np.sin(track[k, 2])
            cb, sb = np.cos(tracks[n, k, 2]), np.sin(tracks[n, k, 2])
            c, s = abs(ca * cb + sa * sb), abs(sa * cb - ca * sb)
            la, wa = length / 2 + margin, width / 2 + margin
            lb, wb = lengths[n] / 2, widths[n] / 2
            if (
                abs(dx * ca + dy * sa) < la + lb * c + wb * s
                and abs(-dx * sa + dy * ca) < wa + lb * s + wb * c
                and abs(dx * cb + dy * sb) < lb + la * c + wa * s
                and abs(-dx * sb + dy * cb) < wb + la * s + wa * c
            ):
                return True
    return False
