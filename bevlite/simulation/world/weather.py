"""Light and air of a scene: sun, sky, haze, exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bevlite.simulation.world.mesh import F32
from bevlite.simulation.world.rules import WorldRules


@dataclass(frozen=True)
class Weather:
    """The light of a scene; colours are RGB factors.

    `numbers` (24,) is what the shader reads: sun direction 0-2, sun colour 3-5, ambient 6-8, sky at the
    zenith 9-11 and at the horizon 12-14, haze density per metre 15, exposure 16, night 17, headlights 18,
    sun disc 19.
    """

    name: str
    numbers: F32

    @property
    def sun(self) -> F32:
        """Unit vector (3,) that points to the sun."""
        return self.numbers[:3]


def weather_name(index: int, seed: int, rules: WorldRules) -> str:
    """The weather of scene `index` of a world: spread evenly, so that small worlds keep the shares too."""
    place = (0.31 + 0.6180339887 * (index + 7 * seed)) % 1.0
    for name, share in rules.weather:
        if place < share:
            return name
        place -= share
    return rules.weather[0][0]


def make_weather(rng: np.random.Generator, name: str, rules: WorldRules) -> Weather:
    """The light of one scene in the weather `name`."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(25, 65))
    sun = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
    warm = rng.uniform(0.0, 0.12)
    n = np.zeros(24, dtype=np.float32)
    n[:3] = sun
    if name == "clear":
        n[3:6] = np.array([1.0, 0.95 - warm, 0.88 - 2 * warm]) * rng.uniform(0.65, 0.9)
        n[6:9] = np.array([0.36, 0.40, 0.47]) * rng.uniform(0.85, 1.15)
        n[9:12], n[12:15] = (0.25, 0.45, 0.80), (0.72, 0.80, 0.90)
        n[15], n[19] = rng.uniform(0.0005, 0.002), 1.0
    elif name == "overcast":
        n[3:6] = rng.uniform(0.05, 0.15)
        n[6:9] = np.array([0.62, 0.63, 0.65]) * rng.uniform(0.8, 1.1)
        n[9:12], n[12:15] = (0.62, 0.65, 0.69), (0.78, 0.79, 0.81)
        n[15] = rng.uniform(0.001, 0.004)
    elif name == "haze":
        n[3:6] = rng.uniform(0.1, 0.25)
        n[6:9] = np.array([0.55, 0.55, 0.55]) * rng.uniform(0.85, 1.1)
        n[9:12], n[12:15] = (0.66, 0.67, 0.68), (0.74, 0.74, 0.73)
        n[15] = rng.uniform(*rules.haze_density)
    else:
        n[3:6] = 0.02
        n[6:9] = np.array(rules.night_light) * rng.uniform(0.8, 1.2)
        n[9:12], n[12:15] = (0.02, 0.02, 0.05), (0.09, 0.08, 0.10)
        n[15], n[17], n[18] = rng.uniform(0.001, 0.003), 1.0, 1.0
    n[16] = rng.uniform(0.85, 1.2)
    return Weather(name, n)
