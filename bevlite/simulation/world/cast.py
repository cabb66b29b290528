"""The cast of a scene: how many of each class, and what looks like them."""

from __future__ import annotations

import numpy as np

from bevlite.simulation.world.agents import Cast, EgoPlan
from bevlite.simulation.world.casting import Casting
from bevlite.simulation.world.constants import DENSITY_SPREAD
from bevlite.simulation.world.layout import Layout
from bevlite.simulation.world.rules import WorldRules


def _add_decoys(casting: Casting, length: float) -> None:
    """Put decoys where the objects that they look like stand too."""
    rng, rules = casting.rng, casting.rules
    for name, density in rules.decoys.items():
        wanted = int(rng.poisson(density * length / 150.0))
        placed = tries = 0
        while placed < wanted and tries < 10 * (wanted + 2):
            tries += 1
            if name == "pedestrian":
                placed += casting.pedestrian(decoy=True)
            elif name in ("traffic_cone", "barrier"):
                placed += casting.lone(name, decoy=True)
            else:
                placed += casting.standing(name, decoy=True)


def make_cast(rng: np.random.Generator, layout: Layout, plan: EgoPlan, rules: WorldRules) -> Cast:
    """The agents of a scene: each of the ten classes is near the ego's way at least once."""
    casting = Casting(rng, layout, plan, rules)
    length = casting.s_high - casting.s_low
    share = length / 150.0 * np.exp(rng.normal(0, DENSITY_SPREAD, len(rules.density)) - DENSITY_SPREAD**2 / 2)
    wanted = {name: int(rng.poisson(rules.density[name] * f)) for name, f in zip(rules.density, share, strict=True)}

    barriers, cones, machines = 0, 0, 0
    for _ in range(12):
        enough = barriers >= wanted["barrier"] or cones >= wanted["traffic_cone"]
        if machines and (enough or machines >= wanted["construction_vehicle"]):
            break
        got = casting.works(near=machines == 0)
        barriers, cones, machines = barriers + got[0], cones + got[1], machines + got[2]

    for way in ("standing", "driving") * 20:
        if machines:
            break
        machines += getattr(casting, way)("construction_vehicle", near=True)

    for name, ways in rules.ways.items():
        placed, tries = 0, 0
        while placed < max(1, wanted[name]) and tries < 12 * (wanted[name] + 3) + (200 if not placed else 0):
            tries += 1
            way = str(rng.choice([w for w, _ in ways], p=[p for _, p in ways]))
            placed += getattr(casting, way)(name, near=placed < rules.near)
    for name, have in (("traffic_cone", cones), ("barrier", barriers)):
        placed, tries, close = have, 0, 0
        while (close < rules.near or placed < wanted[name]) and tries < 10 * (wanted[name] + 10):
            tries += 1
            added = casting.lone(name, near=close < rules.near)
            placed, close = placed + added, close + added
    placed, tries = 0, 0
    while placed < wanted["pedestrian"] and tries < 10 * (wanted["pedestrian"] + 2):
        tries += 1
        placed += casting.pedestrian(near=placed < rules.near)
    _add_decoys(casting, length)
    return Cast(casting.agents, casting.ego, plan.times, casting.decoys)
